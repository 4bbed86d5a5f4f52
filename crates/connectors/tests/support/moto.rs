//! An S3-compatible server: `moto_server` of PyPI's `moto[server]`, where it is installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::{free_port, skipped};

/// It wants to know who asks, and does not check it.
const KEY: &str =
    "authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";

pub struct Moto {
    server: Child,
    pub port: u16,
}

impl Moto {
    /// Starts one with a bucket; `None`, and a line that says so, where there is none. The
    /// program is `moto_server`, or what `MOTO_SERVER` names.
    pub fn start(what: &str, bucket: &str) -> Option<Moto> {
        let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
        let port = free_port();
        let server = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(server) = server else {
            skipped(what, "no `moto_server` on this machine; pip install 'moto[server]', or name it in MOTO_SERVER");
            return None;
        };
        let moto = Moto { server, port };
        // It takes a moment to come up.
        for _ in 0..600 {
            if moto.request("PUT", &format!("/{bucket}")).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Some(moto);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        panic!("{program} did not come up");
    }

    fn request(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let text =
            format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n{KEY}\r\n\r\n");
        stream.write_all(text.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Puts an object into the bucket.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = bytes.len();
        let head =
            format!("PUT {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {length}\r\n{KEY}\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Returns an answer with an object, if there is one.
    pub fn get(&self, path: &str) -> Option<String> {
        self.request("GET", path).filter(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    pub fn delete(&self, path: &str) {
        assert!(self.request("DELETE", path).is_some_and(|answer| answer.starts_with("HTTP/1.1 204")));
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
