//! Targets that are not there when a session starts.

use std::net::TcpListener;

use serde_json::json;

use crate::receivers::pipeline;
use crate::support::server::{Server, items};
use crate::support::{flowmeter, stderr};

/// A port without a listener.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn webhook(port: u16) -> String {
    pipeline(&format!("  - {{ name: biller, webhook: {{ url: 'http://127.0.0.1:{port}/u' }} }}\n"))
}

#[test]
fn a_start_and_a_new_version_are_refused_and_a_restart_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let send = |method, path: &str, document: String| {
        let etag = server.ask("GET", path).send().header("etag").unwrap_or_default().to_owned();
        let ask = server.ask(method, path).header("content-type", "application/yaml");
        let ask = if etag.is_empty() { ask } else { ask.header("if-match", &etag) };
        ask.body(document).send()
    };
    let port = closed();
    send("POST", "/api/v1/pipelines", webhook(port)).ok();
    let refused = server.post("/api/v1/pipelines/usage/run", &json!({}));
    assert_eq!(refused.problem(), (409, "target_unavailable".to_owned(), None));
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with(&format!("target `biller`: no connection to 127.0.0.1:{port}: ")), "{detail}");
    assert_eq!(items(&server.get("/api/v1/sessions?pipeline=usage")).len(), 0);
    // With the target there, it starts.
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listening.local_addr().unwrap().port();
    send("PUT", "/api/v1/pipelines/usage", webhook(there)).ok();
    server.post("/api/v1/pipelines/usage/run", &json!({})).ok();
    let refused = send("PUT", "/api/v1/pipelines/usage", webhook(port));
    assert_eq!(refused.problem(), (409, "target_unavailable".to_owned(), None));
    // The session resumes after a restart although the target is away.
    drop(listening);
    server.stop();
    let server = Server::start(&folder.path().join("data"), &[]);
    assert_eq!(items(&server.get("/api/v1/sessions?status=RUNNING&pipeline=usage")).len(), 1);
}

#[test]
fn a_run_says_at_once_what_is_wrong_with_a_target() {
    let folder = tempfile::tempdir().unwrap();
    let run = |targets: &str| {
        let file = folder.path().join("run.yaml");
        let head = "source: { file: { path: no-such-folder/input.ndjson } }";
        std::fs::write(&file, pipeline(targets).replace("source: { http: {} }", head)).unwrap();
        let output = flowmeter(&["run", file.to_str().unwrap(), "--as-of", "2026-01-01T00:00:00Z"]);
        (output.status.code(), stderr(&output))
    };
    let port = closed();
    let (code, told) = run(&format!("  - {{ name: hook, webhook: {{ url: 'http://127.0.0.1:{port}/u' }} }}\n"));
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains(&format!("error: target `hook`: no connection to 127.0.0.1:{port}: ")), "{told}");
    std::fs::write(folder.path().join("taken"), "a file").unwrap();
    let path = folder.path().join("taken/{periodEnd}.ndjson");
    let (code, told) = run(&format!("  - file: {{ path: '{}' }}\n", path.display()));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("error: target `file`: ") && told.contains("make the folder"), "{told}");
}
