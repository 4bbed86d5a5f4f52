//! The bound for the memory of meters.

use std::fmt::Write;

use crate::support::server::{Server, eventually};

/// Returns a request with one event for each of a number of new users.
fn users(first: u64, count: u64) -> String {
    (first..first + count).fold(String::new(), |mut lines, n| {
        writeln!(lines, r#"{{"specversion":"1.0","id":"{n}","source":"/s","type":"t","subject":"user-{n}"}}"#).unwrap();
        lines
    })
}

#[test]
fn meters_keep_to_their_memory_and_nothing_is_lost() {
    const BATCH: u64 = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "memory.meters_bytes=16MiB"]);
    let send = |server: &Server, first: u64| {
        server.ask("POST", "/api/v1/events").header("content-type", "application/x-ndjson").body(users(first, BATCH)).send()
    };
    let mut taken = 0;
    let refused = loop {
        let answer = send(&server, taken);
        if answer.status != 204 {
            break answer;
        }
        taken += BATCH;
        assert!(taken < 200_000, "16 MiB hold no {taken} meters");
    };
    assert_eq!((refused.status, refused.problem().1.as_str()), (503, "meters_full"));
    assert_eq!(refused.header("retry-after"), Some("30"));
    let ready = server.ask("GET", "/health/ready").send();
    assert_eq!((ready.problem().0, ready.problem().1.as_str()), (503, "meters_full"));
    let condition = ready.json()["conditions"][0].clone();
    assert_eq!(condition["condition"], "meters_full");
    assert!(condition["since"].as_str().unwrap().ends_with('Z') && condition["detail"].is_string(), "{condition}");
    assert!(taken >= 20_000, "{taken} meters are less than 16 MiB");
    // Everything acknowledged is counted, and queries work.
    let counted = || {
        let text = server.ask("GET", "/metrics").send().text();
        let line = text.lines().find(|line| line.starts_with("flowmeter_count_meter_bytes{")).unwrap().to_owned();
        let bytes: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        let meters = text.lines().find(|line| line.starts_with("flowmeter_count_meters{")).unwrap().to_owned();
        meters.ends_with(&format!(" {taken}")).then_some(bytes)
    };
    let bytes = eventually("everything is counted", counted);
    assert!((14 << 20..=17 << 20).contains(&bytes), "{bytes}");
    assert_eq!(server.get("/api/v1/meters?userId=user-7")["items"].as_array().unwrap().len(), 1);
    assert_eq!(send(&server, 0).status, 503, "the door does not distinguish repeated events from new ones");
    server.stop();
    // With more memory it continues where it was.
    let server = Server::start(folder.path(), &["--set", "memory.meters_bytes=64MiB"]);
    assert_eq!(server.get("/health/ready")["status"], "ready");
    assert_eq!(send(&server, taken).status, 204);
}
