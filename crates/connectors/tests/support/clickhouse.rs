//! ClickHouse: its engine from PyPI's `chdb`, with the HTTP interface of `clickhouse_server.py`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{free_port, skipped};

pub const PASSWORD: &str = "secret";

pub struct ClickHouse {
    server: Option<Child>,
    python: String,
    data: tempfile::TempDir,
    pub port: u16,
}

impl ClickHouse {
    /// Starts one; `None`, with a line that says so, where the package is missing. Python is
    /// `python3`, or the one that `CLICKHOUSE_PYTHON` names.
    pub fn start(what: &str) -> Option<ClickHouse> {
        let python = std::env::var("CLICKHOUSE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let imported = Command::new(&python).args(["-c", "import chdb"]).stderr(Stdio::null()).status();
        if !imported.is_ok_and(|status| status.success()) {
            skipped(what, "no ClickHouse on this machine; pip install chdb, or name a Python that has it in CLICKHOUSE_PYTHON");
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let mut clickhouse = ClickHouse { server: None, python, data, port: free_port() };
        clickhouse.go();
        Some(clickhouse)
    }

    /// Starts the server again, with the data it had.
    pub fn go(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clickhouse_server.py");
        let server = Command::new(&self.python)
            .arg(script)
            .arg(self.port.to_string())
            .arg(self.data.path().join("data"))
            .arg(PASSWORD)
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap());
        for _ in 0..1200 {
            if self.answer("SELECT 1").is_some_and(|answer| answer == "1\n") {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        panic!("ClickHouse did not come up");
    }

    /// Ends the server at once.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill().and_then(|()| server.wait()));
        }
    }

    /// Returns the answer to a statement, without its last line end.
    pub fn ask(&self, statement: &str) -> String {
        self.answer(statement).unwrap_or_else(|| panic!("no answer to {statement}")).trim_end().to_owned()
    }

    fn answer(&self, statement: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = statement.len();
        let head = format!("POST / HTTP/1.1\r\nx-clickhouse-key: {PASSWORD}\r\ncontent-length: {length}\r\n\r\n{statement}");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}
