//! Guesses the meaning of the fields of sample events.

use flowmeter_core::decimal;
use flowmeter_core::time::{Clue, TimeFormat, Zone};
use serde_json::Value;

/// Values of a field that are looked at.
const VALUES_MAX: usize = 200;

/// Forms of times, in the order in which they are tried.
const TIMES: [&str; 16] = [
    "rfc3339",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
];

/// Seconds and milliseconds from 2000 to 2100.
const SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// The likely meaning of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    Number,
    /// Times of a format.
    Time(String),
    /// Nothing that can be metered.
    Other,
}

impl Meaning {
    pub(super) fn name(&self) -> String {
        match self {
            Meaning::Text => "text".to_owned(),
            Meaning::Number => "number".to_owned(),
            Meaning::Time(format) if format.is_empty() => "time".to_owned(),
            Meaning::Time(format) => format!("time ({format})"),
            Meaning::Other => "object or list".to_owned(),
        }
    }
}

/// A field of the events of a file.
#[derive(Clone, Debug)]
pub(in crate::file) struct Field {
    pub(super) path: String,
    pub(super) meaning: Meaning,
    pub(super) sample: String,
}

impl Field {
    /// Its sample value, for a comment.
    pub(super) fn shown(&self) -> String {
        let plain: String = self.sample.chars().filter(|c| !c.is_control()).take(40).collect();
        if plain.is_empty() { String::new() } else { format!(", like {plain}") }
    }
}

/// Fields with the values they had, in order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(String, Vec<String>, bool)>);

impl Seen {
    /// Notes a value; `is_text` separates a text from a number.
    pub(super) fn note(&mut self, path: &str, value: &str, is_text: bool) {
        let at = self.0.iter().position(|(known, ..)| known == path).unwrap_or_else(|| {
            self.0.push((path.to_owned(), Vec::new(), false));
            self.0.len() - 1
        });
        let (_, values, text) = &mut self.0[at];
        *text |= is_text;
        if values.len() < VALUES_MAX && !value.is_empty() {
            values.push(value.to_owned());
        }
    }

    /// Notes the fields of an event.
    pub(super) fn note_json(&mut self, event: &Value) {
        self.note_members("", event);
    }

    fn note_members(&mut self, at: &str, value: &Value) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            let name = name.replace('\\', r"\\").replace('.', r"\.");
            let path = if at.is_empty() { name } else { format!("{at}.{name}") };
            match inner {
                Value::Object(_) => self.note_members(&path, inner),
                Value::String(text) => self.note(&path, text, true),
                Value::Number(number) => self.note(&path, &number.to_string(), false),
                Value::Null | Value::Bool(_) | Value::Array(_) => {}
            }
        }
    }

    /// The fields and what they seem to mean.
    pub(super) fn fields(self) -> Vec<Field> {
        let field = |(path, values, is_text): (String, Vec<String>, bool)| {
            let meaning = if values.is_empty() { Meaning::Other } else { meaning(&values, is_text) };
            Field { sample: values.into_iter().next().unwrap_or_default(), path, meaning }
        };
        self.0.into_iter().map(field).collect()
    }
}

/// Returns the meaning that all values of a field share.
pub(super) fn meaning(values: &[String], is_text: bool) -> Meaning {
    let whole = |value: &String| value.parse::<i64>().ok();
    if values.iter().all(|value| whole(value).is_some_and(|n| SECONDS.contains(&n))) {
        return Meaning::Time("unix_s".to_owned());
    }
    if values.iter().all(|value| whole(value).is_some_and(|n| SECONDS.contains(&(n / 1000)))) {
        // A number without a declared format is milliseconds.
        return Meaning::Time(if is_text { "unix_ms".to_owned() } else { "rfc3339".to_owned() });
    }
    if values.iter().all(|value| decimal::parse(value.as_bytes()) != Err(decimal::Inexact::NotANumber)) {
        return Meaning::Number;
    }
    let reads = |format: &TimeFormat| values.iter().all(|value| format.parse(value.as_bytes(), Clue::Text).is_some());
    let found = TIMES.into_iter().find(|name| TimeFormat::named(name, Zone::utc()).is_some_and(|format| reads(&format)));
    found.map_or(Meaning::Text, |name| Meaning::Time(plain(name, values)))
}

/// The format without a fraction that no value has.
fn plain(name: &str, values: &[String]) -> String {
    match values.iter().any(|value| value.contains('.')) {
        true => name.to_owned(),
        false => name.replace("%.f", ""),
    }
}
