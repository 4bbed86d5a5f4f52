//! Exports, read back by the readers that other programs use.

use std::sync::{Arc, Mutex};

use calamine::{Data, Reader};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use super::*;
use flowmeter_core::time::Timestamp;

const RECORD: &str = r#"{"carryFirst":{},"carryLast":{"a":"x, y"},"createdAt":"2026-10-01T00:00:00.000Z","deleteOnReset":false,"groups":[{"fields":{"m":"large"},"key":"m:large","value":0.10},{"fields":{"m":"large","r":null},"key":"m:large,r:","value":12345678901234567890.123456789012345678}],"id":"00000000-0000-4000-8000-000000000001","meterKey":"k","meterMetaData":{"delta":-0.5,"eventCount":9007199254740993,"recordId":"10000000-0000-4000-8000-000000000001","revision":1},"meterTypeId":"t","meterTypeName":"=SUM(A1)","periodEnd":"2026-10-31T23:00:00.000Z","periodStart":"2026-09-30T22:00:00.000Z","timezone":"Europe/Oslo","unit":"kWh","updatedAt":"2026-10-01T00:00:00.000Z","userId":"anna","value":12345678901234567890.123456789012345678}"#;

/// Bytes that outlive the export.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, groups: Groups, records: &[&str]) -> Vec<u8> {
    let shared = Shared::default();
    let mut export = Export::new(format, groups, Box::new(shared.clone())).unwrap();
    let at = |text: &str| Timestamp::parse_rfc3339(text.as_bytes());
    let labels = Labels {
        pipeline: "p",
        period: "2026-10".to_owned(),
        start: at("2026-10-01T00:00:00Z"),
        end: at("2026-11-01T00:00:00Z"),
    };
    for record in records {
        export.push(record.as_bytes(), &labels).unwrap();
    }
    export.finish().unwrap();
    shared.0.lock().unwrap().clone()
}

fn texts(format: Format, groups: Groups) -> Vec<String> {
    String::from_utf8(written(format, groups, &[RECORD])).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn csv_has_every_digit_and_local_times() {
    let lines = texts(Format::Csv, Groups::Column);
    let start =
        "pipeline,userId,meterTypeName,period,periodStartLocal,periodEndLocal,timezone,value,unit,revision,delta,eventCount,";
    assert!(lines[0].starts_with(start), "{}", lines[0]);
    let start = "p,anna,=SUM(A1),2026-10,2026-10-01T00:00:00,2026-11-01T00:00:00,Europe/Oslo,12345678901234567890.123456789012345678,kWh,1,-0.5,9007199254740993,,,2026-09-30T22:00:00.000Z,";
    assert!(lines[1].starts_with(start), "{}", lines[1]);
    assert!(lines[1].contains(r#""{""a"":""x, y""}""#), "{}", lines[1]);
}

#[test]
fn groups_become_rows_that_add_nothing_up_twice() {
    let lines = texts(Format::Ndjson, Groups::Rows);
    let rows: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let short: Vec<String> = rows
        .iter()
        .map(|row| format!("{} | {} | {} | {}", row["value"], row["groupBy"], row["groupValue"], row["groupFields"]))
        .collect();
    let expected = [
        "12345678901234567890.123456789012345678 | null | null | null",
        "null | \"m\" | 0.1 | {\"m\":\"large\"}",
        "null | \"m, r\" | 12345678901234567890.123456789012345678 | {\"m\":\"large\",\"r\":null}",
    ];
    assert_eq!(short, expected);
    assert!(
        rows.iter().all(|row| row["recordId"] == rows[0]["recordId"] && row["eventCount"].is_null() != row["groupBy"].is_null())
    );
}

#[test]
fn parquet_has_typed_columns() {
    for (groups, rows) in [(Groups::Column, 1), (Groups::Rows, 3)] {
        let reader = SerializedFileReader::new(bytes::Bytes::from(written(Format::Parquet, groups, &[RECORD]))).unwrap();
        let found: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(found.len(), rows, "{found:?}");
        for part in ["value: 12345678901234567890.123456789012345678", "eventCount: 9007199254740993", "period: \"2026-10\""] {
            assert!(found[0].contains(part), "{part}: {}", found[0]);
        }
        let schema = format!("{:?}", reader.metadata().file_metadata().schema());
        assert!(schema.contains("periodStartLocal") && schema.contains("is_adjusted_to_u_t_c: false"), "{schema}");
    }
}

#[test]
fn a_sheet_has_numbers_where_a_double_holds_them() {
    let bytes = written(Format::Xlsx, Groups::Rows, &[RECORD]);
    let mut book = calamine::Xlsx::new(std::io::Cursor::new(bytes)).unwrap();
    let sheet = book.worksheet_range("records").unwrap();
    let rows: Vec<Vec<Data>> = sheet.rows().map(<[Data]>::to_vec).collect();
    let at = |name: &str| rows[0].iter().position(|cell| *cell == Data::String(name.to_owned())).unwrap();
    let cell = |row: usize, name: &str| rows[row][at(name)].clone();
    assert_eq!(rows.len(), 4);
    assert_eq!(cell(1, "value"), Data::String("12345678901234567890.123456789012345678".to_owned()));
    assert_eq!(cell(1, "eventCount"), Data::String("9007199254740993".to_owned()));
    assert_eq!((cell(1, "delta"), cell(2, "groupValue")), (Data::Float(-0.5), Data::Float(0.1)));
    assert_eq!(cell(1, "meterTypeName"), Data::String("=SUM(A1)".to_owned()), "a text is no formula");
    assert_eq!(cell(1, "deleteOnReset"), Data::Bool(false));
    let Data::DateTime(start) = cell(1, "periodStartLocal") else { panic!("{:?}", cell(1, "periodStartLocal")) };
    assert_eq!(start.to_ymd_hms_milli(), (2026, 10, 1, 0, 0, 0, 0));
}

#[test]
fn a_cell_that_is_too_long_is_refused_with_its_record() {
    let mut export = Export::new(Format::Xlsx, Groups::Column, Box::new(Shared::default())).unwrap();
    let long = RECORD.replace("m:large,r:", &"x".repeat(40_000));
    let labels = Labels { pipeline: "p", period: "2026-10".to_owned(), start: None, end: None };
    let why = export.push(long.as_bytes(), &labels).unwrap_err().to_string();
    assert!(why.contains("record 10000000-0000-4000-8000-000000000001: `groups` has more than the 32767 characters"), "{why}");
    assert!(why.contains("write groups as rows"), "{why}");
}
