//! Killed while sources are read: every event counts once, with and without deduplication.

use serde_json::json;

use crate::support::server::Server;
use crate::{create, document, expected, killed_until_it_completes, lines, start, sums};

#[test]
fn a_server_that_is_killed_again_and_again_takes_every_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let (input, data) = (folder.path().join("in"), folder.path().join("data"));
    std::fs::create_dir(&input).unwrap();
    const FILES: u64 = 12;
    const EVENTS: u64 = 25_000;
    for file in 0..FILES {
        lines(&input.join(format!("{file:02}.ndjson")), file * EVENTS..(file + 1) * EVENTS);
    }
    // No deduplication: a line that is taken twice would be in the sums.
    let source = format!("dedupe: off\nsource:\n  file: {{ path: '{}/*.ndjson' }}", input.display());
    let more = ["--set", "checkpoint.interval=1s"];
    let server = Server::start(&data, &more);
    create(&server, &document(&source, ""));
    let id = start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"}));
    server.crash();
    let server = killed_until_it_completes(&data, &more, &id, 3);
    assert_eq!(sums(&server), expected(0..FILES * EVENTS));
}
