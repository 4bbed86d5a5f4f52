//! The CloudEvents SDKs of Python and JavaScript send to a real server. Needs `pip` and
//! `npm` with their registries; where they cannot install, the test says that it tested
//! nothing.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::server::{Server, event, items};

/// Returns whether it could be installed; reports if not.
fn installs(what: &str, command: &mut Command) -> bool {
    let why = match command.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(why) => why.to_string(),
    };
    eprintln!("SKIPPED: {what} cannot be installed here, so that nothing of it was tested: {why}");
    false
}

/// Lets an SDK send its five events, and looks whether each was counted once.
fn counts(sender: &mut Command, user: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for _ in 0..2 {
        let output = sender.arg(format!("{}/api/v1/events", server.url)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    server.count(&[event("last", "no other user", json!(1))]);
    let meters = items(&server.get("/api/v1/meters?meterType=Events"));
    let sent = meters.iter().find(|meter| meter["userId"] == user);
    assert_eq!(sent.unwrap_or_else(|| panic!("{meters:?}"))["value"], 5, "sent twice, counted once");
    let counts = server.get("/api/v1/sessions/R-00000001")["counts"]["events"].clone();
    assert_eq!((&counts["counted"], &counts["duplicate"]), (&json!(6), &json!(5)), "{counts}");
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name)
}

#[test]
fn python() {
    let folder = tempfile::tempdir().unwrap();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "cloudevents==2.*", "--target"]);
    if installs("cloudevents of Python", pip.arg(folder.path())) {
        counts(Command::new("python3").arg(script("send.py")).env("PYTHONPATH", folder.path()), "Zoë €");
    }
}

#[test]
fn javascript() {
    let folder = tempfile::tempdir().unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "cloudevents@10", "--prefix"]);
    if installs("cloudevents of npm", npm.arg(folder.path())) {
        counts(Command::new("node").arg(script("send.cjs")).env("NODE_PATH", folder.path().join("node_modules")), "zoe");
    }
}
