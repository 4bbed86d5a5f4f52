//! Scheduled sessions, under the test clock.

use std::path::Path;

use serde_json::{Value, json};

use crate::services::moto::Moto;
use crate::support::server::{Server, eventually, items};
use crate::{create, document, events, expected, line, lines, origins, sums};

const SCHEDULE: &str = "schedule: { cron: '0 2 * * *', timezone: Europe/Oslo";

fn source(folder: &Path) -> String {
    format!("dedupe: off\nsource:\n  file: {{ path: '{}/*.ndjson*' }}", folder.display())
}

fn clock(server: &Server, to: &str) {
    let moved = server.post("/api/v1/clock", &json!({"to": to}));
    assert_eq!(moved.status, 200, "{}", moved.text());
}

/// Waits until there are so many sessions of the pipeline, all ended; returns them, the oldest first.
fn sessions(server: &Server, count: usize) -> Vec<Value> {
    eventually("the sessions end", || {
        let mut found = items(&server.get("/api/v1/sessions?pipeline=usage"));
        found.reverse();
        let have_ended = found.iter().all(|session| session["sessionEndTime"].is_string());
        (found.len() >= count && have_ended).then_some(found)
    })
}

fn brief(session: &Value) -> (String, String) {
    let text = |name: &str| session[name].as_str().unwrap().to_owned();
    (text("sessionStatus"), text("asOf"))
}

fn pair(status: &str, as_of: &str) -> (String, String) {
    (status.to_owned(), as_of.to_owned())
}

#[test]
fn a_schedule_survives_the_clock_change_a_restart_and_bad_files() {
    let folder = tempfile::tempdir().unwrap();
    let (input, data) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..30);
    let more = ["--test-clock", "2026-03-27T12:00:00Z"];
    let mut server = Server::start(&data, &more);
    create(&server, &document(&source(&input), &format!("{SCHEDULE} }}\n")));
    let pipeline = server.get("/api/v1/pipelines/usage");
    assert_eq!(pipeline["nextRun"], "2026-03-28T01:00:00.000Z", "{pipeline}");
    clock(&server, "2026-03-28T01:00:00Z");
    let first = sessions(&server, 1);
    assert_eq!(brief(&first[0]), pair("COMPLETED", "2026-03-28T01:00:00.000Z"));
    // 02:00 does not exist on the 29th: the run is due at the first instant after the gap.
    lines(&input.join("b.ndjson"), 30..60);
    clock(&server, "2026-03-29T01:00:00Z");
    assert_eq!(brief(&sessions(&server, 2)[1]), pair("COMPLETED", "2026-03-29T01:00:00.000Z"));
    // The server is down over two due times: the latest is run, once.
    server.crash();
    lines(&input.join("c.ndjson"), 60..90);
    server = Server::start(&data, &["--test-clock", "2026-03-31T12:00:00Z"]);
    clock(&server, "2026-03-31T12:00:00Z");
    let third = sessions(&server, 3);
    assert_eq!(brief(&third[2]), pair("COMPLETED", "2026-03-31T00:00:00.000Z"));
    // A damaged file fails its run; the others are taken. Once it is replaced, the next run is whole.
    lines(&input.join("d.ndjson"), 90..120);
    std::fs::write(input.join("e.ndjson.gz"), [0x1f, 0x8b, 8, 0, 1, 2]).unwrap();
    clock(&server, "2026-04-01T00:00:00Z");
    let fourth = sessions(&server, 4);
    assert_eq!(brief(&fourth[3]).0, "FAILED");
    let id = fourth[3]["sessionId"].as_str().unwrap().to_owned();
    let states: Vec<_> = origins(&server, &id).into_iter().map(|(name, state, _)| (name, state)).collect();
    let named = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(states, [named("d.ndjson", "taken"), named("e.ndjson.gz", "failed")]);
    lines(&input.join("f.ndjson"), 120..150);
    std::fs::rename(input.join("f.ndjson"), input.join("e.ndjson.gz")).unwrap();
    clock(&server, "2026-04-02T00:00:00Z");
    let fifth = sessions(&server, 5);
    assert_eq!(brief(&fifth[4]), pair("COMPLETED", "2026-04-02T00:00:00.000Z"));
    let last = server.get(&format!("/api/v1/sessions/{}", fifth[4]["sessionId"].as_str().unwrap()));
    assert_eq!(events(&last)[0], 30, "{last}");
    assert_eq!(fifth.len(), 5, "{fifth:?}");
}

/// A folder and a bucket in one session, with a late file, a replaced and a damaged one, and a server
/// that was down over two due times.
#[test]
fn a_folder_and_a_bucket_are_read_by_one_schedule() {
    let Some(moto) = Moto::start("a_folder_and_a_bucket_are_read_by_one_schedule", "usage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (input, data) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    let sources = format!(
        "dedupe: {{ key: [source, id], window: 4000d }}\nsources:\n  - id: folder\n    file: {{ path: '{}/*.ndjson*' }}\n  - id: bucket\n    \
         objectStorage: {{ url: 's3://usage/raw', glob: '*.ndjson*', options: {{ endpoint: '{}', region: us-east-1, \
         access_key_id: a, secret_access_key: b, allow_http: 'true' }} }}",
        input.display(),
        moto.url()
    );
    let body = |numbers: std::ops::Range<u64>| numbers.map(|n| format!("{}\n", line(n))).collect::<String>().into_bytes();
    lines(&input.join("a.ndjson"), 0..30);
    moto.put("/usage/raw/b.ndjson", &body(30..60));
    let mut server = Server::start(&data, &["--test-clock", "2026-03-10T12:00:00Z"]);
    create(&server, &document(&sources, &format!("{SCHEDULE} }}\n")));
    clock(&server, "2026-03-11T01:00:00Z");
    assert_eq!(brief(&sessions(&server, 1)[0]).0, "COMPLETED");
    assert_eq!(sums(&server), expected(0..60), "the month is over: it is flushed");

    // Down over two due times. Meanwhile a late file came, and an object was replaced by one with more events.
    server.crash();
    lines(&input.join("late.ndjson"), 60..90);
    moto.put("/usage/raw/b.ndjson", &body(30..75));
    server = Server::start(&data, &["--test-clock", "2026-03-13T12:00:00Z"]);
    clock(&server, "2026-03-13T12:00:00Z");
    let second = sessions(&server, 2);
    assert_eq!(brief(&second[1]), pair("COMPLETED", "2026-03-13T01:00:00.000Z"), "the latest, once");
    assert_eq!(sums(&server), expected(0..90), "late events revise the records, repeated ones do not count");

    // A damaged object fails its run, which flushes nothing; once it is replaced, the next is whole.
    lines(&input.join("d.ndjson"), 90..120);
    moto.put("/usage/raw/e.ndjson.gz", &[0x1f, 0x8b, 8, 0, 1, 2]);
    clock(&server, "2026-03-14T01:00:00Z");
    let third = sessions(&server, 3);
    assert_eq!(brief(&third[2]).0, "FAILED");
    let states: Vec<_> = origins(&server, third[2]["sessionId"].as_str().unwrap()).into_iter().collect();
    assert!(states.contains(&("d.ndjson".to_owned(), "taken".to_owned(), 30)), "{states:?}");
    assert!(states.iter().any(|(name, state, _)| name == "e.ndjson.gz" && state == "failed"), "{states:?}");
    assert_eq!(sums(&server), expected(0..90), "a session that failed sends nothing");
    moto.put("/usage/raw/e.ndjson.gz", &body(120..150));
    clock(&server, "2026-03-15T01:00:00Z");
    let fourth = sessions(&server, 4);
    assert_eq!(brief(&fourth[3]), pair("COMPLETED", "2026-03-15T01:00:00.000Z"));
    assert_eq!(sums(&server), expected(0..150));
    assert_eq!(fourth.len(), 4, "{fourth:?}");
}

#[test]
fn missed_runs_are_made_up_for_one_by_one_where_the_schedule_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (input, data) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..30);
    let server = Server::start(&data, &["--test-clock", "2026-01-10T12:00:00Z"]);
    create(&server, &document(&source(&input), &format!("{SCHEDULE}, catchUp: all, overlap: queue }}\n")));
    server.crash();
    let server = Server::start(&data, &["--test-clock", "2026-01-10T12:00:00Z"]);
    clock(&server, "2026-01-13T12:00:00Z");
    let due: Vec<_> = sessions(&server, 3).iter().map(brief).collect();
    let wanted = ["2026-01-11", "2026-01-12", "2026-01-13"].map(|day| pair("COMPLETED", &format!("{day}T01:00:00.000Z")));
    assert_eq!(due, wanted);
}

#[test]
fn a_move_of_the_clock_starts_each_run_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let (input, data) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..30);
    std::fs::write(input.join("b.ndjson.gz"), [0x1f, 0x8b, 8, 0, 1, 2]).unwrap();
    for catch_up in ["latest", "none"] {
        let server = Server::start(&data.join(catch_up), &["--test-clock", "2026-03-27T00:00:00Z"]);
        create(
            &server,
            &document(&source(&input), &format!("{SCHEDULE}, catchUp: {catch_up}, retry: {{ times: 1, pause: 10m }} }}\n")),
        );
        clock(&server, "2026-03-29T12:00:00Z");
        // They have ended when the answer comes. Each fails, and is tried once again.
        let found: Vec<_> = items(&server.get("/api/v1/sessions?pipeline=usage")).iter().rev().map(brief).collect();
        let due = ["2026-03-27T01:00:00.000Z", "2026-03-28T01:00:00.000Z", "2026-03-29T01:00:00.000Z"];
        let wanted: Vec<_> = due.iter().flat_map(|due| [pair("FAILED", due), pair("FAILED", due)]).collect();
        assert_eq!(found, wanted, "{catch_up}");
    }
}
