//! Starts of the server, and refused starts.

use serde_json::json;

use crate::support::server::{Server, command, event, items};

#[test]
fn the_effective_settings_say_where_each_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flowmeter.yaml");
    std::fs::write(&file, "limits: { body_bytes_max: 8MiB }\n").unwrap();
    let more = ["--config", file.to_str().unwrap(), "--print-config", "--set", "checkpoint.interval=10s"];
    let output = command(folder.path(), &more, &[("FLOWMETER_RATE_BURST", "5s")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for (name, value, origin) in [
        ("limits.body_bytes_max", "8MiB", "flowmeter.yaml"),
        ("checkpoint.interval", "10s", "--set"),
        ("rate.burst", "5s", "FLOWMETER_RATE_BURST"),
        ("listen", "127.0.0.1:0", "--listen"),
        ("log.retention", "7d", "default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        assert!(line.contains(value) && line.contains(origin), "{line}");
    }
    assert!(!folder.path().join("catalog.redb").exists(), "printing begins nothing");
}

#[test]
fn a_start_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "pipeline: x\nsource: { http: {} }\noperatrs: []\n").unwrap();
    let wrong = wrong.to_str().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--set", "limits.body_bytes=8MiB"], "limits.body_bytes"),
        (&["--set", "limits.body_bytes_max=lots"], "limits.body_bytes_max"),
        (&["--pipeline", wrong], "operators"),
        (&["--pipeline", "no/such/file.yaml"], "no/such/file.yaml"),
        (&["--set", "tls.cert=no/such.pem", "--set", "tls.key=no/such.pem"], "no/such.pem"),
    ];
    for (more, expected) in cases {
        let output = command(&folder.path().join("data"), more, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    // One folder, one server.
    let server = Server::start(&folder.path().join("one"), &[]);
    let output = command(&folder.path().join("one"), &[], &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("in use"), "{said}");
    server.get("/health/ready");
}

#[test]
fn health_metrics_and_the_description() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("1", "anna", json!(1)), event("1", "anna", json!(1))]);
    assert_eq!(server.get("/health/live")["status"], "live");
    assert_eq!(server.get("/health/ready")["status"], "ready");
    let metrics = server.ask("GET", "/metrics").header("accept", "application/openmetrics-text").send();
    assert_eq!(metrics.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = metrics.text();
    for line in [
        "flowmeter_receive_events_total{verdict=\"admitted\"} 2",
        "flowmeter_count_events_total{namespace=\"default\",pipeline=\"default\",verdict=\"counted\"} 1",
        "flowmeter_count_events_total{namespace=\"default\",pipeline=\"default\",verdict=\"duplicate\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let api = server.get("/api/v1/openapi.json");
    assert_eq!(api["openapi"], "3.1.0");
    for path in ["/api/v1/events", "/api/v1/stream", "/api/v1/pipelines/{idOrName}/test"] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    assert!(server.ask("GET", "/api/v1/docs").send().text().contains("/api/v1/events"));
    assert_eq!(server.ask("PUT", "/api/v1/events").send().problem().1, "method_not_allowed");
    assert_eq!(server.get("/api/v1/schemas/pipeline.json")["type"], "object");
    let sessions = items(&server.get("/api/v1/sessions"));
    assert_eq!(sessions[0]["pipeline"], "default");
}
