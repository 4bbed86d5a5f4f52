//! Logs: each record is an event.

use serde_json::{Map, Value, json};

use super::Taker;
use super::event::{Head, Place};
use super::value::{Attributes, any, instant, list, nanos, text};

/// Passes every log record of a request on.
pub(super) fn read(request: &Value, taker: &mut Taker<'_>) {
    for of_resource in list(request, "resourceLogs") {
        for of_scope in list(of_resource, "scopeLogs") {
            let place = Place::of(of_resource, of_scope, taker.event_bytes_max());
            for record in list(of_scope, "logRecords") {
                taker.take(place.as_ref().map_err(String::clone).and_then(|place| event(place, record)));
            }
        }
    }
}

fn event(place: &Place, record: &Value) -> Result<Value, String> {
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
    let time = nanos(record, "timeUnixNano").or_else(|| nanos(record, "observedTimeUnixNano"));
    let time = time.ok_or("a log record without a time")?;
    let own = Attributes::of(record)?;
    let unique = own.get("log.record.uid").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    let id = unique.unwrap_or_else(|| place.identity(&json!([time, data, own.nested()])));
    Ok(place.event(&Head { id, source: "otlp/logs", kind: "otel.log", time: Some(time) }, &own, data))
}
