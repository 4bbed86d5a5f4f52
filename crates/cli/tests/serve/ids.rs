//! Ids of meters: no two meters of an installation share one.

use serde_json::{Value, json};

use crate::support::server::{Server, items};

const SHARED: &str = "00000000-0000-4000-8000-0000000000aa";

fn document(name: &str, key: u32, meters: Option<Value>) -> Value {
    let mut document = json!({
        "pipeline": name, "source": {"http": {}},
        "operators": [{"meter": {"key": format!("00000000-0000-4000-8000-{key:012}"), "rules": [{}]}}],
        "meterTypes": [{"name": format!("type-{name}")}],
    });
    if let Some(meters) = meters {
        document["meters"] = meters;
    }
    document
}

fn meter(name: &str, user: &str, id: Option<&str>) -> Value {
    let mut meter = json!({"userId": user, "meterType": format!("type-{name}"), "pipeline": name});
    if let Some(id) = id {
        meter["id"] = json!(id);
    }
    meter
}

#[test]
fn an_id_that_another_meter_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (name, key) in [("one", 1), ("two", 2)] {
        server.post("/api/v1/pipelines", &document(name, key, None)).ok();
        server.post(&format!("/api/v1/pipelines/{name}/run"), &json!({})).ok();
    }
    server.post("/api/v1/meters", &meter("one", "anna", Some(SHARED))).ok();
    let bert = server.post("/api/v1/meters", &meter("one", "bert", None)).ok();
    let derived = bert["id"].as_str().unwrap();
    for (name, user, id) in [("one", "carl", SHARED), ("two", "carl", SHARED), ("two", "dora", derived)] {
        let (status, code, field) = server.post("/api/v1/meters", &meter(name, user, Some(id))).problem();
        assert_eq!((status, code.as_str(), field.as_deref()), (409, "already_exists", Some("id")), "{name} {user}");
    }
    assert_eq!(items(&server.get("/api/v1/meters")).len(), 2);

    // A document cannot take the id either; the same meter in its own document can.
    let declared = json!([{"userId": "carl", "meterType": "type-two", "id": SHARED}]);
    let put = |path: &str, body: &Value| server.ask("PUT", path).json(body).send();
    let (status, code, field) = put("/api/v1/pipelines/two", &document("two", 2, Some(declared))).problem();
    assert_eq!((status, code.as_str(), field.as_deref()), (409, "already_exists", Some("meters[0].id")));
    let other = json!([{"userId": "x", "meterType": "type-three", "id": SHARED}]);
    let (status, ..) = server.post("/api/v1/pipelines", &document("three", 3, Some(other))).problem();
    assert_eq!(status, 409);
    let own = json!([{"userId": "anna", "meterType": "type-one", "id": SHARED}]);
    put("/api/v1/pipelines/one", &document("one", 1, Some(own))).ok();
}
