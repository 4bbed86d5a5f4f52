//! Every digit of a number of a user, in every answer and output that shows one.
//!
//! An event is shown as it was sent, to the letter; a value that was computed is shown as the
//! canonical decimal of all its digits.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::server::{Server, eventually, items};

const PIPELINE: &str = "
pipeline: digits
source: { http: {} }
operators:
  - id: checked
    validate: { schema: { type: object, properties: { data: { properties: { n: { maximum: 99999999999999999999.9 } } } } } }
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      rules:
        - { name: amounts, category: amounts, value: data.n, groupBy: [[data.n]] }
meterTypes:
  - { name: Amounts, category: amounts, unit: EUR, aggregation: sum, resetSchedule: hourly, flushEmpty: false,
      late: { amendWithin: 36500d } }
targets:
  - { file: { path: OUT } }
";

/// User, number as it is sent, number as it is counted.
const NUMBERS: [(&str, &str, &str); 6] = [
    ("u38", "12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ("u53", "9007199254740993", "9007199254740993"),
    ("uexp", "1E+2", "100"),
    ("uneg", "-0", "0"),
    ("utenth", "0.1", "0.1"),
    ("uquart", "1842.00000000000000025", "1842.00000000000000025"),
];

/// The data of an event: the number that counts, and one that only goes along.
fn data(number: &str) -> String {
    format!(r#"{{"n":{number},"also":[{number},{{"z":{number}, "a":-1.50E-3}}]}}"#)
}

/// An event of a long past hour, or of now.
fn event(id: &str, user: &str, number: &str, time: Option<&str>) -> String {
    let subject = if user.is_empty() { String::new() } else { format!(r#""subject":"{user}","#) };
    let time = time.map(|time| format!(r#""time":"{time}","#)).unwrap_or_default();
    let head = format!(r#""specversion":"1.0","id":"{id}","source":"/s","type":"call""#);
    format!(r#"{{{subject}{time}{head},"data":{}}}"#, data(number))
}

fn past(id: &str, user: &str, number: &str) -> String {
    event(id, user, number, Some("2024-05-01T10:10:00Z"))
}

fn started(folder: &Path) -> Server {
    let file = folder.join("digits.yaml");
    let out = folder.join("out.ndjson").display().to_string();
    std::fs::write(&file, PIPELINE.replace("OUT", &out)).unwrap();
    let server = Server::start(&folder.join("data"), &["--pipeline", file.to_str().unwrap()]);
    let fields = json!({"name": "flushed", "eventType": "meter.flushed", "channels": [{"name": "log", "type": "log"}]});
    server.post("/api/v1/notifications", &fields).ok();
    let mut lines = String::new();
    for (at, (user, number, _)) in NUMBERS.iter().enumerate() {
        lines.push_str(&format!("{}\n", past(&format!("p{at}"), user, number)));
        lines.push_str(&format!("{}\n", event(&format!("now{at}"), user, number, None)));
        lines.push_str(&format!("{}\n", past(&format!("parked{at}"), "", number)));
    }
    let ask = server.ask("POST", "/api/v1/events?wait=counted&partial=true");
    assert_eq!(ask.header("content-type", "application/x-ndjson").body(lines).send().status, 207);
    let all = || Some(items(&server.get("/api/v1/records"))).filter(|all| all.len() == NUMBERS.len());
    eventually("every record", all);
    server
}

fn text(server: &Server, path: &str) -> String {
    let answer = server.ask("GET", path).send();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn run(server: &Server, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    let output: Output = command.args(arguments).env("FLOWMETER_URL", &server.url).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", support::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a text contains a number that is not a part of a longer number.
fn holds(text: &str, number: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+');
    text.match_indices(number).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + number.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[test]
fn events_are_shown_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path());
    let search = text(&server, "/api/v1/events?limit=1000");
    let corrections = text(&server, "/api/v1/corrections");
    let recent = text(&server, "/openmeter/api/v1/events");
    let listed = run(&server, &["corrections", "list", "--output", "json"]);
    for (at, (user, number, _)) in NUMBERS.iter().enumerate() {
        let (sent, parked) = (past(&format!("p{at}"), user, number), past(&format!("parked{at}"), "", number));
        for (place, text) in [("GET /events", &search), ("OpenMeter's events", &recent)] {
            assert!(text.contains(&sent) && text.contains(&parked), "{place}: {number}: {text}");
        }
        assert!(corrections.contains(&parked), "GET /corrections: {corrections}");
        assert!(listed.contains(&parked), "corrections list: {listed}");
        let trace = text(&server, &format!("/api/v1/events/p{at}/trace"));
        assert!(trace.contains(&sent), "trace: {trace}");
        assert!(trace.contains(&format!(r#""data.n":{number}"#)), "the fields of steps: {trace}");
        assert!(trace.contains(&format!(r#""value":{number}"#)), "the value that counted: {trace}");
        let shown = run(&server, &["explain", &format!("p{at}")]);
        assert!(shown.contains(&format!("counted    {number} for {user}")), "explain an event: {shown}");
        assert!(shown.contains(&format!(r#""data.n":{number}"#)), "explain an event: {shown}");
        let shown = run(&server, &["explain", &format!("p{at}"), "--output", "json"]);
        assert!(shown.contains(&sent), "explain an event as JSON: {shown}");
    }
}

#[test]
fn a_correction_and_its_audit_keep_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path());
    let open = items(&server.get("/api/v1/corrections"));
    for (at, (user, number, _)) in NUMBERS.iter().enumerate() {
        let id = open[at]["id"].as_str().unwrap();
        let shown = text(&server, &format!("/api/v1/corrections/{id}"));
        let (before, after) = (past(&format!("parked{at}"), "", number), past(&format!("c{at}"), user, number));
        assert!(shown.contains(&before), "GET /corrections/{{id}}: {shown}");
        let ask = server.ask("POST", &format!("/api/v1/corrections/{id}/correct"));
        let answer = ask.header("content-type", "application/json").body(format!(r#"{{"event":{after}}}"#)).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        for (place, audit) in [
            ("GET /audit", text(&server, "/api/v1/audit?limit=1")),
            ("audit list", run(&server, &["audit", "list", "--limit", "1", "--output", "json"])),
        ] {
            assert!(audit.contains(&format!(r#""before":{before}"#)), "{place}: {audit}");
            assert!(audit.contains(&format!(r#""after":{after}"#)), "{place}: {audit}");
        }
    }
}

#[test]
fn records_and_meters_have_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path());
    let records = text(&server, "/api/v1/records");
    let meters = text(&server, "/api/v1/meters");
    let usage = text(&server, "/api/v1/meter-types/Amounts/query?groupBy=subject&to=2025-01-01T00:00:00Z");
    let tables = [
        ("records list", run(&server, &["records", "list"])),
        ("records list as JSON", run(&server, &["records", "list", "--output", "json"])),
        ("meters list", run(&server, &["meters", "list"])),
        ("meters list as JSON", run(&server, &["meters", "list", "--output", "json"])),
    ];
    let delivered = || std::fs::read_to_string(folder.path().join("out.ndjson")).ok();
    let delivered = eventually("a file of records", || delivered().filter(|text| text.lines().count() == NUMBERS.len()));
    let notified = eventually("a notification of every record", || {
        let tried = server.post("/api/v1/notifications/flushed/try", &json!({})).text();
        (tried.matches("periodEnd").count() >= NUMBERS.len()).then_some(tried)
    });
    let stream = server.ask("GET", "/api/v1/stream?after=0&type=meter.flushed").open();
    let stream: String =
        stream.lines().map_while(Result::ok).filter(|line| line.starts_with("data:")).take(NUMBERS.len()).collect();
    let deliveries = items(&server.get("/api/v1/deliveries?limit=1000"));
    let shown_deliveries: String =
        deliveries.iter().map(|one| text(&server, &format!("/api/v1/deliveries/{}", one["id"].as_str().unwrap()))).collect();
    for (user, number, counted) in NUMBERS {
        let value = format!(r#""value":{counted}"#);
        let is_member = |text: &str| [",", "}"].iter().any(|end| text.contains(&format!("{value}{end}")));
        for (place, text) in [
            ("GET /records", &records),
            ("GET /meters", &meters),
            ("GET /deliveries/{id}", &shown_deliveries),
            ("a file target", &delivered),
        ] {
            assert!(is_member(text), "{place}: {counted}: {text}");
        }
        assert!(is_member(&usage), "usage: {counted}: {usage}");
        for (place, text) in tables.iter().map(|(place, text)| (*place, text)) {
            assert!(holds(text, counted), "{place}: {counted}: {text}");
        }
        for (place, text) in [("stream", &stream), ("payloads of notifications", &notified)] {
            assert!(text.contains(&format!(r#""value":"{counted}""#)), "{place}: {counted}: {text}");
        }
        let wanted = |item: &&Value| item["userId"] == user;
        let meter = items(&server.get("/api/v1/meters")).iter().find(wanted).unwrap()["id"].as_str().unwrap().to_owned();
        assert!(is_member(&text(&server, &format!("/api/v1/meters/{meter}"))), "GET /meters/{{id}}");
        let all = items(&server.get("/api/v1/records"));
        let record = all.iter().find(wanted).unwrap()["meterMetaData"]["recordId"].as_str().unwrap().to_owned();
        assert!(is_member(&text(&server, &format!("/api/v1/records/{record}"))), "GET /records/{{id}}");
        let explained = text(&server, &format!("/api/v1/records/{record}/explain"));
        let recount = format!(r#""recount":{{"equal":true,"eventCount":1,"value":{counted}}}"#);
        assert!(explained.contains(&recount), "explain a record: {explained}");
        assert!(is_member(&explained), "explain a record: {explained}");
        assert!(explained.contains(&format!(r#""value":{number}}}"#)), "its events: {explained}");
        let shown = run(&server, &["explain", &record]);
        assert!(shown.contains(&format!("value      {counted}\n")) && holds(&shown, number), "explain: {shown}");
    }
}

#[test]
fn openmeter_queries_have_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let meter = json!({"slug": "n", "aggregation": "SUM", "eventType": "call", "valueProperty": "$.n"});
    assert_eq!(server.post("/openmeter/api/v1/meters", &meter).status, 201);
    for (at, (user, number, _)) in NUMBERS.iter().enumerate() {
        let ask = server.ask("POST", "/openmeter/api/v1/events").header("content-type", "application/cloudevents+json");
        assert_eq!(ask.body(past(&format!("o{at}"), user, number)).send().status, 204);
    }
    let answer = text(&server, "/openmeter/api/v1/meters/n/query?groupBy=subject");
    for (_, _, counted) in NUMBERS {
        assert!(answer.contains(&format!(r#""value":{counted},"#)), "{counted}: {answer}");
    }
}

#[test]
fn samples_and_test_data_keep_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path());
    let events: Vec<String> =
        NUMBERS.iter().enumerate().map(|(at, (user, number, _))| past(&format!("t{at}"), user, number)).collect();
    let post = |path: &str, body: String| {
        let answer = server.ask("POST", path).header("content-type", "application/json").body(body).send();
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.text()
    };
    let list = events.join(",");
    post("/api/v1/test-data", format!(r#"{{"name":"kept","events":[{list}]}}"#));
    let kept: Value = server.get("/api/v1/test-data/kept");
    assert_eq!(kept["lines"].as_str().unwrap().trim_end(), events.join("\n"));
    let test = "/api/v1/pipelines/digits/test";
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events.join("\n")).unwrap();
    let document = folder.path().join("digits.yaml").display().to_string();
    let debug = ["test", &document, "--input", file.to_str().unwrap(), "--samples", "100"];
    let reports = [
        ("events in the request", post(test, format!(r#"{{"events":[{list}],"samples":100}}"#))),
        ("test data", post(test, r#"{"testData":"kept","samples":100}"#.to_owned())),
        ("flowmeter test", run(&server, &[&debug[..], &["--output", "json"]].concat())),
    ];
    let table = run(&server, &debug);
    for (_, number, counted) in NUMBERS {
        for (place, report) in &reports {
            assert!(report.contains(&format!(r#""data.n":{number}"#)), "{place}, samples: {number}: {report}");
            assert!(report.contains(&format!(r#""value":{counted}"#)), "{place}, records: {counted}: {report}");
        }
        assert!(table.contains(&format!(r#""data.n":{number}"#)) && holds(&table, counted), "as a table: {table}");
    }
}

#[test]
fn a_schema_compares_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("digits.yaml");
    let out = folder.path().join("out.ndjson").display().to_string();
    let maximum = "12345678901234567890.123456789012345678";
    let pipeline = PIPELINE.replace("OUT", &out).replace("99999999999999999999.9", maximum);
    std::fs::write(&document, pipeline).unwrap();
    let file = folder.path().join("events.ndjson");
    let above = maximum.replace("678", "679");
    let lines = [past("at", "u", maximum), past("above", "u", &above)].join("\n");
    std::fs::write(&file, lines).unwrap();
    let (document, file) = (document.display().to_string(), file.display().to_string());
    let text = support::stdout(&["test", &document, "--input", &file, "--output", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["events"]["counted"], &report["events"]["parked"]), (&json!(1), &json!(1)), "{report}");
}
