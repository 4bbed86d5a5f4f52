//! Operators that ask an HTTP service: every answer is recorded, and nothing asks again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::flowmeter;
use crate::support::server::{Server, event, eventually, items};
use crate::support::service::Service;

fn pipeline(folder: &Path, http: &str) -> PathBuf {
    let path = folder.join("plans.yaml");
    let document = format!(
        "pipeline: plans
source: {{ http: {{}} }}
operators:
  - http: {http}
  - meter:
      key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a12
      rules: [{{ category: use, value: data.value, groupBy: [[data.plan]] }}]
meterTypes:
  - {{ name: Use, category: use, resetSchedule: monthly, flushEmpty: false, late: {{ amendWithin: 36500d }} }}
targets: [{{ none: {{}} }}]
"
    );
    std::fs::write(&path, document).unwrap();
    path
}

fn usage(id: &str, user: &str, value: i64) -> Value {
    let mut event = event(id, user, json!(value));
    event["time"] = json!("2024-05-01T10:15:00Z");
    event
}

/// Returns plans and values of a user's newest record.
fn groups(server: &Server, user: &str) -> Value {
    let found = eventually("a record", || {
        Some(items(&server.get(&format!("/api/v1/records?userId={user}")))).filter(|found| !found.is_empty())
    });
    found[found.len() - 1]["groups"].clone()
}

#[test]
fn answers_are_recorded_and_serve_replays_traces_and_explanations() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/anna", 200, r#"{"plan": "gold"}"#);
    let folder = tempfile::tempdir().unwrap();
    let http = format!("{{ url: '{address}/plan/{{{{subject}}}}', attempts: 1, set: {{ data.plan: body.plan }} }}");
    let document = pipeline(folder.path(), &http);
    let data = folder.path().join("data");
    let more = ["--pipeline", document.to_str().unwrap(), "--set", "checkpoint.interval=1h"];
    let server = Server::start(&data, &more);
    let told = server.count(&[usage("1", "anna", 3), usage("2", "anna", 4), usage("3", "bert", 5)]);
    let verdicts: Vec<&Value> = told["events"].as_array().unwrap().iter().map(|event| &event["verdict"]).collect();
    assert_eq!(verdicts, ["counted", "counted", "parked"], "{told}");
    assert_eq!(told["events"][2]["reason"], "http_refused", "{told}");
    assert_eq!(service.calls(), 3, "without a cache each event asks for itself");
    let before = groups(&server, "anna");
    assert!(before.to_string().contains("gold"), "{before}");

    // The service says something else by now. A replay of the log takes what it said then.
    service.answer("/plan/anna", 200, r#"{"plan": "silver"}"#);
    service.answer("/plan/bert", 200, r#"{"plan": "gold"}"#);
    server.crash();
    let server = Server::start(&data, &more);
    assert_eq!(groups(&server, "anna"), before);
    let trace = server.get("/api/v1/events/1/trace");
    assert!(trace.to_string().contains("gold") && !trace.to_string().contains("silver"), "{trace}");
    let record = &items(&server.get("/api/v1/records?userId=anna"))[0];
    let id = record["meterMetaData"]["recordId"].as_str().unwrap();
    let explained = server.get(&format!("/api/v1/records/{id}/explain"));
    assert_eq!(explained["recount"]["equal"], true, "{explained}");
    assert_eq!(service.calls(), 3, "nothing asked again");

    // A later event asks for itself.
    server.count(&[usage("4", "anna", 6)]);
    assert_eq!(service.calls(), 4);
    let after = eventually("a revision", || Some(groups(&server, "anna")).filter(|groups| *groups != before));
    assert!(after.to_string().contains("silver") && after.to_string().contains("gold"), "{after}");
    server.stop();
    let verified = flowmeter(&["verify", "--data", data.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && told.contains("everything is equal"), "{told}");
    assert_eq!(service.calls(), 4, "nothing asked again");
}

#[test]
fn a_cached_answer_outlives_the_server() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/anna", 200, r#"{"plan": "gold"}"#);
    let folder = tempfile::tempdir().unwrap();
    let http = format!("{{ url: '{address}/plan/{{{{subject}}}}', cache: 1h, set: {{ data.plan: body.plan }} }}");
    let document = pipeline(folder.path(), &http);
    let data = folder.path().join("data");
    let more = ["--pipeline", document.to_str().unwrap()];
    let server = Server::start(&data, &more);
    server.count(&[usage("1", "anna", 3), usage("2", "anna", 4)]);
    server.stop();
    let server = Server::start(&data, &more);
    server.count(&[usage("3", "anna", 5)]);
    assert_eq!(service.calls(), 1);
}

#[test]
fn an_event_that_waits_for_its_answer_does_not_hold_up_the_end() {
    let service = Service::default();
    let address = service.start();
    service.answer("/plan/anna", 503, "");
    let folder = tempfile::tempdir().unwrap();
    let http =
        format!("{{ url: '{address}/plan/{{{{subject}}}}', attempts: 1, onUnavailable: wait, set: {{ data.plan: body.plan }} }}");
    let document = pipeline(folder.path(), &http);
    let data = folder.path().join("data");
    let more = ["--pipeline", document.to_str().unwrap()];
    let server = Server::start(&data, &more);
    assert_eq!(server.post("/api/v1/events", &json!([usage("1", "anna", 3)])).status, 204);
    eventually("a request", || (service.calls() > 0).then_some(()));
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
    service.answer("/plan/anna", 200, r#"{"plan": "gold"}"#);
    let server = Server::start(&data, &more);
    assert!(groups(&server, "anna").to_string().contains("gold"));
}

#[test]
fn a_service_without_its_secret_is_refused_before_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let http = "{ url: 'http://127.0.0.1:9/x', headers: { X-Key: '${env:FLOWMETER_NO_SUCH}' }, set: { data.plan: body.plan } }";
    let document = std::fs::read_to_string(pipeline(folder.path(), http)).unwrap();
    let made = server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send();
    assert_eq!(made.status, 201, "{}", made.text());
    let (status, detail, _) = server.post("/api/v1/pipelines/plans/run", &json!({})).problem();
    assert_eq!(status, 409, "{detail}");
    let refused = server.post("/api/v1/pipelines/plans/run", &json!({})).text();
    assert!(refused.contains("FLOWMETER_NO_SUCH"), "{refused}");
}
