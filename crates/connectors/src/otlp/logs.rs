//! Logs: each record is an event.

use serde_json::{Map, Value, json};

use super::event::{Head, Place};
use super::value::{Attributes, any, instant, nanos, text};

/// Makes the event of a log record.
pub(super) fn event(place: &Place, record: &Value) -> Result<Value, String> {
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
    let time = nanos(record, "timeUnixNano").or(nanos(record, "observedTimeUnixNano"));
    let time = time.ok_or("a log record without a time")?;
    let attributes = Attributes::of(record)?;
    data.insert("attributes".to_owned(), Value::Object(attributes.nested()));
    let unique = attributes.get("log.record.uid").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = unique.map_or_else(|| place.identity(&json!([time, data])), str::to_owned);
    Ok(place.event(&Head { id, source: "otlp/logs", kind: "otel.log", time: Some(time) }, &attributes, data))
}
