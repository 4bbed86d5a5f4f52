//! Receivers that fail, and what arrives all the same.

use std::path::Path;

use serde_json::{Value, json};

use crate::services::receiver::{Receiver, Reply};
use crate::support::server::{Server, items};

/// A pipeline of one meter type whose periods end before today, with targets.
pub(crate) fn pipeline(targets: &str) -> String {
    format!(
        "pipeline: usage\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: 00000000-0000-4000-8000-00000000000d, user: subject, rules: [{{ category: all, value: data.n }}] }}\nmeterTypes:\n  - {{ name: total, category: all, resetSchedule: daily, flushEmpty: false, late: {{ amendWithin: 400d }} }}\ntargets:\n{targets}"
    )
}

/// A server with that pipeline at work.
pub(crate) fn start(folder: &Path, targets: &str) -> Server {
    let file = folder.join("usage.yaml");
    std::fs::write(&file, pipeline(targets)).unwrap();
    Server::start(&folder.join("data"), &["--pipeline", file.to_str().unwrap()])
}

/// An event of a user on a day that is over.
pub(crate) fn event(id: u64, user: u64, day: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "s", "type": "use", "subject": format!("user{user}"),
        "time": format!("{}T12:00:00Z", crate::kill::past_day(day)), "data": {"n": 2},
    })
}

pub(crate) fn finish(server: &Server) -> Value {
    let running = items(&server.get("/api/v1/sessions?status=RUNNING"));
    let id = running[0]["sessionId"].as_str().unwrap();
    server.ask("POST", &format!("/api/v1/sessions/{id}/finish")).send().ok()
}

#[test]
fn receivers_that_fail_in_every_way_end_right() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    receiver.reply(&[
        Reply::Status(500, "oops", &[]),
        Reply::Status(500, "oops", &[]),
        Reply::Status(429, "slow", &[("retry-after", "1")]),
        Reply::TakenInSilence,
        Reply::Silence,
        Reply::BrokenOff,
        Reply::Status(503, "", &[]),
    ]);
    let file = folder.path().join("out.ndjson");
    let targets =
        format!("  - webhook: {{ url: '{}', parallel: 2 }}\n  - file: {{ path: {} }}\n", receiver.url("/u"), file.display());
    let server = start(folder.path(), &targets);
    let events: Vec<Value> = (0..40).map(|n| event(n, n % 10, 3 + n / 10)).collect();
    server.count(&events);
    let mut session = finish(&server);
    for _ in 0..3_000 {
        if session["sessionEndTime"].is_string() {
            break;
        }
        assert_eq!(session["sessionStatus"], "USAGE_PUSHING", "{session}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        session = server.get(&format!("/api/v1/sessions/{}", session["sessionId"].as_str().unwrap()));
    }
    assert_eq!(session["sessionStatus"], "COMPLETED", "{session}");
    // Byte for byte what is listed, at both.
    let records = server.ask("GET", "/api/v1/records?limit=1000").send();
    let listed = String::from_utf8(records.body).unwrap();
    let taken = receiver.taken();
    assert_eq!(taken.len(), 40);
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 40);
    for (key, body) in &taken {
        let body = String::from_utf8(body.clone()).unwrap();
        assert!(listed.contains(&body) && lines.contains(&body) && body.contains(key), "{body}");
    }
    let targets = items(&server.get("/api/v1/deliveries/targets"));
    assert_eq!(targets.iter().map(|target| target["accepted"].as_u64().unwrap()).collect::<Vec<_>>(), [40, 40], "{targets:?}");
    let deliveries = items(&server.get("/api/v1/deliveries?limit=1000"));
    assert_eq!(deliveries.len(), 80);
    assert!(deliveries.iter().all(|delivery| delivery["state"] == "confirmed"), "{deliveries:?}");
}

#[test]
fn the_contracts_example_arrives_byte_for_byte_over_webhook_and_file() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let root = crate::support::root();
    let cases = root.join("cases/api-counter");
    let document = std::fs::read_to_string(cases.join("api-counter.pipeline.yaml")).unwrap();
    let head = document.split("targets:").next().unwrap().to_owned();
    let out = folder.path().join("out.ndjson");
    let path = folder.path().join("example.yaml");
    let input = cases.join("api-counter.events.ndjson");
    let text =
        format!("{head}targets:\n  - file: {{ path: {} }}\n  - webhook: {{ url: '{}' }}\n", out.display(), receiver.url("/u"));
    std::fs::write(&path, text).unwrap();
    let arguments = ["run", path.to_str().unwrap(), "--input", input.to_str().unwrap(), "--as-of", "2023-08-01T00:00:00Z"];
    let output = crate::support::flowmeter(&arguments);
    assert!(output.status.success(), "{}", crate::support::stderr(&output));
    let line = std::fs::read_to_string(&out).unwrap();
    let taken = receiver.taken();
    let (key, body) = taken.iter().next().unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(String::from_utf8(body.clone()).unwrap(), line.trim_end_matches('\n'));
    let example: Value = serde_json::from_str(&std::fs::read_to_string(cases.join("record.json")).unwrap()).unwrap();
    let mut record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["meterMetaData"]["recordId"], key.as_str());
    for more in ["recordId", "revision", "eventCount"] {
        record["meterMetaData"].as_object_mut().unwrap().remove(more);
    }
    assert_eq!(record, example);
}

#[test]
fn thresholds_leave_at_once_to_the_output_of_that_name() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.yaml");
    let document =
        pipeline(&format!("  - {{ name: threshold, webhook: {{ url: '{}' }} }}\n  - none: {{}}\n", receiver.url("/t")));
    let document = document.replace("resetSchedule: daily", "resetSchedule: never, thresholds: [{ name: warn, value: 5 }]");
    std::fs::write(&file, document).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", file.to_str().unwrap()]);
    for n in 0..5 {
        server.count(&[event(n, 1, 3)]);
    }
    for _ in 0..1_000 {
        if !receiver.taken().is_empty() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    let taken = receiver.taken();
    assert_eq!(taken.len(), 1, "once, not with every event above it");
    let partial: Value = serde_json::from_slice(taken.values().next().unwrap()).unwrap();
    assert_eq!(
        (&partial["threshold"]["name"], &partial["value"], &partial["userId"]),
        (&json!("warn"), &json!(6), &json!("user1"))
    );
}
