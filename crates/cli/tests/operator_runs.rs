//! `run` with tables and operators that make events.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

const PIPELINE: &str = "
pipeline: calls
source: { file: { path: '-' } }
tables:
  - { name: plans, key: [customer], file: { path: plans.csv } }
operators:
  - split: { path: lines, into: line }
  - enrich: { table: plans, on: { customer: subject }, set: { plan: plan } }
  - accumulate: { key: [subject, plan], window: { size: 1h }, fields: { n: { sum: line } } }
  - meter:
      key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c12
      rules: [{ value: n, groupBy: [plan] }]
meterTypes: [{ name: calls }]
targets: [{ file: { path: records.ndjson } }]
";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("calls.yaml", PIPELINE);
        place.write("plans.csv", "customer,plan\na,gold\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, events: &[Value], as_of: &str, more: &[&str]) -> Output {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.write("events.ndjson", &lines);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.current_dir(self.0.path()).args(["run", "calls.yaml", "--input", "events.ndjson", "--output", "json"]);
        command.args(["--as-of", as_of]).args(more).output().unwrap()
    }

    /// Runs the pipeline over the source that it names.
    fn run_document(&self, as_of: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.current_dir(self.0.path()).args(["run", "calls.yaml", "--as-of", as_of]).output().unwrap()
    }

    /// The names and values that the script of [`GATHER`] gathered, by group.
    fn gathered(&self) -> Vec<String> {
        let records = std::fs::read_to_string(self.path("records.ndjson")).unwrap();
        let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let groups = records.flat_map(|record| record["groups"].as_array().unwrap().clone());
        groups.map(|group| group["fields"]["gathered"].as_str().unwrap().to_owned()).collect()
    }
}

fn event(id: &str, user: &str, time: &str, lines: &Value) -> Value {
    json!({ "id": id, "source": "s", "subject": user, "time": time, "lines": lines })
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn derived_events_are_written_by_id_and_the_sums_add_up() {
    let place = Place::new();
    let events = [
        event("1", "a", "2026-01-05T10:10:00Z", &json!([1, 2.50])),
        event("2", "b", "2026-01-05T10:20:00Z", &json!([4])),
        event("3", "a", "2026-01-05T10:30:00Z", &json!([])),
    ];
    let output = place.run(&events, "2026-02-01T00:00:00Z", &["--derived", "derived.ndjson"]);
    let events = &summary(&output)["events"];
    let expected = json!({
        "received": 3, "derived": 4, "counted": 1, "late": 0, "duplicate": 0, "filtered": 1, "split": 2, "absorbed": 2, "held": 0,
        "cancelled": 0, "parked": 1, "parkedByReason": { "no_match": 1 }, "timedByReceipt": 0,
    });
    assert_eq!(*events, expected);
    let derived = std::fs::read_to_string(place.path("derived.ndjson")).unwrap();
    let ids: Vec<Value> = derived.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["1/split/0", "1/split/1", "2/split/0", "accumulate/2026-01-05T10:00:00.000Z/a,gold"]);
    assert!(derived.contains(r#""n":3.5"#), "{derived}");
}

#[test]
fn held_events_continue_in_the_next_run() {
    let place = Place::new();
    let kept = ["--data", "kept"];
    let first = [event("1", "a", "2026-01-05T10:10:00Z", &json!([1]))];
    let output = place.run(&first, "2026-01-05T10:30:00Z", &kept);
    assert_eq!(summary(&output)["events"]["held"], json!(1));
    // The content is refused: the one before stays.
    place.write("plans.csv", "customer,plan\na,silver\na,bronze\n");
    let second = [event("2", "a", "2026-01-05T10:40:00Z", &json!([2]))];
    let output = place.run(&second, "2026-02-01T00:00:00Z", &kept);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("plans.csv: line 3: key a: the row in line 2 has the same key"), "{message}");
    let summary = summary(&output);
    assert_eq!((&summary["events"]["received"], &summary["events"]["held"]), (&json!(1), &json!(0)));
    assert_eq!((&summary["totals"]["received"], &summary["totals"]["absorbed"]), (&json!(2), &json!(2)));
    let records = std::fs::read_to_string(place.path("records.ndjson")).unwrap();
    assert!(records.contains(r#""value":3"#) && records.contains("gold"), "{records}");
}

#[test]
fn state_that_a_document_has_no_place_for_is_released_or_forgotten() {
    for (choice, held) in [
        ("release", json!({"derived": 1, "absorbed": 1, "parked": 0})),
        ("forget", json!({"derived": 0, "absorbed": 0, "parked": 1})),
    ] {
        let place = Place::new();
        place.write("calls.yaml", &PIPELINE.replace("  - split: { path: lines, into: line }\n", ""));
        let kept = ["--data", "kept"];
        let start = json!({ "id": "1", "source": "s", "subject": "a", "time": "2026-01-05T10:10:00Z", "line": 1 });
        place.run(&[start], "2026-01-05T10:30:00Z", &kept);
        let newer = PIPELINE.replace("size: 1h", "size: 2h");
        place.write("calls.yaml", &newer);
        let refused = place.run(&[], "2026-01-05T10:40:00Z", &kept);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(message.contains("operator `accumulate`: its `window` changed"), "{message}");
        let unknown = place.run(&[], "2026-01-05T10:40:00Z", &["--data", "kept", "--state", "calls=release"]);
        assert_eq!(unknown.status.code(), Some(2));
        let state = format!("accumulate={choice}");
        let output =
            place.run(&[], "2026-01-05T10:40:00Z", &["--data", "kept", "--state", &state, "--derived", "derived.ndjson"]);
        let summary = summary(&output);
        let totals = &summary["totals"];
        let found = json!({"derived": totals["derived"], "absorbed": totals["absorbed"], "parked": totals["parked"]});
        assert_eq!((found, &totals["received"], &totals["held"]), (held, &json!(1), &json!(0)), "{summary}");
        let derived = std::fs::read_to_string(place.path("derived.ndjson")).unwrap();
        assert_eq!(derived.contains(r#""end":"2026-01-05T10:40:00.000Z""#), choice == "release", "{derived}");
        // The table of the run before is in force for what it held; the new operator counts on.
        let event = event("2", "a", "2026-01-05T12:10:00Z", &json!([5]));
        place.run(&[event], "2026-02-01T00:00:00Z", &kept);
        let records = std::fs::read_to_string(place.path("records.ndjson")).unwrap();
        let expected = if choice == "release" { r#""value":6"# } else { r#""value":5"# };
        assert!(records.contains(expected), "{records}");
    }
}

#[test]
fn a_first_content_that_is_refused_ends_the_run() {
    let place = Place::new();
    place.write("plans.csv", "customer,plan\na,silver\na,bronze\n");
    let output = place.run(&[], "2026-02-01T00:00:00Z", &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("table `plans`") && message.contains("line 3: key a"), "{message}");
}

/// A script that gathers the names, types and texts of the fields of its event.
const GATHER: &str = "
  - script:
      code: |
        function step(event) {
          const names = Object.keys(event).filter(name => !['id', 'source'].includes(name)).sort();
          event.gathered = names.map(name => `${name}=${typeof event[name]}:${event[name]}`).join(' ');
          event.v = 1;
          return event;
        }
  - meter:
      key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c14
      user: who
      value: v
      time: { field: at, format: '%Y-%m-%d', missing: received }
      rules: [{ groupBy: [gathered] }]
meterTypes: [{ name: calls }]
targets: [{ file: { path: records.ndjson } }]
";

/// Runs a pipeline with the source and operators over the text, and returns what the script gathered.
fn gathered(source: &str, operators: &str, text: &str) -> Vec<String> {
    let place = Place::new();
    place.write("input", text);
    place
        .write("calls.yaml", &format!("pipeline: calls\nsource: {{ file: {{ path: input, {source} }} }}\noperators:{operators}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.current_dir(place.0.path()).args(["run", "calls.yaml", "--output", "json", "--as-of", "2026-02-01T00:00:00Z"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = std::fs::read_to_string(place.path("records.ndjson")).unwrap();
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let groups = records.flat_map(|record| record["groups"].as_array().unwrap().clone());
    groups.map(|group| group["fields"]["gathered"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_script_sees_every_column_of_a_file() {
    let row = "at=string:2026-01-05 note=string:n who=string:a";
    let csv = "at,who,note\n2026-01-05,a,n\n";
    assert_eq!(gathered("format: csv, id: line", GATHER, csv), [row]);
    let typed = gathered("format: csv, id: line, types: { secs: number }", GATHER, "at,who,secs,a.b\n2026-01-05,a,2.50,x\n");
    assert_eq!(typed, ["a=object:[object Object] at=string:2026-01-05 secs=number:2.5 who=string:a"]);
    let columns = "columns: [{ name: at, from: 1, to: 10 }, { name: who, from: 11, to: 11 }, { name: note, from: 12, to: 12 }]";
    assert_eq!(gathered(&format!("format: fixed, id: line, {columns}"), GATHER, "2026-01-05an\n"), [row]);
    let map = format!("\n  - map: {{ set: {{ note: '\"m\"' }}, remove: [who] }}\n  - map: {{ set: {{ who: '\"b\"' }} }}{GATHER}");
    let mapped = "at=string:2026-01-05 note=string:m who=string:b";
    assert_eq!(gathered("format: csv, id: line", &map, csv), [mapped], "a change of an operator before is seen");
    let log = "192.0.2.1 - - [05/Jan/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 7 \"-\" \"curl\"\n";
    let operators =
        GATHER.replace("user: who", "user: client").replace("field: at, format: '%Y-%m-%d', missing: received", "field: time");
    let found = gathered("format: access_log, id: line", &operators, log);
    assert!(found[0].contains("agent=string:curl") && found[0].contains("bytes=number:7"), "{found:?}");
}

#[test]
fn a_script_sees_every_column_of_a_parquet_file() {
    let place = Place::new();
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/http_requests_2023-04-13.parquet");
    std::fs::copy(file, place.path("input.parquet")).unwrap();
    let zone = "missing: received";
    let operators =
        GATHER.replace("who", "ClientIP").replace("at,", "EdgeStartTimestamp,").replace("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f");
    let operators = operators.replace(zone, "timezone: Etc/UTC");
    place.write(
        "calls.yaml",
        &format!("pipeline: calls\nsource: {{ file: {{ path: input.parquet, id: line }} }}\noperators:{operators}"),
    );
    let output = place.run_document("2023-05-01T00:00:00Z");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = place.gathered();
    assert!(!found.is_empty());
    for text in found {
        assert!(text.contains("ClientRequestHost=string:") && text.contains("EdgeResponseStatus=number:"), "{text}");
    }
}
