//! The rows that a record becomes.
//!
//! If groups are rows, the record's own row has its value and no group, and the row of a group has
//! the group's value in a column of its own. So neither column adds anything up twice, as long as
//! the groups of one breakdown (`groupBy`) are added up.

use std::collections::BTreeMap;

use flowmeter_core::schedule::Period;
use flowmeter_core::time::{Timestamp, Zone};
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Column, Groups};
use crate::targets::columns::{Cell, Type};
use crate::targets::format::{Members, members};

/// Facts about a record that are not in it.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    /// The pipeline that made it.
    pub pipeline: &'a str,
    /// The name of its period.
    pub period: String,
    /// The start of its period as the clock of its zone shows it, read as if it were UTC.
    pub start: Option<Timestamp>,
    /// The end of its period, in the same way.
    pub end: Option<Timestamp>,
}

impl<'a> Labels<'a> {
    /// Returns the labels of a record by its fields `timezone`, `periodStart` and `periodEnd`.
    pub fn of(pipeline: &'a str, zone: &str, start: Option<&str>, end: Option<&str>) -> Labels<'a> {
        let zone = Zone::named(zone).unwrap_or_else(Zone::utc);
        let instant = |text: Option<&str>| text.and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
        let (start, end) = (instant(start), instant(end));
        let period = start.map(|start| Period { start, end: end.unwrap_or(Timestamp::MAX) }.label(&zone));
        Labels {
            pipeline,
            period: period.unwrap_or_default(),
            start: start.map(|start| zone.wall_clock(start)),
            end: end.map(|end| zone.wall_clock(end)),
        }
    }
}

const BEFORE_GROUPS: [Column; 16] = [
    ("pipeline", Type::Text),
    ("userId", Type::Text),
    ("meterTypeName", Type::Text),
    ("period", Type::Text),
    ("periodStartLocal", Type::Local),
    ("periodEndLocal", Type::Local),
    ("timezone", Type::Text),
    ("value", Type::Number),
    ("unit", Type::Text),
    ("revision", Type::Small),
    ("delta", Type::Number),
    ("eventCount", Type::Count),
    ("firstEvent", Type::Time),
    ("lastEvent", Type::Time),
    ("periodStart", Type::Time),
    ("periodEnd", Type::Time),
];
const AFTER_GROUPS: [Column; 10] = [
    ("carryFirst", Type::Json),
    ("carryLast", Type::Json),
    ("customFields", Type::Json),
    ("createdAt", Type::Time),
    ("updatedAt", Type::Time),
    ("deleteOnReset", Type::Flag),
    ("meterTypeId", Type::Text),
    ("meterKey", Type::Text),
    ("id", Type::Text),
    ("recordId", Type::Text),
];
const GROUP_ROWS: [Column; 4] =
    [("groupBy", Type::Text), ("group", Type::Text), ("groupFields", Type::Json), ("groupValue", Type::Number)];

/// Columns that the row of a group leaves empty: they are about the whole record.
const OF_RECORD: [&str; 8] =
    ["value", "delta", "eventCount", "firstEvent", "lastEvent", "carryFirst", "carryLast", "customFields"];

/// A group as the record has it.
#[derive(Deserialize)]
struct Group<'a> {
    #[serde(borrow, default)]
    fields: BTreeMap<String, &'a RawValue>,
    #[serde(default)]
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Returns the columns of an export.
pub(super) fn columns(groups: Groups, is_nested: bool) -> Vec<Column> {
    let mut columns = BEFORE_GROUPS.to_vec();
    match groups {
        Groups::Column => columns.push(("groups", if is_nested { Type::Groups } else { Type::Json })),
        Groups::Rows => columns.extend(GROUP_ROWS),
    }
    columns.extend(AFTER_GROUPS);
    columns
}

/// Returns the rows of a record: its own, and one for each group if groups are rows.
pub(super) fn rows(json: &[u8], labels: &Labels<'_>, columns: &[Column], groups: Groups) -> Result<Vec<Vec<Cell>>, Error> {
    let members = members(json)?;
    let own = columns.iter().map(|column| cell(*column, &members, labels)).collect::<Result<Vec<Cell>, Error>>()?;
    let mut rows = vec![own];
    if groups == Groups::Rows
        && let Some(list) = members.get("groups")
    {
        let bug = |why: serde_json::Error| Error::new(Kind::Bug, format!("the groups of a record are no list: {why}"));
        let list: Vec<Group<'_>> = serde_json::from_str(list.get()).map_err(bug)?;
        for group in &list {
            rows.push(of_group(&rows[0], group, columns)?);
        }
    }
    Ok(rows)
}

fn cell((name, column): Column, members: &Members<'_>, labels: &Labels<'_>) -> Result<Cell, Error> {
    let local = |at: Option<Timestamp>| at.map_or(Cell::Null, Cell::time);
    Ok(match name {
        "pipeline" => Cell::Text(labels.pipeline.to_owned()),
        "period" => Cell::Text(labels.period.clone()),
        "periodStartLocal" => local(labels.start),
        "periodEndLocal" => local(labels.end),
        _ => of_json(name, column, members.get(name).map_or("null", |raw| raw.get()))?,
    })
}

fn of_json(name: &str, column: Type, raw: &str) -> Result<Cell, Error> {
    let bug = || Error::new(Kind::Bug, format!("a record's `{name}` is {raw}, which its column cannot hold"));
    Cell::of_json(column, raw).ok_or_else(bug)
}

fn of_group(own: &[Cell], group: &Group<'_>, columns: &[Column]) -> Result<Vec<Cell>, Error> {
    let names: Vec<&str> = group.fields.keys().map(String::as_str).collect();
    let fields = serde_json::to_string(&group.fields).map_err(|why| Error::new(Kind::Bug, why.to_string()))?;
    let cell = |((name, column), own): (&Column, &Cell)| {
        Ok(match *name {
            "groupBy" => Cell::Text(names.join(", ")),
            "group" => Cell::Text(group.key.clone()),
            "groupFields" => Cell::Text(fields.clone()),
            "groupValue" => of_json(name, *column, group.value.map_or("null", RawValue::get))?,
            name if OF_RECORD.contains(&name) => Cell::Null,
            _ => own.clone(),
        })
    };
    columns.iter().zip(own).map(cell).collect()
}
