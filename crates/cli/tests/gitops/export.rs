//! `flowmeter export`: records of a server as files.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually, items};
use crate::{client, parts, write};

/// Counts by the hour in Oslo, with groups, and the largest value beside it.
const PIPELINE: &str = "pipeline: hours
source: { http: {} }
operators:
  - meter:
      key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a11
      match: all
      rules:
        - { category: use, value: data.value, groupBy: [[type]] }
        - { category: peak, value: data.value }
meterTypes:
  - { name: Use, category: use, unit: kWh, timezone: Europe/Oslo, resetSchedule: hourly, flushEmpty: false, late: { amendWithin: 36500d } }
  - { name: Peak, category: peak, unit: kW, aggregation: max, timezone: Europe/Oslo, resetSchedule: hourly, flushEmpty: false, late: { amendWithin: 36500d } }
targets:
  - none: {}
";

fn at(id: &str, user: &str, value: &str, time: &str) -> Value {
    let mut event = event(id, user, serde_json::from_str(value).unwrap());
    event["time"] = json!(time);
    event
}

/// A server with records of one month, a revision among them, and one record of the next month.
fn server(folder: &Path) -> Server {
    write(folder, "p.yaml", PIPELINE);
    let server = Server::start_at(folder, &["--data", "data", "--pipeline", "p.yaml"]);
    let records =
        |count: usize| eventually("records", || Some(items(&server.get("/api/v1/records"))).filter(|found| found.len() == count));
    server.count(&[
        // The last hour of October in Oslo, and the first one of November.
        at("1", "anna", "2.5", "2024-10-31T22:30:00Z"),
        at("2", "anna", "7", "2024-10-31T23:30:00Z"),
        at("3", "bob", "12345678901234567.000000000000000001", "2024-10-27T10:30:00Z"),
    ]);
    records(6);
    server.count(&[at("4", "anna", "0.1", "2024-10-31T22:40:00Z")]);
    records(8);
    server
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_month_is_written_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = server(folder);
    let run = |arguments: &[&str]| parts(&client(&server, folder, &[&["export"], arguments].concat()));

    let (code, said, why) = run(&["--period", "2024-10", "--latest", "-o", "-", "--format", "ndjson"]);
    assert_eq!(code, 0, "{why}");
    let found = rows(&said);
    let short: Vec<String> = found
        .iter()
        .map(|row| format!("{} {} {} {} {}", row["meterTypeName"], row["userId"], row["period"], row["value"], row["revision"]))
        .map(|text| text.replace('"', ""))
        .collect();
    let expected = [
        "Peak anna 2024-10-31T23:00+01:00 2.5 0",
        "Peak bob 2024-10-27T11:00+01:00 12345678901234567.000000000000000001 0",
        "Use anna 2024-10-31T23:00+01:00 2.6 1",
        "Use bob 2024-10-27T11:00+01:00 12345678901234567.000000000000000001 0",
    ];
    assert_eq!(short[1..], expected[1..], "{said}");
    assert_eq!((&found[2]["periodStartLocal"], &found[2]["pipeline"]), (&json!("2024-10-31T23:00:00"), &json!("hours")));
    let totals: Vec<Vec<&str>> = why.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(totals[1], ["PIPELINE", "METER", "TYPE", "UNIT", "PERIODS", "TOTAL"], "{why}");
    assert_eq!(totals[2], ["hours", "Peak", "kW", "2", "-"], "{why}");
    assert_eq!(totals[3], ["hours", "Use", "kWh", "2", "12345678901234569.600000000000000001"], "{why}");

    // All revisions: the file has both, the totals are the same.
    let (_, said, why) = run(&["--period", "2024-10", "--type", "Use", "-o", "-", "--format", "csv"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains(",2.6,kWh,1,0.1,2,") && said.contains(",2.5,kWh,0,,1,"), "{said}");
    assert!(why.contains("3 records of 2024-10, 3 rows in -\n") && why.contains("12345678901234569.600000000000000001"), "{why}");

    let (code, _, why) = run(&["--period", "2024-11-01", "--user", "anna", "-o", "day.parquet"]);
    assert_eq!(code, 0, "{why}");
    assert!(std::fs::read(folder.join("day.parquet")).unwrap().starts_with(b"PAR1"));
    assert!(why.contains("2 records of 2024-11-01, 2 rows in day.parquet\n"), "{why}");
    let range = "2024-10-31T22:00:00Z..2024-10-31T23:00:00Z";
    let (code, _, why) = run(&["--period", range, "--latest", "--groups", "rows", "--pipeline", "hours", "-o", "hour.xlsx"]);
    assert_eq!(code, 0, "{why}");
    assert!(why.contains("rows in hour.xlsx\n") && std::fs::read(folder.join("hour.xlsx")).unwrap().starts_with(b"PK"));
    let (_, said, _) =
        run(&["--period", range, "--latest", "--type", "Use", "--groups", "rows", "--format", "ndjson", "-o", "-"]);
    let found = rows(&said);
    assert_eq!((found.len(), &found[1]["group"], &found[1]["groupValue"]), (2, &json!("type:request"), &json!(2.6)), "{said}");
    let (code, said, why) = run(&["--period", "2020", "-o", "-", "--format", "csv"]);
    assert!(code == 0 && said.lines().count() == 1 && why == "0 records of 2020, 0 rows in -\n", "{said}{why}");
}

#[test]
fn wrong_arguments_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(&folder.join("data"), &[]);
    write(folder, "kept.csv", "mine");
    for (arguments, code, expected) in [
        (vec!["--period", "2026-13", "-o", "kept.csv"], 2, "--period 2026-13: `2026-13` is no period; write a month (2026-10)"),
        (vec!["--period", "2026-10", "-o", "kept.txt"], 2, "-o kept.txt: no format has this ending; add --format"),
        (vec!["--period", "2026-10", "-o", "data", "--format", "csv"], 2, "-o data: is a folder"),
        (vec!["--period", "2026-10", "-o", "no/such/kept.csv"], 2, "-o no/such/kept.csv: No such file"),
        (
            vec!["--period", "2026-10", "-o", "kept.csv", "--pipeline", "defalt"],
            2,
            "--pipeline defalt: the server has no such pipeline; did you mean default?",
        ),
        (vec!["--period", "2026-10", "-o", "kept.csv", "--url", "http://127.0.0.1:1"], 3, "no answer from"),
    ] {
        let (exit, _, why) = parts(&client(&server, folder, &[vec!["export"], arguments].concat()));
        assert!(exit == code && why.contains(expected), "{expected}: {exit} {why}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("kept.csv")).unwrap(), "mine");
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
