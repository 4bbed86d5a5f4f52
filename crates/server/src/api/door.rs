//! The door: a body in any of the five forms becomes events, one JSON object a line, each
//! looked at before it is let in.
//!
//! What cannot be an event is rejected here, and its sender is told: text that is not
//! JSON, a CloudEvent without `id`, `source` or `type`. Everything else about an event is
//! for the pipelines to judge.

use std::cell::RefCell;

use axum::http::HeaderMap;
use flowmeter_core::event::json::{Document, Projection, Scanner};
use flowmeter_core::event::{Batch, Kind, Path, quote_into};
use percent_encoding::percent_decode_str;

use crate::installation::Refused;
use crate::problem::{Code, Problem};

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One CloudEvent.
    Structured,
    /// A list of CloudEvents.
    Batched,
    /// Attributes in `ce-*` headers, data in the body.
    Binary,
    /// One JSON object, or a list of them; CloudEvents or not.
    Plain,
    /// One JSON object a line; CloudEvents or not.
    Lines,
}

/// What an event must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// A JSON object.
    #[default]
    Nothing,
    /// A CloudEvent.
    CloudEvent,
    /// A CloudEvent with a subject.
    Subject,
}

/// Events at the door.
#[derive(Debug, Default)]
pub(crate) struct Knocking {
    /// The head of the letter, then one JSON object a line: those that may come in.
    pub(crate) letter: Vec<u8>,
    /// How many may.
    pub(crate) admitted: u32,
    /// Where each of them stood in the body.
    pub(crate) places: Vec<u32>,
    /// Those that may not.
    pub(crate) rejected: Vec<Rejected>,
}

/// An event that is not let in.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its place in the body, from 0.
    pub(crate) index: u32,
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// `not_json`, `not_cloudevent`, `too_large`.
    pub(crate) reason: &'static str,
    /// What exactly.
    pub(crate) detail: String,
}

impl Form {
    /// The form that the content type tells.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Form, Refused> {
        let content_type = headers.get("content-type").map(|value| value.to_str().unwrap_or_default()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if headers.contains_key("ce-specversion") && !essence.starts_with("application/cloudevents") {
            return Ok(Form::Binary);
        }
        match essence.as_str() {
            "application/cloudevents+json" => Ok(Form::Structured),
            "application/cloudevents-batch+json" => Ok(Form::Batched),
            "application/json" | "" => Ok(Form::Plain),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
            other => {
                let detail = format!(
                    "`{other}` is not read here; send application/cloudevents+json, application/cloudevents-batch+json, application/json or application/x-ndjson, or ce-* headers"
                );
                Err(Box::new(Problem::new(Code::UnsupportedMediaType, detail).field("content-type")))
            }
        }
    }

    /// What every event of it must be.
    fn needs(self) -> Needs {
        match self {
            Form::Structured | Form::Batched | Form::Binary => Needs::CloudEvent,
            Form::Plain | Form::Lines => Needs::Nothing,
        }
    }
}

/// Where attributes stand in the door's rows.
const SPECVERSION: u16 = 0;
const REQUIRED: [(u16, &str); 4] = [(1, "id"), (2, "source"), (3, "type"), (4, "subject")];
/// Those of them that every CloudEvent has.
const ALWAYS: usize = 3;

thread_local! {
    /// What the door of a thread remembers only saves time.
    static DOOR: RefCell<(Scanner, Batch, Projection)> = RefCell::new((Scanner::new(), Batch::default(), projection()));
}

fn projection() -> Projection {
    Projection::new(&["specversion", "id", "source", "type", "subject"].map(|name| Path::of(&[name])))
}

/// Reads the events of a body. `head` is the head of the letter they go into.
pub(crate) fn read(
    form: Form,
    needs: Needs,
    headers: &HeaderMap,
    body: Vec<u8>,
    head: Vec<u8>,
    bounds: Bounds,
) -> Result<Knocking, Refused> {
    let lines = match form {
        Form::Lines => body,
        Form::Structured => one_line(body)?,
        Form::Batched => list(body, true)?,
        Form::Plain => list(body, false)?,
        Form::Binary => binary(headers, &body)?,
    };
    DOOR.with_borrow_mut(|(scanner, batch, projection)| {
        batch.block.clear();
        *batch.block.open() = lines;
        batch.block.seal();
        scanner.decode(projection, batch, bounds.event_bytes_max);
        judge(batch, needs.max(form.needs()), head, bounds.events_max)
    })
}

/// What one body may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of an event.
    pub(crate) event_bytes_max: usize,
    /// Events of a body.
    pub(crate) events_max: usize,
}

fn judge(batch: &mut Batch, needs: Needs, head: Vec<u8>, events_max: usize) -> Result<Knocking, Refused> {
    if batch.len() > events_max {
        let detail = format!("the batch has {} events; limits.batch_events_max is {events_max}", batch.len());
        return Err(Box::new(Problem::new(Code::TooMany, detail)));
    }
    let mut knocking = Knocking { letter: head, ..Knocking::default() };
    knocking.letter.reserve(batch.block.bytes().len() + 1);
    if are_lines(batch) && (0..batch.len()).all(|event| flaw(batch, event, needs).is_none()) {
        knocking.letter.extend_from_slice(batch.block.bytes());
        if batch.block.bytes().last() != Some(&b'\n') {
            knocking.letter.push(b'\n');
        }
        knocking.admitted = batch.len() as u32;
        knocking.places = (0..batch.len() as u32).collect();
        return Ok(knocking);
    }
    knocking.places.reserve(batch.len());
    let mut faults = batch.faults.iter().peekable();
    for event in 0..batch.len() {
        let index = event as u32;
        if let Some(fault) = faults.next_if(|fault| fault.event == index) {
            let reason = if fault.detail.contains("the limit is") { "too_large" } else { "not_json" };
            knocking.rejected.push(Rejected { index, id: None, reason, detail: fault.detail.clone() });
            continue;
        }
        if let Some(detail) = flaw(batch, event, needs) {
            let id = batch.leaf(event, 1).as_text().map(|id| String::from_utf8_lossy(&id).into_owned());
            knocking.rejected.push(Rejected { index, id, reason: "not_cloudevent", detail });
            continue;
        }
        let raw = batch.raw(event);
        knocking.letter.extend_from_slice(raw.strip_suffix(b"\r").unwrap_or(raw));
        knocking.letter.push(b'\n');
        knocking.admitted += 1;
        knocking.places.push(index);
    }
    Ok(knocking)
}

/// Whether every line is an event, one behind the other, with nothing else between: then
/// all of them go in as they stand.
fn are_lines(batch: &Batch) -> bool {
    let next = |end: u32, event: usize| {
        let record = batch.record(event);
        let ends_well = record.end == 0 || batch.block.bytes()[record.end as usize - 1] != b'\r';
        (record.start == end && ends_well).then_some(record.end + 1)
    };
    let end = (0..batch.len()).try_fold(0, next);
    batch.faults.is_empty() && end.is_some_and(|end| end as usize >= batch.block.bytes().len() && !batch.is_empty())
}

/// Why an event is no CloudEvent, if it has to be one.
fn flaw(batch: &Batch, event: usize, needs: Needs) -> Option<String> {
    let version = batch.leaf(event, SPECVERSION);
    if needs == Needs::Nothing && version.kind == Kind::Missing {
        return None;
    }
    if version.kind != Kind::Text || version.bytes != b"1.0" {
        return Some("`specversion` is to be \"1.0\"".to_owned());
    }
    let required = if needs == Needs::Subject { &REQUIRED[..] } else { &REQUIRED[..ALWAYS] };
    required.iter().find_map(|(slot, name)| {
        let leaf = batch.leaf(event, *slot);
        let is_text = matches!(leaf.kind, Kind::Text | Kind::EscapedText) && !leaf.bytes.is_empty();
        (!is_text).then(|| format!("`{name}` is to be text that is not empty"))
    })
}

fn not_json(detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::BadJson, detail))
}

/// One value on one line: between the parts of JSON a line end is a blank like others.
fn one_line(mut body: Vec<u8>) -> Result<Vec<u8>, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(not_json("the body is empty"));
    }
    unfold(&mut body);
    Ok(body)
}

fn unfold(text: &mut [u8]) {
    for c in text.iter_mut().filter(|c| matches!(c, b'\n' | b'\r')) {
        *c = b' ';
    }
}

/// The items of a list, a line each; where a list is not asked for, one object as well.
fn list(body: Vec<u8>, only_list: bool) -> Result<Vec<u8>, Refused> {
    let Some(first) = body.iter().position(|c| !c.is_ascii_whitespace()) else {
        return Err(not_json("the body is empty"));
    };
    if body[first] != b'[' {
        return if only_list { Err(not_json("the body is to be a list of events: [{…}, …]")) } else { one_line(body) };
    }
    let document = Document::new(body);
    let bytes = document.bytes();
    let blank = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut lines = Vec::with_capacity(bytes.len() + 1);
    let mut at = blank(first + 1);
    if bytes.get(at) == Some(&b']') {
        return Ok(lines);
    }
    loop {
        let start = blank(at);
        let end = document.value_end(start).ok_or_else(|| not_json(format!("no JSON value at byte {start}")))?;
        let line = lines.len();
        lines.extend_from_slice(&bytes[start..end]);
        unfold(&mut lines[line..]);
        lines.push(b'\n');
        at = blank(end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') if bytes[at + 1..].iter().all(u8::is_ascii_whitespace) => return Ok(lines),
            _ => return Err(not_json(format!("expected `,` or `]` at byte {at}"))),
        }
    }
}

/// Attributes in headers and data in the body, as one object.
fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut event = b"{".to_vec();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let text = value.to_str().unwrap_or_default();
        // The HTTP binding writes what is not printable ASCII as %XX.
        let decoded = percent_decode_str(text.trim().trim_matches('"')).decode_utf8();
        let decoded = decoded.map_err(|_| Box::new(Problem::new(Code::Invalid, "a header is not UTF-8").field(name.as_str())))?;
        member(attribute, &mut event);
        quote_into(decoded.as_bytes(), &mut event);
    }
    let content_type = headers.get("content-type").map(|value| value.to_str().unwrap_or_default());
    if let Some(content_type) = content_type {
        member("datacontenttype", &mut event);
        quote_into(content_type.as_bytes(), &mut event);
    }
    if !body.is_empty() {
        let essence = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
        if essence.ends_with("/json") || essence.ends_with("+json") {
            let value: Box<serde_json::value::RawValue> =
                serde_json::from_slice(body).map_err(|why| not_json(format!("the data is not JSON: {why}")))?;
            member("data", &mut event);
            let from = event.len();
            event.extend_from_slice(value.get().as_bytes());
            unfold(&mut event[from..]);
        } else if let Ok(text) = std::str::from_utf8(body) {
            member("data", &mut event);
            quote_into(text.as_bytes(), &mut event);
        } else {
            member("data_base64", &mut event);
            quote_into(data_encoding::BASE64.encode(body).as_bytes(), &mut event);
        }
    }
    event.push(b'}');
    Ok(event)
}

fn member(name: &str, event: &mut Vec<u8>) {
    if event.len() > 1 {
        event.push(b',');
    }
    quote_into(name.as_bytes(), event);
    event.push(b':');
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { event_bytes_max: 1_000, events_max: 3 };
    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

    fn read_text(form: Form, headers: &[(&'static str, &str)], body: &str) -> Result<Knocking, Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        read(form, Needs::Nothing, &map, body.into(), Vec::new(), BOUNDS)
    }

    fn lines(form: Form, body: &str) -> String {
        String::from_utf8(read_text(form, &[], body).unwrap().letter).unwrap()
    }

    #[test]
    fn every_form_becomes_lines() {
        assert_eq!(lines(Form::Structured, EVENT), format!("{EVENT}\n"));
        assert_eq!(lines(Form::Structured, &EVENT.replace(',', ",\r\n ")), format!("{}\n", EVENT.replace(',', ",   ")));
        assert_eq!(lines(Form::Batched, &format!(" [ {EVENT} ,\n{EVENT}] ")), format!("{EVENT}\n{EVENT}\n"));
        assert_eq!(lines(Form::Batched, "[]"), "");
        assert_eq!(lines(Form::Plain, r#"{"a":1}"#), "{\"a\":1}\n");
        assert_eq!(lines(Form::Plain, r#"[{"a":1},{"b":2}]"#), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(lines(Form::Lines, "{\"a\":1}\r\n\n{\"b\":2}"), "{\"a\":1}\n{\"b\":2}\n");
    }

    #[test]
    fn binary_headers_are_decoded() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("content-type", "application/json"),
        ];
        let knocking = read_text(Form::Binary, &headers, "{\n\"n\":1}").unwrap();
        let event: serde_json::Value = serde_json::from_slice(&knocking.letter).unwrap();
        assert_eq!(event["subject"], "Euro €");
        assert_eq!(event["data"]["n"], 1);
    }

    #[test]
    fn what_is_no_event_is_told_with_its_place() {
        let cases = [
            (Form::Lines, "{\"a\":1}\nnonsense\n".to_owned(), 1, "not_json"),
            (
                Form::Batched,
                format!("[{EVENT},{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"\",\"type\":\"t\"}}]"),
                1,
                "not_cloudevent",
            ),
            (Form::Batched, "[{}]".to_owned(), 0, "not_cloudevent"),
            (Form::Plain, "[1]".to_owned(), 0, "not_json"),
            (Form::Plain, "{\"specversion\":\"2\"}".to_owned(), 0, "not_cloudevent"),
            (Form::Lines, format!("{{\"a\":\"{}\"}}", "x".repeat(1_000)), 0, "too_large"),
        ];
        for (form, body, index, reason) in cases {
            let knocking = read_text(form, &[], &body).unwrap();
            assert_eq!(knocking.rejected.len(), 1, "{body}");
            assert_eq!((knocking.rejected[0].index, knocking.rejected[0].reason), (index, reason), "{body}");
        }
    }

    #[test]
    fn what_more_is_needed_is_asked_for() {
        let with = EVENT.replace('}', ",\"subject\":\"u\"}");
        for (needs, body, admitted) in [
            (Needs::Nothing, "{}", 1),
            (Needs::CloudEvent, "{}", 0),
            (Needs::CloudEvent, EVENT, 1),
            (Needs::Subject, EVENT, 0),
            (Needs::Subject, &with, 1),
        ] {
            let knocking = read(Form::Plain, needs, &HeaderMap::new(), body.into(), Vec::new(), BOUNDS).unwrap();
            assert_eq!(knocking.admitted, admitted, "{needs:?} {body}");
        }
    }

    #[test]
    fn whole_bodies_that_are_refused() {
        for (form, body) in
            [(Form::Structured, ""), (Form::Batched, "{}"), (Form::Batched, "[{}"), (Form::Plain, "[{},]"), (Form::Plain, " ")]
        {
            assert!(read_text(form, &[], body).is_err(), "{form:?} {body}");
        }
        assert_eq!(read_text(Form::Lines, &[], "{}\n{}\n{}\n{}\n").unwrap_err().code, Code::TooMany);
    }
}
