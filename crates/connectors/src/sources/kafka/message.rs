//! Messages as lines of JSON: JSON as it is, CloudEvents of both modes of the Kafka binding, Avro with
//! a schema registry.
//!
//! Key, headers and timestamp are added as the field `kafka`. A message that cannot be decoded keeps
//! its place among the lines.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use flowmeter_core::event::json::write_on_one_line;
use flowmeter_core::event::{quote_into, unread};
use flowmeter_core::source::{KafkaFormat, KafkaSource};
use flowmeter_engine::{Error, Kind};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Map, Value, json};

use crate::file::avro::{Input, Schema};

/// The prefix of the attributes of a CloudEvent in binary mode.
const ATTRIBUTE: &str = "ce_";
/// How long the registry may take.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a schema.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Writes messages as lines.
pub(super) struct Lines {
    registry: Option<Registry>,
}

/// Schemas by their id.
struct Registry {
    url: String,
    user: Option<(String, String)>,
    client: reqwest::blocking::Client,
    schemas: BTreeMap<u32, Schema>,
}

impl Lines {
    pub(super) fn new(plan: &KafkaSource) -> Result<Lines, Error> {
        let registry = match &plan.format {
            KafkaFormat::Json => None,
            KafkaFormat::Avro { registry, user } => Some(Registry {
                url: crate::expand(registry)?.trim_end_matches('/').to_owned(),
                user: match user {
                    Some((user, password)) => Some((crate::expand(user)?, crate::expand(password)?)),
                    None => None,
                },
                client: crate::blocking_client(REGISTRY_TIMEOUT)?,
                schemas: BTreeMap::new(),
            }),
        };
        Ok(Lines { registry })
    }

    /// Appends the line of a message.
    ///
    /// # Errors
    /// The registry does not answer.
    pub(super) fn write(&mut self, message: &BorrowedMessage<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(payload) = message.payload() else {
            unread::write("the message has no value", b"", out);
            return Ok(());
        };
        let from = out.len();
        let written = match &mut self.registry {
            Some(registry) => registry.write(payload, out)?,
            None => write_json(message, payload, out),
        };
        match written {
            Ok(()) => {
                add_context(message, from, out);
                out.push(b'\n');
            }
            Err(why) => {
                out.truncate(from);
                unread::write(&why, &shown(payload), out);
            }
        }
        Ok(())
    }
}

/// Returns a payload as people can read it: text as it is, anything else in Base64.
fn shown(payload: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(payload) {
        Ok(_) => payload.to_vec(),
        Err(_) => format!("base64:{}", BASE64.encode(payload)).into_bytes(),
    }
}

/// Writes a JSON payload, or a CloudEvent in binary mode.
fn write_json(message: &BorrowedMessage<'_>, payload: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let headers = message.headers();
    let text_of = |name: &str| {
        let mut found = headers.into_iter().flat_map(Headers::iter);
        found.find(|header| header.key.eq_ignore_ascii_case(name)).and_then(|header| std::str::from_utf8(header.value?).ok())
    };
    if text_of("ce_specversion").is_none() {
        let text = payload.trim_ascii();
        if text.first() != Some(&b'{') || text.last() != Some(&b'}') {
            return Err("not a JSON object".to_owned());
        }
        return push_line(text, out);
    }
    let mut event = Map::new();
    for header in headers.into_iter().flat_map(Headers::iter) {
        let key = header.key.to_ascii_lowercase();
        let (Some(name), Some(value)) = (key.strip_prefix(ATTRIBUTE), header.value) else { continue };
        let value = std::str::from_utf8(value).map_err(|_| format!("the header `{}` is not UTF-8", header.key))?;
        event.insert(name.to_owned(), json!(value));
    }
    let content = text_of("content-type").unwrap_or("application/json");
    event.insert("datacontenttype".to_owned(), json!(content));
    let is_json = content.split(';').next().is_some_and(|kind| kind.trim().ends_with("json"));
    let head = Value::Object(event).to_string();
    out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
    match (is_json, std::str::from_utf8(payload)) {
        (true, _) => {
            out.extend_from_slice(b",\"data\":");
            push_line(payload.trim_ascii(), out)?;
        }
        (false, Ok(text)) => out.extend_from_slice(format!(",\"data\":{}", json!(text)).as_bytes()),
        (false, Err(_)) => out.extend_from_slice(format!(",\"data_base64\":\"{}\"", BASE64.encode(payload)).as_bytes()),
    }
    out.push(b'}');
    Ok(())
}

/// Appends a JSON text as a part of a line.
fn push_line(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let why = || "not JSON: a text in it has a line break or a zero byte".to_owned();
    write_on_one_line(text, out).then_some(()).ok_or_else(why)
}

/// Adds key, headers and timestamp of a message to the object that was written from an offset on.
fn add_context(message: &BorrowedMessage<'_>, from: usize, out: &mut Vec<u8>) {
    while out.last().is_some_and(u8::is_ascii_whitespace) {
        out.pop();
    }
    out.pop();
    let is_empty = out[from..].trim_ascii() == b"{";
    out.extend_from_slice(if is_empty { b"\"kafka\":{" } else { b",\"kafka\":{" });
    let begin = out.len();
    if let Some(key) = message.key() {
        out.extend_from_slice(b"\"key\":");
        push_text(key, out);
    }
    if let Some(millis) = message.timestamp().to_millis() {
        separate(begin, out);
        out.extend_from_slice(b"\"timestamp\":");
        out.extend_from_slice(millis.to_string().as_bytes());
    }
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let mut inside = None;
    for header in headers.filter(|header| !is_attribute(header.key)) {
        let begin_headers = *inside.get_or_insert_with(|| {
            separate(begin, out);
            out.extend_from_slice(b"\"headers\":{");
            out.len()
        });
        separate(begin_headers, out);
        quote_into(header.key.as_bytes(), out);
        out.push(b':');
        match header.value {
            Some(value) => push_text(value, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    if inside.is_some() {
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

/// Whether a header is an attribute of a CloudEvent in binary mode.
fn is_attribute(key: &str) -> bool {
    key.get(..ATTRIBUTE.len()).is_some_and(|start| start.eq_ignore_ascii_case(ATTRIBUTE))
}

/// Appends a comma, unless nothing was written since an offset.
fn separate(begin: usize, out: &mut Vec<u8>) {
    if out.len() > begin {
        out.push(b',');
    }
}

/// Appends bytes as a JSON text; other bytes than UTF-8 in Base64.
fn push_text(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(_) => quote_into(bytes, out),
        Err(_) => quote_into(format!("base64:{}", BASE64.encode(bytes)).as_bytes(), out),
    }
}

impl Registry {
    /// Writes a value in the registry's form: a zero byte, the id of its schema, and the value.
    ///
    /// # Errors
    /// The registry does not answer. A value that cannot be read is the inner error.
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<Result<(), String>, Error> {
        let [0, a, b, c, d, value @ ..] = payload else {
            return Ok(Err("not in the form of a schema registry: a zero byte and the id of a schema".to_owned()));
        };
        let id = u32::from_be_bytes([*a, *b, *c, *d]);
        if !self.schemas.contains_key(&id) {
            match self.fetch(id)? {
                Ok(schema) => drop(self.schemas.insert(id, schema)),
                Err(why) => return Ok(Err(why)),
            }
        }
        let Some(schema) = self.schemas.get(&id) else { return Ok(Err(format!("no schema {id}"))) };
        let mut input = Input::new(value);
        Ok(schema.append(0, &mut input, out, 0).and_then(|()| match input.left() {
            0 => Ok(()),
            left => Err(format!("{left} bytes are left behind a value of schema {id}")),
        }))
    }

    fn fetch(&self, id: u32) -> Result<Result<Schema, String>, Error> {
        let away = |why: &dyn std::fmt::Display| Error::new(Kind::Unavailable, format!("schema registry: {why}"));
        let mut request = self.client.get(format!("{}/schemas/ids/{id}", self.url));
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, Some(password));
        }
        let answer = request.send().map_err(|why| away(&why.without_url()))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(Err(format!("the schema registry has no schema {id}")));
        }
        if !answer.status().is_success() {
            return Err(away(&format!("it answers {}", answer.status())));
        }
        let body = crate::answer::read_blocking(answer, SCHEMA_BYTES_MAX).map_err(|why| away(&why))?;
        let body: Value = serde_json::from_slice(&body).map_err(|why| away(&why))?;
        let text = body["schema"].as_str().unwrap_or_default();
        Ok(Schema::parse(text.as_bytes()).map_err(|why| format!("schema {id}: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers requests as a schema registry does, with one schema, until the test is over.
    fn registry() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let schema = r#"{"type":"record","name":"u","fields":[{"name":"user","type":"string"},
                    {"name":"n","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#;
                let (status, body) = match path.as_str() {
                    "/schemas/ids/7" => ("200 OK", json!({"schema": schema}).to_string()),
                    _ => ("404 Not Found", json!({"error_code": 40403}).to_string()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn avro_is_read_with_the_schema_that_it_names() {
        let client = crate::blocking_client(REGISTRY_TIMEOUT).unwrap();
        let mut registry = Registry { url: registry(), user: None, client, schemas: BTreeMap::new() };
        let mut write = |payload: &[u8]| {
            let mut out = Vec::new();
            registry.write(payload, &mut out).unwrap().map(|()| String::from_utf8(out).unwrap())
        };
        // The user `ann` and 1.05, a decimal of two digits behind the point.
        let value = [&[0, 0, 0, 0, 7, 6][..], b"ann", &[2, 105]].concat();
        assert_eq!(write(&value), Ok(r#"{"user":"ann","n":1.05}"#.to_owned()));
        assert!(write(&value[..8]).is_err(), "it is cut off");
        assert!(write(&[&value[..], &[1]].concat()).unwrap_err().contains("1 bytes are left"));
        assert!(write(&[0, 0, 0, 0, 8, 1]).unwrap_err().contains("no schema 8"));
        assert!(write(b"{}").unwrap_err().contains("schema registry"));
    }

    #[test]
    fn a_context_without_anything_and_odd_headers_are_valid_json() {
        assert!(is_attribute("CE_id") && is_attribute("ce_") && !is_attribute("ce") && !is_attribute("trace"));
        let mut out = Vec::new();
        push_text(b"a\"b\n", &mut out);
        push_text(&[0xff], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"b\n""base64:/w==""#);
    }
}
