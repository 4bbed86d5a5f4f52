//! An HTTP service that operators ask.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A service with fixed answers by path, 404 for every other path. It counts its requests.
#[derive(Clone, Default)]
pub struct Service {
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts it and returns its address.
    pub fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let service = service.clone();
                std::thread::spawn(move || service.serve(stream.unwrap()));
            }
        });
        address
    }

    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    pub fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let path = line.split(' ').nth(1).unwrap().to_owned();
            let (mut length, mut head) = (0, line.trim_end().to_owned());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&format!("\n{line}"));
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            self.requests.lock().unwrap().push(format!("{head}\n{}", String::from_utf8(body).unwrap()));
            let (status, body) = self.answers.lock().unwrap().get(&path).cloned().unwrap_or((404, String::new()));
            let answer = format!("HTTP/1.1 {status} X\r\nX-Tier: t-{status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    }
}
