//! `run` with an operator that asks an HTTP service.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use support::service::Service;

fn pipeline(http: &str, group: &str) -> String {
    format!(
        "pipeline: p
source: {{ file: {{ path: '-' }} }}
operators:
  - http: {http}
  - meter:
      key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c13
      value: v
      rules: [{{ groupBy: [[{group}]] }}]
meterTypes: [{{ name: m }}]
targets: [{{ file: {{ path: records.ndjson }} }}]
"
    )
}

fn event(id: &str, user: &str, value: i64) -> Value {
    json!({ "id": id, "source": "s", "subject": user, "time": "2026-01-05T00:00:00Z", "v": value })
}

fn run(folder: &Path, address: &str, events: &[Value], as_of: &str, more: &[&str]) -> (Output, Value) {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::fs::write(folder.join("events.ndjson"), lines).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.current_dir(folder).env("SERVICE", address).args(["run", "p.yaml", "--input", "events.ndjson", "--output", "json"]);
    let output = command.args(["--as-of", as_of]).args(more).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = serde_json::from_str(&text).unwrap_or_else(|why| {
        panic!("{why}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (output, summary)
}

fn records(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("records.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn answers_set_fields_and_refusals_park() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/a%2Fb", 200, r#"{"plan": "gold",  "rate": 1842.00000000000000025}"#);
    service.answer("/plan/c", 503, "");
    let folder = tempfile::tempdir().unwrap();
    let http = "{ url: '${env:SERVICE}/plan/{{subject}}', attempts: 1, \
                set: { plan: body.plan, rate: body.rate, tier: 'headers[\"x-tier\"]', none: body.none, ok: 'status == 200' } }";
    std::fs::write(folder.path().join("p.yaml"), pipeline(http, "plan, tier, rate, none, ok")).unwrap();
    let events = [event("1", "a/b", 1), event("2", "b", 2), event("3", "c", 4), event("4", "a/b", 8), event("4", "a/b", 8)];
    let (_, summary) = run(folder.path(), &address, &events, "2026-02-01T00:00:00Z", &[]);
    assert_eq!(summary["events"]["parkedByReason"], json!({"http_refused": 1, "http_unavailable": 1}), "{summary}");
    assert_eq!((&summary["events"]["counted"], &summary["events"]["duplicate"]), (&json!(2), &json!(1)));
    assert_eq!(service.calls(), 4, "a duplicate asks nothing");
    let records = records(folder.path());
    assert_eq!(records[0]["value"], json!(9));
    let group = &records[0]["groups"][0]["fields"];
    assert_eq!(group["rate"].to_string(), "1842.00000000000000025");
    assert_eq!(
        (&group["plan"], &group["tier"], &group["none"], &group["ok"]),
        (&json!("gold"), &json!("t-200"), &Value::Null, &json!(true))
    );
}

#[test]
fn refused_and_missing_answers_may_pass() {
    let service = Service::default();
    let address = service.start();
    service.answer("/ask", 500, "");
    let folder = tempfile::tempdir().unwrap();
    let http = "{ url: '${env:SERVICE}/ask', method: POST, body: { who: '{{subject}}', v: '{{v}}' }, headers: { X-Id: '{{id}}' }, \
                auth: { bearer: '${env:SERVICE}' }, attempts: 2, onUnavailable: pass, set: { plan: body.plan } }";
    std::fs::write(folder.path().join("p.yaml"), pipeline(http, "plan")).unwrap();
    let (_, summary) = run(folder.path(), &address, &[event("1", "anna", 1)], "2026-02-01T00:00:00Z", &[]);
    assert_eq!(summary["events"]["counted"], json!(1), "{summary}");
    let requests = service.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "it is tried as often as the document says");
    assert!(requests[0].starts_with("POST /ask") && requests[0].ends_with(r#"{"who":"anna","v":1}"#), "{}", requests[0]);
    assert!(
        requests[0].contains("x-id: 1") && requests[0].contains(&format!("authorization: bearer {address}")),
        "{}",
        requests[0]
    );
}

#[test]
fn an_answer_serves_equal_requests_by_the_time_of_receipt() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/a", 200, r#"{"plan":"one"}"#);
    let folder = tempfile::tempdir().unwrap();
    let http = "{ url: '${env:SERVICE}/plan/{{subject}}', attempts: 1, cache: 1h, set: { plan: body.plan } }";
    std::fs::write(folder.path().join("p.yaml"), pipeline(http, "plan")).unwrap();
    let data = ["--data", "data"];
    let twice = [event("1", "a", 1), event("2", "a", 2)];
    run(folder.path(), &address, &twice, "2026-01-10T00:00:00Z", &data);
    service.answer("/plan/a", 200, r#"{"plan":"two"}"#);
    run(folder.path(), &address, &[event("3", "a", 4)], "2026-01-10T00:59:59Z", &data);
    run(folder.path(), &address, &[event("4", "a", 8)], "2026-01-10T01:00:00Z", &data);
    run(folder.path(), &address, &[], "2026-02-01T00:00:00Z", &data);
    assert_eq!(service.calls(), 2);
    let records = records(folder.path());
    assert_eq!(records.len(), 1);
    let groups: Vec<(&Value, &Value)> =
        records[0]["groups"].as_array().unwrap().iter().map(|group| (&group["key"], &group["value"])).collect();
    assert_eq!(groups, [(&json!("plan:one"), &json!(7)), (&json!("plan:two"), &json!(8))]);
}

#[test]
fn a_trial_asks_only_where_the_document_says_so() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/a", 200, r#"{"plan":"one"}"#);
    let folder = tempfile::tempdir().unwrap();
    for (debug, calls) in [("skip", 0), ("call", 1)] {
        let http = format!("{{ url: '${{env:SERVICE}}/plan/{{{{subject}}}}', set: {{ plan: body.plan }}, debug: {debug} }}");
        std::fs::write(folder.path().join("p.yaml"), pipeline(&http, "plan")).unwrap();
        std::fs::write(folder.path().join("events.ndjson"), format!("{}\n", event("1", "a", 1))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.current_dir(folder.path()).env("SERVICE", &address).args(["test", "p.yaml", "--input", "events.ndjson"]);
        assert!(command.output().unwrap().status.success());
        assert_eq!(service.calls(), calls, "debug: {debug}");
    }
}

#[test]
fn asking_changes_no_order_of_events() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/a", 200, r#"{"n":1}"#);
    let folder = tempfile::tempdir().unwrap();
    let document = |step: &str| {
        format!(
            "pipeline: p
source: {{ file: {{ path: '-' }} }}
dedupe: off
operators:
  - branch: {{ routes: [{{ name: odd, when: 'v == 1 || v == 3 || v == 5' }}] }}
  - {{ id: asked, from: branch.odd, {step} }}
  - {{ id: plain, from: branch.default, map: {{ set: {{ n: '1' }} }} }}
  - {{ id: dedupe, from: [asked, plain], dedupe: {{}} }}
  - aggregate: {{ key: [subject], fields: {{ total: {{ sum: v }} }} }}
  - meter: {{ key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c13, value: total, rules: [{{}}] }}
meterTypes: [{{ name: m }}]
targets: [{{ file: {{ path: records.ndjson }} }}]
"
        )
    };
    let events: Vec<Value> = (0..100).map(|i| event(&format!("{}", i % 60), "a", i % 7)).collect();
    let sums = ["http: { url: '${env:SERVICE}/plan/{{subject}}', set: { n: body.n } }", "map: { set: { n: '1' } }"].map(|step| {
        std::fs::write(folder.path().join("p.yaml"), document(step)).unwrap();
        let (_, summary) = run(folder.path(), &address, &events, "2026-02-01T00:00:00Z", &[]);
        let record = records(folder.path()).remove(0);
        (summary["events"]["counted"].clone(), summary["events"]["duplicate"].clone(), record["value"].clone())
    });
    assert_eq!(sums[0], sums[1]);
    assert!(service.calls() > 0);
}

#[test]
fn requests_hold_the_columns_of_a_csv_file() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/a%20b", 200, r#"{"plan":"gold"}"#);
    let folder = tempfile::tempdir().unwrap();
    let http = "{ url: '${env:SERVICE}/plan/{{who}}', method: POST, headers: { X-Region: '{{region}}' }, \
                body: { secs: '{{secs}}', service: '${env:SERVICE}' }, attempts: 1, cache: 1h, set: { plan: body.plan } }";
    let document = pipeline(http, "plan")
        .replace("path: '-' ", "path: usage.csv, format: csv, id: line, types: { secs: number } ")
        .replace("value: v", "value: secs\n      user: who\n      time: { field: at, format: '%Y-%m-%d' }");
    std::fs::write(folder.path().join("p.yaml"), document).unwrap();
    std::fs::write(
        folder.path().join("usage.csv"),
        "at,who,secs,region\n2026-01-05,a b,2.50,eu\n2026-01-06,a b,2.50,us\n2026-01-07,a b,2.50,eu\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.current_dir(folder.path()).env("SERVICE", &address).args(["run", "p.yaml", "--as-of", "2026-02-01T00:00:00Z"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = service.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "a request with other headers is another one: {requests:?}");
    assert!(
        requests.iter().all(|request| request.ends_with(&format!(r#"{{"secs":2.5,"service":"{address}"}}"#))),
        "{requests:?}"
    );
    assert!(["eu", "us"].iter().all(|region| requests.iter().any(|request| request.contains(&format!("x-region: {region}")))));
    let records = records(folder.path());
    assert_eq!((&records[0]["groups"][0]["key"], &records[0]["value"]), (&json!("plan:gold"), &json!(7.5)));
}
