//! Metrics: their format, their documentation, and counters that never fall.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::root;
use crate::support::server::{Server, event, eventually};

fn scrape(server: &Server) -> String {
    server.ask("GET", "/metrics").send().text()
}

/// Returns the value of a line with this beginning.
fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn promtool_has_nothing_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("1", "anna", json!(1))]);
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = check.spawn() else {
        eprintln!("skipped: promtool is not here (apt: prometheus), so nothing but this program read the page");
        return;
    };
    promtool.stdin.take().unwrap().write_all(scrape(&server).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_series_is_there_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let text = scrape(&server);
    let pipeline = "namespace=\"default\",pipeline=\"default\"";
    for verdict in ["counted", "duplicate", "filtered"] {
        let series = format!("flowmeter_count_events_total{{{pipeline},verdict=\"{verdict}\"}}");
        assert_eq!(value(&text, &series), 0);
    }
    for reason in ["no_user", "bad_value", "too_late", "operator_error"] {
        let series = format!("flowmeter_count_events_total{{{pipeline},verdict=\"parked\",reason=\"{reason}\"}}");
        assert_eq!(value(&text, &series), 0);
    }
    for gauge in ["pipeline_paused", "pipeline_failed", "count_lag_events"] {
        assert_eq!(value(&text, &format!("flowmeter_{gauge}{{{pipeline}}}")), 0);
    }
    assert!(!text.contains("verdict=\"received\""), "a sum is a family of its own: {text}");
    assert_eq!(value(&text, "flowmeter_build_info"), 1);
    assert!(value(&text, "process_open_fds") > 3 && value(&text, "process_resident_memory_bytes") > 0);
}

#[test]
fn the_page_of_metrics_names_every_metric_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let table = page.split("## All metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<String> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert_eq!(named, families(&scrape(&server)));
}

#[test]
fn both_formats_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let plain = server.ask("GET", "/metrics").send();
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains("# EOF"));
    let open = server.ask("GET", "/metrics").header("accept", "application/openmetrics-text").send();
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# TYPE flowmeter_count_events counter\n"));
}

#[test]
fn counters_of_events_never_fall_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    // No checkpoint but the first: everything is counted again.
    let more = ["--set", "checkpoint.interval=1h"];
    let mut server = Server::start(folder.path(), &more);
    let batch = |from: u64| -> Vec<Value> {
        (from..from + 5_000).map(|nth| event(&format!("e{nth}"), &format!("u{}", nth % 50), json!(1))).collect()
    };
    (0..6).for_each(|nth| drop(server.count(&batch(nth * 5_000))));
    let pipeline = "{namespace=\"default\",pipeline=\"default\"";
    let counted = format!("flowmeter_count_events_total{pipeline},verdict=\"counted\"}}");
    let received = format!("flowmeter_count_received_events_total{pipeline}}}");
    let before = scrape(&server);
    assert_eq!((value(&before, &counted), value(&before, &received)), (30_000, 30_000));
    for round in 0..2 {
        server.crash();
        server = Server::start(folder.path(), &more);
        let lag = format!("flowmeter_count_lag_entries{pipeline}}}");
        eventually("the pipeline has caught up", || {
            let text = scrape(&server);
            // Missing, or its earlier value: never less.
            for series in [&counted, &received] {
                let is_there = text.contains(series.as_str());
                assert!(!is_there || value(&text, series) == 30_000 + round * 7, "{text}");
            }
            let is_caught_up = value(&text, &lag) == 0 && text.contains(&counted);
            is_caught_up.then_some(())
        });
        let later: Vec<Value> = (0..7).map(|nth| event(&format!("l{round}-{nth}"), "anna", json!(1))).collect();
        server.count(&later);
        assert_eq!(value(&scrape(&server), &counted), 30_007 + round * 7);
    }
}

#[test]
fn metrics_need_a_key_of_the_default_namespace_if_that_is_set() {
    const KEY: &str = "fm_00000000000000aa_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "auth.required=true", "--set", "auth.metrics=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}"];
    let server = Server::start_in(folder.path(), &set, &[("TEST_KEY", KEY)]);
    let ask = |key: &str| server.ask("GET", "/metrics").header("authorization", &format!("Bearer {key}")).send();
    assert_eq!(server.ask("GET", "/metrics").send().problem().1, "key_missing");
    assert_eq!(ask(&KEY.replace("ff", "00")).problem().1, "key_unknown");
    assert_eq!(ask(KEY).status, 200);
    let make = |scope: &str| {
        let ask = server.ask("POST", "/api/v1/keys").header("authorization", &format!("Bearer {KEY}"));
        let made = ask.json(&serde_json::json!({"name": scope, "scopes": [scope]})).send().ok();
        made["secret"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(&make("read")).status, 200);
    assert_eq!(ask(&make("ingest")).problem().1, "scope_missing");
    assert_eq!(server.ask("GET", "/health/ready").send().status, 200, "health needs no key");
}
