//! Everything over HTTP: pipelines, sessions, notifications, receivers.

use serde_json::{Value, json};

use super::support::{Hands, OLD_SECRET, Receiver, SECRET, Server, batch_document, here, secret, settings, stream_document};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u","time":"2023-07-01T11:00:00Z"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_told_step_by_step_and_a_failure_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, mut failures) = (Receiver::start().await, Receiver::start().await);
    let server = Server::start(here(&folder.path().join("data")), Hands::new()).await;
    let reference = secret(folder.path(), "secret", SECRET);
    let url = |receiver: &Receiver| format!("http://{}/hook", receiver.address);
    let channel = |receiver: &Receiver| json!({"type": "webhook", "url": url(receiver), "secrets": [reference]});
    let notification = json!({"name": "all", "eventType": "meter.session.status", "channels": [channel(&all)]});
    server.made("/api/v1/notifications", &notification).await;
    let conditions = json!({"all": [{"field": "sessionStatus", "op": "in", "value": ["FAILED", "TESTING_FAILED"]}]});
    let notification = json!({
        "name": "failures", "eventType": "meter.session.status", "conditions": conditions, "channels": [channel(&failures)],
    });
    server.made("/api/v1/notifications", &notification).await;

    let input = folder.path().join("events.ndjson");
    std::fs::write(&input, format!("{EVENT}\n")).unwrap();
    let (status, made) = server.call("POST", "/api/v1/pipelines", &batch_document("good", &input)).await;
    assert_eq!(status, 201, "{made}");
    let session = server.made("/api/v1/pipelines/good/run", &json!({})).await;
    let id = session["sessionId"].as_str().unwrap().to_owned();
    let names = ["NEVER_RUN", "INITIALIZING", "RUNNING", "USAGE_PUSHING", "PUSH_COMPLETED", "CONSUME_COMPLETED", "COMPLETED"];
    let mut ids = Vec::new();
    for pair in names.windows(2) {
        let received = all.next().await;
        assert_eq!(received.step(), format!("{id} {}>{}", pair[0], pair[1]));
        let event = received.json();
        assert_eq!(received.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("meter.session.status")));
        assert_eq!(event["data"]["sessionEndTime"].is_string(), pair[1] == "COMPLETED");
        ids.push(received.header("webhook-id").to_owned());
    }
    let (status, refused) = server.call("POST", &format!("/api/v1/sessions/{id}/pause"), "").await;
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains("from COMPLETED to PAUSED"), "{refused}");
    ids.dedup();
    assert_eq!(ids.len(), 6, "every notification has an id of its own: {ids:?}");

    let (_, made) = server.call("POST", "/api/v1/pipelines", &batch_document("bad", &folder.path().join("missing"))).await;
    assert_eq!(made["name"], "bad");
    let session = server.made("/api/v1/pipelines/bad/run", &json!({})).await;
    let id = session["sessionId"].as_str().unwrap().to_owned();
    let failed = failures.next().await;
    assert_eq!(failed.step(), format!("{id} RUNNING>FAILED"));
    assert!(failed.json()["data"]["sessionError"].as_str().unwrap().contains("missing"), "{:?}", failed.json());
    for step in ["NEVER_RUN>INITIALIZING", "INITIALIZING>RUNNING", "RUNNING>FAILED"] {
        assert_eq!(all.next().await.step(), format!("{id} {step}"));
    }
    // Only failures arrived where only failures are wanted, and the preview agrees.
    assert!(failures.all().is_empty());
    let (_, tried) = server.call("POST", "/api/v1/notifications/failures/try", "").await;
    assert_eq!((&tried["matchedCount"], &tried["items"][0]["payload"]["sessionId"]), (&json!(1), &json!(id)), "{tried}");
    assert!(tried["lookedAt"].as_u64() >= Some(8), "{tried}");
    // Every operator had one update at the end, before the last status, in the same commit.
    let (_, events) = server.call("GET", "/api/v1/sessions/R-00000002/events", "").await;
    let last: Vec<&Value> = events["items"].as_array().unwrap().iter().rev().take(2).collect();
    assert_eq!(
        (&last[0]["eventType"], &last[1]["eventType"]),
        (&json!("meter.session.status"), &json!("meter.session.operators"))
    );
    let counts = &last[1]["payload"];
    assert_eq!((&counts["operatorTotalCount"], &counts["operatorOutputCount"]), (&json!(1), &json!(1)), "{counts}");
    assert!(counts["sessionEndTime"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_looked_at_when_they_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(here(folder.path()), Hands::new()).await;
    let channel = json!({"type": "webhook", "url": "https://example.com/hook", "secrets": ["${env:SECRET}"]});
    let with = |name: &str, value: Value| {
        let mut whole = json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
        whole[name] = value;
        whole
    };
    let hook = |name: &str, value: Value| {
        let mut changed = channel.clone();
        changed[name] = value;
        with("channels", json!([changed]))
    };
    let cases = [
        (with("eventType", json!("meter.session.statu")), "eventType", "did you mean `meter.session.status`?"),
        (with("condition", json!({})), "condition", "did you mean `conditions`?"),
        (with("name", json!("deliveries")), "name", "a name"),
        (with("channels", json!([])), "channels", "one channel at least"),
        (with("channels", json!([channel, channel])), "channels[1].name", "two channels"),
        (with("channels", json!([{"type": "webhok"}])), "channels[0].type", "did you mean `webhook`?"),
        (with("channels", json!([{"type": "email", "to": ["ops"]}])), "channels[0].to", "no address"),
        (with("channels", json!([{"type": "slack", "url": "https://hooks.slack.com/x"}])), "channels[0].url", "never written"),
        (hook("secrets", json!([SECRET])), "channels[0].secrets", "never written"),
        (hook("secrets", json!([])), "channels[0].secrets", "signed"),
        (hook("url", json!("ftp://example.com")), "channels[0].url", "https://"),
        (hook("ulr", json!("x")), "channels[0].ulr", "did you mean `url`?"),
        (
            with("conditions", json!({"field": "sessionStatus", "op": "=", "value": "FAILD"})),
            "conditions.value",
            "did you mean `FAILED`?",
        ),
    ];
    for (written, field, advice) in cases {
        let (status, problem) = server.call("POST", "/api/v1/notifications", &written.to_string()).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{written} {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(advice), "{problem}");
        assert!(!problem.to_string().contains(SECRET), "{problem}");
    }
    let made = server.made("/api/v1/notifications", &with("enabled", json!(false))).await;
    assert_eq!(made["channels"][0]["secrets"], json!(["${env:SECRET}"]));
    let (status, again) = server.call("POST", "/api/v1/notifications", &with("enabled", json!(true)).to_string()).await;
    assert_eq!((status, &again["code"]), (409, &json!("already_exists")));
    // A notification can be read, changed and sent back.
    let mut changed = made.clone();
    changed["enabled"] = json!(true);
    let (status, changed) = server.call("PUT", "/api/v1/notifications/n", &changed.to_string()).await;
    assert_eq!((status, &changed["enabled"], &changed["id"]), (200, &json!(true), &made["id"]), "{changed}");
    let (_, kinds) = server.call("GET", "/api/v1/notifications/event-types", "").await;
    assert_eq!(kinds["items"][0]["eventType"], "meter.session.status");
    let (status, _) = server.call("DELETE", "/api/v1/notifications/n", "").await;
    assert_eq!(status, 204);
    let (_, none) = server.call("GET", "/api/v1/notifications", "").await;
    assert_eq!(none["items"], json!([]));
    let (_, audit) = server.call("GET", "/api/v1/audit", "").await;
    let actions: Vec<&str> = audit["items"].as_array().unwrap().iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions[..3], ["notification.delete", "notification.update", "notification.create"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_secrets_two_signatures_and_a_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let server = Server::start(here(&folder.path().join("data")), Hands::new()).await;
    let secrets = [secret(folder.path(), "new", SECRET), secret(folder.path(), "old", OLD_SECRET)];
    let channel = json!({"type": "webhook", "url": format!("http://{}/", receiver.address), "secrets": secrets});
    let notification = json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
    server.made("/api/v1/notifications", &notification).await;
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &json!({})).await;
    let first = receiver.next().await;
    let signatures: Vec<&str> = first.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|signature| signature.starts_with("v1,")) && signatures[0] != signatures[1]);
    assert_eq!(receiver.next().await.step(), "R-00000002 INITIALIZING>RUNNING");
    // A step that is not allowed is refused with both statuses.
    let (status, refused) = server.call("POST", "/api/v1/sessions/R-00000002/resume", "").await;
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains("from RUNNING to RUNNING"), "{refused}");

    let listed = loop {
        let (_, listed) = server.call("GET", "/api/v1/notifications/deliveries?state=delivered", "").await;
        if listed["items"].as_array().is_some_and(|items| items.len() == 2) {
            break listed;
        }
    };
    let id = listed["items"][1]["id"].as_str().unwrap();
    assert_eq!(id, first.header("webhook-id"));
    let (_, shown) = server.call("GET", &format!("/api/v1/notifications/deliveries/{id}"), "").await;
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["answer"]["status"], &attempt["accepted"]), (&json!(204), &json!(true)), "{shown}");
    assert_eq!(attempt["id"], json!(first.header("flowmeter-attempt-id")));
    assert_eq!(attempt["request"]["body"].as_str().unwrap().as_bytes(), first.body);
    assert!(!shown.to_string().contains(SECRET));
    // Again on request: under another id, since the first was accepted.
    let (status, _) = server.call("POST", &format!("/api/v1/notifications/deliveries/{id}/resend"), "").await;
    assert_eq!(status, 200);
    let again = receiver.next().await;
    assert_eq!((again.header("webhook-id"), &again.body), (format!("{id}_1").as_str(), &first.body));
    let (_, channels) = server.call("GET", "/api/v1/notifications/channels", "").await;
    assert_eq!((&channels["items"][0]["state"], &channels["items"][0]["channel"]), (&json!("well"), &json!("webhook")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_is_not_reached_unless_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let server = Server::start(settings(&folder.path().join("data"), &[]), Hands::new()).await;
    let secrets = [secret(folder.path(), "secret", SECRET)];
    let hook = |name: &str, url: String| json!({"name": name, "type": "webhook", "url": url, "secrets": secrets});
    let port = receiver.address.port();
    let channels = json!([
        hook("plain", format!("http://127.0.0.1:{port}/")),
        hook("number", format!("https://127.0.0.1:{port}/")),
        hook("name", format!("https://localhost:{port}/")),
        hook("mapped", format!("https://[::ffff:127.0.0.1]:{port}/")),
    ]);
    let notification = json!({"name": "n", "eventType": "meter.session.status", "channels": channels});
    server.made("/api/v1/notifications", &notification).await;
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &json!({})).await;
    let states = loop {
        let (_, states) = server.call("GET", "/api/v1/notifications/channels", "").await;
        if states["items"].as_array().unwrap().iter().all(|state| state["state"] == "failing") {
            break states;
        }
    };
    for state in states["items"].as_array().unwrap() {
        let error = state["lastAnswer"]["error"].as_str().unwrap();
        assert!(error.contains("notifications.allow_private"), "{error}");
    }
    assert!(receiver.all().is_empty());
    server.stop().await;
}
