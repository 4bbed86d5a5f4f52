//! A receiver of webhooks: a real HTTP server that gives configured responses and keeps what it
//! accepted by key, once.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

/// A request as received.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The response to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The request is accepted.
    Taken,
    /// A status with a body and headers; the request is not accepted.
    Status(u16, &'static str, &'static [(&'static str, &'static str)]),
    /// The request is accepted, but the connection closes without a response.
    TakenInSilence,
    /// The request is not accepted, and the connection closes.
    Silence,
    /// The request is accepted, and the response breaks off in its body.
    BrokenOff,
    /// The request is accepted, and the body of the response never ends; its status.
    Endless(u16),
    /// The request is not accepted, and the head of the response never ends.
    EndlessHead,
    /// The request is not accepted, and the connection stays open without a response.
    Hung,
}

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
    taken: BTreeMap<String, Vec<u8>>,
    order: Vec<String>,
    answers: BTreeMap<String, (u16, String)>,
    endless: Vec<String>,
    hanging: Vec<String>,
    hung: Option<Sender<()>>,
}

/// The receiver and its state.
#[derive(Clone)]
pub struct Receiver {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Starts a receiver on a free port.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || drop(serving.serve(&stream)));
            }
        });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sets the responses to the next requests; later ones are accepted.
    pub fn reply(&self, replies: &[Reply]) {
        self.state.lock().unwrap().replies.extend(replies.iter().cloned());
    }

    /// Sets the response to requests whose path begins with `path`; it takes precedence over other
    /// settings.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// Makes responses to requests whose path begins with `path` never end.
    pub fn answer_without_end(&self, path: &str) {
        self.state.lock().unwrap().endless.push(path.to_owned());
    }

    /// Leaves requests whose path begins with `path` without a response.
    pub fn hang(&self, path: &str) {
        self.state.lock().unwrap().hanging.push(path.to_owned());
    }

    /// Returns a channel with a message for every request without a response.
    pub fn hangs(&self) -> std::sync::mpsc::Receiver<()> {
        let (sender, heard) = std::sync::mpsc::channel();
        self.state.lock().unwrap().hung = Some(sender);
        heard
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Returns the accepted requests, by key.
    pub fn taken(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Returns the keys in the order in which they were first accepted.
    pub fn order(&self) -> Vec<String> {
        self.state.lock().unwrap().order.clone()
    }

    pub fn lose(&self, key: &str) {
        self.state.lock().unwrap().taken.remove(key);
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read(&mut reader)? {
            if !self.answer_one(stream, request)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns whether the connection stays open.
    fn answer_one(&self, mut stream: &TcpStream, request: Request) -> std::io::Result<bool> {
        let mut state = self.state.lock().unwrap();
        state.requests.push(request.clone());
        let fixed =
            state.answers.iter().find(|(path, _)| request.path.starts_with(path.as_str())).map(|(_, answer)| answer.clone());
        if let Some((status, body)) = fixed {
            drop(state);
            return write(stream, status, &body, &[]).map(|()| true);
        }
        if state.endless.iter().any(|path| request.path.starts_with(path)) {
            drop(state);
            return endless(stream, 200);
        }
        if state.hanging.iter().any(|path| request.path.starts_with(path)) {
            let hung = state.hung.clone();
            drop(state);
            return hang(stream, hung.as_ref());
        }
        // Accepted requests can be read back by their key.
        if request.method == "GET" {
            let key = request.path.rsplit('/').next().unwrap_or_default();
            let (status, body) = match state.taken.get(key) {
                Some(body) => (200, String::from_utf8_lossy(body).into_owned()),
                None => (404, String::new()),
            };
            drop(state);
            return write(stream, status, &body, &[]).map(|()| true);
        }
        let reply = state.replies.pop_front().unwrap_or(Reply::Taken);
        if matches!(reply, Reply::Taken | Reply::TakenInSilence | Reply::BrokenOff | Reply::Endless(200)) {
            let key = request.headers.get("idempotency-key").cloned().unwrap_or_default();
            if !state.taken.contains_key(&key) {
                state.order.push(key.clone());
            }
            state.taken.insert(key, request.body);
        }
        let hung = state.hung.clone();
        drop(state);
        match reply {
            Reply::Taken => write(stream, 200, "{}", &[]).map(|()| true),
            Reply::Status(status, body, headers) => write(stream, status, body, headers).map(|()| true),
            Reply::TakenInSilence | Reply::Silence => Ok(false),
            Reply::BrokenOff => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of ")?;
                Ok(false)
            }
            Reply::Endless(status) => endless(stream, status),
            Reply::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                while stream.write_all(b"x-more: and more and more and more\r\n").is_ok() {}
                Ok(false)
            }
            Reply::Hung => hang(stream, hung.as_ref()),
        }
    }
}

/// Reports a request without a response, and waits until the client gives up.
fn hang(mut stream: &TcpStream, hung: Option<&Sender<()>>) -> std::io::Result<bool> {
    // A test that does not count them has dropped the other end.
    let _unheard = hung.map(|hung| hung.send(()));
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(false)
}

/// Writes until the client closes the connection.
fn endless(mut stream: &TcpStream, status: u16) -> std::io::Result<bool> {
    stream.write_all(format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes())?;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    while stream.write_all(chunk.as_bytes()).is_ok() {}
    Ok(false)
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn write(mut stream: &TcpStream, status: u16, body: &str, headers: &[(&str, &str)]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}
