//! An SDK of OpenTelemetry, and a request of Prometheus' remote write, send to a real server. The SDK
//! needs `pip` and its registry; where it cannot install, the test says that it tested nothing.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::server::{Server, event, items};

const PIPELINE: &str = r#"
pipeline: telemetry
source: {http: {}}
operators:
  - dedupe: {}
  - map: {set: {subject: 'coalesce(subject, data.resource.tenant, data.labels.customer)'}}
  - meter:
      key: 5b0c1c9e-6d6f-4b86-9a53-1a1b7a1f0021
      match: all
      rules:
        - {name: input, category: input, when: 'type == "gen_ai.usage"', value: data.input_tokens, groupBy: [data.model]}
        - {name: calls, category: calls, when: 'data.metric == "calls"', value: data.value, groupBy: [data.attributes.route]}
        - {name: euros, category: euros, when: 'data.metric == "euros"', value: data.value}
        - {name: took, category: took, when: 'data.kind == "histogram"', value: data.sum}
        - {name: logs, category: logs, when: 'type == "otel.log" && data.body == "sent"', value: '1'}
        - {name: samples, category: samples, when: 'type == "prometheus.sample"', value: data.value}
meterTypes:
  - {name: input, category: input, resetSchedule: never}
  - {name: calls, category: calls, resetSchedule: never}
  - {name: euros, category: euros, resetSchedule: never}
  - {name: took, category: took, resetSchedule: never}
  - {name: logs, category: logs, resetSchedule: never}
  - {name: samples, category: samples, resetSchedule: never}
"#;

fn start(folder: &Path) -> Server {
    let document = folder.join("telemetry.yaml");
    std::fs::write(&document, PIPELINE).unwrap();
    Server::start(&folder.join("data"), &["--pipeline", document.to_str().unwrap()])
}

/// The value of a user's meter once everything before is counted.
fn value(server: &Server, user: &str, kind: &str) -> Value {
    server.count(&[event("last", "other", json!(1))]);
    let meters = items(&server.get(&format!("/api/v1/meters?meterType={kind}")));
    let meter = meters.iter().find(|meter| meter["userId"] == user);
    meter.unwrap_or_else(|| panic!("{user} has no {kind}: {meters:?}"))["value"].clone()
}

#[test]
fn the_sdk_of_python_is_counted_once() {
    let packages = tempfile::tempdir().unwrap();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--target"]).arg(packages.path());
    pip.args(["opentelemetry-sdk==1.*", "opentelemetry-exporter-otlp-proto-http==1.*"]);
    match pip.output() {
        Ok(output) if output.status.success() => {}
        other => {
            return eprintln!(
                "SKIPPED: the SDK of OpenTelemetry cannot be installed here, so nothing of it was tested: {other:?}"
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/otlp.py");
    let output = Command::new("python3").arg(script).arg(&server.url).env("PYTHONPATH", packages.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&server, "anna", "input"), json!(303));
    assert_eq!(value(&server, "acme", "calls"), json!(7));
    assert_eq!(value(&server, "acme", "euros").to_string(), "0.25");
    assert_eq!(value(&server, "acme", "took"), json!(7));
    assert_eq!(value(&server, "ben", "logs"), json!(1));
    let counts = server.get("/api/v1/sessions/R-00000001")["counts"]["events"].clone();
    // The other five are the events that are waited for, which no rule counts.
    assert_eq!((&counts["counted"], &counts["duplicate"], &counts["parked"]), (&json!(8), &json!(8), &json!(5)), "{counts}");
}

#[test]
fn a_request_that_is_not_taken_is_answered_as_the_protocol_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let post = |content_type: &str, body: &[u8]| {
        server.ask("POST", "/otlp/v1/metrics").header("content-type", content_type).body(body).send()
    };
    let refused = post("application/x-protobuf", b"nonsense");
    assert_eq!((refused.status, refused.header("content-type")), (400, Some("application/x-protobuf")));
    assert_eq!(&refused.body[..2], b"\x08\x03", "INVALID_ARGUMENT");
    let refused = post("application/json", b"[]");
    assert_eq!((refused.status, refused.json()), (400, json!({"code": 3, "message": "the body is to be a JSON object"})));
    assert_eq!(post("text/plain", b"").status, 415);
    let partial = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"calls","gauge":{"dataPoints":[
        {"asDouble":"NaN"},{"asInt":"4","timeUnixNano":"1767225600000000000"}]}}]}],
        "resource":{"attributes":[{"key":"tenant","value":{"stringValue":"acme"}}]}}]}"#;
    let taken = post("application/json; charset=utf-8", partial);
    assert_eq!(taken.json()["partialSuccess"]["rejectedDataPoints"], "1", "{taken:?}");
    assert_eq!(value(&server, "acme", "calls"), json!(4));
    // Over the same door: a request of remote write that is not compressed as the protocol says.
    let ask = server.ask("POST", "/prometheus/api/v1/write").header("content-type", "application/x-protobuf");
    let refused = ask.header("content-encoding", "gzip").body(b"x".to_vec()).send();
    assert_eq!((refused.status, refused.header("accept-encoding")), (415, Some("snappy")));
    assert!(refused.json()["remedy"].as_str().unwrap().contains("snappy"), "{refused:?}");
}

/// A request of version 1 with one series: labels `__name__=load, customer=anna` and the samples 1.5 at
/// 1767225600000 and 2.5 a second later; its bytes in Snappy's block format, as one literal.
#[test]
fn samples_of_prometheus_are_counted_once() {
    let mut series = Vec::new();
    for (name, value) in [("__name__", "load"), ("customer", "anna")] {
        let label = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        series.extend(field(1, &label));
    }
    for (value, at) in [(1.5_f64, 1_767_225_600_000_u64), (2.5, 1_767_225_601_000)] {
        let sample = [vec![0x09], value.to_le_bytes().to_vec(), vec![0x10], varint(at)].concat();
        series.extend(field(2, &sample));
    }
    let message = field(1, &series);
    assert!((60..256).contains(&message.len()), "a literal with a length of one byte");
    let body = [varint(message.len() as u64), vec![60 << 2, (message.len() - 1) as u8], message].concat();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for _ in 0..2 {
        let ask = server.ask("POST", "/prometheus/api/v1/write").header("content-type", "application/x-protobuf");
        let answer = ask.header("content-encoding", "snappy").body(body.clone()).send();
        assert_eq!((answer.status, answer.header("x-prometheus-remote-write-samples-written")), (204, Some("2")), "{answer:?}");
    }
    assert_eq!(value(&server, "anna", "samples"), json!(4));
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
