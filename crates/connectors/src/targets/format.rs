//! Records as lines of JSON, as rows, as columns; and read back from these.

use std::collections::BTreeMap;

use flowmeter_document::TargetFormat;
use flowmeter_engine::outbox::Outgoing;
use flowmeter_engine::{Error, Kind};
use serde_json::value::RawValue;
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::columns;

/// The columns of a file of records.
pub(super) const COLUMNS: [&str; 24] = [
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
    "delta",
    "eventCount",
    "firstEvent",
    "lastEvent",
    "customFields",
    "threshold",
];
/// Index of `recordId` in the columns.
pub(super) const RECORD_ID: usize = 16;

/// Returns the bytes before the first record.
pub(super) fn head(format: TargetFormat) -> Result<Vec<u8>, Error> {
    match format {
        TargetFormat::Ndjson | TargetFormat::Parquet => Ok(Vec::new()),
        TargetFormat::Csv => line(COLUMNS.iter().map(|name| (*name).to_owned())),
    }
}

/// Appends a record, in formats that support it.
pub(super) fn append(format: TargetFormat, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    match format {
        TargetFormat::Ndjson => {
            out.extend_from_slice(json);
            out.push(b'\n');
        }
        TargetFormat::Csv => out.extend_from_slice(&line(row(json)?.into_iter())?),
        TargetFormat::Parquet => return Err(Error::new(Kind::Invalid, "a Parquet file does not grow")),
    }
    Ok(())
}

/// Returns a whole file of records.
pub(super) fn whole(format: TargetFormat, records: &[Outgoing<'_>]) -> Result<Vec<u8>, Error> {
    if format == TargetFormat::Parquet {
        let mut writer = columns::Writer::of_records(Vec::new())?;
        records.iter().try_for_each(|record| writer.push(record.json))?;
        return writer.finish();
    }
    let mut out = head(format)?;
    records.iter().try_for_each(|record| append(format, record.json, &mut out))?;
    Ok(out)
}

/// The members of a record and of its meta data, by name.
pub(crate) type Members<'a> = BTreeMap<&'a str, &'a RawValue>;

/// Returns the members of a record, including those of `meterMetaData`.
pub(crate) fn members(json: &[u8]) -> Result<Members<'_>, Error> {
    let bug = |why: serde_json::Error| Error::new(Kind::Bug, format!("a record is not JSON: {why}"));
    let mut members: Members<'_> = serde_json::from_slice(json).map_err(bug)?;
    if let Some(meta) = members.remove("meterMetaData") {
        members.extend(serde_json::from_str::<Members<'_>>(meta.get()).map_err(bug)?);
    }
    Ok(members)
}

/// Returns the fields of a record as texts, in the order of [`COLUMNS`].
pub(super) fn row(json: &[u8]) -> Result<Vec<String>, Error> {
    let members = members(json)?;
    let text = |name: &&str| match members.get(name).map(|raw| raw.get()) {
        None | Some("null") => String::new(),
        Some(raw) if raw.starts_with('"') => serde_json::from_str(raw).unwrap_or_default(),
        Some(raw) => raw.to_owned(),
    };
    Ok(COLUMNS.iter().map(text).collect())
}

fn line(fields: impl Iterator<Item = String>) -> Result<Vec<u8>, Error> {
    let bug = |why: &dyn std::fmt::Display| Error::new(Kind::Bug, format!("a row cannot be written: {why}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|why| bug(&why))?;
    writer.into_inner().map_err(|why| bug(&why))
}

/// The records of a file: the digest of each, by its id.
pub(super) type Index = BTreeMap<Uuid, u128>;

/// Returns the digest of a record in a format.
pub(super) fn digest(format: TargetFormat, json: &[u8]) -> Result<u128, Error> {
    match format {
        TargetFormat::Ndjson => Ok(xxh3_128(json)),
        TargetFormat::Csv => Ok(digest_row(row(json)?.iter().map(String::as_str))),
        TargetFormat::Parquet => Ok(digest_row(columns::row(json)?.iter().map(String::as_str))),
    }
}

fn digest_row<'a>(fields: impl Iterator<Item = &'a str>) -> u128 {
    let mut digest = Xxh3::new();
    fields.for_each(|field| {
        digest.update(field.as_bytes());
        digest.update(&[0x1f]);
    });
    digest.digest128()
}

/// Reads a file of records. Lines that are not records are ignored.
pub(super) fn index(format: TargetFormat, bytes: &[u8]) -> Result<Index, Error> {
    let mut index = Index::new();
    match format {
        TargetFormat::Ndjson => {
            for line in bytes.split(|byte| *byte == b'\n') {
                if let Ok(names) = (Outgoing { number: 0, json: line }).names() {
                    index.insert(names.record_id, xxh3_128(line));
                }
            }
        }
        TargetFormat::Csv => {
            let mut reader = csv::Reader::from_reader(bytes);
            for row in reader.records().flatten() {
                if let Some(id) = row.get(RECORD_ID).and_then(|id| Uuid::try_parse(id).ok()) {
                    index.insert(id, digest_row(row.iter()));
                }
            }
        }
        TargetFormat::Parquet => {
            for row in columns::read(bytes.to_vec())? {
                if let Ok(id) = Uuid::try_parse(&row[RECORD_ID]) {
                    index.insert(id, digest_row(row.iter().map(String::as_str)));
                }
            }
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &[u8] = br#"{"groups":[{"key":"a:1","value":0.10}],"id":"a1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterMetaData":{"eventCount":2,"recordId":"b1f8797b-c827-4483-b6cf-6d3d3baa18a7"},"userId":"x, \"y\"","value":12345678901234567890.123456789012345678}"#;

    #[test]
    fn a_record_as_a_row() {
        let row = String::from_utf8(line(row(JSON).unwrap().into_iter()).unwrap()).unwrap();
        let expected = r#"a1f8797b-c827-4483-b6cf-6d3d3baa18a7,"x, ""y""",,,,,,,,12345678901234567890.123456789012345678,"[{""key"":""a:1"",""value"":0.10}]",,,,,,b1f8797b-c827-4483-b6cf-6d3d3baa18a7,,,2,,,,"#;
        assert_eq!(row.trim_end(), expected);
    }

    #[test]
    fn written_records_are_read_back() {
        let other = String::from_utf8(JSON.to_vec()).unwrap().replace("\"b1f", "\"c1f").replace("0.10", "0.2");
        let records = [Outgoing { number: 0, json: JSON }, Outgoing { number: 1, json: other.as_bytes() }];
        for format in [TargetFormat::Ndjson, TargetFormat::Csv, TargetFormat::Parquet] {
            let bytes = whole(format, &records).unwrap();
            assert_eq!(bytes, whole(format, &records).unwrap(), "{format:?} is the same every time");
            let index = index(format, &bytes).unwrap();
            let expected: Index =
                records.iter().map(|record| (record.names().unwrap().record_id, digest(format, record.json).unwrap())).collect();
            assert_eq!(index, expected, "{format:?}");
        }
    }
}
