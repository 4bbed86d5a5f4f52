//! Expected records of files and documents, and what a comparison with them says.

use std::path::Path;

use anyhow::Context;
use flowmeter_core::verdict::Tally;
use flowmeter_document::TestData;
use serde_json::{Value, json};

use super::compare::{Comparison, Different, Field};
use crate::failure::Wrong;
use crate::watch::Watch;

/// The maximum of differences of each kind that are shown.
const SHOWN: usize = 100;

/// Returns the expected records of a test.
///
/// # Errors
/// A file that cannot be read, or a line that is no JSON object: the message names the place.
pub(super) fn of_test(data: &TestData) -> anyhow::Result<Vec<Value>> {
    match data {
        TestData::File(file) => of_file(Path::new(file)),
        TestData::Items(items) => items.iter().map(|item| Ok(serde_json::from_str(item)?)).collect(),
    }
}

/// Reads a file of records: one JSON object a line, or one JSON list of them.
///
/// # Errors
/// As [`of_test`].
pub(super) fn of_file(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).map_err(|why| Wrong(format!("{}: {why}", file.display())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_start().starts_with('[') {
        let wrong = |why: serde_json::Error| Wrong(format!("{}: not a list of records: {why}", file.display()));
        let records: Vec<Value> = serde_json::from_str(text).map_err(wrong)?;
        return records.into_iter().zip(1..).map(|(record, place)| object(record, file, "record", place)).collect();
    }
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let record = |(line, number): (&str, usize)| {
        let wrong = |why: serde_json::Error| Wrong(format!("{}:{number}: not a JSON object: {why}", file.display()));
        object(serde_json::from_str(line).map_err(wrong)?, file, "line", number)
    };
    lines.map(record).collect()
}

fn object(record: Value, file: &Path, unit: &str, number: usize) -> anyhow::Result<Value> {
    match record.is_object() {
        true => Ok(record),
        false => {
            let message =
                format!("{}: {unit} {number} is no JSON object; write a record with the fields to compare", file.display());
            Err(Wrong(message).into())
        }
    }
}

/// Reads the records that were made.
pub(super) fn found(records: &[String]) -> anyhow::Result<Vec<Value>> {
    records.iter().map(|record| serde_json::from_str(record).context("a record is not JSON")).collect()
}

/// Returns one line: the counts of a comparison.
pub(super) fn counts(comparison: &Comparison) -> String {
    let plural = |count: usize| if count == 1 { "record" } else { "records" };
    let (expected, found) = (comparison.expected_count, comparison.found_count);
    if comparison.is_equal() {
        return format!("{found} {} as expected", plural(found));
    }
    let kinds = [
        ("missing", comparison.missing.len()),
        ("unexpected", comparison.unexpected.len()),
        ("different", comparison.different.len()),
    ];
    let kinds = kinds.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{count} {kind}"));
    format!("{expected} {} expected, {found} found: {}", plural(expected), kinds.collect::<Vec<_>>().join(", "))
}

/// Returns the differences, a few lines for each.
pub(super) fn lines(comparison: &Comparison) -> String {
    let mut out = String::new();
    comparison.missing.iter().take(SHOWN).for_each(|record| out.push_str(&format!("  missing     {record}\n")));
    more(comparison.missing.len(), "missing", &mut out);
    let short = comparison.unexpected.iter().take(SHOWN).map(short);
    short.for_each(|record| out.push_str(&format!("  unexpected  {record}\n")));
    more(comparison.unexpected.len(), "unexpected", &mut out);
    for one in comparison.different.iter().take(SHOWN) {
        out.push_str(&format!("  different   {}\n", name_of(one)));
        for Field { path, expected, found } in &one.fields {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            out.push_str(&format!("    {path}: expected {}, found {}\n", text(expected), text(found)));
        }
    }
    more(comparison.different.len(), "different", &mut out);
    out
}

/// Returns the fields that tell a record from others, in a form that can be pasted as expected.
fn short(record: &Value) -> String {
    let fields = ["userId", "meterTypeName", "periodStart", "threshold", "value"];
    let fields = fields.iter().filter_map(|name| Some(format!("\"{name}\":{}", record.get(name)?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn more(count: usize, kind: &str, out: &mut String) {
    if count > SHOWN {
        out.push_str(&format!("  … and {} more {kind}\n", count - SHOWN));
    }
}

/// Returns user, meter type and period of a record.
fn name_of(one: &Different) -> String {
    let names = ["userId", "meterTypeName", "periodStart"].map(|name| one.found[name].as_str().unwrap_or_default().to_owned());
    names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Returns why events are not in a record: parked ones, by reason, with the first of them.
pub(super) fn parked(tally: &Tally, watch: &Watch) -> String {
    let mut out = String::new();
    for (reason, count) in tally.parked_by_reason() {
        out.push_str(&format!("  parked      {count} {reason}: {}\n", reason.remedy()));
    }
    for shown in &watch.shown {
        out.push_str(&format!("    {}:{}: {}: {}\n", shown.file, shown.line, shown.reason, shown.detail));
    }
    out
}

/// Returns a comparison for programs.
pub(super) fn json(comparison: &Comparison) -> Value {
    let different = comparison.different.iter().map(|one| {
        let fields = one.fields.iter().map(|field| {
            let value = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
            json!({"field": field.path, "expected": value(&field.expected), "found": value(&field.found)})
        });
        json!({"record": one.found, "fields": fields.collect::<Vec<_>>()})
    });
    json!({
        "passed": comparison.is_equal(),
        "expected": comparison.expected_count,
        "found": comparison.found_count,
        "missing": comparison.missing,
        "unexpected": comparison.unexpected,
        "different": different.collect::<Vec<_>>(),
    })
}
