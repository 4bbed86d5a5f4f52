//! Records as lines of JSON or as rows.

use std::collections::BTreeMap;

use flowmeter_core::pipeline::TargetFormat;
use flowmeter_engine::{Error, Kind};
use serde_json::value::RawValue;

/// The columns of a CSV file of records.
const COLUMNS: [&str; 20] = [
    "id",
    "userId",
    "meterTypeId",
    "meterTypeName",
    "meterKey",
    "periodStart",
    "periodEnd",
    "timezone",
    "unit",
    "value",
    "groups",
    "carryFirst",
    "carryLast",
    "createdAt",
    "updatedAt",
    "deleteOnReset",
    "recordId",
    "revision",
    "eventCount",
    "customFields",
];

/// What stands before the first record.
pub(super) fn head(format: TargetFormat) -> Result<Vec<u8>, Error> {
    match format {
        TargetFormat::Ndjson => Ok(Vec::new()),
        TargetFormat::Csv => row(COLUMNS.iter().map(|name| (*name).to_owned())),
    }
}

/// Appends a record.
pub(super) fn append(format: TargetFormat, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    match format {
        TargetFormat::Ndjson => {
            out.extend_from_slice(json);
            out.push(b'\n');
        }
        TargetFormat::Csv => out.extend_from_slice(&columns(json)?),
    }
    Ok(())
}

fn columns(json: &[u8]) -> Result<Vec<u8>, Error> {
    let bug = |why: serde_json::Error| Error::new(Kind::Bug, format!("a record is not JSON: {why}"));
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(json).map_err(bug)?;
    if let Some(meta) = members.remove("meterMetaData") {
        members.extend(serde_json::from_str::<BTreeMap<&str, &RawValue>>(meta.get()).map_err(bug)?);
    }
    let text = |name: &&str| match members.get(name).map(|raw| raw.get()) {
        None | Some("null") => String::new(),
        Some(raw) if raw.starts_with('"') => serde_json::from_str(raw).unwrap_or_default(),
        Some(raw) => raw.to_owned(),
    };
    row(COLUMNS.iter().map(text))
}

fn row(fields: impl Iterator<Item = String>) -> Result<Vec<u8>, Error> {
    let bug = |why: &dyn std::fmt::Display| Error::new(Kind::Bug, format!("a row cannot be written: {why}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|why| bug(&why))?;
    writer.into_inner().map_err(|why| bug(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_as_a_row() {
        let json = br#"{"groups":[{"key":"a:1","value":0.10}],"meterMetaData":{"eventCount":2,"recordId":"r"},"userId":"x, \"y\"","value":12345678901234567890.123456789012345678}"#;
        let row = String::from_utf8(columns(json).unwrap()).unwrap();
        let expected =
            r#","x, ""y""",,,,,,,,12345678901234567890.123456789012345678,"[{""key"":""a:1"",""value"":0.10}]",,,,,,r,,2,"#;
        assert_eq!(row.trim_end(), expected);
    }
}
