//! Meter types: whose they are, and which pipelines a change of one concerns.

use serde_json::{Value, json};

use crate::support::server::{Server, event};

fn document(name: &str, key: u32, kinds: Option<Value>, category: &str) -> Value {
    let key = format!("00000000-0000-4000-8000-{key:012}");
    let mut document = json!({
        "pipeline": name, "source": {"http": {}},
        "operators": [{"meter": {"key": key, "value": "data.value", "rules": [{"category": category}]}}],
    });
    if let Some(kinds) = kinds {
        document["meterTypes"] = kinds;
    }
    document
}

fn begin(server: &Server, name: &str, document: &Value) {
    server.post("/api/v1/pipelines", document).ok();
    server.post(&format!("/api/v1/pipelines/{name}/run"), &json!({})).ok();
}

#[test]
fn usage_of_a_type_that_two_pipelines_declare_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let own = json!([{"name": "Spend", "category": "c"}]);
    begin(&server, "one", &document("one", 1, Some(own.clone()), "c"));
    server.count(&[event("1", "anna", json!(2))]);
    assert_eq!(server.get("/api/v1/meter-types/Spend/query")["data"][0]["value"], 2);
    begin(&server, "two", &document("two", 2, Some(own), "c"));
    server.count(&[event("2", "anna", json!(3))]);
    for path in ["query", "subjects", "fields"] {
        let told = server.ask("GET", &format!("/api/v1/meter-types/Spend/{path}")).send().problem();
        assert_eq!(told, (409, "conflict".to_owned(), Some("idOrName".to_owned())), "{path}");
    }
}

#[test]
fn usage_of_a_shared_type_is_that_of_all_pipelines() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend", "category": "c"})).ok();
    for (name, key) in [("one", 1), ("two", 2)] {
        begin(&server, name, &document(name, key, None, "c"));
    }
    server.count(&[event("1", "anna", json!(2))]);
    assert_eq!(server.get("/api/v1/meter-types/Spend/query")["data"][0]["value"], 4);
}

#[test]
fn a_name_that_a_pipeline_declares_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let told = server.post("/api/v1/meter-types", &json!({"name": "Events"}));
    assert_eq!(told.problem(), (409, "already_exists".to_owned(), Some("name".to_owned())));
    assert_eq!(told.json()["pipeline"], "default");
}

#[test]
fn a_change_of_a_type_gives_versions_to_the_pipelines_that_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend", "category": "c"})).ok();
    begin(&server, "uses", &document("uses", 1, None, "c"));
    begin(&server, "other", &document("other", 2, Some(json!([{"name": "Own", "category": "d"}])), "d"));
    let version = |name: &str| server.get(&format!("/api/v1/pipelines/{name}"))["version"].as_u64().unwrap();
    let before = (version("uses"), version("other"));
    server.ask("PUT", "/api/v1/meter-types/Spend").json(&json!({"name": "Spend", "category": "c", "unit": "EUR"})).send().ok();
    assert_eq!((version("uses"), version("other")), (before.0 + 1, before.1));
    // A rule that counts in another category leaves the type in use while it has meters.
    server.count(&[event("1", "anna", json!(2))]);
    let newer = document("uses", 1, Some(json!([{"name": "New", "category": "e"}])), "e");
    server.ask("PUT", "/api/v1/pipelines/uses").json(&newer).send().ok();
    let (status, ..) = server.ask("DELETE", "/api/v1/meter-types/Spend").send().problem();
    assert_eq!(status, 409);
}
