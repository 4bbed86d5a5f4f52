//! The canonical form of rows and keys.

use std::borrow::Cow;

use serde_json::Value;

use crate::decimal;
use crate::event::{Kind, Leaf, quote_into};

/// The text by which a key is compared: a number in its canonical form, so that `1`, `1.0` and
/// `"1"` are one key. `None` for a value that identifies nothing.
pub fn key_text(leaf: Leaf<'_>) -> Option<Cow<'_, [u8]>> {
    match leaf.kind {
        Kind::Missing | Kind::Null | Kind::Json => None,
        Kind::Number => Some(number(leaf.bytes)),
        Kind::Text | Kind::EscapedText | Kind::True | Kind::False => leaf.as_text(),
    }
}

/// A number in its canonical form; one beyond decimals stays as it is written.
pub(crate) fn number(written: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = written.len() < 19 && !written.starts_with(b"0") && written.iter().all(u8::is_ascii_digit);
    if is_plain {
        return Cow::Borrowed(written);
    }
    match decimal::parse(written) {
        Ok(number) => Cow::Owned(number.to_string().into_bytes()),
        Err(_) => Cow::Borrowed(written),
    }
}

/// Adds a column's text to a key, with its length, so that no two keys read the same.
pub(super) fn add_key(text: &[u8], key: &mut Vec<u8>) {
    key.extend_from_slice(&(text.len() as u32).to_le_bytes());
    key.extend_from_slice(text);
}

/// The texts of a key, as they were added.
pub(super) fn texts(mut key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = key.split_first_chunk()?;
        let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        key = behind;
        Some(text)
    })
}

/// Appends a JSON value: members in alphabetical order, numbers canonical, no spaces.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Number(written) => out.extend_from_slice(&number(written.to_string().as_bytes())),
        Value::String(text) => quote_into(text.as_bytes(), out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|&(name, _)| name);
            out.push(b'{');
            for (i, (name, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                quote_into(name.as_bytes(), out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}
