//! Meter types, meters and pipelines: made, changed, and what never changes.

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually, items};

const CALLS: &str = "pipeline: calls
source: { http: {} }
operators:
  - meter:
      key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01
      rules: [{ category: calls, value: data.value }]
meterTypes:
  - { name: Calls, category: calls, unit: calls }
";

fn document(server: &Server, method: &'static str, path: &str, text: &str) -> crate::support::server::Answer {
    server.ask(method, path).header("content-type", "application/yaml").body(text).send()
}

#[test]
fn meter_types() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let path = "/api/v1/meter-types";
    let made = server.post(path, &json!({"name": "Spend", "unit": "EUR", "externalRef": "E-1"}));
    assert_eq!(made.status, 201);
    let etag = made.header("etag").unwrap().to_owned();
    let kind = made.json();
    assert_eq!(
        (&kind["category"], &kind["aggregation"], &kind["timezone"]),
        (&json!("DEFAULT"), &json!("sum"), &json!("Etc/UTC"))
    );
    let refused = [
        (json!({"name": "Spend"}), 409, "already_exists", Some("name")),
        (json!({"name": "Other", "externalRef": "E-1"}), 409, "already_exists", Some("externalRef")),
        (json!({"name": "Other", "id": kind["id"]}), 409, "already_exists", Some("id")),
        (json!({"name": "Bad", "aggregation": "sumn"}), 422, "invalid_document", None),
        (json!({"name": "Bad", "timezone": "Mars/Base"}), 422, "invalid_document", None),
        (json!({"name": "Bad", "resetShedule": "monthly"}), 422, "invalid_document", None),
        (json!({"name": ""}), 422, "invalid_document", None),
        (json!({}), 422, "invalid_document", None),
        (json!([1]), 400, "invalid", None),
    ];
    for (body, status, code, field) in refused {
        let told = server.post(path, &body).problem();
        assert_eq!((told.0, told.1.as_str(), told.2.as_deref()), (status, code, field), "{body}");
    }
    assert_eq!(server.ask("POST", path).body("{\"name\":").send().problem().1, "bad_json");
    let change =
        |etag: &str, body: Value| server.ask("PUT", "/api/v1/meter-types/Spend").header("if-match", etag).json(&body).send();
    let changed = change(&etag, json!({"name": "Spend", "unit": "USD"}));
    assert_eq!((changed.status, &changed.json()["unit"]), (200, &json!("USD")));
    assert_eq!(change(&etag, json!({"name": "Spend", "unit": "GBP"})).problem().0, 412);
    assert_eq!(change("*", json!({"name": "Expense"})).problem().2.as_deref(), Some("name"));
    server.count(&[event("1", "anna", json!(10))]);
    // With meters there, what they are counted by stays; a schedule counts from their next period on.
    let aggregation = change("*", json!({"name": "Spend", "aggregation": "max"}));
    assert_eq!(aggregation.problem().0, 409, "{}", aggregation.text());
    let period_of = |user: &str| {
        let meter = server.get(&format!("/api/v1/meters?userId={user}&meterType=Spend"))["items"][0].clone();
        assert!(meter["periodEnd"].is_string(), "{meter}");
        (meter["periodStart"].clone(), meter["periodEnd"].clone())
    };
    let before = period_of("anna");
    for body in [json!({"name": "Spend", "resetSchedule": "hourly"}), json!({"name": "Spend", "timezone": "Asia/Kathmandu"})] {
        let told = change("*", body.clone());
        assert_eq!(told.status, 200, "{body}: {}", told.text());
        assert_eq!(period_of("anna"), before, "the current period ends as it was to end");
    }
    change("*", json!({"name": "Spend", "resetSchedule": "hourly"})).ok();
    server.count(&[event("2", "berta", json!(1))]);
    assert_ne!(period_of("berta"), before, "a new meter has the new schedule");
    assert_eq!(server.ask("DELETE", "/api/v1/meter-types/Spend").send().problem().0, 409);
    assert_eq!(server.get("/api/v1/meter-types/Spend")["name"], "Spend", "what is refused changes nothing");
    server.post(path, &json!({"name": "Unused", "category": "nothing"})).ok();
    let stale = server.ask("DELETE", "/api/v1/meter-types/Unused").header("if-match", "\"old\"").send();
    assert_eq!(stale.problem().0, 412);
    assert_eq!(server.ask("DELETE", "/api/v1/meter-types/Unused").send().status, 204);
    assert_eq!(server.ask("GET", "/api/v1/meter-types/Unused").send().problem().0, 404);
}

#[test]
fn meters() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend", "autoCreate": false})).ok();
    let told = server.count(&[event("0", "anna", json!(1))]);
    assert_eq!(told["events"][0]["verdict"], "counted", "by the type that counts every event: {told}");
    let made = server.post("/api/v1/meters", &json!({"userId": "anna", "meterType": "Spend", "customFields": {"plan": "gold"}}));
    assert_eq!(made.status, 201);
    let meter = made.json();
    assert_eq!(
        (&meter["customFields"]["plan"], &meter["deleteOnReset"], &meter["value"]),
        (&json!("gold"), &json!(false), &json!(0))
    );
    let id = meter["id"].as_str().unwrap();
    let path = format!("/api/v1/meters/{id}");
    let refused = [
        (json!({"meterType": "Spend"}), 400, Some("userId")),
        (json!({"userId": "bob"}), 400, Some("meterType")),
        (json!({"userId": "bob", "meterType": "Nothing"}), 404, Some("meterType")),
        (json!({"userId": "bob", "meterType": "Spend", "id": "x"}), 400, Some("id")),
        (json!({"userId": "bob", "meterType": "Spend", "meterKey": "x"}), 400, Some("meterKey")),
        (json!({"userId": "bob", "meterType": "Spend", "timezone": "Europe/Oslo"}), 400, Some("timezone")),
        (json!({"userId": "bob", "meterType": "Spend", "capcity": 3}), 400, Some("capcity")),
        (json!({"userId": "anna", "meterType": "Spend"}), 409, None),
    ];
    for (body, status, field) in refused {
        let told = server.post("/api/v1/meters", &body).problem();
        assert_eq!((told.0, told.2.as_deref()), (status, field), "{body}");
    }
    let change = |body: Value| server.ask("PATCH", &path).json(&body).send();
    let changed = change(json!({"deleteOnReset": true, "customFields": {"plan": "silver"}})).ok();
    assert_eq!((&changed["deleteOnReset"], &changed["customFields"]), (&json!(true), &json!({"plan": "silver"})));
    for (body, field) in [
        (json!({"value": 3}), "value"),
        (json!({"deleteOnReset": 1}), "deleteOnReset"),
        (json!({"customFields": 1}), "customFields"),
    ] {
        assert_eq!(change(body).problem().2.as_deref(), Some(field));
    }
    server.count(&[event("1", "anna", json!(5))]);
    assert_eq!(server.get(&path)["value"], 5);
    limits_of_one_meter(&server, &path);
    assert_eq!(server.ask("DELETE", &path).send().status, 204);
    assert_eq!(server.ask("GET", &path).send().problem().0, 404);
    // Lists continue with the next page.
    let events: Vec<Value> = (0..25).map(|n| event(&format!("u{n}"), &format!("user {n:02}"), json!(1))).collect();
    server.count(&events);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/v1/meters?meterType=Events&limit=10{cursor}"));
        seen.extend(items(&page).iter().map(|meter| meter["userId"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('%', "%25").replace('\0', "%00").replace(' ', "%20")),
            None => break,
        }
    }
    assert_eq!(seen.len(), 26, "{seen:?}");
    assert!(seen.is_sorted());
}

/// A meter takes a capacity and thresholds of its own, keeps them over other changes, and gives them back.
fn limits_of_one_meter(server: &Server, path: &str) {
    let change = |body: Value| server.ask("PATCH", path).json(&body).send();
    let thresholds = json!([{"name": "most", "percentOfCapacity": 80}, {"name": "all", "value": 10}]);
    for (body, field) in [
        (json!({"capacity": "much"}), "capacity"),
        (json!({"thresholds": [{"name": "most", "percentOfCapacity": 80}]}), "thresholds[0]"),
        (json!({"thresholds": [{"value": 80}]}), "thresholds[0].name"),
    ] {
        assert_eq!(change(body.clone()).problem().2.as_deref(), Some(field), "{body}");
    }
    let text = r#"{"capacity": 10.000000000000000001, "thresholds": [{"name": "most", "percentOfCapacity": 80}, {"name": "all", "value": 10}]}"#;
    let changed = change(serde_json::from_str(text).unwrap()).ok();
    assert_eq!(changed["capacity"].to_string(), "10.000000000000000001");
    assert_eq!(changed["thresholds"], thresholds);
    let partial = || items(&server.get("/api/v1/records?threshold=true&userId=anna")).len();
    let partial_are = |count| eventually("partial records", || (partial() == count).then_some(()));
    assert_eq!(partial(), 0);
    server.count(&[event("2", "anna", json!(3))]);
    assert_eq!(partial(), 0, "80 per cent of the capacity are a little more than 8");
    server.count(&[event("3", "anna", json!(1))]);
    partial_are(1);
    assert_eq!(change(json!({"customFields": {}})).ok()["thresholds"], thresholds, "another change");
    let reordered = json!([{"name": "all", "value": 9}, {"name": "most", "value": 1}]);
    change(json!({"thresholds": reordered})).ok();
    server.count(&[event("4", "anna", json!(1))]);
    // `most` was reached before, `all` by this event.
    partial_are(2);
    let changed = change(json!({"thresholds": null, "capacity": null})).ok();
    assert_eq!((&changed["capacity"], &changed["thresholds"]), (&Value::Null, &json!([])));
}

#[test]
fn pipelines_and_their_versions() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let made = document(&server, "POST", "/api/v1/pipelines", CALLS);
    assert_eq!(made.status, 201, "{}", made.text());
    let etag = made.header("etag").unwrap().to_owned();
    assert_eq!(document(&server, "POST", "/api/v1/pipelines", CALLS).problem().1, "already_exists");
    server.post("/api/v1/pipelines/calls/run", &json!({})).ok();
    server.count(&[event("1", "anna", json!(2))]);
    let value = || items(&server.get("/api/v1/meters?pipeline=calls"))[0]["value"].clone();
    assert_eq!(value(), 2);
    // A new version is adopted while it runs, and the counts continue.
    let newer = CALLS.replace("operators:\n", "operators:\n  - filter: { when: 'data.value < 100' }\n");
    let put = server.ask("PUT", "/api/v1/pipelines/calls").header("if-match", &etag).body(newer.as_str()).send();
    assert_eq!((put.status, &put.json()["version"]), (200, &json!(2)), "{}", put.text());
    assert_eq!(
        server.ask("PUT", "/api/v1/pipelines/calls").header("if-match", &etag).body(newer.as_str()).send().problem().0,
        412
    );
    let told = server.count(&[event("2", "anna", json!(3)), event("3", "anna", json!(500))]);
    assert_eq!(value(), 5, "{told}");
    assert_eq!(items(&server.get("/api/v1/pipelines/calls/versions")).len(), 2);
    // A misspelt name is reported with its line and the nearest known name.
    let wrong = CALLS.replace("category: calls, value", "categry: calls, value");
    for (method, path) in [("POST", "/api/v1/pipelines/check"), ("PUT", "/api/v1/pipelines/calls"), ("POST", "/api/v1/pipelines")]
    {
        let told = document(&server, method, path, &wrong);
        assert_eq!((told.status, told.problem().1.as_str()), (422, "invalid_document"), "{path}");
        let problem = told.json()["problems"][0].clone();
        assert_eq!(problem["line"], 6, "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("category"), "{problem}");
    }
    let check = document(&server, "POST", "/api/v1/pipelines/check", CALLS).ok();
    assert_eq!((&check["valid"], &check["name"]), (&json!(true), &json!("calls")));
    let renamed = document(&server, "PUT", "/api/v1/pipelines/calls", &CALLS.replace("pipeline: calls", "pipeline: other"));
    assert_eq!(renamed.problem().2.as_deref(), Some("pipeline"));
    // Gone only when nothing runs it.
    assert_eq!(server.ask("DELETE", "/api/v1/pipelines/calls").send().problem().0, 409);
    let session = server.get("/api/v1/pipelines/calls")["session"]["sessionId"].as_str().unwrap().to_owned();
    server.ask("POST", &format!("/api/v1/sessions/{session}/cancel")).send().ok();
    assert_eq!(server.ask("DELETE", "/api/v1/pipelines/calls").send().status, 204);
    for path in ["/api/v1/pipelines/calls", "/api/v1/pipelines/calls/versions"] {
        assert_eq!(server.ask("GET", path).send().problem().0, 404);
    }
    let audit = server.get("/api/v1/audit").to_string();
    for action in ["pipeline.create", "pipeline.update", "pipeline.delete", "session.start", "session.cancel"] {
        assert!(audit.contains(action), "{action}");
    }
}
