//! The values of a record, by column.

use std::collections::BTreeMap;

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{TYPES, Type};
use crate::targets::format::{COLUMNS, Members, members};

const NANOS_PER_MICRO: i64 = 1_000;

/// The value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    /// Text, or JSON text.
    Text(String),
    /// An instant in microseconds since 1970.
    Time(i64),
    /// A number in units of 10⁻¹⁸.
    Number(i128),
    Whole(i64),
    Flag(bool),
    Groups(Vec<Group>),
}

/// A group of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Fields by name: text unchanged, everything else as JSON.
    pub(super) fields: Vec<(String, Option<String>)>,
    pub(super) key: String,
    /// The value in units of 10⁻¹⁸.
    pub(super) value: Option<i128>,
}

#[derive(Deserialize)]
struct RawGroup<'a> {
    #[serde(borrow, default)]
    fields: BTreeMap<String, &'a RawValue>,
    #[serde(default)]
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Returns the values of a record, in the order of [`COLUMNS`].
pub(super) fn cells(json: &[u8]) -> Result<Vec<Cell>, Error> {
    let members: Members<'_> = members(json)?;
    let cell = |(name, column): (&&str, &Type)| {
        let raw = members.get(name).map_or("null", |raw| raw.get());
        let bug = || Error::new(Kind::Bug, format!("a record's `{name}` is {raw}, which its column cannot hold"));
        Cell::of_json(*column, raw).ok_or_else(bug)
    };
    COLUMNS.iter().zip(&TYPES).map(cell).collect()
}

impl Cell {
    /// Returns the value of an instant.
    pub(crate) fn time(at: Timestamp) -> Cell {
        Cell::Time(at.nanos().div_euclid(NANOS_PER_MICRO))
    }

    /// Returns the value of a member in JSON form.
    pub(crate) fn of_json(column: Type, raw: &str) -> Option<Cell> {
        if raw == "null" {
            return Some(Cell::Null);
        }
        match column {
            Type::Json | Type::Number | Type::Small | Type::Count | Type::Flag | Type::Groups => Cell::of_text(column, raw),
            Type::Text | Type::Time | Type::Local => Cell::of_text(column, &serde_json::from_str::<String>(raw).ok()?),
        }
    }

    /// Returns the value of a text without quotes.
    pub(super) fn of_text(column: Type, text: &str) -> Option<Cell> {
        Some(match column {
            Type::Text | Type::Json => Cell::Text(text.to_owned()),
            Type::Time | Type::Local => Cell::time(Timestamp::parse_rfc3339(text.as_bytes())?),
            Type::Number => Cell::Number(units(text)?),
            Type::Small => Cell::Whole(text.parse::<i32>().ok()?.into()),
            Type::Count => Cell::Whole(text.parse().ok()?),
            Type::Flag => Cell::Flag(text.parse().ok()?),
            Type::Groups => {
                let groups: Vec<RawGroup<'_>> = serde_json::from_str(text).ok()?;
                Cell::Groups(groups.into_iter().map(group).collect::<Option<_>>()?)
            }
        })
    }

    /// Returns the value as text; equal values have equal texts.
    pub(crate) fn text(&self) -> String {
        match self {
            Cell::Null => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Time(micros) => Timestamp::from_nanos(micros.saturating_mul(NANOS_PER_MICRO)).to_string(),
            Cell::Number(units) => number(*units),
            Cell::Whole(whole) => whole.to_string(),
            Cell::Flag(flag) => flag.to_string(),
            Cell::Groups(groups) => groups.iter().map(|group| format!("{group:?}\n")).collect(),
        }
    }
}

fn units(text: &str) -> Option<i128> {
    decimal::parse(text.as_bytes()).ok().map(Decimal::units)
}

fn number(units: i128) -> String {
    // No record has a value beyond this range.
    Decimal::from_units(units).map_or_else(|| units.to_string(), |value| value.to_string())
}

fn group(raw: RawGroup<'_>) -> Option<Group> {
    let text = |raw: &RawValue| match raw.get() {
        "null" => Some(None),
        text if text.starts_with('"') => serde_json::from_str(text).ok().map(Some),
        json => Some(Some(json.to_owned())),
    };
    let fields = raw.fields.into_iter().map(|(name, raw)| Some((name, text(raw)?)));
    let value = match raw.value.map(RawValue::get) {
        None | Some("null") => None,
        Some(text) => Some(units(text)?),
    };
    Some(Group { fields: fields.collect::<Option<_>>()?, key: raw.key, value })
}
