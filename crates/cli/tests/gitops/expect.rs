//! `flowmeter test --expect`, and the `tests` of a document.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{parts, write};

const PIPELINE: &str = "pipeline: orders
source:
  file: { path: orders.ndjson }
operators:
  - filter: { when: 'data.paid' }
  - meter: { key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c71, rules: [{ category: orders, value: data.amount }] }
meterTypes:
  - { name: Revenue, category: orders, unit: EUR }
targets:
  - none: {}
";

fn event(id: u32, user: &str, amount: &str) -> String {
    format!(
        r#"{{"id":"{id}","source":"/shop","type":"order","subject":"{user}","time":"2026-01-05T10:00:00Z","data":{{"paid":true,"amount":{amount}}}}}"#
    )
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.arg("test").args(arguments).args(["--as-of", "2026-02-01T00:00:00Z"]);
    parts(&command.current_dir(folder).output().unwrap())
}

#[test]
fn records_are_compared_with_expected_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "p.yaml", PIPELINE);
    write(folder, "orders.ndjson", &format!("{}\n{}\n{{}}\n", event(1, "anna", "12.5"), event(2, "bob", "0.10")));
    let parked = "  parked      1 ";
    for (expected, code, lines) in [
        (
            "{\"userId\":\"bob\",\"value\":0.1}\n\n{\"userId\":\"anna\",\"value\":12.50}\n",
            0,
            vec!["ok      2 records as expected"],
        ),
        ("[{\"userId\":\"bob\"},{\"meterMetaData\":{\"eventCount\":1}}]", 0, vec!["ok      2 records as expected"]),
        (
            "{\"userId\":\"anna\",\"value\":13,\"unit\":\"EUR\"}\n{\"userId\":\"carl\"}\n",
            1,
            vec![
                "FAILED  2 records expected, 2 found: 1 missing, 1 unexpected, 1 different",
                "  missing     {\"userId\":\"carl\"}",
                "  unexpected  {\"userId\":\"bob\",\"meterTypeName\":\"Revenue\",\"periodStart\":\"2026-01-01T00:00:00.000Z\",\"value\":0.1}",
                "  different   anna, Revenue, 2026-01-01T00:00:00.000Z",
                "    value: expected 13, found 12.5",
                parked,
            ],
        ),
        ("", 1, vec!["FAILED  0 records expected, 2 found: 2 unexpected"]),
    ] {
        write(folder, "expected.ndjson", expected);
        let (exit, said, why) = run(folder, &["p.yaml", "--expect", "expected.ndjson"]);
        assert_eq!(exit, code, "{expected}: {said}{why}");
        let found: Vec<&str> = said.lines().collect();
        for (line, found) in lines.iter().zip(&found) {
            assert!(found.starts_with(line), "{line}: {said}");
        }
        assert!(code != 0 || found.len() == 1, "nothing else: {said}");
    }
    write(folder, "expected.ndjson", "{\"userId\":\"bob\"}\n{\"userId\":\"anna\",\"value\":13}\n");
    let (code, said, _) = run(folder, &["p.yaml", "--expect", "expected.ndjson", "--output", "json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["passed"]), (1, &Value::Bool(false)), "{said}");
    let field = serde_json::json!({"field": "value", "expected": 13, "found": 12.5});
    assert_eq!(report["different"][0]["fields"][0], field, "{said}");
    let strict = run(folder, &["p.yaml", "--expect", "expected.ndjson", "--strict"]);
    assert!(strict.0 == 1 && strict.2.contains("1 events were parked"), "{strict:?}");

    for (expected, place) in [
        ("{\"userId\":\"bob\"}\n{\"userId\"\n", "expected.ndjson:2: not a JSON object: "),
        ("[1]", "expected.ndjson: record 1 is no JSON object"),
        ("{}\n\"x\"\n", "expected.ndjson: line 2 is no JSON object"),
    ] {
        write(folder, "expected.ndjson", expected);
        let (code, said, why) = run(folder, &["p.yaml", "--expect", "expected.ndjson"]);
        assert!(code == 2 && said.is_empty() && why.contains(place), "{code} {said} {why}");
    }
    assert_eq!(run(folder, &["p.yaml", "--expect", "nowhere.ndjson"]).0, 2);
    let (code, said, _) = run(folder, &["p.yaml", "--expect", "expected.ndjson", "--input", "nowhere.ndjson"]);
    assert_eq!((code, said.as_str()), (2, ""));
}

#[test]
fn tests_in_the_document_have_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (first, second) = (event(1, "anna", "12.5"), event(2, "bob", "3"));
    let tests = format!(
        "tests:
  - name: paid orders add up
    asOf: 2026-02-01T00:00:00Z
    input:
      - {first}
      - {}
    expect:
      - {{ userId: anna, value: 14.50, periodStart: '2026-01-01T00:00:00.000Z' }}
  - name: unpaid orders do not count
    input: [{}]
    expect: []
  - {{ name: files, input: data/in.ndjson, expect: data/out.ndjson }}
",
        first.replace("\"1\"", "\"3\"").replace("12.5", "2"),
        first.replace("true", "false"),
    );
    write(folder, "git/p.yaml", &format!("{PIPELINE}{tests}"));
    write(folder, "git/data/in.ndjson", &format!("{second}\n"));
    write(folder, "git/data/out.ndjson", "{\"userId\":\"bob\",\"value\":3}\n");
    let (code, said, why) = run(folder, &["git/p.yaml"]);
    let all = "ok      paid orders add up\nok      unpaid orders do not count\nok      files\n";
    assert_eq!((code, said.as_str(), why.as_str()), (0, all, ""));

    // With an input, the test is the report that it always was.
    let (code, said, _) = run(folder, &["git/p.yaml", "--input", "git/data/in.ndjson"]);
    assert!(code == 0 && said.contains("records that would be flushed\n  {"), "{code} {said}");

    write(folder, "git/data/out.ndjson", "{\"userId\":\"bob\",\"value\":4}\n");
    let wrong = format!("{PIPELINE}{tests}  - {{ name: no file, input: data/none.ndjson, expect: [] }}\n");
    write(folder, "git/p.yaml", &wrong.replace("14.50", "14.51"));
    let (code, said, why) = run(folder, &["git/p.yaml"]);
    assert_eq!(code, 2, "a file that is missing is wrong input: {said}");
    let expected = "FAILED  paid orders add up: 1 record expected, 1 found: 1 different
  different   anna, Revenue, 2026-01-01T00:00:00.000Z
    value: expected 14.51, found 14.5
ok      unpaid orders do not count
FAILED  files: 1 record expected, 1 found: 1 different
  different   bob, Revenue, 2026-01-01T00:00:00.000Z
    value: expected 4, found 3
FAILED  no file: ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("git/data/none.ndjson"), "{said}");
    assert_eq!(why, "3 of 4 tests failed\n");
    write(folder, "git/p.yaml", &format!("{PIPELINE}{tests}"));
    let (code, said, _) = run(folder, &["git/p.yaml", "--output", "json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["passed"], &report["tests"][2]["name"]), (1, &false.into(), &"files".into()), "{said}");
    let (code, _, why) = run(folder, &["git/p.yaml", "--events", "events.ndjson"]);
    assert!(code == 2 && why.contains("add --input FILE"), "{why}");
}
