//! The rules of a CloudEvent in JSON: required attributes, and Base64 data that is JSON.
//!
//! Follows the CloudEvents JSON event format 1.0.2, section 3.1. Pipelines read `data` as
//! JSON. Data that a sender wrote as Base64 of JSON therefore becomes `data` here.

use std::collections::BTreeMap;

use flowmeter_core::event::json::{Document, Projection};
use flowmeter_core::event::{Batch, Kind, Path};
use serde_json::value::RawValue;

use super::Needs;
use super::cut::unfold;

/// The members that are looked at, in the order of their slots.
const MEMBERS: [&str; 8] = ["specversion", "id", "source", "type", "subject", "datacontenttype", "data", "data_base64"];
const SPECVERSION: u16 = 0;
/// The slot of the event's id.
pub(super) const ID: u16 = 1;
const REQUIRED: [(u16, &str); 4] = [(ID, "id"), (2, "source"), (3, "type"), (4, "subject")];
/// Those of [`REQUIRED`] that every CloudEvent has.
const ALWAYS: usize = 3;
const DATACONTENTTYPE: u16 = 5;
const DATA: u16 = 6;
const DATA_BASE64: u16 = 7;

/// The members that are looked at.
pub(super) fn projection() -> Projection {
    Projection::new(&MEMBERS.map(|name| Path::of(&[name])))
}

/// Checks an event that is a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is taken as it was sent.
    Taken,
    /// It is taken in this form.
    Rewritten(Vec<u8>),
    /// It is rejected, with the reason.
    Rejected(String),
}

/// Judges an event. `is_binary`: its data came as the body of a request, where
/// Base64 is our own form of opaque bytes.
pub(super) fn judge(batch: &Batch, event: usize, needs: Needs, is_binary: bool) -> Outcome {
    let version = batch.leaf(event, SPECVERSION);
    if needs == Needs::Nothing && version.kind == Kind::Missing {
        return Outcome::Taken;
    }
    if let Some(why) = flaw(batch, event, needs) {
        return Outcome::Rejected(why);
    }
    if is_binary || batch.leaf(event, DATA_BASE64).is_absent() {
        return Outcome::Taken;
    }
    match json_of_base64(batch, event) {
        Ok(None) => Outcome::Taken,
        Ok(Some(line)) => Outcome::Rewritten(line),
        Err(why) => Outcome::Rejected(why),
    }
}

/// Why an object is no CloudEvent as far as its attributes go.
fn flaw(batch: &Batch, event: usize, needs: Needs) -> Option<String> {
    let version = batch.leaf(event, SPECVERSION);
    if version.kind != Kind::Text || version.bytes != b"1.0" {
        return Some("`specversion` is to be \"1.0\"".to_owned());
    }
    let required = if needs == Needs::Subject { &REQUIRED[..] } else { &REQUIRED[..ALWAYS] };
    let attribute = required.iter().find_map(|(slot, name)| {
        let leaf = batch.leaf(event, *slot);
        let is_text = matches!(leaf.kind, Kind::Text | Kind::EscapedText) && !leaf.bytes.is_empty();
        (!is_text).then(|| format!("`{name}` is to be text that is not empty"))
    });
    if needs == Needs::Subject { attribute.or_else(|| opaque(batch, event)) } else { attribute }
}

/// Why the data of an event is none that OpenMeter takes: it is to be a JSON object, and to be
/// declared as JSON if it is declared.
fn opaque(batch: &Batch, event: usize) -> Option<String> {
    let declared = batch.leaf(event, DATACONTENTTYPE).as_text();
    let declared = declared.map(|text| String::from_utf8_lossy(&text).into_owned());
    if let Some(declared) = declared.filter(|declared| !super::is_json(declared)) {
        return Some(format!("`datacontenttype` is `{declared}`; send application/json with a JSON object in `data`"));
    }
    let data = batch.leaf(event, DATA);
    let is_object = data.kind == Kind::Json && data.bytes.first() == Some(&b'{');
    (!data.is_absent() && !is_object).then(|| "`data` is to be a JSON object".to_owned())
}

/// The event with its Base64 data as JSON `data`; `None` if the data is opaque.
fn json_of_base64(batch: &Batch, event: usize) -> Result<Option<Vec<u8>>, String> {
    if batch.leaf(event, DATA).kind != Kind::Missing {
        return Err("`data` and `data_base64` exclude each other; send one of them".to_owned());
    }
    let base64 = batch.leaf(event, DATA_BASE64);
    let text = match base64.kind {
        Kind::Text | Kind::EscapedText => base64.as_text().unwrap_or_default(),
        Kind::Missing | Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::Json => {
            return Err("`data_base64` is to be Base64 in text".to_owned());
        }
    };
    let data = data_encoding::BASE64.decode(&text);
    let data = data.map_err(|why| format!("`data_base64` is not Base64 of RFC 4648: {why}"))?;
    let declared = batch.leaf(event, DATACONTENTTYPE);
    let declared = declared.as_text().map(|text| String::from_utf8_lossy(&text).into_owned());
    match declared.as_deref() {
        // JSON is only the default of the format, not declared: other bytes are opaque.
        None => Ok(json(&data).and_then(|data| with_data(batch.raw(event), &data))),
        Some(declared) if super::is_json(declared) => {
            let not_json = || format!("`data_base64` is not JSON, but `datacontenttype` is `{declared}`");
            let data = json(&data).ok_or_else(not_json)?;
            let line = with_data(batch.raw(event), &data);
            line.map(Some).ok_or_else(|| "`data_base64` holds JSON that is nested too deeply".to_owned())
        }
        Some(_) => Ok(None),
    }
}

/// The one JSON value that the bytes are, on one line.
fn json(bytes: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(bytes).ok()?;
    let document = Document::new(bytes.to_vec());
    let end = document.value_end(0)?;
    let is_all = bytes[end..].iter().all(u8::is_ascii_whitespace);
    let mut value = bytes[..end].to_vec();
    unfold(&mut value);
    is_all.then_some(value)
}

/// The event with this `data` in place of its `data_base64`.
fn with_data(event: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(event).ok()?;
    members.remove(MEMBERS[usize::from(DATA_BASE64)]);
    members.insert(MEMBERS[usize::from(DATA)].to_owned(), serde_json::from_slice(data).ok()?);
    let line = serde_json::to_vec(&members).ok()?;
    // One level deeper than before: the reader of events must still take it.
    Document::new(line.clone()).value_end(0).map(|_| line)
}
