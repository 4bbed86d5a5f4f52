//! A receiver of webhooks: a real HTTP server that answers as it is told, and keeps what it
//! took by its key, once.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Taken, and said so.
    Taken,
    /// A status with a body and headers; not taken.
    Status(u16, &'static str, &'static [(&'static str, &'static str)]),
    /// Taken, but the connection closes before a word of it.
    TakenInSilence,
    /// Not taken, and the connection closes.
    Silence,
    /// Taken, and the answer breaks off in its body.
    BrokenOff,
    /// Taken, and the body of the answer never ends; its status.
    Endless(u16),
    /// Not taken, and the head of the answer never ends.
    EndlessHead,
    /// Not taken, and the connection stays open without a word.
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
    /// Starts on a port of its own.
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

    /// The next requests are answered like this; then everything is taken.
    pub fn reply(&self, replies: &[Reply]) {
        self.state.lock().unwrap().replies.extend(replies.iter().cloned());
    }

    /// Requests whose path begins with this are answered like this, whatever else is told.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// Requests whose path begins with this get an answer that never ends.
    pub fn answer_without_end(&self, path: &str) {
        self.state.lock().unwrap().endless.push(path.to_owned());
    }

    /// Requests whose path begins with this are left hanging.
    pub fn hang(&self, path: &str) {
        self.state.lock().unwrap().hanging.push(path.to_owned());
    }

    /// Gets a message for every request that is left hanging.
    pub fn hangs(&self) -> std::sync::mpsc::Receiver<()> {
        let (sender, heard) = std::sync::mpsc::channel();
        self.state.lock().unwrap().hung = Some(sender);
        heard
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Returns the requests that were taken, by key.
    pub fn taken(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Keys in the order they were taken first.
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
        // What was taken can be asked for by its key.
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

/// Says that a request hangs, and waits until the other side gives up.
fn hang(mut stream: &TcpStream, hung: Option<&Sender<()>>) -> std::io::Result<bool> {
    // A test that does not count them has dropped the other end.
    let _unheard = hung.map(|hung| hung.send(()));
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(false)
}

/// Writes until the other side has had enough.
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
