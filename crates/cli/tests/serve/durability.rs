//! Acknowledged events exist: after a crash, after a restart, during the end.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::support::server::{Server, event, items};

#[test]
fn acknowledged_events_survive_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend"})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    for n in 2..=50 {
        // Durable, and perhaps not counted yet.
        assert_eq!(server.ask("POST", "/api/v1/events").json(&event(&n.to_string(), "anna", json!(1))).send().status, 204);
    }
    let before = server.get("/api/v1/sessions");
    server.crash();
    let server = Server::start(folder.path(), &[]);
    // The same again, as a sender does that was not answered: all duplicates.
    let again: Vec<_> = (1..=50).map(|n| event(&n.to_string(), "anna", json!(1))).collect();
    let told = server.count(&again);
    assert!(told["events"].as_array().unwrap().iter().all(|event| event["verdict"] == "duplicate"), "{told}");
    for meter in items(&server.get("/api/v1/meters?userId=anna")) {
        assert_eq!(meter["value"], 50, "{meter}");
    }
    let after = server.get("/api/v1/sessions");
    assert_eq!(items(&before)[0]["sessionId"], items(&after)[0]["sessionId"], "a crash changes no status");
    assert_eq!(items(&after).len(), 1);
    assert_eq!(items(&after)[0]["sessionStatus"], "RUNNING");
}

#[test]
fn a_server_that_is_told_to_end_finishes_what_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let answered = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for sender in 0..4 {
            let (server, answered) = (&server, &answered);
            threads.spawn(move || {
                for n in 0.. {
                    let ask = server.ask("POST", "/api/v1/events").json(&event(&format!("{sender}/{n}"), "anna", json!(1)));
                    match ask.try_send() {
                        Ok(answer) if answer.status == 204 => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                        // The door is closed.
                        Err(_) => return,
                    }
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 200 {
            std::thread::yield_now();
        }
        server.terminate();
    });
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(0));
    let server = Server::start(folder.path(), &[]);
    let counted = items(&server.get("/api/v1/meters?userId=anna&meterType=Events"))[0]["value"].as_u64().unwrap();
    let answered = answered.into_inner();
    // One of each sender may have been taken without the answer having arrived.
    assert!((answered..=answered + 4).contains(&counted), "{answered} answered, {counted} counted");
}
