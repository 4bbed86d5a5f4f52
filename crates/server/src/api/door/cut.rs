//! JSON bodies cut into events, one on each line.

use flowmeter_core::event::json::Document;

use crate::problem::{Code, Problem, Refused};

pub(super) fn not_json(detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::BadJson, detail))
}

/// One value on one line: between the parts of JSON a line end is a blank like others.
pub(super) fn one_line(mut body: Vec<u8>) -> Result<Vec<u8>, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(not_json("the body is empty"));
    }
    unfold(&mut body);
    Ok(body)
}

pub(super) fn unfold(text: &mut [u8]) {
    for c in text.iter_mut().filter(|c| matches!(c, b'\n' | b'\r')) {
        *c = b' ';
    }
}

/// The items of a list, a line each; where a list is not asked for, one object as well.
pub(super) fn list(body: Vec<u8>, only_list: bool) -> Result<Vec<u8>, Refused> {
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
