//! Answers that a page looks at: the newest events of a session, pauses in the history, the operator
//! that stopped an event, the day of a zone, and what waits for a correction by its text.

use std::io::BufRead;

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually, items};

const FILTERED: &str = "pipeline: picky
source: { http: {} }
operators:
  - id: once
    dedupe: { key: [source, id] }
  - id: only-big
    filter: { when: 'data.value > 5' }
  - meter:
      key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a11
      rules: [{ category: use, value: data.value }]
meterTypes:
  - { name: Use, category: use, resetSchedule: monthly }
";

#[test]
fn a_filtered_event_names_the_operator_that_stopped_it() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("picky.yaml");
    std::fs::write(&document, FILTERED).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    server.count(&[event("small", "anna", json!(1)), event("big", "anna", json!(9))]);
    let steps = |id: &str| -> Vec<(Value, Value)> {
        let traced = server.get(&format!("/api/v1/events/{id}/trace"));
        let steps = traced["events"][0]["steps"].as_array().unwrap().clone();
        steps.iter().skip(1).map(|step| (step["operator"].clone(), step["outcome"].clone())).collect()
    };
    assert_eq!(steps("small"), [(json!("once"), json!("passed")), (json!("only-big"), json!("filtered"))]);
    assert_eq!(steps("big").last().unwrap().1, "counted");
}

#[test]
fn the_newest_events_of_a_session_come_first_and_pauses_are_marks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let session = items(&server.get("/api/v1/sessions"))[0]["sessionId"].as_str().unwrap().to_owned();
    for act in ["pause", "resume", "pause"] {
        server.post(&format!("/api/v1/sessions/{session}/{act}"), &json!({})).ok();
    }
    let path = format!("/api/v1/sessions/{session}/events");
    let oldest = items(&server.get(&path));
    let mut newest = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("{path}?order=desc&limit=2{cursor}"));
        newest.extend(items(&page));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    newest.reverse();
    assert_eq!(newest, oldest);
    assert_eq!(oldest.last().unwrap()["payload"]["sessionStatus"], "PAUSED");
    let marks = server.get("/api/v1/history?of=pipeline&name=default")["marks"].clone();
    let words = |mark: &Value| mark["text"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    let words: Vec<String> = marks.as_array().unwrap().iter().map(words).collect();
    assert_eq!(words, ["started", "paused", "resumed", "paused"], "{marks}");
}

#[test]
fn counts_of_a_day_begin_at_midnight_in_the_zone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let from = server.get("/api/v1/overview?zone=Asia/Kolkata")["from"].as_str().unwrap().to_owned();
    assert!(from.ends_with("T18:30:00.000Z"), "{from}");
    let refused = server.ask("GET", "/api/v1/overview?zone=Nope/X").send();
    assert_eq!((refused.status, refused.problem().2.as_deref()), (400, Some("zone")));
}

#[test]
fn parked_events_are_found_by_their_user_and_by_the_text_of_the_detail() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let bad = |id: &str, user: &str, time: &str| {
        let mut bad = event(id, user, json!(1));
        bad["time"] = json!(time);
        bad
    };
    server.count(&[bad("1", "anna", "2999-01-01T00:00:00Z"), bad("2", "bella", "2998-01-01T00:00:00Z")]);
    let found = |query: &str| -> Vec<Value> {
        items(&server.get(&format!("/api/v1/corrections?{query}"))).iter().map(|one| one["event"]["id"].clone()).collect()
    };
    eventually("two parked events", || (found("").len() == 2).then_some(()));
    assert_eq!(found("user=anna"), [json!("1")]);
    assert_eq!(found("text=2998"), [json!("2")]);
    assert_eq!(found("text=nothing"), Vec::<Value>::new());
}

/// Reads a stream of a page up to the event of a session with a status. Returns its id.
fn id_of(stream: &mut impl BufRead, status: &str) -> u64 {
    let mut id = None;
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream ended");
        if let Some(number) = line.strip_prefix("id: ") {
            id = number.trim().parse().ok();
        }
        if line.starts_with("data: ") && line.contains(&format!("\"sessionStatus\":\"{status}\"")) && line.contains("eventType") {
            return id.unwrap_or_else(|| panic!("no id before {line}"));
        }
    }
}

#[test]
fn a_stream_of_pages_gives_the_events_of_sessions_that_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let act = |what: &str| server.ask("POST", &format!("/api/v1/sessions/R-00000001/{what}")).send().ok();
    let mut first = server.ask("GET", "/api/v1/live?topic=overview").open();
    first.read_line(&mut String::new()).unwrap();
    act("pause");
    let paused = id_of(&mut first, "PAUSED");
    drop(first);
    act("resume");
    let again = server.ask("GET", "/api/v1/live?topic=overview").header("last-event-id", &paused.to_string());
    assert!(id_of(&mut again.open(), "RUNNING") > paused);
}
