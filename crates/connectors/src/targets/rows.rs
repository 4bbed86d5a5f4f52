//! The columns of a table of records, and records as rows of it.

use std::borrow::Cow;

use flowmeter_engine::outbox::Outgoing;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Columns: name, type in Postgres, type in ClickHouse. Values of Postgres are `numeric`, with every
/// digit; ClickHouse has decimals of 76 digits at most, half of them behind the point.
const COLUMNS: [(&str, &str, &str); 23] = [
    ("record_id", "uuid PRIMARY KEY", "UUID"),
    ("revision", "integer NOT NULL", "UInt32"),
    ("meter_id", "uuid NOT NULL", "UUID"),
    ("user_id", "text NOT NULL", "String"),
    ("meter_type_id", "uuid NOT NULL", "UUID"),
    ("meter_type_name", "text NOT NULL", "LowCardinality(String)"),
    ("meter_key", "uuid NOT NULL", "UUID"),
    ("period_start", "timestamptz NOT NULL", "DateTime64(3, 'UTC')"),
    ("period_end", "timestamptz", "Nullable(DateTime64(3, 'UTC'))"),
    ("timezone", "text NOT NULL", "LowCardinality(String)"),
    ("unit", "text NOT NULL", "LowCardinality(String)"),
    ("value", "numeric", "Nullable(Decimal(76, 38))"),
    ("delta", "numeric", "Nullable(Decimal(76, 38))"),
    ("event_count", "bigint NOT NULL", "UInt64"),
    ("groups", "jsonb NOT NULL", "String"),
    ("carry_first", "jsonb NOT NULL", "String"),
    ("carry_last", "jsonb NOT NULL", "String"),
    ("custom_fields", "jsonb", "Nullable(String)"),
    ("threshold", "jsonb", "Nullable(String)"),
    ("meter_meta_data", "jsonb NOT NULL", "String"),
    ("delete_on_reset", "boolean NOT NULL", "Bool"),
    ("created_at", "timestamptz NOT NULL", "DateTime64(3, 'UTC')"),
    ("updated_at", "timestamptz NOT NULL", "DateTime64(3, 'UTC')"),
];

/// Returns the names of the columns, without that of the key.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().skip(1).map(|(name, ..)| *name)
}

/// Returns the names of the columns with their types in ClickHouse.
pub(super) fn clickhouse_columns() -> String {
    COLUMNS.map(|(name, _, kind)| format!("{name} {kind}")).join(", ")
}

/// Returns the statements of Postgres that create the table, and the one with the progress of each writer.
pub(super) fn tables(table: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}); \
         CREATE TABLE IF NOT EXISTS {table}_cursor (owner text PRIMARY KEY, next bigint NOT NULL)",
        columns.join(", ")
    )
}

/// Returns the names of the columns.
pub(super) fn names() -> String {
    COLUMNS.map(|(name, ..)| name).join(", ")
}

/// Returns the assignments that update an existing row to the values of its record.
pub(super) fn assignments() -> String {
    let others = fields().map(|name| format!("{name} = excluded.{name}"));
    others.collect::<Vec<_>>().join(", ")
}

/// Returns expressions for whether a row exists, and for the columns in which it differs from the
/// record.
pub(super) fn comparison() -> String {
    let parts = fields().map(|name| format!("CASE WHEN held.{name} IS DISTINCT FROM sent.{name} THEN '{name}' END"));
    format!("held.record_id IS NOT NULL, concat_ws(', ', {})", parts.collect::<Vec<_>>().join(", "))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    id: &'a str,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    meter_type_id: &'a str,
    #[serde(borrow)]
    meter_type_name: Cow<'a, str>,
    meter_key: &'a str,
    period_start: &'a str,
    period_end: Option<&'a str>,
    #[serde(borrow)]
    timezone: Cow<'a, str>,
    #[serde(borrow)]
    unit: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    groups: &'a RawValue,
    #[serde(borrow)]
    carry_first: &'a RawValue,
    #[serde(borrow)]
    carry_last: &'a RawValue,
    #[serde(borrow)]
    custom_fields: Option<&'a RawValue>,
    #[serde(borrow)]
    threshold: Option<&'a RawValue>,
    #[serde(borrow)]
    meter_meta_data: &'a RawValue,
    delete_on_reset: bool,
    created_at: &'a str,
    updated_at: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    record_id: &'a str,
    revision: u32,
    event_count: u64,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

/// Appends a record in the text form of COPY, columns in the order of [`names`].
pub(super) fn append(record: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let wrong = |why| Error::new(Kind::Bug, format!("record {} is none: {why}", record.number));
    let fields: Record<'_> = serde_json::from_slice(record.json).map_err(wrong)?;
    let meta: Meta<'_> = serde_json::from_str(fields.meter_meta_data.get()).map_err(wrong)?;
    let raw = |value: Option<&'_ RawValue>| value.map(RawValue::get).filter(|text| *text != "null").map(str::to_owned);
    let (revision, events) = (meta.revision.to_string(), meta.event_count.to_string());
    let (delta, custom, threshold) = (raw(meta.delta), raw(fields.custom_fields), raw(fields.threshold));
    let value = Some(fields.value.get()).filter(|text| *text != "null");
    let columns: [Option<&str>; COLUMNS.len()] = [
        Some(meta.record_id),
        Some(&revision),
        Some(fields.id),
        Some(&fields.user_id),
        Some(fields.meter_type_id),
        Some(&fields.meter_type_name),
        Some(fields.meter_key),
        Some(fields.period_start),
        fields.period_end,
        Some(&fields.timezone),
        Some(&fields.unit),
        value,
        delta.as_deref(),
        Some(&events),
        Some(fields.groups.get()),
        Some(fields.carry_first.get()),
        Some(fields.carry_last.get()),
        custom.as_deref(),
        threshold.as_deref(),
        Some(fields.meter_meta_data.get()),
        Some(if fields.delete_on_reset { "t" } else { "f" }),
        Some(fields.created_at),
        Some(fields.updated_at),
    ];
    for (at, column) in columns.into_iter().enumerate() {
        if at > 0 {
            out.push(b'\t');
        }
        match column {
            Some(text) => escape(text.as_bytes(), out),
            None => out.extend_from_slice(b"\\N"),
        }
    }
    out.push(b'\n');
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    // Most texts contain nothing that has to be escaped.
    if !text.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        out.extend_from_slice(text);
        return;
    }
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_row() {
        let json = br#"{"carryFirst":{},"carryLast":{"a":"x\ty\\"},"createdAt":"2026-01-01T00:00:00.000Z","deleteOnReset":false,"groups":[],"id":"i","meterKey":"k","meterMetaData":{"delta":-0.5,"eventCount":3,"recordId":"r","revision":1},"meterTypeId":"t","meterTypeName":"n","periodEnd":null,"periodStart":"2026-01-01T00:00:00.000Z","timezone":"Etc/UTC","unit":"","updatedAt":"2026-01-01T00:00:00.000Z","userId":"tab\there","value":12.50}"#;
        let mut text = Vec::new();
        append(&Outgoing { number: 0, json }, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let columns: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
        assert_eq!(columns.len(), COLUMNS.len());
        assert_eq!((columns[0], columns[3], columns[8], columns[11], columns[12]), ("r", "tab\\there", "\\N", "12.50", "-0.5"));
        assert_eq!(columns[16], r#"{"a":"x\\ty\\\\"}"#);
    }
}
