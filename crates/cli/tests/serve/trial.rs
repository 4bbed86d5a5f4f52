//! DEBUG sessions: the expected results of events, with nothing counted.

use serde_json::{Value, json};

use crate::support::server::{Server, event, items};

#[test]
fn events_are_tried_and_nothing_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut without_user = event("3", "", json!(1));
    without_user.as_object_mut().unwrap().remove("subject");
    let events = json!([event("1", "anna", json!(1)), event("1", "anna", json!(1)), without_user]);
    let path = "/api/v1/pipelines/default/test";
    let told = server.post(path, &json!({"events": events})).ok();
    assert_eq!(
        (&told["passed"], &told["sessionStatus"], &told["sessionRunType"]),
        (&json!(true), &json!("TESTING_PASSED"), &json!("DEBUG"))
    );
    let counts = &told["events"];
    assert_eq!(
        (&counts["received"], &counts["counted"], &counts["duplicate"], &counts["parked"]),
        (&json!(3), &json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&told["parked"][0]["event"], &told["parked"][0]["reason"]), (&json!(3), &json!("no_user")));
    assert_eq!(told["wouldFlush"][0]["userId"], "anna");
    let operators = told["operators"].as_array().unwrap();
    assert!(operators.iter().any(|operator| operator["samples"].as_array().is_some_and(|samples| !samples.is_empty())), "{told}");
    let strict = server.post(path, &json!({"events": events, "strict": true})).ok();
    assert_eq!((&strict["passed"], &strict["sessionStatus"]), (&json!(false), &json!("TESTING_FAILED")));
    assert!(strict["error"].as_str().unwrap().contains("parked"));
    // A document that is not the running one.
    let document = "pipeline: default
source: { http: {} }
operators:
  - meter: { key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01, rules: [{ category: c, value: data.value }] }
meterTypes: [{ name: Draft, category: c }]
";
    let draft = server.post(path, &json!({"events": events, "document": document})).ok();
    assert_eq!(draft["wouldFlush"][0]["meterTypeName"], "Draft");
    let refused = [
        (json!({}), 400, Some("events")),
        (json!({"events": [], "asOf": "noon"}), 400, Some("asOf")),
        (json!({"events": [], "smaples": 1}), 400, Some("smaples")),
        (json!({"events": [], "document": "pipeline: ["}), 422, None),
    ];
    for (body, status, field) in refused {
        let told = server.post(path, &body).problem();
        assert_eq!((told.0, told.2.as_deref()), (status, field), "{body}");
    }
    assert_eq!(items(&server.get("/api/v1/meters")).len(), 0, "nothing was counted");
    let ways: Vec<Value> = items(&server.get(&format!("/api/v1/sessions/{}/events", told["sessionId"].as_str().unwrap())));
    let changes = ways.iter().filter(|event| event["eventType"] == "meter.session.status");
    let ways: Vec<&Value> = changes.map(|event| &event["payload"]["sessionStatus"]).collect();
    assert_eq!(ways, ["TESTING", "TESTING_PASSED"]);
}

#[test]
fn files_received_events_and_kept_data_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("samples");
    std::fs::create_dir(&files).unwrap();
    let lines: String = (0..5).map(|n| format!("{}\n", event(&format!("f{n}"), "bob", json!(n)))).collect();
    std::fs::write(files.join("bob.ndjson"), &lines).unwrap();
    std::fs::write(folder.path().join("secret.ndjson"), "{\"secret\": 1}\n").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.ndjson"), files.join("link.ndjson")).unwrap();
    let set = format!("sessions.test_files={}", files.display());
    let server = Server::start(&folder.path().join("data"), &["--set", &set, "--set", "sessions.test_events_max=50"]);
    let path = "/api/v1/pipelines/default/test";
    let received: Vec<Value> = (0..8).map(|n| event(&format!("e{n}"), "anna", json!(n))).collect();
    server.count(&received);
    let meters = items(&server.get("/api/v1/meters"));

    let of_file = server.post(path, &json!({"file": "bob.ndjson"})).ok();
    assert_eq!((&of_file["events"]["received"], &of_file["wouldFlush"][0]["userId"]), (&json!(5), &json!("bob")), "{of_file}");
    for name in ["../secret.ndjson", "link.ndjson", "none.ndjson", "*.ndjson", "/etc/hosts", ""] {
        let told = server.post(path, &json!({"file": name})).problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some("file")), "{name}");
    }
    // The last three received events, which would be duplicates if anything were counted.
    let last = server.post(path, &json!({"last": 3})).ok();
    assert_eq!((&last["events"]["counted"], &last["sessionStatus"]), (&json!(3), &json!("TESTING_PASSED")), "{last}");
    assert_eq!(last["wouldFlush"][0]["meterMetaData"]["eventCount"], 3);
    assert_eq!(server.post(path, &json!({"last": 20})).ok()["events"]["received"], 8, "there are no more");
    for wish in [json!({"last": 0}), json!({"last": 51})] {
        let told = server.post(path, &wish).problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some("last")), "{wish}");
    }
    // Stored by name, over a restart, and used repeatedly.
    let data = json!({"name": "july", "events": [event("t1", "cid", json!(1)), event("t2", "cid", json!(2))]});
    let made = server.post("/api/v1/test-data", &data);
    assert_eq!((made.status, &made.json()["eventCount"]), (201, &json!(2)), "{made:?}");
    assert_eq!(server.post("/api/v1/test-data", &data).problem().0, 409);
    server.stop();
    let server = Server::start(&folder.path().join("data"), &[]);
    for _ in 0..2 {
        let of_data = server.post(path, &json!({"testData": "july"})).ok();
        assert_eq!((&of_data["events"]["counted"], &of_data["wouldFlush"][0]["userId"]), (&json!(2), &json!("cid")), "{of_data}");
    }
    let listed = items(&server.get("/api/v1/test-data"));
    assert_eq!((listed.len(), &listed[0]["name"], listed[0].get("lines")), (1, &json!("july"), None));
    assert!(server.get("/api/v1/test-data/july")["lines"].as_str().unwrap().contains("t2"));
    assert_eq!(server.ask("DELETE", "/api/v1/test-data/july").send().status, 204);
    assert_eq!(server.post(path, &json!({"testData": "july"})).problem().0, 404);
    // Without the setting no file is read, and exactly one source must be named.
    assert!(server.post(path, &json!({"file": "bob.ndjson"})).json()["detail"].as_str().unwrap().contains("sessions.test_files"));
    assert_eq!(server.post(path, &json!({"last": 1, "testData": "july"})).problem().2.as_deref(), Some("events"));
    assert_eq!(items(&server.get("/api/v1/meters")), meters, "nothing was counted");
}

#[test]
fn a_test_shows_what_each_operator_made_of_each_event() {
    const DIGITS: &str = "12345678901234567890.123456789012345678";
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let document = "pipeline: stepped
source: { http: {} }
operators:
  - { id: once, dedupe: {} }
  - { id: big, filter: { when: 'data.value > 1' } }
  - { id: twice, map: { set: { data.double: 'data.value * 2' } } }
  - id: count
    meter: { key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c02, rules: [{ category: c, value: data.value }] }
meterTypes: [{ name: Sum, category: c }]
";
    let made = server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send();
    assert_eq!(made.status, 201, "{}", made.text());
    let second = document.replace("data.value > 1", "data.value > 0");
    let put = server.ask("PUT", "/api/v1/pipelines/stepped").header("if-match", "*").header("content-type", "application/yaml");
    put.body(second.as_str()).send().ok();
    let mut without_user = event("3", "", json!(5));
    without_user.as_object_mut().unwrap().remove("subject");
    let events =
        json!([event("1", "anna", json!("V")), event("1", "anna", json!("V")), without_user, event("4", "bo", json!(0.5))]);
    let events = events.to_string().replace("\"V\"", DIGITS);
    let test = |more: &str| {
        let body = format!("{{\"events\": {events}, \"samples\": 0{more}}}");
        server.ask("POST", "/api/v1/pipelines/stepped/test").header("content-type", "application/json").body(body).send()
    };
    let answer = test(", \"steps\": true, \"against\": 1");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(&format!("\"data.value\":{DIGITS}")), "{}", answer.text());
    let answer = answer.json();
    let outcomes = |at: usize| -> Vec<String> {
        let steps = answer["steps"][at]["steps"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let shown = |step: &Value| format!("{} {}", step["operator"].as_str().unwrap(), step["outcome"].as_str().unwrap());
        steps.iter().map(shown).collect()
    };
    for step in answer["steps"].as_array().unwrap().iter().flat_map(|event| event["steps"].as_array().unwrap()) {
        assert!(step["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}");
    }
    assert_eq!(outcomes(0), ["once passed", "big passed", "twice passed", "count counted"], "{answer}");
    assert_eq!(outcomes(1), ["once duplicate"], "{answer}");
    assert_eq!(outcomes(2), ["once passed", "big passed", "twice passed", "count parked"], "{answer}");
    let third = &answer["steps"][2]["steps"];
    assert_eq!(
        (&third[3]["reason"], third[3]["before"].is_object(), &third[3]["after"]),
        (&json!("no_user"), true, &json!(null))
    );
    let twice = &answer["steps"][2]["steps"][2];
    assert_eq!((&twice["before"]["data.double"], &twice["after"]["data.double"]), (&json!(null), &json!(10)), "{twice}");
    // In version 1 the half of bo was filtered.
    let against = &answer["against"];
    assert_eq!((&against["version"], &against["differenceCount"]), (&json!(1), &json!(1)), "{against}");
    let different = &against["difference"][0];
    assert_eq!((&different["userId"], &different["before"], &different["after"]), (&json!("bo"), &json!(null), &json!(0.5)));
    assert_eq!(test(", \"against\": 9").problem().0, 404);
    assert_eq!(test("").ok().get("steps"), None);
}
