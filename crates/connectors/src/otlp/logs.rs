//! Logs: each record is an event.

use serde_json::{Map, Value, json};

use super::Point;
use super::event::{Of, Place};
use super::value::{any, attributes, instant, list, nanos, text};

/// Passes every log record of a request on.
pub(super) fn read(request: &Value, take: &mut dyn FnMut(Point)) {
    for of_resource in list(request, "resourceLogs") {
        for of_scope in list(of_resource, "scopeLogs") {
            let place = Place::of(of_resource, of_scope);
            list(of_scope, "logRecords").iter().for_each(|record| take(Ok(event(&place, record))));
        }
    }
}

fn event(place: &Place, record: &Value) -> Value {
    let mut data = Map::new();
    if let Some(body) = record.get("body").map(any).filter(|body| !body.is_null()) {
        data.insert("body".to_owned(), body);
    }
    for (member, name) in [("severityText", "severity"), ("eventName", "eventName"), ("traceId", "traceId"), ("spanId", "spanId")]
    {
        if let Some(value) = text(record, member) {
            data.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(number) = record.get("severityNumber").and_then(Value::as_u64).filter(|number| *number > 0) {
        data.insert("severityNumber".to_owned(), json!(number));
    }
    let observed = nanos(record, "observedTimeUnixNano");
    if let Some(observed) = observed.and_then(instant) {
        data.insert("observed".to_owned(), json!(observed));
    }
    let own = attributes(record);
    let unique = own.get("log").and_then(|log| log.get("record")?.get("uid")?.as_str()).map(str::to_owned);
    let time = nanos(record, "timeUnixNano").or(observed);
    let of = Of { source: "otlp/logs", kind: "otel.log", id: unique, name: "", time, is_measured: false };
    place.event(&of, own, data)
}
