//! Rows checked whole: a content is sound, or it is refused with the line and the key.

use std::fmt;

use serde_json::{Map, Value};

use super::records::{Records, add_cell};
use super::{Content, Table, canonical, key_text};
use crate::decimal::{self, Decimal};
use crate::event::Kind;
use crate::event::json::leaf_of;
use crate::price::Tariff;
use crate::time::{Timestamp, Zone};

/// A row before it is checked.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its line in the source, counted from 1.
    pub line: u64,
    /// The row, or why it is none.
    pub columns: Result<Map<String, Value>, String>,
}

/// Why a content is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The line of the row that is at fault; 0 where it is the whole.
    pub line: u64,
    /// The key of that row, for a person; empty where it has none.
    pub key: String,
    /// The problem and its remedy.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "key {}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

struct Checked {
    line: u64,
    key: Vec<u8>,
    holds: (Timestamp, Timestamp),
    canonical: Vec<u8>,
    /// The values of the columns that are read.
    cells: Vec<u8>,
    tariff: Option<Tariff>,
}

pub(super) fn content(table: &Table, rows: Vec<Row>) -> Result<Content, Refused> {
    if rows.len() > table.rows_max {
        let why = format!("{} rows; `rowsMax` is {}", rows.len(), table.rows_max);
        return Err(Refused { line: 0, key: String::new(), why });
    }
    let mut checked = rows.into_iter().map(|row| one(table, row)).collect::<Result<Vec<_>, _>>()?;
    checked.sort_by(|a, b| {
        let by_key = canonical::texts(&a.key).cmp(canonical::texts(&b.key));
        by_key.then_with(|| (a.holds.0, &a.canonical).cmp(&(b.holds.0, &b.canonical)))
    });
    checked.dedup_by(|a, b| a.key == b.key && a.canonical == b.canonical);
    for (a, b) in checked.iter().zip(checked.iter().skip(1)) {
        if a.key == b.key && a.holds.1 > b.holds.0 {
            let (first, second) = if a.line <= b.line { (a, b) } else { (b, a) };
            let why = match first.line {
                0 => "another row of this key holds at the same time".to_owned(),
                line => format!("the row in line {line} has the same key and holds at the same time"),
            };
            return Err(Refused { line: second.line, key: shown(&second.key), why });
        }
    }
    lay_out(table, &checked)
}

fn lay_out(table: &Table, rows: &[Checked]) -> Result<Content, Refused> {
    let bytes: usize = rows.iter().map(|row| row.canonical.len() + 1).sum();
    if bytes > table.bytes_max {
        let why = format!("{bytes} bytes of rows; `bytesMax` is {}", table.bytes_max);
        return Err(Refused { line: 0, key: String::new(), why });
    }
    let has_validity = table.valid_from.is_some() || table.valid_to.is_some();
    let looked_up = rows.iter().map(|row| row.key.len() + row.cells.len()).sum();
    let mut content = Content {
        canonical: Vec::with_capacity(bytes),
        records: Records::with_capacity(rows.len(), looked_up),
        holds: if has_validity { rows.iter().map(|row| row.holds).collect() } else { Vec::new() },
        tariffs: rows.iter().filter_map(|row| row.tariff.clone()).collect(),
        longest: rows.iter().map(|row| row.key.len()).max().unwrap_or_default(),
        rows: rows.len(),
    };
    for row in rows {
        if !content.canonical.is_empty() {
            content.canonical.push(b'\n');
        }
        content.canonical.extend_from_slice(&row.canonical);
    }
    for of_key in rows.chunk_by(|one, other| one.key == other.key) {
        let (Some(first), cells) = (of_key.first(), of_key.iter().map(|row| row.cells.as_slice())) else { continue };
        if !content.records.add(&first.key, cells) {
            let why = "the keys and the columns that operators read have more than 4 GiB".to_owned();
            return Err(Refused { line: first.line, key: shown(&first.key), why });
        }
    }
    Ok(content)
}

/// A key for a person.
fn shown(key: &[u8]) -> String {
    let texts: Vec<_> = canonical::texts(key).map(String::from_utf8_lossy).collect();
    texts.join(", ")
}

fn one(table: &Table, row: Row) -> Result<Checked, Refused> {
    let line = row.line;
    let refuse = |key: &[u8], why: String| Refused { line, key: shown(key), why };
    let columns = row.columns.map_err(|why| refuse(b"", why))?;
    let (mut key, mut json) = (Vec::new(), Vec::new());
    for column in &table.key {
        json.clear();
        columns.get(column).inspect(|value| canonical::write(value, &mut json));
        let leaf = leaf_of(&json);
        let Some(text) = key_text(leaf) else {
            let what = if leaf.kind == Kind::Json { "is neither text nor a number" } else { "is missing or null" };
            return Err(refuse(&key, format!("key column `{column}` {what}; give every row a key")));
        };
        canonical::add_key(&text, &mut key);
    }
    let instant = |column: &Option<String>, default: Timestamp| match column {
        None => Ok(default),
        Some(column) => match columns.get(column) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::String(text)) if text.is_empty() => Ok(default),
            Some(value) => instant(value, &table.zone).ok_or_else(|| {
                let why = format!("`{column}` is {value}, which is no time; write 2026-01-31 or 2026-01-31T00:00:00Z");
                refuse(&key, why)
            }),
        },
    };
    let holds = (instant(&table.valid_from, Timestamp::MIN)?, instant(&table.valid_to, Timestamp::MAX)?);
    if holds.0 >= holds.1 {
        return Err(refuse(&key, "it ends before it begins, or at the same instant; correct `validFrom` and `validTo`".into()));
    }
    if table.has_rates {
        rate(&columns).map_err(|why| refuse(&key, why))?;
    }
    let tariff = table.has_prices.then(|| Tariff::read(&columns)).transpose();
    let tariff = tariff.map_err(|flaws| {
        let flaws: Vec<String> = flaws.into_iter().map(|(column, why)| format!("{column}: {why}")).collect();
        refuse(&key, flaws.join("; "))
    })?;
    let mut cells = Vec::new();
    for column in &table.read {
        json.clear();
        columns.get(column).inspect(|value| canonical::write(value, &mut json));
        add_cell(leaf_of(&json), &mut cells);
    }
    let mut canonical = Vec::new();
    canonical::write(&Value::Object(columns), &mut canonical);
    Ok(Checked { line, key, holds, canonical, cells, tariff })
}

/// Checks a row of exchange rates: a rate above 0 and a date.
fn rate(columns: &Map<String, Value>) -> Result<(), String> {
    let text = |name: &str| match columns.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let written = text("rate");
    if decimal::parse(written.as_bytes()).is_ok_and(|rate| rate > Decimal::ZERO) {
        let date = text("date");
        let is_date = date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok();
        return if is_date { Ok(()) } else { Err(format!("`date` is `{date}`; write a date like 2026-01-31")) };
    }
    Err(format!("`rate` is `{written}`; write a number above 0 with at most 18 digits after the point"))
}

/// An instant with an offset; a time or a date without one hangs on the zone's clock.
fn instant(value: &Value, zone: &Zone) -> Option<Timestamp> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Number(millis) => {
            return decimal::parse(millis.to_string().as_bytes())
                .ok()?
                .to_int()
                .and_then(|n| Timestamp::from_scaled(n, 1_000_000));
        }
        _ => return None,
    };
    if let Some(at) = Timestamp::parse_rfc3339(text.as_bytes()) {
        return Some(at);
    }
    let civil = match text.parse::<jiff::civil::DateTime>() {
        Ok(civil) => civil,
        Err(_) => text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0),
    };
    crate::schedule::wall_clock(civil, zone)
}
