//! Files of records as other programs see them.

use std::process::Command;

use parquet::data_type::{ByteArray, ByteArrayType};

use super::*;

fn record(number: u64, value: &str) -> String {
    format!(
        r#"{{"carryFirst":{{}},"carryLast":{{"a":"tab\there"}},"createdAt":"2026-01-01T00:00:00.000Z","customFields":{{"plan":{{"n":1.50}}}},"deleteOnReset":false,"groups":[{{"fields":{{"m":"x,\"y\"","n":1,"o":null}},"key":"m:x","value":0.1}},{{"fields":{{}},"key":"","value":12345678901234567890.123456789012345678}}],"id":"00000000-0000-4000-8000-000000000001","meterKey":"a1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterMetaData":{{"delta":-0.5,"eventCount":9007199254740993,"firstEvent":"2026-01-02T00:00:00.001Z","lastEvent":"2026-01-03T00:00:00.000Z","recordId":"10000000-0000-4000-8000-{number:012}","revision":1}},"meterTypeId":"b1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterTypeName":"LLM tokens","periodEnd":"2026-02-01T00:00:00.000Z","periodStart":"2026-01-01T00:00:00.000Z","timezone":"Etc/UTC","unit":"","updatedAt":"2026-01-03T00:00:00.000Z","userId":"anna","value":{value}}}"#
    )
}

/// A period that never ends, of a meter without a value.
const BARE: &str = r#"{"carryFirst":{},"carryLast":{},"createdAt":"2026-01-01T00:00:00.000Z","deleteOnReset":true,"groups":[],"id":"i","meterKey":"k","meterMetaData":{"eventCount":0,"recordId":"20000000-0000-4000-8000-000000000000","revision":0},"meterTypeId":"t","meterTypeName":"n","periodEnd":null,"periodStart":"2026-01-01T00:00:00.000Z","timezone":"Etc/UTC","unit":"GB","updatedAt":"2026-01-01T00:00:00.000Z","userId":"u","value":null}"#;

fn records() -> Vec<String> {
    let values = ["99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999998", "0.1", "25"];
    let mut records: Vec<String> = (0..).zip(values).map(|(number, value)| record(number, value)).collect();
    records.push(BARE.to_owned());
    records
}

fn file(records: &[String]) -> Vec<u8> {
    let mut writer = Writer::of_records(Vec::new()).unwrap();
    records.iter().for_each(|record| writer.push(record.as_bytes()).unwrap());
    writer.finish().unwrap()
}

#[test]
fn columns_read_back_as_the_records_they_were_written_from() {
    let records = records();
    let expected: Vec<_> = records.iter().map(|record| row(record.as_bytes()).unwrap()).collect();
    assert_eq!(read(file(&records)).unwrap(), expected);
    for (one, other) in [("0.1}", "0.10}"), ("\"delta\":-0.5", "\"delta\":-0.50")] {
        let same = record(0, "0.1").replace(one, other);
        assert_eq!(row(same.as_bytes()).unwrap(), row(record(0, "0.1").as_bytes()).unwrap(), "digits, not letters");
    }
    for (one, other) in
        [("0.1}", "0.2}"), ("\"n\":1,", "\"n\":2,"), ("anna", "Anna"), ("00:00.001Z", "00:00.002Z"), ("tab", "tub")]
    {
        let different = record(0, "0.1").replacen(one, other, 1);
        assert_ne!(row(different.as_bytes()).unwrap(), row(record(0, "0.1").as_bytes()).unwrap(), "{one}");
    }
}

#[test]
fn files_whose_columns_are_all_text_are_still_read() {
    let records = records();
    let rows: Vec<Vec<String>> = records.iter().map(|record| super::super::format::row(record.as_bytes()).unwrap()).collect();
    let fields = COLUMNS.map(|name| format!("optional binary {name} (STRING);")).join(" ");
    let schema = parse_message_type(&format!("message record {{ {fields} }}")).unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for at in 0..COLUMNS.len() {
        let texts = rows.iter().map(|row| row[at].as_str());
        let levels: Vec<i16> = texts.clone().map(|text| i16::from(!text.is_empty())).collect();
        let texts: Vec<ByteArray> = texts.filter(|text| !text.is_empty()).map(ByteArray::from).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    let expected: Vec<_> = records.iter().map(|record| row(record.as_bytes()).unwrap()).collect();
    assert_eq!(read(writer.into_inner().unwrap()).unwrap(), expected);
}

#[test]
fn duckdb_adds_the_values_up_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    std::fs::write(&path, file(&records())).unwrap();
    let python = |code: &str| Command::new("python3").args(["-c", code]).arg(&path).output();
    if !python("import duckdb").is_ok_and(|run| run.status.success()) {
        eprintln!("skipped: python3 with the module duckdb is not here, so nothing but this program read the columns");
        return;
    }
    let query = "import duckdb, sys; duckdb.sql(\"SET timezone = 'UTC'\"); \
        print(*duckdb.sql(f\"SELECT sum(value)::VARCHAR, sum(delta)::VARCHAR, sum(eventCount)::VARCHAR, max(revision), \
        min(firstEvent)::VARCHAR, count(periodEnd), bool_or(deleteOnReset), count(*), \
        (SELECT sum(g.value)::VARCHAR FROM (SELECT unnest(groups) g FROM '{sys.argv[1]}')), \
        any_value(groups[1].fields['m']), typeof(any_value(value)), typeof(any_value(periodEnd)) \
        FROM '{sys.argv[1]}'\").fetchall()[0], sep='|')";
    let run = python(query).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let expected = "25.100000000000000001|-2.000000000000000000|36028797018963972|1|2026-01-02 00:00:00.001+00|4|True|5|\
        49382715604938271560.893827156049382712|x,\"y\"|DECIMAL(38,18)|TIMESTAMP WITH TIME ZONE";
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), expected);
}
