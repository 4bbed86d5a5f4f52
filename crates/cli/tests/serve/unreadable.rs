//! A document in the data folder that the program refuses: one that an older program took, or damage.

use flowmeter_store::catalog::{Catalog, Change, LocalCatalog, Table};
use serde_json::{Value, json};

use crate::periods::hours;
use crate::support::server::{Server, event, items};

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
    let spoilt = rows.into_iter().find_map(|(key, value)| {
        let mut version: Value = serde_json::from_slice(&value).unwrap();
        let text = version["document"].as_str()?.replace("flushEmpty: false", "flushEmptyNever: false");
        let is_other = text.contains("pipeline: other");
        version["document"] = json!(text);
        is_other.then(|| Change::Put(Table::Versions, key, version.to_string().into_bytes()))
    });
    catalog.commit(&[spoilt.unwrap()]).unwrap();
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
    assert!(shown["warnings"][0]["message"].as_str().unwrap().starts_with("this program refuses the document"), "{shown}");
}
