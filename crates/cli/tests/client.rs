//! The client's commands, against a real server.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::process::{Command, Output};

use serde_json::Value;
use support::server::{Server, event};

fn client(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(arguments).current_dir(support::root()).env("FLOWMETER_URL", &server.url);
    command.output().unwrap()
}

fn says(server: &Server, arguments: &[&str]) -> String {
    let output = client(server, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", support::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    serde_json::from_str(&says(server, &all)).unwrap()
}

#[test]
fn everything_a_server_keeps_is_listed_shown_and_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let kind = file("kind.json", r#"{"name": "Spend", "unit": "EUR"}"#);
    assert_eq!(json(&server, &["meter-types", "create", &kind])["name"], "Spend");
    let lines: String =
        (0..2_000).map(|n| format!("{}\n", event(&format!("e{n}"), &format!("user {:02}", n % 20), 1.into()))).collect();
    let events = file("events.ndjson", &lines);
    assert_eq!(json(&server, &["events", "send", &events, "--wait"])["verdicts"]["counted"], 2_000);
    assert_eq!(json(&server, &["events", "send", &events, "--wait"])["verdicts"]["duplicate"], 2_000, "again, and none twice");
    assert_eq!(says(&server, &["events", "send", &events]), "2000 events are durable\n");
    let without_subject = file("missing.ndjson", "{\"specversion\":\"1.0\",\"id\":\"n\",\"source\":\"/t\",\"type\":\"t\"}\n");
    assert_eq!(client(&server, &["events", "send", &without_subject, "--wait", "--strict"]).status.code(), Some(1));

    let table = says(&server, &["meters", "list", "--type", "Spend", "--user", "user 07"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
    assert_eq!(row[..4], ["user 07", "Spend", "100", "EUR"], "{table}");
    assert_eq!(json(&server, &["meters", "list", "--all"]).as_array().unwrap().len(), 40);
    assert_eq!(json(&server, &["meters", "list", "--limit", "7"]).as_array().unwrap().len(), 7);
    let made = json(&server, &["meters", "create", "--user", "bob", "--type", "Spend", "--custom-fields", r#"{"plan":"gold"}"#]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(json(&server, &["meters", "set", id, "--delete-on-reset", "true"])["deleteOnReset"], true);
    assert_eq!(json(&server, &["meters", "show", id])["customFields"]["plan"], "gold");
    assert!(says(&server, &["meters", "delete", id]).is_empty());

    let corrected = file("corrected.json", &event("n", "anna", 1.into()).to_string());
    let parked = json(&server, &["corrections", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(json(&server, &["corrections", "correct", &parked, &corrected])["state"], "corrected");
    assert_eq!(json(&server, &["sessions", "pause", "R-00000001"])["sessionStatus"], "PAUSED");
    assert_eq!(json(&server, &["sessions", "resume", "R-00000001"])["sessionStatus"], "RUNNING");
    assert!(says(&server, &["sessions", "list", "--status", "RUNNING"]).contains("R-00000001"));
    assert_eq!(says(&server, &["sessions", "events", "R-00000001"]).lines().count(), 5);
    assert!(says(&server, &["pipelines", "show", "default"]).contains("pipeline: default"));
    let document = file(
        "new.yaml",
        "pipeline: new\nsource: { http: {} }\noperators: [{ meter: { key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01, rules: [{ category: c }] } }]\nmeterTypes: [{ name: C, category: c, aggregation: count }]\n",
    );
    assert_eq!(json(&server, &["pipelines", "create", &document])["version"], 1);
    assert_eq!(json(&server, &["pipelines", "run", "new", "--unique-key", "k"])["sessionId"], "R-00000002");
    assert_eq!(json(&server, &["sessions", "finish", "R-00000002"])["sessionStatus"], "COMPLETED");
    let key = json(&server, &["keys", "create", "--name", "sender", "--scope", "ingest"]);
    assert!(key["secret"].as_str().unwrap().starts_with("fm_"));
    assert!(!says(&server, &["keys", "list"]).contains(key["secret"].as_str().unwrap()));
    assert!(says(&server, &["audit", "list"]).contains("key.create"));
    assert_eq!(json(&server, &["records", "list"]), serde_json::json!([]));
}

#[test]
fn refusals_and_failures_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let document = folder.path().join("wrong.yaml");
    std::fs::write(&document, "pipeline: x\nsource: { http: {} }\noperatrs: []\n").unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["sessions", "pause", "R-00000009"], 2, "R-00000009"),
        (&["pipelines", "create", document.to_str().unwrap()], 2, "operators"),
        (&["pipelines", "create", "no/such.yaml"], 2, "no/such.yaml"),
        (&["meters", "list", "--url", "http://127.0.0.1:1"], 3, "no answer from http://127.0.0.1:1"),
        (&["meters", "list", "--url", "nonsense"], 2, "nonsense"),
    ];
    for (arguments, code, expected) in cases {
        let output = client(&server, arguments);
        let said = support::stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn the_first_key_is_made_while_no_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = |name: &str, namespace: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .args(["keys", "create", "--name", name, "--scope", "admin", "--namespace", namespace, "--output", "json", "--data"])
            .arg(&data)
            .output()
            .unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), support::stderr(&output))
    };
    let (code, made, said) = create("first", "default");
    assert_eq!(code, Some(0), "{said}");
    let key = made["secret"].as_str().unwrap().to_owned();
    let (_, other, _) = create("other", "blue");
    let server = Server::start(&data, &["--set", "auth.required=true"]);
    let refused = client(&server, &["keys", "list"]);
    assert_eq!(refused.status.code(), Some(2), "{}", support::stderr(&refused));
    let listed = says(&server, &["keys", "list", "--key", &key]);
    assert!(listed.contains("first") && !listed.contains("other"), "{listed}");
    assert!(says(&server, &["audit", "list", "--key", &key]).contains("offline"));
    let of_other = says(&server, &["keys", "list", "--key", other["secret"].as_str().unwrap()]);
    assert!(of_other.contains("other") && !of_other.contains("first"), "{of_other}");
    // The folder is the server's now.
    let (code, _, said) = create("late", "default");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("leave --data out"), "{said}");
}

#[test]
fn notifications_are_created_previewed_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let file = folder.path().join("notification.json");
    let document = r#"{"name": "steps", "eventType": "meter.session.status", "channels": [{"type": "log"}]}"#;
    std::fs::write(&file, document).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(json(&server, &["notifications", "create", file])["declared"], false);
    assert_eq!(client(&server, &["notifications", "create", file]).status.code(), Some(2), "there is one already");
    assert_eq!(json(&server, &["sessions", "pause", "R-00000001"])["sessionStatus"], "PAUSED");
    assert_eq!(json(&server, &["notifications", "test", "steps"])["matchedCount"], 3);
    let delivered = loop {
        let listed = json(&server, &["notifications", "history", "--notification", "steps", "--state", "delivered"]);
        if listed.as_array().is_some_and(|items| !items.is_empty()) {
            break listed[0].clone();
        }
    };
    let id = delivered["id"].as_str().unwrap();
    assert_eq!(json(&server, &["notifications", "history", id])["attempts"][0]["accepted"], true);
    assert_eq!(json(&server, &["notifications", "resend", id])["repeated"], 1);
    let table = says(&server, &["notifications", "list"]);
    assert!(table.contains("NAME") && table.contains("steps") && table.contains("meter.session.status"), "{table}");
    std::fs::write(file, document.replace("\"log\"", "\"log\", \"level\": \"warn\"")).unwrap();
    assert_eq!(json(&server, &["notifications", "update", "steps", file])["channels"][0]["level"], "warn");
    assert_eq!(json(&server, &["notifications", "show", "steps"])["channels"][0]["level"], "warn");
    assert!(says(&server, &["notifications", "delete", "steps"]).is_empty());
    assert_eq!(client(&server, &["notifications", "show", "steps"]).status.code(), Some(2));
}

#[test]
fn a_session_is_followed_from_its_beginning_to_its_end() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let follow = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.args(["sessions", "watch", "R-00000001"]).args(more).env("FLOWMETER_URL", &server.url);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut child = follow(&["--output", "json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["payload"]["sessionStatus"], "INITIALIZING", "earlier events are reported");
    assert_eq!(next()["payload"]["sessionStatus"], "RUNNING");
    json(&server, &["sessions", "pause", "R-00000001"]);
    assert_eq!(next()["payload"]["sessionStatus"], "PAUSED", "and what happens");
    json(&server, &["sessions", "resume", "R-00000001"]);
    json(&server, &["sessions", "finish", "R-00000001"]);
    let rest: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(rest.last().unwrap()["payload"]["sessionStatus"], "COMPLETED");
    assert!(rest.iter().any(|event| event["eventType"] == "meter.session.operators"));
    assert!(child.wait().unwrap().success(), "it ends with the session");
    // A line for each where no terminal is.
    let output = follow(&[]).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.ends_with("CONSUME_COMPLETED -> COMPLETED")), "{said}");
    assert!(said.contains(" took 0, gave 0, errors 0 (0 %)"), "{said}");
    assert_eq!(client(&server, &["sessions", "watch", "R-00000009"]).status.code(), Some(2));
}
