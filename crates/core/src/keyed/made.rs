//! How derived events are written: ids, times, keys.

use crate::event::{Batch, Kind, Leaf};
use crate::table::key_text;
use crate::time::{TimeFormat, Timestamp};

/// Appends the values of a key, joined by `,`, with `\`, `,` and `/` escaped. Missing and null
/// are `\null`, which no text is: its backslash would be doubled.
pub fn key_id(batch: &Batch, row: usize, key: &[u16], out: &mut Vec<u8>) {
    for (i, &slot) in key.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let leaf = batch.leaf(row, slot);
        match (leaf.is_absent(), key_text(leaf)) {
            (true, _) => out.extend_from_slice(b"\\null"),
            (false, Some(text)) => escape(&text, out),
            (false, None) => escape(leaf.bytes, out),
        }
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &c in text {
        if matches!(c, b'\\' | b',' | b'/') {
            out.push(b'\\');
        }
        out.push(c);
    }
}

/// An instant as in records: UTC, milliseconds; microseconds or nanoseconds where they are not
/// zero.
pub fn stamp_text(at: Timestamp) -> String {
    let mut text = Vec::with_capacity(32);
    at.write_nanos(&mut text);
    let mut text = String::from_utf8(text).unwrap_or_default();
    text.pop();
    for _ in 0..2 {
        if let Some(shorter) = text.strip_suffix("000").filter(|shorter| !shorter.ends_with('.')) {
            text.truncate(shorter.len());
        }
    }
    text.push('Z');
    text
}

/// An instant as JSON in a format that events are read by.
pub(super) fn formatted(at: Timestamp, format: &TimeFormat) -> Vec<u8> {
    let mut json = Vec::new();
    match format.written(at) {
        Some((kind, text)) => Leaf { kind, bytes: text.as_bytes() }.write_json(&mut json),
        None => Leaf { kind: Kind::Text, bytes: stamp_text(at).as_bytes() }.write_json(&mut json),
    }
    json
}

/// Returns a text as a JSON string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut json = Vec::new();
    crate::event::quote_into(text.as_bytes(), &mut json);
    json
}

/// `{"start": …, "end": …}` and more members.
pub(super) fn stretch(start: Timestamp, end: Timestamp, more: &str) -> Vec<u8> {
    format!(r#"{{"start":"{}","end":"{}"{more}}}"#, stamp_text(start), stamp_text(end)).into_bytes()
}
