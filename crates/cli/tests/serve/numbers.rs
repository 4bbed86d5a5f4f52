//! Numbers over time: the steps of a history add up to the totals, through restarts.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually};

fn series(history: &Value, name: &str) -> u64 {
    let one = history["series"].as_array().unwrap().iter().find(|one| one["name"] == name);
    let values = one.unwrap_or_else(|| panic!("no {name}: {history}"))["values"].as_array().unwrap();
    values.iter().filter_map(Value::as_u64).sum()
}

fn batch(folder: &Path) -> Value {
    let input = folder.join("in.ndjson");
    let line = |n: u32| {
        format!("{{\"id\":\"{n}\",\"source\":\"/s\",\"userId\":\"a\",\"value\":1,\"timestamp\":\"2026-01-05T10:00:00Z\"}}\n")
    };
    std::fs::write(&input, (0..5).map(line).collect::<String>()).unwrap();
    json!({
        "pipeline": "short", "source": {"file": {"path": input, "format": "ndjson"}},
        "operators": [{"meter": {"key": "00000000-0000-4000-8000-000000000001", "rules": [{}]}}],
        "meterTypes": [{"name": "m"}],
    })
}

#[test]
fn a_short_session_is_in_the_history_from_its_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    server.post("/api/v1/pipelines", &batch(folder.path())).ok();
    server.post("/api/v1/pipelines/short/run", &json!({})).ok();
    let rejected = server.ask("POST", "/api/v1/events").header("content-type", "application/cloudevents+json").body("{}");
    assert_eq!(rejected.send().status, 400);
    let look = |server: &Server| {
        eventually("all numbers", || {
            let overview = server.get("/api/v1/overview");
            let one = server.get("/api/v1/history?of=pipeline&name=short&step=3600");
            let all = server.get("/api/v1/history?of=namespace");
            let found = (
                overview["totals"]["received"].as_u64()?,
                overview["totals"]["rejected"].as_u64()?,
                series(&one, "received"),
                series(&all, "rejected"),
            );
            (found == (5, 1, 5, 1)).then_some(())
        });
    };
    look(&server);
    server.stop();
    let server = Server::start(&data, &[]);
    look(&server);
    // The counts of a pipeline stay in the totals when it is removed, as in the steps.
    server.ask("DELETE", "/api/v1/pipelines/short").send();
    look(&server);
}

#[test]
fn a_history_is_of_something_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/pipelines", &batch(folder.path())).ok();
    for (query, status, field) in [
        ("of=pipeline", 400, Some("name")),
        ("of=operator&name=short", 400, Some("name")),
        ("of=pipeline&name=none", 404, None),
        ("of=operator&name=short/none", 404, None),
        ("of=target&name=short/none", 404, None),
        ("of=all", 400, Some("of")),
    ] {
        let (found, _, named) = server.ask("GET", &format!("/api/v1/history?{query}")).send().problem();
        assert_eq!((found, named.as_deref()), (status, field), "{query}");
    }
    for query in ["of=pipeline&name=short", "of=operator&name=short/meter", "of=namespace"] {
        server.get(&format!("/api/v1/history?{query}"));
    }
}

#[test]
fn a_pipeline_without_a_session_has_no_lag() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("1", "anna", json!(1))]);
    server.post("/api/v1/sessions/R-00000001/cancel", &json!({})).ok();
    let sent = server.ask("POST", "/api/v1/events").json(&event("2", "anna", json!(1))).send();
    assert_eq!(sent.status, 204);
    let overview = server.get("/api/v1/overview");
    assert_eq!((&overview["lag"]["events"], &overview["pipelines"][0]["lag"]["events"]), (&json!(0), &json!(0)), "{overview}");
}
