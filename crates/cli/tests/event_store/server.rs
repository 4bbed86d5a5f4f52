//! A server in a process of its own, and a client of a few lines.
#![allow(unreachable_pub, clippy::unwrap_used)] // a test that cannot continue stops

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A server; gone with its owner.
pub struct Server {
    child: Child,
    pub address: String,
}

pub fn flowmeter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowmeter")).args(arguments).output().unwrap()
}

impl Server {
    pub fn start(data: &Path, pipeline: Option<&Path>, settings: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        if let Some(pipeline) = pipeline {
            command.arg("--pipeline").arg(pipeline);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([',', ' ']).next());
        Server { address: address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned(), child }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        ask(&self.address, "GET", path, "", "").unwrap()
    }

    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        ask(&self.address, "POST", path, "application/x-ndjson", body).unwrap()
    }

    /// Asks until the answer is as wanted.
    pub fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..20_000 {
            let (status, body) = self.get(path);
            if status == 200 && wanted(&body) {
                return body;
            }
            std::thread::yield_now();
        }
        panic!("{path} never answered as it should: {:?}", self.get(path));
    }

    /// Ends it as an operator does.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One request; nothing where the server went away.
pub fn ask(address: &str, method: &str, path: &str, content_type: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}
