//! Events that operators made are listed, each with its newest verdict.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::server::{Server, items};

const START: &str = "2026-01-05T10:00:00Z";

/// Calls come several at a time; a start whose stop does not come in an hour is parked.
fn document() -> Value {
    json!({
        "pipeline": "p", "source": {"http": {}},
        "operators": [
            {"id": "each", "split": {"path": "data.calls", "into": "data.call"}},
            {"id": "calls", "correlate": {
                "key": ["data.call.line"], "start": "data.call.kind == \"start\"", "stop": "data.call.kind == \"stop\"",
                "time": "data.call.at", "duration": "data.seconds", "timeout": "1h",
            }},
            {"meter": {"key": "00000000-0000-4000-8000-000000000001", "value": "data.seconds", "rules": [{}]}},
        ],
        "meterTypes": [{"name": "m", "resetSchedule": "daily"}],
    })
}

fn call(line: &str, kind: &str, at: &str) -> Value {
    json!({"line": line, "kind": kind, "at": format!("2026-01-05T{at}Z")})
}

fn event(id: &str, calls: &[Value]) -> Value {
    json!({"specversion": "1.0", "source": "/s", "id": id, "type": "t", "subject": "a", "time": START, "data": {"calls": calls}})
}

/// A server that has taken two starts and one stop, of which one pair ended and one start waited too long.
fn counted(folder: &Path) -> Server {
    let server = Server::start(folder, &["--test-clock", START]);
    server.post("/api/v1/pipelines", &document()).ok();
    server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    server.post("/api/v1/clock", &json!({"to": "2026-01-05T10:30:00Z"})).ok();
    server.count(&[event(
        "one",
        &[call("1", "start", "10:00:00"), call("2", "start", "10:01:00"), call("3", "other", "10:02:00")],
    )]);
    server.count(&[event("two", &[call("1", "stop", "10:05:00")])]);
    server.post("/api/v1/clock", &json!({"to": "2026-01-05T12:00:00Z"})).ok();
    server
}

fn told(event: &Value) -> (&str, &str, &Value, &Value) {
    (event["id"].as_str().unwrap(), event["verdict"].as_str().unwrap(), &event["reason"], &event["origin"])
}

#[test]
fn derived_events_are_listed_with_their_newest_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let server = counted(folder.path());
    let all = server.get("/api/v1/events?derived=true");
    let found = items(&all);
    let (none, late) = (Value::Null, json!("no_stop"));
    let (first, second) =
        (json!({"source": "operator", "name": "each", "parent": 0}), json!({"source": "operator", "name": "each", "parent": 1}));
    let pair = json!({"source": "operator", "name": "calls", "parent": null});
    let expected = [
        ("one/each/0", "absorbed", &none, &first),
        ("one/each/1", "parked", &late, &first),
        // Neither start nor stop: it has no duration.
        ("one/each/2", "parked", &json!("no_value"), &first),
        ("two/each/0", "absorbed", &none, &second),
        ("calls/2026-01-05T10:00:00.000Z/1", "counted", &none, &pair),
    ];
    assert_eq!(found.iter().map(told).collect::<Vec<_>>(), expected, "{all}");
    assert_eq!(found[1]["operator"], "calls");
    assert_eq!((&found[4]["source"], &found[4]["event"]["data"]["seconds"]), (&json!("p/calls"), &json!(300)));
    assert_eq!(found[4]["receivedAt"], "2026-01-05T10:30:00.000Z", "the tick that released it");

    // Filters, the other order, and pages.
    let ids = |query: &str| -> Vec<String> {
        let page = server.get(&format!("/api/v1/events?derived=true&{query}"));
        items(&page).iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("verdict=parked&reason=no_stop"), ["one/each/1"]);
    assert_eq!(ids("verdict=absorbed"), ["one/each/0", "two/each/0"]);
    assert_eq!(ids("id=two/each/0&subject=a"), ["two/each/0"]);
    assert!(ids("pipeline=p&subject=b").is_empty());
    assert_eq!(ids("order=desc&limit=2"), ["calls/2026-01-05T10:00:00.000Z/1", "two/each/0"]);
    assert_eq!(ids("from=2026-01-05T10:30:00Z&to=2026-01-05T10:30:00.001Z").len(), 5);
    assert!(ids("from=2026-01-05T10:31:00Z").is_empty());
    for order in ["asc", "desc"] {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/events?derived=true&order={order}&limit=2{cursor}"));
            paged.extend(items(&page));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        if order == "desc" {
            paged.reverse();
        }
        assert_eq!(paged, found, "{order}");
    }
    // Received events are listed without them.
    let received = server.get("/api/v1/events?pipeline=p");
    assert_eq!(items(&received).len(), 2, "{received}");

    server.crash();
    let server = Server::start(folder.path(), &["--test-clock", START]);
    assert_eq!(server.get("/api/v1/events?derived=true"), all, "after a crash");
}

#[test]
fn none_are_kept_where_the_setting_is_off_and_kept_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let server = counted(folder.path());
    let kept = items(&server.get("/api/v1/events?derived=true"));
    server.crash();
    let off = Server::start(folder.path(), &["--test-clock", START, "--set", "event_store.derived=false"]);
    off.count(&[event("three", &[call("4", "start", "12:00:00")])]);
    assert_eq!(items(&off.get("/api/v1/events?derived=true")), kept);
    off.crash();
    let on = Server::start(folder.path(), &["--test-clock", START]);
    on.count(&[event("four", &[call("5", "start", "12:00:00")])]);
    let ids: Vec<Value> = items(&on.get("/api/v1/events?derived=true")).iter().map(|event| event["id"].clone()).collect();
    assert!(ids.ends_with(&[json!("four/each/0")]), "{ids:?}");
}
