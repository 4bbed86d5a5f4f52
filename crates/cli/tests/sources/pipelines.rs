//! Pipelines that read what others of the server received and make, through kills.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::server::{Server, eventually, items};
use crate::{create, kills, line};

/// A pipeline with one meter for each user, whose periods never end.
fn pipeline(name: &str, source: &str, user: &str, value: &str) -> String {
    let key: String = name.bytes().chain([0; 6]).take(6).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "pipeline: {name}\nsource: {{ {source} }}\noperators:\n  - meter: {{ key: 7a4c9d9e-7a4e-4a0e-9f43-{key}, user: {user}, rules: [{{ category: {name}, value: {value} }}] }}\n\
         meterTypes:\n  - {{ name: {name}, category: {name}, resetSchedule: never }}\ntargets:\n  - none: {{}}\n"
    )
}

/// A pipeline that flushes the sums of each month.
fn monthly(source: &str) -> String {
    format!(
        "pipeline: usage\nsource: {{ {source} }}\noperators:\n  - meter: {{ key: 7a4c9d9e-7a4e-4a0e-9f43-0c1d2f3a4b5c, user: user, time: at, rules: [{{ category: n, value: n }}] }}\n\
         meterTypes:\n  - {{ name: N, category: n, resetSchedule: monthly, flushEmpty: false, late: {{ amendWithin: 3650d }} }}\n\
         targets:\n  - none: {{}}\n"
    )
}

fn send(server: &Server, events: &[Value]) {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let sent = server.ask("POST", "/api/v1/events").header("content-type", "application/x-ndjson").body(lines).send();
    assert_eq!(sent.status, 204, "{sent:?}");
}

fn event(n: u64) -> Value {
    let mut event = line(n);
    event["specversion"] = json!("1.0");
    event["type"] = json!("use");
    event
}

fn start(server: &Server, pipeline: &str, options: &Value) -> String {
    let started = server.post(&format!("/api/v1/pipelines/{pipeline}/run"), options);
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["sessionId"].as_str().unwrap().to_owned()
}

/// The value of each user's meter, by user.
fn values(server: &Server, pipeline: &str) -> Vec<(String, String)> {
    let meters = items(&server.get(&format!("/api/v1/meters?pipeline={pipeline}&limit=1000")));
    let value = |meter: &Value| meter["value"].to_string();
    meters.iter().map(|meter| (meter["userId"].as_str().unwrap().to_owned(), value(meter))).collect()
}

fn wait_for(server: &Server, pipeline: &str, expected: &[(String, String)]) {
    let mut found = Vec::new();
    let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the values arrive", || {
            found = values(server, pipeline);
            (found == expected).then_some(())
        });
    }));
    assert!(arrived.is_ok(), "{pipeline}: {found:?} instead of {expected:?}");
}

fn sums_of(numbers: &std::ops::Range<u64>) -> Vec<(String, String)> {
    let of = |user: u64| numbers.clone().filter(|n| n % 3 == user).sum::<u64>();
    (0..3).map(|user| (format!("u{user}"), of(user).to_string())).collect()
}

#[test]
fn received_events_are_counted_again_by_other_rules() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &monthly("http: {}"));
    start(&server, "usage", &json!({}));
    let events: Vec<Value> = (0..3_000).map(event).collect();
    events.chunks(500).for_each(|events| send(&server, events));
    create(&server, &pipeline("again", "eventStore: { pipeline: usage, where: 'n >= 1500' }", "user", "n"));
    let ended = |id: &str| {
        let session = eventually("the session ends", || {
            let session = server.get(&format!("/api/v1/sessions/{id}"));
            ["COMPLETED", "FAILED"].contains(&session["sessionStatus"].as_str().unwrap()).then_some(session)
        });
        assert_eq!(session["sessionStatus"], "COMPLETED", "{session}");
        session["counts"]["events"]["received"].clone()
    };
    assert_eq!(ended(&start(&server, "again", &json!({}))), 1_500);
    wait_for(&server, "again", &sums_of(&(1_500..3_000)));
    // Later events alone are new to the next session, and a range of its own begins at its own place.
    send(&server, &[event(4_000)]);
    assert_eq!(ended(&start(&server, "again", &json!({}))), 1);
    let none = json!({"sources": {"source": {"to": "2020-01-01T00:00:00Z"}}});
    assert_eq!(ended(&start(&server, "again", &none)), 0);
    let origins = items(&server.get("/api/v1/events?pipeline=again&limit=1"));
    assert_eq!(origins[0]["origin"], json!({"name": "usage", "source": "source", "line": 1_500}), "{origins:?}");
}

#[test]
fn outputs_of_a_pipeline_are_taken_once_by_others_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]);
    create(&server, &monthly("http: {}"));
    let readers = [
        pipeline("rolled", "pipeline: { pipeline: usage, interval: 100ms }", "subject", "change"),
        pipeline("copied", "pipeline: { pipeline: usage, output: events, interval: 100ms }", "user", "n"),
        pipeline("broken", "pipeline: { pipeline: usage, output: parked, interval: 100ms }", "data.reason", "1"),
    ];
    readers.iter().for_each(|reader| create(&server, &format!("dedupe: off\n{reader}")));
    for name in ["usage", "rolled", "copied", "broken"] {
        start(&server, name, &json!({}));
    }
    let mut chance = Chance(11);
    let (mut sent, mut wrong) = (0, 0);
    for _ in 0..kills(6) {
        for _ in 0..4 {
            let mut events: Vec<Value> = (sent..sent + 300).map(event).collect();
            sent += 300;
            events.push(json!({"specversion": "1.0", "type": "use", "id": format!("wrong{wrong}"), "source": "s", "user": "u0",
                "at": "2026-01-15T10:00:00Z", "n": "many"}));
            wrong += 1;
            send(&server, &events);
            std::thread::park_timeout(Duration::from_millis(chance.below(200)));
        }
        server.crash();
        server = Server::start(&data, &[]);
    }
    wait_for(&server, "copied", &sums_of(&(0..sent)));
    wait_for(&server, "rolled", &sums_of(&(0..sent)));
    wait_for(&server, "broken", &[("bad_value".to_owned(), wrong.to_string())]);
    // Records of January were revised again and again: their changes add up.
    let records = items(&server.get("/api/v1/records?pipeline=usage&limit=1000"));
    assert!(records.len() > 3, "{}", records.len());
}

#[test]
fn a_pipeline_does_not_read_what_it_makes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &pipeline("one", "pipeline: { pipeline: two }", "subject", "change"));
    create(&server, &pipeline("two", "pipeline: { pipeline: one }", "subject", "change"));
    let failed = |name: &str| {
        let id = start(&server, name, &json!({}));
        let session = eventually("the session fails", || {
            let session = server.get(&format!("/api/v1/sessions/{id}"));
            (session["sessionStatus"] == "FAILED").then_some(session)
        });
        session["error"].as_str().unwrap().to_owned()
    };
    assert!(failed("one").contains("would read what it makes itself, through two, one"), "{}", failed("one"));
    create(&server, &pipeline("lost", "eventStore: { pipeline: nowhere }", "user", "n"));
    assert!(failed("lost").contains("there is no pipeline `nowhere`"), "{}", failed("lost"));
}
