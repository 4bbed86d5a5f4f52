//! A document in the data folder that the program refuses: one that an older program took, or damage.

use flowmeter_store::catalog::{Catalog, Change, LocalCatalog, Table};
use serde_json::{Value, json};

use crate::periods::hours;
use crate::support::server::{Server, event, eventually, items};

#[test]
fn a_pipeline_whose_document_is_refused_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (data, document) = (folder.path().join("data"), folder.path().join("hours.yaml"));
    std::fs::write(&document, hours(&folder.path().join("records.ndjson"))).unwrap();
    let other = hours(&folder.path().join("other.ndjson")).replace("pipeline: hours", "pipeline: other");
    let other = other.replace("0b9d9a5e", "1b9d9a5e").replace("name: Use", "name: Other use");
    let second = folder.path().join("other.yaml");
    std::fs::write(&second, other).unwrap();
    let documents = ["--pipeline", document.to_str().unwrap(), "--pipeline", second.to_str().unwrap()];
    let server = Server::start(&data, &documents);
    server.count(&[event("1", "anna", json!(1))]);
    drop(server.stop());

    let catalog = LocalCatalog::open(&data.join("catalog.redb")).unwrap();
    let rows = catalog.scan(Table::Versions, b"", None, usize::MAX).unwrap();
    let (sound, spoilt) = rows
        .into_iter()
        .find_map(|(key, value)| {
            let sound = Change::Put(Table::Versions, key.clone(), value.clone());
            let mut version: Value = serde_json::from_slice(&value).unwrap();
            let text = version["document"].as_str()?.replace("flushEmpty: false", "flushEmptyNever: false");
            let is_other = text.contains("pipeline: other");
            version["document"] = json!(text);
            is_other.then(|| (sound, Change::Put(Table::Versions, key, version.to_string().into_bytes())))
        })
        .unwrap();
    catalog.commit(&[spoilt]).unwrap();
    drop(catalog);

    let server = Server::start(&data, &["--pipeline", document.to_str().unwrap()]);
    server.count(&[event("2", "anna", json!(2))]);
    assert_eq!(items(&server.get("/api/v1/meters?pipeline=hours")).len(), 1);
    let (status, _, _) = server.ask("GET", "/api/v1/meters?pipeline=other").send().problem();
    assert_eq!(status, 503);
    let ready = server.ask("GET", "/health/ready").send();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("other") && ready.text().contains("flushEmptyNever"), "{}", ready.text());
    assert_eq!(server.ask("GET", "/api/v1/overview").send().status, 200);
    assert_eq!(items(&server.get("/api/v1/pipelines")).len(), 2);
    let shown = server.get("/api/v1/pipelines/other");
    assert!(shown["document"].as_str().unwrap().contains("flushEmptyNever"), "{shown}");
    let (status, ..) = server.post("/api/v1/pipelines/other/run", &json!({})).problem();
    assert_eq!(status, 409, "its session continues once it is loaded");
    assert_eq!(server.ask("DELETE", "/api/v1/pipelines/other").send().problem().0, 409);
    assert!(shown["warnings"][0]["message"].as_str().unwrap().starts_with("this program refuses the document"), "{shown}");
    let put = server.ask("PUT", "/api/v1/pipelines/other").header("content-type", "application/yaml").header("if-match", "\"1\"");
    let refused = put.body(std::fs::read_to_string(&second).unwrap()).send();
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("start the program that saved it"), "{}", refused.text());
    drop(server.stop());

    // The program that takes the document: the pipeline continues, with the events of meanwhile.
    let catalog = LocalCatalog::open(&data.join("catalog.redb")).unwrap();
    catalog.commit(&[sound]).unwrap();
    drop(catalog);
    let server = Server::start(&data, &documents);
    let value = eventually("both events", || {
        let value = items(&server.get("/api/v1/meters?pipeline=other")).first()?["value"].clone();
        (value == json!(3)).then_some(value)
    });
    assert_eq!(value, json!(3));
    assert_eq!(server.ask("GET", "/health/ready").send().status, 200);
}
