//! Reads a text to a value within its range, and writes it back to text.

use std::net::SocketAddr;
use std::time::Duration;

use flowmeter_core::suggest::nearest;
use flowmeter_core::time::parse_duration;

use crate::settings::secret::Secret;
use crate::settings::table::{Kind, Setting};

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Address(SocketAddr),
    Text(String),
    Secret(Secret),
    Switch(bool),
    Number(u64),
    Bytes(u64),
    Span(Duration),
}

/// Reads the value of a text; the error describes the expected form. The message repeats no text of
/// a secret.
pub(crate) fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    let text = text.trim();
    if setting.may_be_none && matches!(text, "none" | "~" | "null") {
        return Ok(Value::None);
    }
    let value = match setting.kind {
        Kind::Address => text.parse().ok().map(Value::Address),
        Kind::Path | Kind::Text => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
        Kind::Url => is_url(text).then(|| Value::Text(text.to_owned())),
        Kind::Secret => return Secret::parse(text).map(Value::Secret),
        Kind::Switch => text.parse().ok().map(Value::Switch),
        Kind::Choice(choices) => choices.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Count(_, min, max) => number(text).filter(|n| (min..=max).contains(n)).map(Value::Number),
        Kind::Bytes(min, max) => bytes(text).filter(|n| (min..=max).contains(n)).map(Value::Bytes),
        Kind::Seconds(min, max) => span(text).filter(|span| is_within(*span, min, max)).map(Value::Span),
    };
    value.ok_or_else(|| {
        let meant = match setting.kind {
            Kind::Choice(choices) => nearest(text, choices.iter().copied()),
            _ => None,
        };
        let meant = meant.map(|choice| format!("; did you mean `{choice}`?")).unwrap_or_default();
        let shown: String = text.chars().take(60).collect();
        format!("`{shown}` is not {}{meant}", expected(setting))
    })
}

/// Describes the expected value, for people.
pub(crate) fn expected(setting: &Setting) -> String {
    let none = if setting.may_be_none { ", or none" } else { "" };
    let what = match setting.kind {
        Kind::Address => "IP:PORT, such as 127.0.0.1:8888 or [::1]:8888".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Url => "an address that begins with http:// or https://".to_owned(),
        Kind::Secret => "${env:NAME} or ${file:PATH}".to_owned(),
        Kind::Switch => "true or false".to_owned(),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Count(_, min, max) => format!("a number from {min} to {max}"),
        Kind::Bytes(min, max) => format!("bytes from {} to {}", show_bytes(min), show_bytes(max)),
        Kind::Seconds(min, max) => {
            format!("a time from {} to {}", show_span(Duration::from_secs(min)), show_span(Duration::from_secs(max)))
        }
    };
    format!("{what}{none}")
}

/// Returns the value as it is written in a settings file.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::None => "none".to_owned(),
        Value::Address(address) => address.to_string(),
        Value::Text(text) => text.clone(),
        Value::Secret(secret) => secret.to_string(),
        Value::Switch(is_on) => is_on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Bytes(bytes) => show_bytes(*bytes),
        Value::Span(span) => show_span(*span),
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    is_number.then(|| text.replace('_', "").parse().ok()).flatten()
}

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `64MiB` (powers of 1024), `64MB` (powers of 1000), `64` (bytes).
fn bytes(text: &str) -> Option<u64> {
    let found = BYTE_UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (count, size) = found.unwrap_or((text, 1));
    number(count.trim_end())?.checked_mul(size)
}

fn show_bytes(bytes: u64) -> String {
    let binary = BYTE_UNITS.iter().take(4).find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    binary.map_or(format!("{bytes}B"), |(unit, size)| format!("{}{unit}", bytes / size))
}

/// Reads a duration. A number without a unit is refused, since the unit is not guessed.
fn span(text: &str) -> Option<Duration> {
    u64::try_from(parse_duration(text)?).ok().map(Duration::from_nanos)
}

fn is_within(span: Duration, min_s: u64, max_s: u64) -> bool {
    (Duration::from_secs(min_s)..=Duration::from_secs(max_s)).contains(&span)
}

const SPAN_UNITS: [(&str, u128); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

fn show_span(span: Duration) -> String {
    let millis = span.as_millis();
    let found = SPAN_UNITS.iter().find(|(_, size)| millis >= *size && millis.is_multiple_of(*size));
    found.map_or("0".to_owned(), |(unit, size)| format!("{}{unit}", millis / size))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    // A password in an address would be printed with it.
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', ' ']))
}
