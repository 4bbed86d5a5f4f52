//! One question to a server over HTTP, and its answer.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::Context;
use serde_json::Value;

use crate::failure::{self, Wrong};

/// An answer: its status, and its body as JSON.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, or the problem that the server told.
    pub(crate) fn good(self) -> anyhow::Result<Value> {
        match self.status {
            200..=299 => Ok(self.body),
            status => {
                let told = self.body.get("detail").or_else(|| self.body.get("title")).and_then(Value::as_str);
                let message = format!("the server answered {status}: {}", told.unwrap_or("it did not say why"));
                Err(failure::refused(status, message))
            }
        }
    }
}

/// Asks a server. `body`: JSON to post; without, it is a GET.
pub(crate) fn ask(url: &str, key: Option<&str>, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
    let rest = url.strip_prefix("http://");
    let rest = rest.ok_or_else(|| Wrong(format!("`{url}` does not begin with http://; this command asks without TLS")))?;
    let host = rest.split('/').next().unwrap_or_default();
    let address =
        if host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(&address).with_context(|| format!("no server answers at {address}"))?;
    let (method, text) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
    let authorization = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\naccept: application/json\r\n{authorization}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(|| format!("{address} did not finish its answer"))?;
    read(&bytes).with_context(|| format!("what {address} answered is not HTTP with JSON"))
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { joined(body)? } else { body.to_vec() };
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).ok()? };
    Some(Answer { status, body })
}

/// A body in chunks as one.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?.split(';').next()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(end + 2..end + 2 + length)?);
        chunks = chunks.get(end + 2 + length + 2..)?;
    }
}

/// A name as a part of a path.
pub(crate) fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_and_in_chunks() {
        let cases = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}", 200, "1"),
            ("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n", 404, "2"),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "null"),
        ];
        for (text, status, a) in cases {
            let answer = read(text.as_bytes()).unwrap();
            assert_eq!((answer.status, answer.body.get("a").cloned().unwrap_or_default().to_string()), (status, a.to_owned()));
        }
        assert_eq!(escaped("a b/ü"), "a%20b%2F%C3%BC");
    }
}
