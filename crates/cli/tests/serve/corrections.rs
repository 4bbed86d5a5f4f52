//! Parked events: found, corrected, discarded, sent in again; never counted twice.

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually, items};

fn without_user(id: &str) -> Value {
    let mut event = event(id, "", json!(1));
    event.as_object_mut().unwrap().remove("subject");
    event
}

#[test]
fn a_corrected_event_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[without_user("1"), without_user("2"), without_user("3"), event("4", "anna", json!(1))]);
    let open = items(&server.get("/api/v1/corrections"));
    assert_eq!(open.len(), 3);
    assert_eq!(
        (&open[0]["reason"], &open[0]["state"], &open[0]["event"]["id"]),
        (&json!("no_user"), &json!("open"), &json!("1"))
    );
    let id = |at: usize| open[at]["id"].as_str().unwrap().to_owned();
    let act = |at: usize, what: &str, body: Value| server.post(&format!("/api/v1/corrections/{}/{what}", id(at)), &body);
    for body in [json!({}), json!({"event": "text"}), json!({"event": null})] {
        let told = act(0, "correct", body.clone()).problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some("event")), "{body}");
    }
    assert_eq!(act(0, "correct", json!({"event": event("1", "anna", json!(1))})).ok()["state"], "corrected");
    assert_eq!(act(1, "discard", json!({})).ok()["state"], "discarded");
    assert_eq!(act(2, "reprocess", json!({})).ok()["state"], "reprocessed");
    let anna = || items(&server.get("/api/v1/meters?userId=anna&meterType=Events"))[0]["value"].clone();
    assert_eq!(anna(), 2);
    // A settled event stays settled.
    for (at, what) in [(0, "correct"), (0, "reprocess"), (1, "discard"), (1, "reprocess")] {
        assert_eq!(act(at, what, json!({"event": event("1", "anna", json!(1))})).problem().0, 409, "{at} {what}");
    }
    assert_eq!(anna(), 2);
    // Unchanged, it is parked again, as a new one in the queue.
    let open = items(&server.get("/api/v1/corrections"));
    assert_eq!((open.len(), &open[0]["event"]["id"]), (1, &json!("3")));
    assert_eq!(items(&server.get("/api/v1/corrections?state=all")).len(), 4);
    assert_eq!(items(&server.get("/api/v1/corrections?state=discarded")).len(), 1);
    assert_eq!(items(&server.get("/api/v1/corrections?reason=no_value")).len(), 0);
    for (query, field) in [("state=gone", "state"), ("reason=mood", "reason")] {
        assert_eq!(server.ask("GET", &format!("/api/v1/corrections?{query}")).send().problem().2.as_deref(), Some(field));
    }
    // All that wait at once.
    let all = server.post("/api/v1/corrections/reprocess", &json!({"pipeline": "default", "reason": "no_user"})).ok();
    assert_eq!(all["reprocessed"], 1);
    assert_eq!(server.post("/api/v1/corrections/reprocess", &json!({})).problem().2.as_deref(), Some("pipeline"));
    for id in ["default:99", "other:0", "x"] {
        assert_eq!(server.ask("GET", &format!("/api/v1/corrections/{id}")).send().problem().0, 404, "{id}");
    }
    // A restart changes nothing.
    server.stop();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(items(&server.get("/api/v1/meters?userId=anna&meterType=Events"))[0]["value"], 2);
    assert_eq!(items(&server.get("/api/v1/corrections?state=corrected")).len(), 1);
}

#[test]
fn the_queue_is_filtered_by_event_time_and_settlement() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-03-04T12:00:00Z"]);
    server.count(&[without_user("1"), without_user("2")]);
    // An event is in the queue from the moment at which the queue is written or read.
    assert_eq!(items(&server.get("/api/v1/corrections")).len(), 2);
    server.post("/api/v1/clock", &json!({"to": "2026-03-05T12:00:00Z"})).ok();
    let mut other = without_user("3");
    other["source"] = json!("/gateway");
    server.count(&[other]);
    server.post("/api/v1/corrections/default:0/discard", &json!({"reason": "a test"})).ok();
    let cases = [
        ("source=/gateway", vec!["3"]),
        ("id=2", vec!["2"]),
        ("subject=anna", vec![]),
        ("from=2026-03-05T00:00:00Z", vec!["3"]),
        ("to=2026-03-05T00:00:00Z", vec!["2"]),
        ("to=2026-03-05T00:00:00Z&state=all", vec!["1", "2"]),
        ("state=all&settledBy=local", vec!["1"]),
        ("state=all&settledBy=kari", vec![]),
        ("state=all&settledFrom=2026-03-05T00:00:00Z", vec!["1"]),
        ("state=all&settledTo=2026-03-05T00:00:00Z", vec![]),
    ];
    for (query, expected) in cases {
        for order in ["asc", "desc"] {
            let found = items(&server.get(&format!("/api/v1/corrections?{query}&order={order}")));
            let mut ids: Vec<_> = found.iter().map(|one| one["event"]["id"].as_str().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{query} {order}");
        }
    }
    let one = server.get("/api/v1/corrections/default:0");
    assert_eq!((&one["settledBy"], one["parkedAt"].is_string()), (&json!("local"), true));
    assert_eq!(one["receivedAt"], json!("2026-03-04T12:00:00.000Z"), "{one}");
    for order in ["asc", "desc"] {
        let found = items(&server.get(&format!("/api/v1/corrections?state=all&order={order}")));
        let mut times: Vec<_> = found.iter().map(|one| one["receivedAt"].as_str().unwrap()).collect();
        times.sort_unstable();
        assert_eq!(times, ["2026-03-04T12:00:00.000Z", "2026-03-04T12:00:00.000Z", "2026-03-05T12:00:00.000Z"], "{order}");
    }
    for field in ["from", "settledTo"] {
        let told = server.ask("GET", &format!("/api/v1/corrections?{field}=noon")).send().problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some(field)));
    }
}

/// Groups rise and sink while they are read.
#[test]
fn pages_of_groups_leave_none_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let park = |source: &str, count: u32, from: u32| {
        let event = |n: u32| json!({"specversion": "1.0", "id": format!("{}", from + n), "source": source, "type": "x"});
        server.count(&(0..count).map(event).collect::<Vec<_>>());
    };
    let sources = [("/a", 5), ("/b", 4), ("/c", 3), ("/d", 2)];
    sources.iter().for_each(|(source, count)| park(source, *count, 0));
    let page = |cursor: &str| {
        let answer = server.get(&format!("/api/v1/corrections/groups?limit=1{cursor}"));
        let group = &answer["items"][0];
        let next = answer["nextCursor"].as_str().map(|next| format!("&cursor={next}"));
        (group["source"].as_str().unwrap_or_default().to_owned(), group["groupId"].clone(), next)
    };
    let first = eventually("all groups", || {
        let all = items(&server.get("/api/v1/corrections/groups"));
        (all.iter().map(|group| group["open"].as_u64().unwrap()).sum::<u64>() == 14).then(|| page(""))
    });
    let second = page(first.2.as_deref().unwrap());
    assert_eq!((first.0.as_str(), second.0.as_str()), ("/a", "/b"));
    // The last one that was shown rises to the top.
    park("/b", 9, 100);
    eventually("the group has risen", || (page("").0 == "/b").then_some(()));
    let third = page(second.2.as_deref().unwrap());
    let fourth = page(third.2.as_deref().unwrap());
    assert_eq!((third.0.as_str(), fourth.0.as_str(), fourth.2), ("/c", "/d", None));
    let one = server.get(&format!("/api/v1/corrections/groups/{}", third.1.as_str().unwrap()));
    assert_eq!((&one["source"], &one["open"]), (&json!("/c"), &json!(3)));
    assert_eq!(server.ask("GET", "/api/v1/corrections/groups?cursor=x").send().problem().1, "bad_cursor");
    assert_eq!(server.ask("GET", "/api/v1/corrections/groups/none").send().problem().0, 404);
}
