//! The preview of a notification for people: the past events that it would have sent, as a table.

use anyhow::Context;
use serde_json::value::RawValue;

use super::table::{self, Columns};
use crate::form::Form;

const EVENTS: Columns = &[
    ("AT", "at"),
    ("EVENT", "eventType"),
    ("PIPELINE", "payload.meterName"),
    ("SESSION", "payload.sessionId"),
    ("STATUS", "payload.sessionStatus"),
    ("USER", "payload.userId"),
    ("VALUE", "payload.value"),
];

/// Formats an answer.
///
/// # Errors
/// The answer is not a preview.
pub(super) fn text(answer: &[u8]) -> anyhow::Result<String> {
    let answer: Box<RawValue> = serde_json::from_slice(answer).context("the answer is not a preview")?;
    let number = |name: &str| table::member(&answer, name).map(|value| table::plain(&value)).unwrap_or_default();
    let (matched, newest) = (number("matchedCount"), number("lookedAt"));
    let mut out = format!("{matched} of the newest {newest} events of this type match; nothing was sent\n");
    let events = table::list_of(&answer, "items");
    if !events.is_empty() {
        out.push_str(&table::list(&events, EVENTS, Form::Table));
    }
    Ok(out)
}

#[test]
fn a_preview_is_a_count_and_a_table() {
    let none = text(br#"{"lookedAt":2,"matchedCount":0,"items":[]}"#).unwrap();
    assert_eq!(none, "0 of the newest 2 events of this type match; nothing was sent\n");
    let event = r#"{"at":"T","eventType":"E","payload":{"meterName":"p","sessionId":"R-1","sessionStatus":"FAILED"}}"#;
    let one = text(format!(r#"{{"lookedAt":2,"matchedCount":1,"items":[{event}]}}"#).as_bytes()).unwrap();
    let lines: Vec<&str> = one.lines().collect();
    assert_eq!(lines[1], "AT  EVENT  PIPELINE  SESSION  STATUS  USER  VALUE");
    assert_eq!(lines[2], "T   E      p         R-1      FAILED");
}
