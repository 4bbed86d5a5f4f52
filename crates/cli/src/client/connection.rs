//! The connection to a server: its address, the key, and the exit codes of its errors.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use flowmeter_connectors::answer::read_blocking;
use flowmeter_connectors::trust;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use serde_json::{Map, Value};

use super::Call;
use crate::failure::{self, Wrong};
use crate::form::Form;

/// The maximum bytes of an answer: a page of the largest records has some megabytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The maximum bytes of a line of a stream: an event of a session has some kilobytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// The maximum time for an answer: a session that ends delivers everything first.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server, and the form of its answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    #[command(flatten)]
    pub(crate) address: Address,
    /// Form of the output
    #[arg(long, short, default_value = "table", value_name = "table|json", global = true)]
    pub(crate) output: Form,
}

/// The address of the server, and the key for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Address {
    /// The address of the server
    #[arg(long, env = "FLOWMETER_URL", default_value = "http://127.0.0.1:8888", value_name = "URL", global = true)]
    pub(crate) url: String,
    /// The API key, if the server requires one
    #[arg(long, env = "FLOWMETER_KEY", hide_env_values = true, value_name = "KEY", global = true)]
    pub(crate) key: Option<String>,
    /// Certificates (PEM) to trust instead of the well-known authorities
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
}

/// A connection to a server.
pub(crate) struct Connection {
    client: Client,
    url: String,
    key: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the body of a good answer, or the error of the server.
    pub(crate) fn good(self) -> anyhow::Result<Vec<u8>> {
        if (200..300).contains(&self.status) { Ok(self.body) } else { Err(refusal(&self)) }
    }
}

impl Connection {
    /// Prepares a connection without sending anything.
    pub(crate) fn new(address: &Address) -> anyhow::Result<Connection> {
        Connection::with(address, Some(PATIENCE))
    }

    /// Prepares a connection without a time limit for answers, for streams.
    pub(crate) fn patient(address: &Address) -> anyhow::Result<Connection> {
        Connection::with(address, None)
    }

    fn with(address: &Address, patience: Option<Duration>) -> anyhow::Result<Connection> {
        let url = address.url.trim_end_matches('/').to_owned();
        let host = match url.split_once("://") {
            Some(("http" | "https", host)) if !host.is_empty() => host,
            _ => return Err(Wrong(format!("--url {url}: write http://HOST:PORT or https://HOST:PORT")).into()),
        };
        let ca = match &address.ca {
            None => None,
            Some(file) => Some((file, super::read(file)?)),
        };
        let tls = trust::client(ca.as_ref().map(|(_, pem)| pem.as_slice()));
        let tls = tls.map_err(|why| match &address.ca {
            Some(file) => Wrong(format!("--ca {}: {why}", file.display())),
            None => Wrong(why),
        })?;
        let mut client = Client::builder().use_preconfigured_tls(tls).redirect(Policy::none());
        client = client.timeout(patience).user_agent(concat!("flowmeter/", env!("CARGO_PKG_VERSION")));
        // Requests to this machine do not use a proxy.
        if ["127.", "localhost", "[::1]"].iter().any(|here| host.starts_with(here)) {
            client = client.no_proxy();
        }
        Ok(Connection { client: client.build().context("no client")?, url, key: address.key.clone() })
    }

    /// Sends a request and returns its answer, of any status.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> anyhow::Result<Answer> {
        let mut request = self.request(method, path)?;
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body.to_vec());
        }
        answer_of(self.receive(request)?, &self.url)
    }

    /// Replaces an object if it still has an entity tag.
    pub(crate) fn put_if(&self, path: &str, (content_type, body): (&str, &[u8]), etag: &str) -> anyhow::Result<Answer> {
        let request = self.request("PUT", path)?.header("content-type", content_type).header("if-match", etag);
        answer_of(self.receive(request.body(body.to_vec()))?, &self.url)
    }

    fn request(&self, method: &str, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = format!("{}{path}", self.url);
        let invalid = |why: String| Wrong(format!("{url}: {why}"));
        let address = Url::parse(&url).map_err(|why| invalid(why.to_string()))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|why| invalid(why.to_string()))?;
        let request = self.client.request(method, address).header("accept", "application/json");
        Ok(match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        })
    }

    fn receive(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        // The address may contain secrets; messages have the address as it was given.
        let why = |why: reqwest::Error| anyhow::Error::from(why.without_url());
        request.send().map_err(why).with_context(|| format!("no answer from {}", self.url))
    }

    /// Opens a stream of lines.
    pub(crate) fn lines(&self, path: &str) -> anyhow::Result<Lines<impl BufRead>> {
        let response = self.receive(self.request("GET", path)?)?;
        if response.status().is_success() {
            return Ok(Lines(BufReader::new(response)));
        }
        Err(refusal(&answer_of(response, &self.url)?))
    }

    /// Sends a call. Returns the body of a good answer, or the error of the server.
    pub(crate) fn send(&self, call: &Call, query: &[(&'static str, String)]) -> anyhow::Result<Vec<u8>> {
        let mut path = call.path.clone();
        for (at, (name, value)) in query.iter().enumerate() {
            let joint = if at == 0 { '?' } else { '&' };
            path.push_str(&format!("{joint}{name}={}", super::part(value)));
        }
        let body = call.body.as_ref().map(|(content_type, body)| (*content_type, body.as_slice()));
        self.ask(call.method, &path, body)?.good()
    }
}

/// The lines of a stream, each of bounded length.
pub(crate) struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = std::io::Result<String>;

    fn next(&mut self) -> Option<std::io::Result<String>> {
        let mut line = Vec::new();
        match self.0.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line) {
            Err(why) => return Some(Err(why)),
            Ok(0) => return None,
            Ok(LINE_BYTES_MAX..) => {
                let why = format!("a line of the stream has more than {LINE_BYTES_MAX} bytes, which is the bound");
                return Some(Err(std::io::Error::other(why)));
            }
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        Some(Ok(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

fn answer_of(response: Response, url: &str) -> anyhow::Result<Answer> {
    let seconds = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    let retry_after_s = response.headers().get("retry-after").and_then(seconds);
    let status = response.status().as_u16();
    let body = read_blocking(response, ANSWER_BYTES_MAX);
    Ok(Answer { status, retry_after_s, body: body.with_context(|| format!("the answer of {url}"))? })
}

/// Converts an error answer into a message with an exit code.
pub(crate) fn refusal(answer: &Answer) -> anyhow::Error {
    let members: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut message = match members.get("detail") {
        Some(_) => {
            let field = Some(text("field")).filter(|field| !field.is_empty());
            let field = field.map_or(String::new(), |field| format!(", field `{field}`"));
            format!("{} ({}, {}{field})", text("detail"), answer.status, text("code"))
        }
        None => format!("the server answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
    };
    for problem in members.get("problems").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| problem[name].as_str().unwrap_or_default();
        let place = problem["line"].as_u64().map_or(member("field").to_owned(), |line| format!("line {line}"));
        message.push_str(&format!("\n  {place}: {}", member("message")));
    }
    if !text("remedy").is_empty() {
        message.push_str(&format!("\n{}", text("remedy")));
    }
    failure::refused(answer.status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_ends_the_stream() {
        let long = format!("a\r\n\nb{}", "x".repeat(LINE_BYTES_MAX));
        let mut lines = Lines(long.as_bytes());
        assert_eq!(lines.next().unwrap().unwrap(), "a");
        assert_eq!(lines.next().unwrap().unwrap(), "");
        let why = lines.next().unwrap().unwrap_err().to_string();
        assert!(why.contains("more than 1048576 bytes"), "{why}");
    }
}
