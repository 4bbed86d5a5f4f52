//! The payloads of events of meters. Values keep the digits of the record, as text: a float would
//! change them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::notifications::vocabulary::{THRESHOLD_REACHED, THRESHOLD_RECOVERED};
use crate::pipelines::KeptPipeline;
use crate::sessions::KeptSession;

/// The common fields of every payload: the pipeline and its session.
pub(crate) struct Runner(Map<String, Value>);

impl Runner {
    pub(crate) fn new(pipeline: &KeptPipeline, session: Option<&KeptSession>) -> Runner {
        match session {
            Some(session) => Runner::of_session(session),
            None => Runner(pipeline_members(&json!(pipeline.id), &pipeline.name)),
        }
    }

    pub(crate) fn of_session(session: &KeptSession) -> Runner {
        let mut members = pipeline_members(&json!(session.pipeline_id), &session.pipeline);
        members.insert("sessionId".to_owned(), json!(session.session_id));
        members.insert("sessionRunType".to_owned(), json!(session.session_run_type.name()));
        Runner(members)
    }
}

fn pipeline_members(id: &Value, name: &str) -> Map<String, Value> {
    [("meterId".to_owned(), id.clone()), ("meterName".to_owned(), json!(name))].into_iter().collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MeterFields<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    user_id: Cow<'a, str>,
    meter_type_id: Cow<'a, str>,
    meter_type_name: Cow<'a, str>,
    meter_key: Cow<'a, str>,
    unit: Cow<'a, str>,
    created_at: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordFields<'a> {
    period_start: Option<Cow<'a, str>>,
    period_end: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    meter_meta_data: MetaData<'a>,
    #[serde(borrow)]
    threshold: Option<Threshold<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaData<'a> {
    event_count: u64,
    #[serde(borrow)]
    record_id: Cow<'a, str>,
    revision: u32,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Threshold<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    direction: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    percent_of_capacity: Option<&'a RawValue>,
}

/// Returns the payload of a metered record, its revision, and whether its period ends.
pub(crate) fn of_record(json: &[u8], runner: &Runner) -> Option<(Value, u32, bool)> {
    let mut members = meter(json, runner)?;
    let record = serde_json::from_slice::<RecordFields<'_>>(json).ok()?;
    add_record(&mut members, &record);
    add_digits(&mut members, "delta", record.meter_meta_data.delta);
    Some((Value::Object(members), record.meter_meta_data.revision, record.period_end.is_some()))
}

/// Returns the event of a partial record, and its payload.
pub(crate) fn of_threshold(json: &[u8], runner: &Runner) -> Option<(&'static str, Value)> {
    let mut members = meter(json, runner)?;
    let record = serde_json::from_slice::<RecordFields<'_>>(json).ok()?;
    add_record(&mut members, &record);
    let threshold = record.threshold?;
    members.insert("threshold".to_owned(), json!(threshold.name));
    add_digits(&mut members, "thresholdValue", Some(threshold.value));
    add_digits(&mut members, "percentOfCapacity", threshold.percent_of_capacity);
    let kind = if threshold.direction == "reached" { THRESHOLD_REACHED } else { THRESHOLD_RECOVERED };
    Some((kind, Value::Object(members)))
}

/// Returns the payload of a note of a meter.
pub(crate) fn of_meter(json: &[u8], runner: &Runner) -> Option<Value> {
    let mut members = meter(json, runner)?;
    let fields = serde_json::from_slice::<MeterFields<'_>>(json).ok()?;
    members.insert("createdAt".to_owned(), json!(fields.created_at));
    Some(Value::Object(members))
}

fn meter(json: &[u8], runner: &Runner) -> Option<Map<String, Value>> {
    let fields = serde_json::from_slice::<MeterFields<'_>>(json).ok()?;
    let mut members = runner.0.clone();
    let mut put = |name: &str, text: Cow<'_, str>| drop(members.insert(name.to_owned(), Value::String(text.into_owned())));
    put("userMeterId", fields.id);
    put("userId", fields.user_id);
    put("meterTypeId", fields.meter_type_id);
    put("meterTypeName", fields.meter_type_name);
    put("meterKey", fields.meter_key);
    put("unit", fields.unit);
    Some(members)
}

fn add_record(members: &mut Map<String, Value>, record: &RecordFields<'_>) {
    members.insert("periodStart".to_owned(), json!(record.period_start));
    members.insert("periodEnd".to_owned(), json!(record.period_end));
    members.insert("eventCount".to_owned(), json!(record.meter_meta_data.event_count));
    members.insert("recordId".to_owned(), json!(record.meter_meta_data.record_id));
    members.insert("revision".to_owned(), json!(record.meter_meta_data.revision));
    add_digits(members, "value", record.value);
}

fn add_digits(members: &mut Map<String, Value>, name: &str, digits: Option<&RawValue>) {
    if let Some(digits) = digits {
        members.insert(name.to_owned(), json!(digits.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_and_every_name_comes_through() {
        let record = r#"{"createdAt":"2023-07-01T00:00:00.000Z","id":"m","meterKey":"k","meterMetaData":{"delta":-0.1,"eventCount":3,
            "recordId":"r","revision":2},"meterTypeId":"t","meterTypeName":"a \"b\"","periodEnd":null,"periodStart":null,"unit":"GB",
            "userId":"ann","value":12345678901234567.890123456789}"#;
        let (payload, revision, ends) = of_record(record.as_bytes(), &Runner(Map::new())).unwrap();
        assert_eq!((revision, ends), (2, false));
        assert_eq!((&payload["value"], &payload["delta"]), (&json!("12345678901234567.890123456789"), &json!("-0.1")));
        assert_eq!((&payload["meterTypeName"], &payload["userMeterId"]), (&json!("a \"b\""), &json!("m")));
        let with = record.replacen("\"unit\"", r#""threshold":{"direction":"recovered","name":"half","value":50},"unit""#, 1);
        let (kind, payload) = of_threshold(with.as_bytes(), &Runner(Map::new())).unwrap();
        assert_eq!(
            (kind, &payload["threshold"], &payload["thresholdValue"]),
            (THRESHOLD_RECOVERED, &json!("half"), &json!("50"))
        );
    }
}
