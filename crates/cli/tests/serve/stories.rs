//! The cases of operators on a server with a test clock: the same answers as in a run.

use std::collections::BTreeMap;

use flowmeter_core::json::holds;
use serde_json::{Value, json};

use crate::support::server::{Server, items};

/// The fields of an expectation that are sums of a session, left out if 0.
const SUMS: [&str; 10] =
    ["received", "derived", "counted", "late", "duplicate", "filtered", "split", "absorbed", "held", "cancelled"];

/// Whether every event can be sent over HTTP: it has what a CloudEvent must have.
fn can_be_sent(story: &Value) -> bool {
    let steps = story["steps"].as_array().unwrap();
    let events = steps.iter().filter_map(|step| step["events"].as_array()).flatten();
    let is_named = |name: &str, event: &Value| event[name].as_str().is_some_and(|text| !text.is_empty());
    events.into_iter().all(|event| is_named("id", event) && is_named("source", event))
        && !steps.iter().any(|step| step["look"].is_object())
}

/// The document with HTTP as its source; rows of tables are put, not read.
fn document(story: &Value) -> Value {
    as_sent(&story["pipeline"])
}

fn as_sent(document: &Value) -> Value {
    let mut document = document.clone();
    document["source"] = json!({"http": {}});
    for table in document["tables"].as_array_mut().into_iter().flatten() {
        table.as_object_mut().unwrap().remove("file");
    }
    document
}

/// Plays a story and returns what is wrong with its end.
fn play(story: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let steps = story["steps"].as_array().unwrap();
    let start = steps[0]["at"].as_str().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", start]);
    server.post("/api/v1/pipelines", &document(story)).ok();
    let session = server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    for step in steps {
        let at = &step["at"];
        if let Some(table) = step.get("table") {
            server.post("/api/v1/clock", &json!({"to": at, "tick": false})).ok();
            let rows = table["rows"].as_array().unwrap();
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let path = format!("/api/v1/tables/{}/rows", table["name"].as_str().unwrap());
            let answer = server.ask("PUT", &path).header("content-type", "application/x-ndjson").body(lines).send();
            // A content that is refused leaves the version before in force.
            assert!(matches!(answer.status, 200 | 422), "{answer:?}");
        } else if let Some(document) = step.get("pipeline") {
            server.post("/api/v1/clock", &json!({"to": at, "tick": false})).ok();
            adopt(&server, document, step)?;
        } else if let Some(events) = step["events"].as_array() {
            server.post("/api/v1/clock", &json!({"to": at, "tick": false})).ok();
            let whole = |event: &Value| {
                let mut event = event.clone();
                event["specversion"] = json!("1.0");
                event["type"] = if event["type"].is_string() { event["type"].clone() } else { json!("t") };
                event
            };
            server.count(&events.iter().map(whole).collect::<Vec<_>>());
        } else if step["flush"] == json!(true) {
            server.post("/api/v1/clock", &json!({"to": at, "tick": false})).ok();
            server.post("/api/v1/pipelines/p/flush", &json!({}));
        } else {
            server.post("/api/v1/clock", &json!({"to": at})).ok();
        }
    }
    judge(&server, &session, &story["expect"])
}

/// Puts the next version of the document, and compares the answer with the expected one.
fn adopt(server: &Server, document: &Value, step: &Value) -> Result<(), String> {
    let body = match step.get("state") {
        Some(state) => json!({"document": as_sent(document), "state": state}),
        None => as_sent(document),
    };
    let answer = server.ask("PUT", "/api/v1/pipelines/p").json(&body).send();
    let expected = step["answer"]["status"].as_u64().unwrap_or(200);
    if u64::from(answer.status) != expected {
        return Err(format!("{answer:?}"));
    }
    match step["answer"]["code"].as_str() {
        Some(code) if answer.problem().1 != code => Err(format!("not {code}")),
        Some(_) | None => Ok(()),
    }
}

fn judge(server: &Server, session: &Value, expect: &Value) -> Result<(), String> {
    let path = format!("/api/v1/sessions/{}", session["sessionId"].as_str().unwrap());
    let shown = server.get(&path);
    let events = &shown["counts"]["events"];
    for name in SUMS {
        let expected = expect.get(name).cloned().unwrap_or(json!(0));
        if events[name] != expected {
            return Err(format!("{name}: {}, not {expected}; {events}", events[name]));
        }
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in expect["parked"].as_array().into_iter().flatten() {
        *reasons.entry(reason.as_str().unwrap()).or_default() += 1;
    }
    if events["parkedByReason"] != json!(reasons) {
        return Err(format!("parked {}, not {reasons:?}", events["parkedByReason"]));
    }
    let records: Vec<Value> = items(&server.get("/api/v1/records?pipeline=p&limit=1000"));
    let expected = expect["records"].as_array().cloned().unwrap_or_default();
    let records: Vec<Value> = records.iter().map(|item| item.get("record").unwrap_or(item).clone()).collect();
    for expected in &expected {
        let count = records.iter().filter(|record| holds(record, expected)).count();
        if count != 1 {
            return Err(format!("{expected} is held by {count} of {records:?}"));
        }
    }
    match records.len() == expected.len() {
        true => Ok(()),
        false => Err(format!("{} records, not {}: {records:?}", records.len(), expected.len())),
    }
}

#[test]
fn cases_of_operators_hold_on_a_server_with_a_test_clock() {
    let folder = crate::support::root().join("cases/operators");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    let (mut played, mut failures) = (0, Vec::new());
    for file in files {
        let stories: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for story in stories.iter().filter(|story| can_be_sent(story)) {
            played += 1;
            if let Err(why) = play(story) {
                failures.push(format!("{}: {}: {why}", file.display(), story["story"]));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {played}:\n{}", failures.len(), failures.join("\n\n"));
    assert!(played >= 40, "only {played} stories");
}
