//! Traces: each span is an event. A span with usage of a language model has it by plain names.

use serde_json::{Map, Value, json};

use super::event::{Head, Place};
use super::genai;
use super::value::{Attributes, instant, nanos, text};

/// Kinds and status codes of spans by their number.
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const CODES: [&str; 3] = ["unset", "ok", "error"];

/// Makes the event of a span.
pub(super) fn event(place: &Place, span: &Value) -> Result<Value, String> {
    let (trace, own_id) = (text(span, "traceId"), text(span, "spanId"));
    let (trace, own_id) = trace.zip(own_id).ok_or("a span without an id")?;
    let mut data = Map::new();
    for (name, value) in [("name", text(span, "name")), ("traceId", Some(trace)), ("spanId", Some(own_id))] {
        data.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    data.extend(text(span, "parentSpanId").map(|parent| ("parentSpanId".to_owned(), json!(parent))));
    data.insert("kind".to_owned(), json!(named(span.get("kind"), &KINDS)));
    let status = span.get("status");
    data.insert("status".to_owned(), json!(named(status.and_then(|status| status.get("code")), &CODES)));
    let (start, end) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
    for (name, at) in [("start", start), ("end", end)] {
        data.extend(at.and_then(instant).map(|at| (name.to_owned(), json!(at))));
    }
    if let Some(took) = start.zip(end).and_then(|(start, end)| end.checked_sub(start)) {
        data.insert("durationNanos".to_owned(), json!(took));
    }
    let attributes = Attributes::of(span)?;
    data.insert("attributes".to_owned(), Value::Object(attributes.nested()));
    let usage = genai::usage(&attributes);
    let kind = if usage.is_some() { "gen_ai.usage" } else { "otel.span" };
    data.extend(usage.into_iter().flatten());
    let id = format!("{trace}-{own_id}");
    Ok(place.event(&Head { id, source: "otlp/traces", kind, time: end.or(start) }, &attributes, data))
}

/// The name of a number of the protocol; JSON may have the name itself.
fn named(value: Option<&Value>, names: &[&'static str]) -> String {
    match value {
        Some(Value::String(name)) => name.rsplit('_').next().unwrap_or_default().to_ascii_lowercase(),
        other => {
            let at = other.and_then(Value::as_u64).unwrap_or(0);
            usize::try_from(at).ok().and_then(|at| names.get(at)).map_or_else(|| at.to_string(), |name| (*name).to_owned())
        }
    }
}
