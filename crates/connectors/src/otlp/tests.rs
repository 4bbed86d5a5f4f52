//! Requests as tables: what is sent, and the events that come of it.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::json;

use super::*;

const BOUNDS: Bounds = Bounds { event_bytes_max: 10_000, events_max: 10, bytes_max: 20_000 };
const AT: &str = "1767225600123456789";
const TIME: &str = "2026-01-01T00:00:00.123456789Z";

fn events(signal: Signal, request: &Value) -> (Vec<Value>, u32, Option<String>) {
    let lines = read(signal, Form::Json, request.to_string().as_bytes(), BOUNDS).unwrap();
    let text = String::from_utf8(lines.bytes).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), lines.count as usize);
    (events, lines.rejected, lines.why)
}

fn metrics_of(metric: &Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "api"}}]},
        "scopeMetrics": [{"scope": {"name": "lib", "version": "2"}, "metrics": [metric]}],
    }]})
}

#[allow(clippy::needless_pass_by_value)] // a table reads better so
fn point(members: Value) -> Value {
    let mut point = json!({"timeUnixNano": AT, "attributes": [{"key": "user.id", "value": {"stringValue": "anna"}}]});
    point.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    point
}

#[test]
fn every_kind_of_metric_becomes_events_with_exact_numbers() {
    let sum = json!({"name": "calls", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
        point(json!({"asInt": "9007199254740993", "startTimeUnixNano": "1767225600000000000"}))]}});
    let (events, ..) = self::events(Signal::Metrics, &metrics_of(&sum));
    let event = &events[0];
    assert_eq!(
        (&event["type"], &event["source"], &event["subject"], &event["time"]),
        (&json!("otel.metric"), &json!("otlp/metrics"), &json!("anna"), &json!(TIME))
    );
    let data = &event["data"];
    assert_eq!(data["value"].to_string(), "9007199254740993");
    assert_eq!(data["start"], "2026-01-01T00:00:00.000000000Z");
    assert_eq!(
        (&data["metric"], &data["kind"], &data["temporality"], &data["monotonic"], &data["unit"]),
        (&json!("calls"), &json!("sum"), &json!("cumulative"), &json!(true), &json!("1"))
    );
    assert_eq!((&data["resource"]["service"]["name"], &data["scope"]["name"]), (&json!("api"), &json!("lib")));

    let gauge = r#"{"name": "load", "gauge": {"dataPoints": [
        {"timeUnixNano": 1, "asDouble": 0.1000000000000000000001}, {"timeUnixNano": 2, "asDouble": "2"}, {"timeUnixNano": 3, "asInt": 3}]}}"#;
    let gauge: Value = serde_json::from_str(gauge).unwrap();
    let values: Vec<String> =
        self::events(Signal::Metrics, &metrics_of(&gauge)).0.iter().map(|event| event["data"]["value"].to_string()).collect();
    assert_eq!(values, ["0.1000000000000000000001", "2", "3"]);

    let histogram = json!({"name": "took", "histogram": {"aggregationTemporality": 1, "dataPoints": [point(json!({
        "count": "3", "sum": 6.5, "min": 1, "max": 4, "bucketCounts": ["1", "2"], "explicitBounds": [2]}))]}});
    let (events, ..) = self::events(Signal::Metrics, &metrics_of(&histogram));
    let data = &events[0]["data"];
    assert_eq!(data["temporality"], "delta");
    assert_eq!(
        (&data["count"], &data["sum"], &data["bucketCounts"], &data["bounds"]),
        (&json!(3), &json!(6.5), &json!([1, 2]), &json!([2]))
    );
    let exponential = json!({"name": "e", "exponentialHistogram": {"dataPoints": [point(json!({
        "count": 2, "scale": 1, "zeroCount": 1, "positive": {"offset": -1, "bucketCounts": ["1"]}}))]}});
    let (events, ..) = self::events(Signal::Metrics, &metrics_of(&exponential));
    assert_eq!(events[0]["data"]["positive"], json!({"offset": -1, "bucketCounts": [1]}));
    let summary = json!({"name": "s", "summary": {"dataPoints": [point(json!({
        "count": "2", "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}]}))]}});
    let (events, ..) = self::events(Signal::Metrics, &metrics_of(&summary));
    assert_eq!(events[0]["data"]["quantiles"], json!([{"quantile": 0.5, "value": 1}]));
}

#[test]
fn points_without_a_value_are_rejected_or_passed_over() {
    let gauge = json!({"name": "load", "gauge": {"dataPoints": [
        {"asDouble": "NaN"}, {"asDouble": "Infinity"}, {"flags": 1}, {"asDouble": 1.5, "timeUnixNano": 1}, {}, {"asInt": 1}]}});
    let (events, rejected, why) = self::events(Signal::Metrics, &metrics_of(&gauge));
    assert_eq!((events.len(), rejected), (1, 4));
    assert_eq!(why.as_deref(), Some("metric load: a point without a finite value"));
}

#[test]
fn an_id_follows_from_what_identifies_a_point() {
    let id = |metric: &str, user: &str, at: &str, value: i64| {
        let point = json!({"asInt": value, "timeUnixNano": at, "attributes": [
            {"key": "b", "value": {"intValue": "1"}}, {"key": "user.id", "value": {"stringValue": user}}]});
        let (events, ..) = events(Signal::Metrics, &metrics_of(&json!({"name": metric, "gauge": {"dataPoints": [point]}})));
        events[0]["id"].as_str().unwrap().to_owned()
    };
    let first = id("m", "a", AT, 1);
    assert_eq!(first, id("m", "a", AT, 2), "a point has one value");
    let scoped = |attributes: Value| {
        let mut request = metrics_of(&json!({"name": "m", "gauge": {"dataPoints": [{"asInt": 1, "timeUnixNano": AT}]}}));
        request["resourceMetrics"][0]["scopeMetrics"][0]["scope"]["attributes"] = attributes;
        events(Signal::Metrics, &request).0[0]["id"].clone()
    };
    assert_ne!(scoped(json!([])), scoped(json!([{"key": "part", "value": {"intValue": 1}}])));
    for other in [id("n", "a", AT, 1), id("m", "b", AT, 1), id("m", "a", "1767225600123456790", 1)] {
        assert_ne!(first, other);
    }
}

#[test]
fn names_with_points_are_objects_and_nothing_is_lost_where_they_meet() {
    let record = json!({"timeUnixNano": AT, "attributes": [
        {"key": "a.b", "value": {"intValue": "1"}}, {"key": "a", "value": {"boolValue": true}},
        {"key": "c.d.e", "value": {"doubleValue": 2.5}}, {"key": "c.d.f", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}},
        {"key": ".g", "value": {"kvlistValue": {"values": [{"key": "h", "value": {"intValue": 7}}]}}}]});
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
    let (events, ..) = events(Signal::Logs, &request);
    let expected = json!({"a": true, "a.b": 1, "c": {"d": {"e": 2.5, "f": ["x"]}}, ".g": {"h": 7}});
    assert_eq!(events[0]["data"]["attributes"], expected);
}

#[test]
fn names_without_end_and_attributes_without_end_do_no_harm() {
    let deep = "a.".repeat(100_000);
    let record = |attributes: Value| json!({"timeUnixNano": AT, "attributes": attributes});
    let many: Vec<Value> = (0..2_000).map(|n| json!({"key": format!("k{n}"), "value": {"intValue": n}})).collect();
    let request = |record: Value| json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
    let (events, rejected, _) = self::events(Signal::Logs, &request(record(json!([{"key": deep, "value": {"intValue": 1}}]))));
    assert_eq!((events.len(), rejected), (0, 1), "longer than an event may be");
    let nested = "a.".repeat(40) + "b";
    let (events, ..) = self::events(Signal::Logs, &request(record(json!([{"key": nested, "value": {"intValue": 1}}]))));
    assert_eq!(events[0]["data"]["attributes"][&nested], 1);
    let (events, _, why) = self::events(Signal::Logs, &request(record(json!(many))));
    assert_eq!((events.len(), why.as_deref()), (0, Some("2000 attributes, at most 1024 are allowed")));
}

#[test]
fn log_records_keep_body_and_severity() {
    let record = json!({"timeUnixNano": AT, "observedTimeUnixNano": "1767225601000000000", "severityNumber": 9, "severityText": "INFO",
        "body": {"stringValue": "sent"}, "attributes": [{"key": "log.record.uid", "value": {"stringValue": "u-1"}}]});
    let later = json!({"observedTimeUnixNano": AT, "body": {"stringValue": "sent"}});
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record, later, later]}]}]});
    let (events, ..) = events(Signal::Logs, &request);
    let (event, data) = (&events[0], &events[0]["data"]);
    assert_eq!((&event["id"], &event["type"], &event["time"]), (&json!("u-1"), &json!("otel.log"), &json!(TIME)));
    assert_eq!((&data["body"], &data["severity"], &data["severityNumber"]), (&json!("sent"), &json!("INFO"), &json!(9)));
    assert_eq!((&events[1]["time"], &events[1]["id"]), (&json!(TIME), &events[2]["id"]));
}

#[test]
fn spans_with_usage_of_a_model_have_it_by_plain_names() {
    let attribute = |key: &str, value: Value| json!({"key": key, "value": value});
    let span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat", "kind": 3,
        "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": AT, "status": {"code": 1},
        "attributes": [
            attribute("gen_ai.operation.name", json!({"stringValue": "chat"})),
            attribute("gen_ai.provider.name", json!({"stringValue": "acme"})),
            attribute("gen_ai.request.model", json!({"stringValue": "m"})),
            attribute("gen_ai.response.model", json!({"stringValue": "m-2"})),
            attribute("gen_ai.usage.input_tokens", json!({"intValue": "120"})),
            attribute("gen_ai.usage.completion_tokens", json!({"intValue": 99})),
            attribute("gen_ai.usage.output_tokens", json!({"intValue": 30})),
            attribute("gen_ai", json!({"stringValue": "in the way"})),
            attribute("enduser", json!({"stringValue": "in the way"})),
            attribute("gen_ai.usage.cache_read.input_tokens", json!({"intValue": "7"})),
            attribute("enduser.id", json!({"stringValue": "ben"})),
        ],
    });
    let plain = json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b175", "kind": "SPAN_KIND_SERVER"});
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span, plain, {"name": "no id"}]}]}]});
    let (events, rejected, _) = events(Signal::Traces, &request);
    assert_eq!((events.len(), rejected), (2, 1));
    let (event, data) = (&events[0], &events[0]["data"]);
    assert_eq!(
        (&event["id"], &event["type"], &event["subject"], &event["time"]),
        (&json!("5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174"), &json!("gen_ai.usage"), &json!("ben"), &json!(TIME))
    );
    assert_eq!((&data["model"], &data["provider"], &data["operation"]), (&json!("m-2"), &json!("acme"), &json!("chat")));
    assert_eq!(
        (&data["input_tokens"], &data["output_tokens"], &data["cache_read_input_tokens"]),
        (&json!(120), &json!(30), &json!(7))
    );
    assert_eq!((&data["kind"], &data["status"], &data["durationNanos"]), (&json!("client"), &json!("ok"), &json!(123_456_789)));
    assert_eq!((&events[1]["type"], &events[1]["data"]["kind"]), (&json!("otel.span"), &json!("server")));
}

#[test]
fn protobuf_and_json_give_the_same_events() {
    let attribute = |key: &str, value: any_value::Value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let point = |value| NumberDataPoint {
        time_unix_nano: 1_767_225_600_123_456_789,
        attributes: vec![attribute("user.id", any_value::Value::StringValue("anna".to_owned()))],
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let values = [number_data_point::Value::AsInt(9_007_199_254_740_993), number_data_point::Value::AsDouble(0.1)];
    let gauge = Gauge { data_points: values.into_iter().map(point).collect() };
    let metric = Metric { name: "load".to_owned(), data: Some(metric::Data::Gauge(gauge)), ..Metric::default() };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", any_value::Value::StringValue("api".to_owned()))],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "lib".to_owned(),
                    version: "2".to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    let json = json!({"name": "load", "gauge": {"dataPoints": [
        self::point(json!({"asInt": "9007199254740993"})), self::point(json!({"asDouble": 0.1}))]}});
    let of_protobuf = read(Signal::Metrics, Form::Protobuf, &request.encode_to_vec(), BOUNDS).unwrap();
    let of_json = read(Signal::Metrics, Form::Json, metrics_of(&json).to_string().as_bytes(), BOUNDS).unwrap();
    assert_eq!(String::from_utf8_lossy(&of_protobuf.bytes), String::from_utf8_lossy(&of_json.bytes));
}

#[test]
fn requests_that_are_none_or_too_large_are_refused_whole() {
    let many: Vec<Value> = (0..11).map(|n| json!({"asInt": n, "timeUnixNano": 1})).collect();
    let many = metrics_of(&json!({"name": "m", "gauge": {"dataPoints": many}})).to_string();
    let long =
        metrics_of(&json!({"name": "m".repeat(3_000), "gauge": {"dataPoints": vec![json!({"asInt": 1, "timeUnixNano": 1}); 9]}}))
            .to_string();
    let cases = [
        (Form::Json, b"[]".to_vec(), "Unreadable"),
        (Form::Json, b"{".to_vec(), "Unreadable"),
        (Form::Protobuf, b"nonsense".to_vec(), "Unreadable"),
        (Form::Json, many.into_bytes(), "TooMany(\"the request has more than 10 events"),
        (Form::Json, long.into_bytes(), "more than 20000 bytes"),
    ];
    for (form, body, expected) in cases {
        let fault = format!("{:?}", read(Signal::Metrics, form, &body, BOUNDS).unwrap_err());
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn answers_tell_of_rejected_points() {
    let mut lines = Lines::new(BOUNDS);
    assert_eq!(success(Signal::Logs, Form::Json, &lines), b"{}");
    assert!(success(Signal::Logs, Form::Protobuf, &lines).is_empty());
    lines.reject("too long".to_owned());
    let json = success(Signal::Logs, Form::Json, &lines);
    assert_eq!(String::from_utf8(json).unwrap(), r#"{"partialSuccess":{"errorMessage":"too long","rejectedLogRecords":"1"}}"#);
    assert_eq!(success(Signal::Logs, Form::Protobuf, &lines), b"\x0a\x0c\x08\x01\x12\x08too long");
    assert_eq!(failure(Form::Protobuf, 503, "busy"), b"\x08\x0e\x12\x04busy");
}
