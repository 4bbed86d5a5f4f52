//! The pipeline that counts in the meters of a namespace: its document, derived from them.

use flowmeter_core::limits::RULES_MAX;
use flowmeter_core::meter_type::derived;
use serde_json::{Value, json};

use crate::openmeter::meter::{AGGREGATIONS, KeptMeter};

/// Name of the pipeline.
pub const PIPELINE: &str = "openmeter";

/// Returns the operator with room for one more rule.
pub fn operator_with_room(meters: &[KeptMeter]) -> u16 {
    let full = |operator: &u16| meters.iter().filter(|meter| meter.operator == *operator).count() >= RULES_MAX;
    (0..u16::MAX).find(|operator| !full(operator)).unwrap_or_default()
}

/// Returns the document.
///
/// An event counts in the period of its time, however late or early it is: queries read rollups,
/// and the meters' own periods, which are not delivered, carry late events. A rule has all
/// dimensions as one tuple, so that a query may combine them freely.
pub fn write(namespace: &str, meters: &[KeptMeter]) -> String {
    let operators = meters.iter().map(|meter| meter.operator).max().map_or(0, |last| last + 1);
    let steps = (0..operators).filter_map(|operator| step(namespace, operator, meters)).collect::<Vec<_>>();
    // A pipeline needs a step; without meters this one drops all events.
    let steps = if steps.is_empty() { vec![json!({"filter": {"when": "false"}})] } else { steps };
    let document = json!({
        "pipeline": PIPELINE,
        "description": "Counts in the meters made through the OpenMeter API. It is made by the server, anew whenever a meter is.",
        "sources": [{"id": "events", "http": {}}],
        "futureTolerance": "36500d",
        "operators": steps,
        "meterTypes": meters.iter().map(meter_type).collect::<Vec<_>>(),
        "targets": [{"none": {}}],
    });
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn step(namespace: &str, operator: u16, meters: &[KeptMeter]) -> Option<Value> {
    let mine = meters.iter().filter(|meter| meter.operator == operator);
    let rules: Vec<Value> = mine.map(|meter| rule(meter, meters)).collect();
    (!rules.is_empty()).then(|| {
        json!({
            "id": format!("meters-{}", operator + 1),
            "from": "events",
            "meter": {
                "key": derived::pipeline(&format!("{PIPELINE}/{namespace}/meters-{}", operator + 1)),
                "user": "subject",
                "match": "all",
                "unmatched": "drop",
                "textNumbers": true,
                "rules": rules,
            },
        })
    })
}

fn rule(meter: &KeptMeter, meters: &[KeptMeter]) -> Value {
    if meter.deleting {
        // The operator stays as long as users have meters in it.
        return json!({"name": meter.slug, "when": "false", "category": category(meter)});
    }
    let mut conditions = vec![json!({"field": "type", "op": "eq", "value": meter.event_type})];
    let value = meter.value_path();
    // An event counts in all its meters or in none. If another meter of the event type does not
    // need this one's value, a missing value must not keep the event from counting.
    let others = meters.iter().filter(|other| other.event_type == meter.event_type && !other.deleting);
    if let Some(value) = &value
        && others.clone().any(|other| other.value_path().as_ref() != Some(value))
    {
        conditions.push(json!({"field": value, "op": "exists", "value": true}));
    }
    let mut rule = json!({"name": meter.slug, "conditions": {"all": conditions}, "category": category(meter)});
    if let Some(value) = value {
        rule["value"] = json!(value);
    }
    let mut dimensions: Vec<String> = meter.group_by.keys().filter_map(|key| meter.dimension(key)).collect();
    dimensions.sort();
    dimensions.dedup();
    if !dimensions.is_empty() {
        rule["groupBy"] = json!([dimensions]);
    }
    rule
}

fn category(meter: &KeptMeter) -> String {
    format!("{PIPELINE}/{}", meter.id.simple())
}

fn meter_type(meter: &KeptMeter) -> Value {
    let aggregation = AGGREGATIONS.iter().find(|(known, _)| *known == meter.aggregation).map_or("sum", |(_, ours)| *ours);
    json!({
        "id": meter.id,
        "name": meter.slug,
        "category": category(meter),
        "aggregation": aggregation,
        "resetSchedule": "monthly",
        "timezone": "Etc/UTC",
        "flushEmpty": false,
        // OpenMeter accepts events of any age.
        "late": {"policy": "carry", "amendWithin": "36500d"},
    })
}
