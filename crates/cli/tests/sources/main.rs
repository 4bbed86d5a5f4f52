//! Sources that a server reads by itself: files, objects of a real S3-compatible server, rows of a
//! real Postgres, pages of a service; with restarts and kills in between.
//!
//! `SOURCE_KILLS=20` kills more often than the default run does.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "../../../connectors/tests/support/mod.rs"]
#[allow(unreachable_pub, missing_docs)]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod files;
#[cfg(feature = "kafka")]
mod kafka;
mod kill;
mod objects;
mod pages;
mod pipelines;
mod rows;
mod scheduled;
mod tables;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::chance::Chance;
use support::server::{Server, eventually, items};

/// Returns a document that sums `n` by user over a month, from these sources.
fn document(source: &str, schedule: &str) -> String {
    format!(
        "pipeline: usage\n{source}\n{schedule}operators:\n  - meter:\n      key: 7a4c9d9e-7a4e-4a0e-9f43-0c1d2f3a4b5c\n      user: user\n      \
         time: at\n      rules: [{{ name: n, category: n, value: n }}]\nmeterTypes:\n  - {{ name: N, category: n, aggregation: \
         sum, resetSchedule: monthly, flushEmpty: false, late: {{ amendWithin: 3650d }} }}\ntargets:\n  - none: {{}}\n"
    )
}

fn create(server: &Server, document: &str) {
    let made = server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send();
    assert_eq!(made.status, 201, "{}", made.text());
}

/// Starts a session and returns its id.
fn start(server: &Server, options: &Value) -> String {
    let started = server.post("/api/v1/pipelines/usage/run", options);
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["sessionId"].as_str().unwrap().to_owned()
}

/// Waits until a session has ended and returns it.
fn ended(server: &Server, id: &str) -> Value {
    eventually("the session ends", || {
        let session = server.get(&format!("/api/v1/sessions/{id}"));
        ["COMPLETED", "FAILED", "CANCELED"].contains(&session["sessionStatus"].as_str().unwrap()).then_some(session)
    })
}

/// Returns a session that must have completed.
fn completed(server: &Server, id: &str) -> Value {
    let session = ended(server, id);
    assert_eq!(session["sessionStatus"], "COMPLETED", "{session}");
    session
}

/// Returns user, month and sum of the newest revision of each record.
fn sums(server: &Server) -> Vec<(String, String, String)> {
    let records = items(&server.get("/api/v1/records?pipeline=usage&limit=1000"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut sums: Vec<_> = records
        .iter()
        .map(|record| {
            let record = record.get("record").unwrap_or(record);
            let key = (text(&record["userId"]), text(&record["periodStart"])[..7].to_owned());
            (key, record["meterMetaData"]["revision"].as_u64().unwrap(), text(&record["value"]))
        })
        .collect();
    sums.sort();
    let newest: std::collections::BTreeMap<_, _> = sums.into_iter().map(|(key, _, value)| (key, value)).collect();
    newest.into_iter().map(|((user, month), value)| (user, month, value)).collect()
}

/// Returns the events of a session by verdict: received, counted, duplicate, parked.
fn events(session: &Value) -> [u64; 4] {
    ["received", "counted", "duplicate", "parked"].map(|name| session["counts"]["events"][name].as_u64().unwrap())
}

fn origins(server: &Server, id: &str) -> Vec<(String, String, u64)> {
    let found = items(&server.get(&format!("/api/v1/sessions/{id}/origins")));
    let shown = |origin: &Value| {
        let name = origin["origin"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (name, origin["state"].as_str().unwrap().to_owned(), origin["events"]["received"].as_u64().unwrap())
    };
    found.iter().map(shown).collect()
}

/// Writes a file of lines: users take turns, and each event has a day of last January.
fn lines(path: &Path, numbers: std::ops::Range<u64>) {
    let text: String = numbers.map(|n| format!("{}\n", line(n))).collect();
    std::fs::write(path, text).unwrap();
}

/// Returns an event of one of three users.
fn line(n: u64) -> Value {
    json!({"id": n.to_string(), "source": "s", "user": format!("u{}", n % 3), "at": "2026-01-15T10:00:00Z", "n": n})
}

/// Returns the sums of a range of events, by user.
fn expected(numbers: std::ops::Range<u64>) -> Vec<(String, String, String)> {
    let of = |user: u64| numbers.clone().filter(|n| n % 3 == user).sum::<u64>();
    (0..3).map(|user| (format!("u{user}"), "2026-01".to_owned(), of(user).to_string())).collect()
}

/// Says that the tests of Kafka are left out, where the program was built without it.
#[cfg(not(feature = "kafka"))]
#[test]
fn kafka_is_a_feature() {
    services::skipped("kafka", "built without it; add `--features kafka`");
}

/// Kills a server again and again, at moments that a seed chooses, until its session is left alone and
/// completes. Returns the server.
fn killed_until_it_completes(data: &Path, more: &[&str], id: &str, seed: u64) -> Server {
    let mut chance = Chance(seed);
    for _ in 0..kills(6) {
        let server = Server::start(data, more);
        std::thread::park_timeout(Duration::from_millis(chance.below(500)));
        server.crash();
    }
    let server = Server::start(data, more);
    completed(&server, id);
    server
}

/// Returns how often to kill.
fn kills(otherwise: u64) -> u64 {
    std::env::var("SOURCE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
