//! A temporary Postgres server, from the installation of the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{free_port, skipped};

/// A cluster in a temporary folder, stopped at the end of the test.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
    as_other: bool,
}

/// Returns the folder of the server's programs on Debian and others.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort();
    found
        .pop()
        .or_else(|| ["/usr/local/bin", "/usr/bin"].map(PathBuf::from).into_iter().find(|path| path.join("initdb").exists()))
}

/// Number of ports to try.
const STARTS_MAX: usize = 5;

impl Postgres {
    /// Starts a server; `None`, with a message, if Postgres is not installed.
    pub fn start(what: &str) -> Option<Postgres> {
        let Some(programs) = programs() else {
            skipped(what, "no Postgres on this machine; install the package `postgresql`");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Postgres refuses to run as root.
        let as_other = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
        if as_other {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let mut postgres = Postgres { folder, programs, port: 0, as_other };
        run(postgres.program("initdb").args([
            "-D",
            &postgres.at("data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]));
        // Another program may take a free port before Postgres does.
        for _ in 0..STARTS_MAX {
            postgres.port = free_port();
            if postgres.pg_ctl_start().output().is_ok_and(|output| output.status.success()) {
                return Some(postgres);
            }
        }
        panic!("Postgres did not start: {}", std::fs::read_to_string(postgres.at("log")).unwrap_or_default());
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match self.as_other {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
                command
            }
            false => Command::new(path),
        };
        command.current_dir(Path::new("/")).stdout(Stdio::null());
        command
    }

    /// Starts the server again, on its port.
    pub fn go(&self) {
        run(&mut self.pg_ctl_start());
    }

    fn pg_ctl_start(&self) -> Command {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.at(""));
        let mut start = self.program("pg_ctl");
        start.args(["-D", &self.at("data"), "-w", "-l", &self.at("log"), "-o", &options, "start"]);
        start
    }

    /// Stops the server; `immediate` as if the power failed.
    pub fn stop(&self, mode: &str) {
        drop(self.program("pg_ctl").args(["-D", &self.at("data"), "-w", "-m", mode, "stop"]).stderr(Stdio::null()).status());
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the result of a query, columns separated by `|`.
    pub fn ask(&self, sql: &str) -> String {
        let mut command = self.program("psql");
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-At", "-c", sql])
            .stdout(Stdio::piped());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

fn run(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output).unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}
