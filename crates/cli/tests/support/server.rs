//! A real server, started as a user starts it, and a client that returns complete answers.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Request};

use super::contract::{Description, Exchange, description};

/// The pause between attempts, and their maximum number, while waiting for a change.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS_MAX: u32 = 6_000;

/// A server with a folder of its own; it ends with the value.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The address, such as `http://127.0.0.1:8888`.
    pub url: String,
    pub data: PathBuf,
    agent: ureq::Agent,
    key: Option<String>,
    /// Whether it is the binary under test, whose answers must be as it describes them.
    is_described: bool,
}

/// An answer with its headers and its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A request to be sent.
pub struct Ask<'s> {
    server: &'s Server,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Server {
    pub fn start(data: &Path, more: &[&str]) -> Server {
        Server::start_in(data, more, &[])
    }

    pub fn start_in(data: &Path, more: &[&str], environment: &[(&str, &str)]) -> Server {
        Server::spawn(data, command(data, more, environment))
    }

    /// Starts `flowmeter serve` with these arguments, in a folder that relative paths refer to.
    pub fn start_at(folder: &Path, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.arg("serve").args(arguments).args(["--listen", "127.0.0.1:0"]).current_dir(folder);
        Server::spawn(folder, command)
    }

    /// Starts a server from another binary than the one under test.
    pub fn start_program(program: &Path, data: &Path, more: &[&str]) -> Server {
        let serve = command(data, more, &[]);
        let mut other = Command::new(program);
        other.args(serve.get_args()).current_dir(super::root());
        Server::spawn(data, other)
    }

    /// Starts a server whose process may open a limited number of descriptors.
    pub fn start_with_descriptors(data: &Path, more: &[&str], descriptors: u64) -> Server {
        let serve = command(data, more, &[]);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")]);
        limited.arg(serve.get_program()).args(serve.get_args()).current_dir(super::root());
        Server::spawn(data, limited)
    }

    fn spawn(data: &Path, mut command: Command) -> Server {
        let is_described = command.get_program() == env!("CARGO_BIN_EXE_flowmeter") || command.get_program() == "sh";
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.split_once(" listens on ").and_then(|(_, rest)| rest.split_once(", data in "));
        let url = url.unwrap_or_else(|| panic!("the server did not start: {line:?}")).0.to_owned();
        Server { child, stdout, url, data: data.to_owned(), agent: agent(None), key: None, is_described }
    }

    /// Sets a certificate to trust.
    pub fn trusting(mut self, pem: &str) -> Server {
        self.agent = agent(Some(pem));
        self
    }

    /// Sets the key for all requests.
    pub fn with_key(mut self, key: &str) -> Server {
        self.key = Some(key.to_owned());
        self
    }

    pub fn ask(&self, method: &'static str, path: &str) -> Ask<'_> {
        let key = self.key.iter().map(|key| ("authorization".to_owned(), format!("Bearer {key}")));
        Ask { server: self, method, path: path.to_owned(), headers: key.collect(), body: None }
    }

    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path).send().ok()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path).json(body).send()
    }

    /// Sends events as NDJSON, and waits until they are counted.
    pub fn count(&self, events: &[Value]) -> Value {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let ask = self.ask("POST", "/api/v1/events?wait=counted&partial=true");
        let answer = ask.header("content-type", "application/x-ndjson").body(lines).send();
        assert_eq!(answer.status, 207, "{answer:?}");
        answer.json()
    }

    /// Returns the description of the API; none of another binary than the one under test.
    pub fn description(&self) -> Option<Arc<Description>> {
        let fetch = || {
            let request = Request::builder().uri(format!("{}/api/v1/openapi.json", self.url)).body(()).ok()?;
            self.agent.run(request).ok()?.into_body().read_to_vec().ok()
        };
        if self.is_described { description(fetch) } else { None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM, as systemd and Kubernetes do.
    pub fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
    }

    /// Stops it and returns its exit status and its standard output.
    pub fn stop(self) -> (ExitStatus, String) {
        self.terminate();
        self.wait()
    }

    /// Returns the exit status, if it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end after [`Server::terminate`].
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }

    /// Kills the server, like a power failure.
    pub fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the command that serves on a port of its own, without this process's environment.
pub fn command(data: &Path, more: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(more).current_dir(super::root());
    command.envs(environment.iter().copied());
    command
}

fn agent(pem: Option<&str>) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    config = config.timeout_global(Some(Duration::from_secs(60))).accept_encoding("");
    if let Some(pem) = pem {
        let trusted = ureq::tls::Certificate::from_pem(pem.as_bytes()).unwrap();
        let roots = ureq::tls::RootCerts::new_with_certs(&[trusted]);
        config = config.tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build());
    }
    config.build().into()
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps only the last of repeated headers.
    pub fn only_last(mut self, name: &str) -> Self {
        let last = self.headers.iter().rposition(|(known, _)| known == name);
        let mut at = 0;
        self.headers.retain(|(known, _)| {
            at += 1;
            known != name || Some(at - 1) == last
        });
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(self.method).uri(format!("{}{}", self.server.url, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = match &self.body {
            Some(body) => self.server.agent.run(request.body(body.as_slice())?)?,
            None => self.server.agent.run(request.body(())?)?,
        };
        let (head, mut body) = response.into_parts();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body: body.read_to_vec()? };
        self.check(answer.status, &answer.headers, Some(&answer.body));
        Ok(answer)
    }

    /// Checks an answer against the description of the API.
    fn check(&self, status: u16, headers: &HeaderMap, body: Option<&[u8]>) {
        let Some(description) = self.server.description() else { return };
        let is_compressed = headers.contains_key("content-encoding");
        description.check(&Exchange {
            method: self.method,
            target: &self.path,
            headers: &self.headers,
            request: self.body.as_deref(),
            status,
            content_type: headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default(),
            answer: body.filter(|_| !is_compressed),
        });
    }

    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|why| panic!("{what}: {why}"))
    }

    /// Returns the body as a stream, for answers without an end.
    pub fn open(self) -> impl BufRead + use<> {
        let mut request = Request::builder().method(self.method).uri(format!("{}{}", self.server.url, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = self.server.agent.run(request.body(()).unwrap()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        self.check(200, response.headers(), None);
        BufReader::new(response.into_body().into_reader())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Returns the body of an answer that must be successful.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }

    /// Returns status, code and field of a problem.
    pub fn problem(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        for member in ["type", "title", "detail", "remedy", "instance", "requestId"] {
            assert!(body[member].is_string(), "{member}: {body}");
        }
        assert_eq!(body["status"], self.status);
        (self.status, body["code"].as_str().unwrap().to_owned(), body["field"].as_str().map(str::to_owned))
    }
}

/// Repeats an attempt until it succeeds, for changes that take time.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    panic!("never: {what}");
}

/// Returns a CloudEvent of a user, with a value.
#[allow(clippy::needless_pass_by_value)] // a table reads better so
pub fn event(id: &str, user: &str, value: Value) -> Value {
    serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/tests", "type": "request", "subject": user,
        "data": {"value": value},
    })
}

/// Returns the items of a list.
pub fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}")).clone()
}
