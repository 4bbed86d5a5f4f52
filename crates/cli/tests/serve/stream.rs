//! Events of sessions as they happen, and after an interruption.

use std::io::{BufRead, Read};

use serde_json::{Value, json};

use crate::support::server::Server;

/// Returns the next event: its id, its type and its payload.
fn next(lines: &mut impl BufRead) -> (String, String, Value) {
    let (mut id, mut kind) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream ended");
        match line.trim_end().split_once(": ") {
            Some(("id", text)) => text.clone_into(&mut id),
            Some(("event", text)) => text.clone_into(&mut kind),
            Some(("data", text)) => {
                let event: Value = serde_json::from_str(text).unwrap();
                return (id, kind, event["payload"].clone());
            }
            _ => {}
        }
    }
}

#[test]
fn a_listener_hears_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let act = |what: &str| server.ask("POST", &format!("/api/v1/sessions/R-00000001/{what}")).send().ok();
    let mut live = server.ask("GET", "/api/v1/stream").open();
    // The stream has begun with its first line.
    live.read_line(&mut String::new()).unwrap();
    act("pause");
    let (id, kind, payload) = next(&mut live);
    assert_eq!((kind.as_str(), &payload["sessionStatus"]), ("meter.session.status", &json!("PAUSED")));
    drop(live);
    act("resume");
    let mut again = server.ask("GET", "/api/v1/stream").header("last-event-id", &id).open();
    assert_eq!(next(&mut again).2["sessionStatus"], "RUNNING", "what happened meanwhile is not lost");
    let mut all = server.ask("GET", "/api/v1/stream?after=0&pipeline=default&type=meter.session.status").open();
    let told: Vec<Value> = (0..4).map(|_| next(&mut all).2["sessionStatus"].clone()).collect();
    assert_eq!(told, ["INITIALIZING", "RUNNING", "PAUSED", "RUNNING"]);
    let mut others = server.ask("GET", "/api/v1/stream?after=0&pipeline=other").open();
    assert_eq!(server.ask("GET", "/api/v1/stream?after=x").send().problem().1, "bad_cursor");
    // A stream does not keep the server from ending, and ends with it.
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let mut rest = String::new();
    others.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("data:"), "{rest}");
}
