//! New versions of a running pipeline that have no place for the state of its operators.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::server::{Answer, Server, items};

const START: &str = "2026-01-05T10:00:00Z";

fn document(window: &str, start: &str) -> Value {
    json!({
        "pipeline": "p", "source": {"http": {}},
        "operators": [
            {"id": "calls", "correlate": {"key": ["subject"], "start": start, "stop": "kind == \"stop\"", "duration": "v"}},
            {"id": "hours", "accumulate": {"key": ["subject"], "window": {"size": window}, "fields": {"v": {"sum": "v"}}}},
            {"meter": {"key": "00000000-0000-4000-8000-000000000001", "value": "v", "rules": [{}]}},
        ],
        "meterTypes": [{"name": "m", "resetSchedule": "daily"}],
    })
}

fn event(id: &str, kind: &str, v: u64) -> Value {
    json!({"specversion": "1.0", "source": "/s", "id": id, "type": "t", "subject": "a", "time": "2026-01-05T10:10:00Z", "kind": kind, "v": v})
}

/// Starts a server on a folder, with one pipeline that holds a start and a window of two events.
fn holding(folder: &Path) -> (Server, String) {
    let server = Server::start(folder, &["--test-clock", START]);
    server.post("/api/v1/pipelines", &document("1h", "kind == \"start\"")).ok();
    let session = server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    server.post("/api/v1/clock", &json!({"to": "2026-01-05T10:30:00Z"})).ok();
    server.count(&[event("1", "start", 10), event("2", "other", 1), event("3", "other", 2)]);
    (server, format!("/api/v1/sessions/{}", session["sessionId"].as_str().unwrap()))
}

fn put(server: &Server, query: &str, body: &Value) -> Answer {
    server.ask("PUT", Box::leak(format!("/api/v1/pipelines/p{query}").into_boxed_str())).json(body).send()
}

/// Returns all that must be the same before and after a restart.
fn outcome(server: &Server, session: &str) -> Value {
    let parked = server.get("/api/v1/corrections?pipeline=p&state=all&limit=1000");
    json!({"counts": server.get(session)["counts"], "parked": items(&parked), "meters": server.get("/api/v1/meters?pipeline=p")})
}

#[test]
fn a_version_without_a_place_for_state_names_operators_and_fields() {
    let folder = tempfile::tempdir().unwrap();
    let (server, session) = holding(folder.path());
    let newer = document("2h", "kind == \"begin\"");
    for query in ["", "?dryRun=true"] {
        let answer = put(&server, query, &newer);
        let (status, code, _) = answer.problem();
        assert_eq!((status, code.as_str()), (409, "state_incompatible"));
        let expected = json!([
            {"operator": "calls", "change": "fields", "fields": ["start"], "held": 1},
            {"operator": "hours", "change": "fields", "fields": ["window"], "held": 2},
        ]);
        assert_eq!(answer.json()["operators"], expected, "{answer:?}");
    }
    let half = json!({"document": newer, "state": {"hours": "release"}});
    assert_eq!(put(&server, "", &half).json()["operators"][0]["operator"], "calls", "the other has a choice");
    for (state, field) in
        [(json!({"hours": "keep"}), "state.hours"), (json!({"hours": "release", "calls": "forget", "x": "forget"}), "state.x")]
    {
        let (status, code, named) = put(&server, "", &json!({"document": newer, "state": state})).problem();
        assert_eq!((status, code.as_str(), named.as_deref()), (400, "invalid", Some(field)));
    }
    let rehearsed =
        put(&server, "?dryRun=true", &json!({"document": newer, "state": {"hours": "release", "calls": "forget"}})).ok();
    assert_eq!(rehearsed["state"][1]["choice"], "release", "{rehearsed}");
    let mut beside = newer;
    beside["state"] = json!({"hours": "release", "calls": "forget"});
    assert_eq!(put(&server, "?dryRun=true", &beside).ok(), rehearsed, "as a member of the document");
    assert_eq!(server.get("/api/v1/pipelines/p")["version"], 1);
    assert_eq!(server.get(&session)["counts"]["events"]["absorbed"], 3);
}

#[test]
fn state_that_is_released_or_forgotten_stays_so_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (server, session) = holding(folder.path());
    // A document as text in YAML, which JSON is.
    let text = document("2h", "kind == \"begin\"").to_string();
    put(&server, "", &json!({"document": text, "state": {"hours": "release", "calls": "forget"}})).ok();
    let before = outcome(&server, &session);
    let events = &before["counts"]["events"];
    assert_eq!((&events["received"], &events["derived"], &events["held"]), (&json!(3), &json!(1), &json!(0)), "{events}");
    let parked = before["parked"].as_array().unwrap();
    let parked: Vec<&str> = parked.iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(parked, ["state_forgotten"], "{before}");
    server.crash();
    let server = Server::start(folder.path(), &["--test-clock", START]);
    assert_eq!(outcome(&server, &session), before, "counted again from the log");
    // The start counts after all: under the new version it is no start any more.
    let id = before["parked"][0]["id"].as_str().unwrap();
    assert_eq!(before["parked"][0]["arrival"], 0, "{before}");
    let reprocessed = server.post(&format!("/api/v1/corrections/{id}/reprocess"), &json!({})).ok();
    assert_eq!(reprocessed["state"], "reprocessed", "{reprocessed}");
    assert_eq!(server.post(&format!("/api/v1/corrections/{id}/discard"), &json!({})).problem().1, "conflict");
    assert_eq!(server.get(&session)["counts"]["events"]["held"], 1);
    server.post("/api/v1/clock", &json!({"to": "2026-01-06T00:00:00Z"})).ok();
    let records: Vec<Value> = items(&server.get("/api/v1/records?pipeline=p"));
    let values: Vec<&Value> =
        records.iter().map(|item| item.get("record").unwrap_or(item)).map(|record| &record["value"]).collect();
    assert_eq!(values, [&json!(13)], "{records:?}");
}

#[test]
fn a_pipeline_without_a_session_applies_the_choice_when_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (server, session) = holding(folder.path());
    server.post(&format!("{session}/cancel"), &json!({})).ok();
    let newer = document("2h", "kind == \"begin\"");
    assert_eq!(put(&server, "", &newer).problem().1, "state_incompatible");
    put(&server, "", &json!({"document": newer, "state": {"hours": "forget", "calls": "release"}})).ok();
    assert_eq!(items(&server.get("/api/v1/corrections?pipeline=p")).len(), 0, "not yet");
    server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    server.count(&[event("4", "other", 5)]);
    let parked = items(&server.get("/api/v1/corrections?pipeline=p"));
    let found: Vec<(&str, &Value)> =
        parked.iter().map(|one| (one["reason"].as_str().unwrap(), &one["event"]["inputs"])).collect();
    // The pair ended and came into the window, which was given up with it.
    assert_eq!(found, [("state_forgotten", &json!(3))], "{parked:?}");
    let id = parked[0]["id"].as_str().unwrap();
    assert_eq!(server.post(&format!("/api/v1/corrections/{id}/reprocess"), &json!({})).problem().1, "derived_event");
}
