//! Sessions: their steps, refusals, and the final state.

use serde_json::{Value, json};

use crate::support::server::{Server, event, items};

fn act(server: &Server, id: &str, what: &str) -> (u16, Value) {
    let answer = server.ask("POST", &format!("/api/v1/sessions/{id}/{what}")).send();
    (answer.status, answer.json())
}

/// Returns the statuses of a session, by its events.
fn way(server: &Server, id: &str) -> Vec<String> {
    let events = items(&server.get(&format!("/api/v1/sessions/{id}/events")));
    let changes: Vec<&Value> = events.iter().filter(|event| event["eventType"] == "meter.session.status").collect();
    for pair in changes.windows(2) {
        assert_eq!(pair[1]["payload"]["sessionPreviousStatus"], pair[0]["payload"]["sessionStatus"]);
    }
    changes.iter().map(|change| change["payload"]["sessionStatus"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn paused_sessions_keep_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let id = items(&server.get("/api/v1/sessions"))[0]["sessionId"].as_str().unwrap().to_owned();
    server.post("/api/v1/meter-types", &json!({"name": "Level", "aggregation": "latest"})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    assert_eq!(act(&server, &id, "pause").1["sessionStatus"], "PAUSED");
    for n in 2..=5 {
        let sent = server.ask("POST", "/api/v1/events?wait=counted").json(&event(&n.to_string(), "anna", json!(n))).send();
        assert_eq!((sent.status, &sent.json()["events"][0]["verdict"]), (200, &json!("accepted")), "durable, and not counted");
    }
    let level = || items(&server.get("/api/v1/meters?meterType=Level"))[0]["value"].clone();
    assert_eq!(level(), 1);
    // Requests that would wait for the pipeline are refused with the reason.
    let refused = server.post("/api/v1/meters", &json!({"userId": "bob", "meterType": "Level"}));
    assert_eq!(refused.problem().0, 409);
    let (status, told) = act(&server, &id, "pause");
    assert_eq!((status, &told["code"]), (409, &json!("conflict")));
    assert!(told["detail"].as_str().unwrap().matches("PAUSED").count() >= 1, "{told}");
    // A restart changes no status, and loses nothing of what waits.
    server.stop();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get(&format!("/api/v1/sessions/{id}"))["sessionStatus"], "PAUSED");
    assert_eq!(act(&server, &id, "resume").1["sessionStatus"], "RUNNING");
    server.count(&[event("6", "carl", json!(0))]);
    // In order: the last to come is the last to count.
    assert_eq!(items(&server.get("/api/v1/meters?meterType=Level&userId=anna"))[0]["value"], 5);
    let shown = server.get(&format!("/api/v1/sessions/{id}"));
    assert_eq!(
        (&shown["counts"]["events"]["received"], &shown["counts"]["events"]["counted"]),
        (&json!(6), &json!(6)),
        "{shown}"
    );
    assert_eq!(way(&server, &id), ["INITIALIZING", "RUNNING", "PAUSED", "RUNNING"]);
}

#[test]
fn illegal_steps_name_both_statuses() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let id = "R-00000001";
    assert_eq!(act(&server, id, "cancel").0, 200);
    for (what, wanted) in [("pause", "PAUSED"), ("resume", "RUNNING"), ("finish", "USAGE_PUSHING"), ("cancel", "CANCELED")] {
        let (status, told) = act(&server, id, what);
        let detail = told["detail"].as_str().unwrap();
        assert_eq!((status, &told["code"]), (409, &json!("conflict")));
        assert!(detail.contains("CANCELED") && detail.contains(wanted), "{what}: {detail}");
    }
    for path in ["R-00000002", "R-x", "nonsense"] {
        assert_eq!(act(&server, path, "pause").0, 404, "{path}");
        assert_eq!(server.ask("GET", &format!("/api/v1/sessions/{path}")).send().problem().0, 404);
    }
    // A new run is a new session; two starts with one key are one.
    let run = |body: Value| server.post("/api/v1/pipelines/default/run", &body).ok()["sessionId"].clone();
    assert_eq!(run(json!({"uniqueKey": "july"})), "R-00000002");
    assert_eq!(run(json!({"uniqueKey": "july"})), "R-00000002");
    assert_eq!(server.post("/api/v1/pipelines/default/run", &json!({})).problem().0, 409);
    let of_status = items(&server.get("/api/v1/sessions?status=CANCELED"));
    assert_eq!((of_status.len(), &of_status[0]["sessionId"]), (1, &json!(id)));
    assert_eq!(server.ask("GET", "/api/v1/sessions?status=DANCING").send().problem().2.as_deref(), Some("status"));
    assert_eq!(server.ask("GET", "/api/v1/sessions?limit=0").send().problem().2.as_deref(), Some("limit"));
    for path in ["sessions?cursor=x", "records?cursor=x", "records?cursor=unknown:1", "corrections?cursor=default:x"] {
        assert_eq!(server.ask("GET", &format!("/api/v1/{path}")).send().problem().1, "bad_cursor", "{path}");
    }
    let first = server.get("/api/v1/sessions?limit=1");
    let second = server.get(&format!("/api/v1/sessions?limit=1&cursor={}", first["nextCursor"].as_str().unwrap()));
    assert_eq!((&items(&first)[0]["sessionId"], &items(&second)[0]["sessionId"]), (&json!("R-00000002"), &json!(id)));
    assert_eq!(second["nextCursor"], Value::Null);
}

#[test]
fn finishing_delivers_what_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("records.ndjson");
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, crate::periods::hours(&target)).unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--pipeline", document.to_str().unwrap()]);
    let mut early = event("1", "anna", json!(2.5));
    early["time"] = json!("2024-05-01T10:15:00Z");
    let mut late = event("2", "anna", json!(4));
    late["time"] = json!("2024-05-01T10:45:00Z");
    server.count(&[early, late]);
    let (status, told) = act(&server, "R-00000001", "finish");
    assert_eq!((status, &told["sessionStatus"]), (200, &json!("COMPLETED")), "{told}");
    let expected = ["INITIALIZING", "RUNNING", "USAGE_PUSHING", "PUSH_COMPLETED", "CONSUME_COMPLETED", "COMPLETED"];
    assert_eq!(way(&server, "R-00000001"), expected);
    let shown = server.get("/api/v1/sessions/R-00000001");
    assert!(shown["sessionEndTime"].is_string());
    assert_eq!(shown["counts"]["events"]["counted"], 2);
    let records = crate::support::records(&std::fs::read_to_string(&target).unwrap());
    assert_eq!(records.last().unwrap()["value"], 6.5, "{records:?}");
    let summary = items(&server.get("/api/v1/sessions/summary"));
    assert!(summary.iter().any(|row| row["operatorId"].is_string() && row["sessionId"] == "R-00000001"), "{summary:?}");
}
