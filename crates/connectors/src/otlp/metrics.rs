//! Metrics: each data point is an event.

use serde_json::{Map, Value, json};

use super::event::{Head, Place};
use super::in_groups;
use super::value::{Attributes, double, instant, integer, list, nanos, text};
use crate::lines::Lines;

/// The members of a metric that hold data points; their names are the kinds in events.
const KINDS: [&str; 5] = ["sum", "gauge", "histogram", "exponentialHistogram", "summary"];

/// The bit of a point without a value: its series has ended.
const NO_VALUE: u64 = 1;

/// Takes every data point of a request as an event.
pub(super) fn read(request: &Value, lines: &mut Lines) {
    in_groups(request, ["resourceMetrics", "scopeMetrics", "metrics"], lines, |place, metric, lines| {
        for kind in KINDS {
            let Some(body) = metric.get(kind).filter(|body| body.is_object()) else { continue };
            for point in list(body, "dataPoints").iter().filter(|point| !has_no_value(point)) {
                let event = |place: &Place| event(place, metric, kind, body, point);
                lines.take(place.as_ref().map_err(String::clone).and_then(event));
            }
        }
    });
}

fn has_no_value(point: &Value) -> bool {
    point.get("flags").and_then(Value::as_u64).is_some_and(|flags| flags & NO_VALUE != 0)
}

fn event(place: &Place, metric: &Value, kind: &str, body: &Value, point: &Value) -> Result<Value, String> {
    let name = text(metric, "name").ok_or("a metric without a name")?;
    let mut data = Map::new();
    data.insert("metric".to_owned(), json!(name));
    data.insert("kind".to_owned(), json!(kind));
    if let Some(unit) = text(metric, "unit") {
        data.insert("unit".to_owned(), json!(unit));
    }
    if let Some(temporality) = temporality(body) {
        data.insert("temporality".to_owned(), json!(temporality));
    }
    if kind == "sum" {
        data.insert("monotonic".to_owned(), json!(body.get("isMonotonic") == Some(&Value::Bool(true))));
    }
    if let Some(start) = nanos(point, "startTimeUnixNano").and_then(instant) {
        data.insert("start".to_owned(), json!(start));
    }
    match kind {
        "sum" | "gauge" => {
            let value = point.get("asInt").and_then(integer).or_else(|| point.get("asDouble").and_then(double));
            let value = value.ok_or_else(|| format!("metric {name}: a point without a finite value"))?;
            data.insert("value".to_owned(), value);
        }
        _ => distribution(point, &mut data),
    }
    let time = nanos(point, "timeUnixNano").ok_or_else(|| format!("metric {name}: a point without a time"))?;
    let attributes = Attributes::of(point)?;
    let nested = attributes.nested();
    // One series has one point at a time, whatever its value.
    let described: Vec<Option<&Value>> = ["kind", "unit", "temporality", "monotonic"].map(|name| data.get(name)).to_vec();
    let series = place.identity(&json!([name, described, nested]));
    let id = place.identity(&json!([series, time]));
    data.insert("series".to_owned(), json!(series));
    data.insert("attributes".to_owned(), Value::Object(nested));
    Ok(place.event(&Head { id, source: "otlp/metrics", kind: "otel.metric", time: Some(time) }, &attributes, data))
}

/// The name of the temporality: the number of the protocol, or its name.
fn temporality(body: &Value) -> Option<&'static str> {
    match body.get("aggregationTemporality")? {
        Value::Number(number) if number.as_u64() == Some(1) => Some("delta"),
        Value::Number(number) if number.as_u64() == Some(2) => Some("cumulative"),
        Value::String(name) if name.ends_with("DELTA") => Some("delta"),
        Value::String(name) if name.ends_with("CUMULATIVE") => Some("cumulative"),
        _ => None,
    }
}

/// The values of a histogram or summary.
fn distribution(point: &Value, data: &mut Map<String, Value>) {
    for name in ["count", "zeroCount"] {
        if let Some(value) = point.get(name).and_then(integer) {
            data.insert(name.to_owned(), value);
        }
    }
    for name in ["sum", "min", "max", "scale", "zeroThreshold"] {
        if let Some(value) = point.get(name).and_then(double) {
            data.insert(name.to_owned(), value);
        }
    }
    let counts = |owner: &Value| Value::Array(list(owner, "bucketCounts").iter().filter_map(integer).collect());
    if point.get("bucketCounts").is_some() {
        data.insert("bounds".to_owned(), Value::Array(list(point, "explicitBounds").iter().filter_map(double).collect()));
        data.insert("bucketCounts".to_owned(), counts(point));
    }
    for side in ["positive", "negative"] {
        if let Some(buckets) = point.get(side).filter(|buckets| buckets.is_object()) {
            let offset = buckets.get("offset").and_then(double).unwrap_or_else(|| json!(0));
            data.insert(side.to_owned(), json!({"offset": offset, "bucketCounts": counts(buckets)}));
        }
    }
    if point.get("quantileValues").is_some() {
        let quantile =
            |pair: &Value| Some(json!({"quantile": double(pair.get("quantile")?)?, "value": double(pair.get("value")?)?}));
        data.insert("quantiles".to_owned(), Value::Array(list(point, "quantileValues").iter().filter_map(quantile).collect()));
    }
}
