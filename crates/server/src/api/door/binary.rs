//! CloudEvents in binary mode: attributes in `ce-*` headers, data in the body.
//!
//! Follows the CloudEvents HTTP protocol binding 1.0.2, section 3.1. Header values identify
//! events and users, so a value that cannot be decoded refuses the request: a blank or a
//! guess would count the event under another identity.

use axum::http::{HeaderMap, HeaderValue};
use flowmeter_core::event::quote_into;
use percent_encoding::percent_decode;

use super::cut::{not_json, unfold};
use crate::problem::{Code, Problem, Refused};

/// The attribute without which no other `ce-*` header has a meaning.
const SPECVERSION: &str = "ce-specversion";

/// Headers that would name something other than an attribute, and what to send instead.
const NO_ATTRIBUTES: [(&str, &str); 3] = [
    ("ce-datacontenttype", "send the type of the data as `Content-Type`"),
    ("ce-data", "send the data as the body"),
    ("ce-data_base64", "send the data as the body, without Base64"),
];

/// Whether the headers carry a CloudEvent.
///
/// # Errors
/// `invalid` if there are `ce-*` headers and no `ce-specversion` among them.
pub(super) fn is_meant(headers: &HeaderMap) -> Result<bool, Refused> {
    if headers.contains_key(SPECVERSION) {
        return Ok(true);
    }
    match headers.keys().find(|name| name.as_str().starts_with("ce-")) {
        None => Ok(false),
        Some(name) => {
            let detail = format!("the header `{name}` belongs to a CloudEvent in binary mode, but `{SPECVERSION}` is missing");
            let remedy = "Send `ce-specversion: 1.0`, or leave out all `ce-*` headers.";
            Err(Box::new(Problem::new(Code::Invalid, detail).field(SPECVERSION).remedy(remedy)))
        }
    }
}

/// Writes the attributes of the headers and the data of the body as one JSON object.
pub(super) fn event(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut event = b"{".to_vec();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        if let Some((_, instead)) = NO_ATTRIBUTES.iter().find(|(known, _)| *known == name.as_str()) {
            return Err(refused(name.as_str(), &format!("is not read; {instead}")));
        }
        let mut values = headers.get_all(name).iter();
        let (first, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(refused(name.as_str(), "is there more than once; send it once"));
        }
        let text = first.map(|value| decoded(name.as_str(), value)).transpose()?.unwrap_or_default();
        member(attribute, &mut event);
        quote_into(text.as_bytes(), &mut event);
    }
    let content_type = super::content_type(headers)?;
    if !content_type.is_empty() {
        member("datacontenttype", &mut event);
        quote_into(content_type.as_bytes(), &mut event);
    }
    if !body.is_empty() {
        data(content_type, body, &mut event)?;
    }
    event.push(b'}');
    Ok(event)
}

/// Writes the data: JSON as it is, text of another type as text, the rest as Base64. Data
/// without a content type is opaque, whatever it looks like.
fn data(content_type: &str, body: &[u8], event: &mut Vec<u8>) -> Result<(), Refused> {
    if super::is_json(content_type) {
        let value: Box<serde_json::value::RawValue> = serde_json::from_slice(body)
            .map_err(|why| not_json(format!("the data is not JSON: {why}; `Content-Type` is `{content_type}`")))?;
        member("data", event);
        let from = event.len();
        event.extend_from_slice(value.get().as_bytes());
        unfold(&mut event[from..]);
        return Ok(());
    }
    match std::str::from_utf8(body) {
        Ok(text) if !content_type.is_empty() => {
            member("data", event);
            quote_into(text.as_bytes(), event);
        }
        _ => {
            member("data_base64", event);
            quote_into(data_encoding::BASE64.encode(body).as_bytes(), event);
        }
    }
    Ok(())
}

/// The value of an attribute: a quoted string is unquoted, then `%XX` are bytes of UTF-8.
fn decoded(name: &str, value: &HeaderValue) -> Result<String, Refused> {
    let bytes = value.as_bytes().trim_ascii();
    if bytes.iter().any(|c| !c.is_ascii()) {
        return Err(refused(name, "has a byte that is not ASCII; write it as %XX of its UTF-8"));
    }
    let unquoted = match bytes {
        [b'"', inner @ .., b'"'] => unquoted(inner)
            .ok_or_else(|| refused(name, "begins and ends with `\"` but is no quoted string; write `\"` as %22"))?,
        plain => plain.to_vec(),
    };
    let text = percent_decode(&unquoted).decode_utf8();
    text.map(std::borrow::Cow::into_owned)
        .map_err(|_| refused(name, "is not UTF-8 after percent-decoding; encode the UTF-8 of each character"))
}

/// The inside of a quoted string of RFC 7230, section 3.2.6, without its escapes. `None` if
/// the string ends before its last byte.
fn unquoted(inner: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&c) = bytes.next() {
        match c {
            b'\\' => out.push(*bytes.next()?),
            b'"' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

fn refused(header: &str, why: &str) -> Refused {
    let problem = Problem::new(Code::Invalid, format!("the header `{header}` {why}"));
    let remedy = "Correct this header: an event whose attributes are unclear is not counted.";
    Box::new(problem.field(header).remedy(remedy))
}

fn member(name: &str, event: &mut Vec<u8>) {
    if event.len() > 1 {
        event.push(b',');
    }
    quote_into(name.as_bytes(), event);
    event.push(b':');
}
