//! Traces, as a collector gets them.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "../../connectors/tests/support/receiver.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod receiver;
mod support;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use receiver::{Receiver, Reply};
use serde_json::json;
use support::server::{Server, event, eventually};

const CALLER: &str = "0af7651916cd43dd8448eb211c80319c";

/// Every span that has arrived.
fn spans(receiver: &Receiver) -> Vec<Span> {
    let sent = receiver.requests().into_iter().filter(|request| request.path == "/v1/traces");
    sent.flat_map(|request| ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap().resource_spans)
        .inspect(|resource| {
            let named = &resource.resource.as_ref().unwrap().attributes;
            assert!(named.iter().any(|one| one.key == "service.name"));
        })
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_request_is_traced_on_from_its_caller_and_delivery_is_traced() {
    let collector = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.yaml");
    let document = format!(
        "pipeline: usage\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: 00000000-0000-4000-8000-00000000000d, rules: [{{ category: all, value: data.n }}] }}\nmeterTypes:\n  - {{ name: total, category: all, resetSchedule: daily, flushEmpty: false, late: {{ amendWithin: 4000d }} }}\ntargets:\n  - name: biller\n    webhook: {{ url: '{}' }}\n",
        collector.url("/records")
    );
    std::fs::write(&file, document).unwrap();
    let endpoint = format!("otlp.endpoint={}", collector.url(""));
    let server = Server::start(&folder.path().join("data"), &["--pipeline", file.to_str().unwrap(), "--set", &endpoint]);
    let mut old = event("1", "anna", json!(1));
    old["time"] = json!("2024-01-01T00:00:00Z");
    old["data"] = json!({"n": 1});
    let ask = server.ask("POST", "/api/v1/events?wait=counted").header("x-request-id", "call-7");
    ask.header("traceparent", &format!("00-{CALLER}-b7ad6b7169203331-01")).json(&old).send().ok();
    // A caller that does not trace is not traced.
    let untraced = "4bf92f3577b34da6a3ce929d0e0e4736";
    server.ask("GET", "/api/v1/meters").header("traceparent", &format!("00-{untraced}-00f067aa0ba902b7-00")).send().ok();
    assert_eq!(server.ask("GET", "/api/v1/meters/none").send().status, 404);
    eventually("its period is over long ago", || {
        collector.requests().iter().any(|request| request.path == "/records").then_some(())
    });
    server.stop();
    let spans = spans(&collector);
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let request = find("POST /api/v1/events");
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (CALLER, "b7ad6b7169203331"));
    assert_eq!(attribute(request, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(attribute(request, "http.route").as_deref(), Some("/api/v1/events"));
    assert_eq!(attribute(request, "flowmeter.request_id").as_deref(), Some("call-7"));
    assert_eq!(attribute(request, "flowmeter.namespace").as_deref(), Some("default"));
    assert!(request.end_time_unix_nano >= request.start_time_unix_nano);
    for part in ["commit", "count"] {
        let part = find(part);
        assert_eq!((&part.trace_id, &part.parent_span_id), (&request.trace_id, &request.span_id));
        assert_eq!(attribute(part, "flowmeter.events").as_deref(), Some("1"));
    }
    assert!(spans.iter().all(|span| hex(&span.trace_id) != untraced));
    assert_eq!(attribute(find("GET /api/v1/meters/{id}"), "http.response.status_code").as_deref(), Some("404"));
    let delivered = find("deliver biller");
    assert_eq!(attribute(delivered, "flowmeter.records").as_deref(), Some("1"));
}

#[test]
fn a_session_over_files_and_who_is_told_of_it_are_traced() {
    let collector = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, format!("{}\n", event("1", "anna", json!(1)))).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--set", &format!("otlp.endpoint={}", collector.url(""))]);
    let told = json!({"name": "ops", "eventType": "meter.session.status", "channels": [{"type": "log", "name": "lines"}]});
    server.post("/api/v1/notifications", &told).ok();
    let pipeline = json!({
        "pipeline": "files", "source": {"file": {"path": file}}, "targets": [{"none": {}}],
        "operators": [{"meter": {"key": "00000000-0000-4000-8000-00000000000e", "rules": [{"category": "all"}]}}],
        "meterTypes": [{"name": "count", "category": "all", "aggregation": "increment"}],
    });
    server.post("/api/v1/pipelines", &pipeline).ok();
    let session = server.post("/api/v1/pipelines/files/run", &json!({})).ok();
    let id = session["sessionId"].as_str().unwrap().to_owned();
    eventually("it ends", || (server.get(&format!("/api/v1/sessions/{id}"))["sessionStatus"] == "COMPLETED").then_some(()));
    eventually("all six statuses are sent to every channel", || {
        let delivered = server.get("/api/v1/notifications/deliveries?state=delivered");
        (delivered["items"].as_array().unwrap().len() == 6).then_some(())
    });
    server.stop();
    let spans = spans(&collector);
    let of_session = spans.iter().find(|span| span.name == "session files").unwrap();
    assert_eq!(attribute(of_session, "flowmeter.session"), Some(id));
    assert_eq!(attribute(of_session, "flowmeter.status").as_deref(), Some("COMPLETED"));
    assert!(spans.iter().any(|span| span.name == "notify lines"), "{spans:#?}");
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let collector = Receiver::start();
    collector.reply(&vec![Reply::Silence; 100]);
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("otlp.endpoint={}", collector.url("/v1/traces"));
    let server = Server::start(folder.path(), &["--set", &endpoint]);
    for n in 0..20 {
        server.count(&[event(&n.to_string(), "anna", json!(1))]);
    }
    eventually("everything is counted", || {
        let meters = server.get("/api/v1/meters?userId=anna");
        (meters["items"][0]["value"] == 20).then_some(())
    });
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
}
