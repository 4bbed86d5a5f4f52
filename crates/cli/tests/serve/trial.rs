//! DEBUG sessions: what a pipeline would make of events, with nothing counted.

use serde_json::{Value, json};

use crate::support::server::{Server, event, items};

#[test]
fn events_are_tried_and_nothing_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut nobody = event("3", "", json!(1));
    nobody.as_object_mut().unwrap().remove("subject");
    let events = json!([event("1", "anna", json!(1)), event("1", "anna", json!(1)), nobody]);
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
    // Another document than the one at work.
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
