//! Files that other programs wrote, value by value.

use std::collections::BTreeMap;
use std::path::Path;

use flowmeter_document::Pipeline;
use serde_json::value::RawValue;

use super::*;

const BY_CONTENT: &str = "id: content";

fn plan(source: &str, meter: &str) -> Plan {
    let meter = if meter.is_empty() { "time: nothing" } else { meter };
    let key = "00000000-0000-4000-8000-000000000001";
    let document = format!(
        "pipeline: p\nsource: {{file: {{path: x.parquet, optional: [nothing, other], {source}}}}}\ndedupe: off\n\
         operators: [{{meter: {{key: {key}, {meter}, rules: [{{}}]}}}}]\nmeterTypes: [{{name: m}}]\n"
    );
    Pipeline::read(&document).unwrap_or_else(|why| panic!("{document}: {why:?}")).plan
}

fn open(file: &str, plan: &Plan) -> Result<Rows, Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(file);
    Rows::open(path.to_str().unwrap(), plan, 0, &Arc::default())
}

/// The rows as they are handed on.
fn rows(mut rows: Rows, bytes_max: usize) -> Vec<String> {
    let (mut block, mut all) = (Block::default(), Vec::new());
    while {
        block.clear();
        rows.cut(&mut block, bytes_max).unwrap()
    } {
        let text = String::from_utf8(block.bytes().to_vec()).unwrap();
        assert_eq!(block.first_line, all.len() as u64 + 1);
        all.extend(text.lines().map(str::to_owned));
    }
    all
}

/// Compares both rows of a file with what they should be, by column.
fn agree(file: &str, expected: &[(&str, &str, &str)]) {
    let rows = rows(open(file, &plan(BY_CONTENT, "time: nothing")).unwrap(), 1 << 20);
    assert_eq!(rows.len(), 2);
    let [one, two]: [BTreeMap<String, &RawValue>; 2] =
        std::array::from_fn(|at| serde_json::from_str(&rows[at]).unwrap_or_else(|why| panic!("{}: {why}", rows[at])));
    for (column, first, second) in expected {
        assert_eq!((one[*column].get(), two[*column].get()), (*first, *second), "{file}: {column}");
    }
    assert_eq!(one.len(), expected.len(), "{file}: columns");
}

#[test]
fn every_type_of_pyarrow_keeps_every_digit() {
    let stamp = r#""2023-04-13T23:58:58.123456Z""#;
    agree(
        "parquet/pyarrow.parquet",
        &[
            // Parquet has no seconds: pyarrow makes milliseconds of them.
            ("utc_s", r#""2023-04-13T23:58:58Z""#, "null"),
            ("utc_ms", r#""2023-04-13T23:58:58.123Z""#, "null"),
            ("utc_us", stamp, "null"),
            ("utc_ns", r#""2023-04-13T23:58:58.123456789Z""#, "null"),
            ("oslo", stamp, "null"),
            ("offset", stamp, "null"),
            ("naive_s", r#""2023-04-13T23:58:58""#, "null"),
            ("naive_ms", r#""2023-04-13T23:58:58.123""#, "null"),
            ("naive_us", r#""2023-04-13T23:58:58.123456""#, "null"),
            ("naive_ns", r#""2023-04-13T23:58:58.123456789""#, "null"),
            ("date", r#""2023-04-13""#, r#""1969-12-31""#),
            ("time", r#""01:02:03.004""#, r#""00:00:00""#),
            ("duration", "1.000005", "-2.000000"),
            ("d32", "1234567.89", "-0.01"),
            ("d64", "12345678901234.5678", "0.0000"),
            ("d128", "12345678901234567890.123456789012345678", "-0.500000000000000000"),
            ("d256", "12345678901234567890.123456789012345678901234567890", "1.000000000000000000000000000000"),
            ("i8", "-128", "null"),
            ("u64", "18446744073709551615", "0"),
            ("i64", "9007199254740993", "-1"),
            ("f32", "0.1", "1.5"),
            ("f64", "0.1", "1e300"),
            ("nan", r#""NaN""#, r#""inf""#),
            ("yes", "true", "false"),
            ("text", r#""quote \" and\nline""#, r#""ø""#),
            ("large", r#""a""#, "null"),
            ("category", r#""x""#, "null"),
            ("binary", r#""00ff""#, r#""""#),
            ("list", "[1,null,3]", "[]"),
            ("struct", r#"{"at":"2023-04-13T23:58:58.123456Z","n":{"d":1.50}}"#, "null"),
            ("map", r#"{"a":1,"b":null}"#, "{}"),
        ],
    );
}

#[test]
fn decimals_stored_as_integers_keep_every_digit() {
    agree(
        "parquet/integer_decimals.parquet",
        &[
            ("d32", "1234567.89", "-0.01"),
            ("d64", "12345678901234.5678", "0.0000"),
            ("d128", "12345678901234567890.123456789012345678", "-0.500000000000000000"),
        ],
    );
}

#[test]
fn files_of_duckdb_polars_and_spark_are_read() {
    let (stamp, naive) = (r#""2023-04-13T23:58:58.123456Z""#, r#""2023-04-13T23:58:58.123456""#);
    let digits = "12345678901234567890.123456789012345678";
    agree(
        "parquet/duckdb.parquet",
        &[
            ("at", stamp, "null"),
            ("naive", naive, "null"),
            ("day", r#""2023-04-13""#, "null"),
            ("d16", "1.10", "null"),
            ("d64", "123.4560", "null"),
            ("d128", digits, "null"),
            ("f32", "0.1", "null"),
            ("f64", "0.1", "null"),
            ("user", r#""anna""#, "null"),
            ("id", r#""b1f8797b-c827-4483-b6cf-6d3d3baa18a7""#, "null"),
            ("state", r#""on""#, "null"),
            ("list", "[1,2]", "null"),
            ("struct", r#"{"a":1.50,"b":"x"}"#, "null"),
            ("map", r#"{"k":1}"#, "null"),
            ("clock", r#""01:02:03.500""#, "null"),
        ],
    );
    agree(
        "parquet/polars.parquet",
        &[
            ("at", stamp, "null"),
            ("at_ns", stamp, "null"),
            ("naive", naive, "null"),
            ("d", digits, "null"),
            ("user", r#""anna""#, "null"),
            ("category", r#""x""#, "null"),
            ("n", "9007199254740993", "null"),
            ("f", "0.1", "null"),
            ("list", "[1.5,2.0]", "null"),
            ("struct", r#"{"a":"b"}"#, r#"{"a":null}"#),
            ("span", "1.500000", "null"),
        ],
    );
    agree(
        "parquet/spark.parquet",
        &[
            // INT96 has no zone.
            ("utc_us", naive, "null"),
            ("d64", "12345678901234.5678", "0.0000"),
            ("text", r#""quote \" and\nline""#, r#""ø""#),
        ],
    );
}

#[test]
fn a_time_that_no_row_could_give_refuses_the_file() {
    let told = |source: &str, meter: &str| match open("parquet/pyarrow.parquet", &plan(source, meter)) {
        Ok(_) => String::new(),
        Err(why) => why.to_string(),
    };
    let pattern = r#"format: "%Y-%m-%dT%H:%M:%S%.f", timezone: Europe/Oslo"#;
    assert_eq!(told("", "time: utc_us"), "");
    assert_eq!(told("", "time: struct.at"), "");
    assert_eq!(told("time: oslo", ""), "");
    assert_eq!(told(&format!("time: {{field: naive_us, {pattern}}}"), ""), "");
    assert_eq!(told("", "time: {field: i64, format: unix_s}"), "");
    for (source, meter, expected) in [
        ("", "time: naive_us", "the time `naive_us` is a column of times without a zone; write `time: { field: naive_us, "),
        ("time: naive_s", "", "times without a zone"),
        ("", &format!("time: {{field: utc_us, {pattern}}}"), "instants (UTC), which read by themselves: leave `format` out"),
        ("", "time: date", "dates; write `time: { field: date, format: \"%Y-%m-%d\""),
        ("", "time: yes", "Boolean, which RFC 3339 does not read"),
    ] {
        assert!(told(source, meter).contains(expected), "{source} {meter}: {}", told(source, meter));
    }
}

#[test]
fn columns_nobody_reads_are_not_read_and_no_row_is_lost() {
    let lines = rows(open("parquet/pyarrow.parquet", &plan("", "user: text, time: utc_us, value: d64")).unwrap(), 1 << 20);
    assert_eq!(lines[1], r#"{"utc_us":null,"d64":0.0000,"text":"ø"}"#);
    let lines = rows(open("parquet/pyarrow.parquet", &plan("", "user: other, time: nothing")).unwrap(), 1 << 20);
    assert_eq!(lines, ["{}", "{}"]);
}

#[test]
fn an_event_beyond_its_bound_is_cut_to_be_refused() {
    let lines = rows(open("data/http_requests_2023-04-13.parquet", &plan(BY_CONTENT, "")).unwrap(), 50);
    assert_eq!(lines.len(), 144);
    assert!(lines.iter().all(|line| line.len() == 51), "{lines:?}");
}
