//! The records of two versions of a pipeline, compared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::verbatim::Object;

/// Differences that are shown.
const SHOWN_MAX: usize = 1_000;

/// Meter type, user, start and end of the period: records of two versions with the same are compared.
type Key = (String, String, Option<String>, Option<String>);

/// The fields of a record that are compared.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    meter_type_name: String,
    user_id: String,
    period_start: Option<String>,
    period_end: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow, default)]
    unit: Option<&'a RawValue>,
    #[serde(borrow, default)]
    groups: Option<&'a RawValue>,
}

/// Returns the records that differ, with the values of both versions digit for digit, and their
/// number. A value that one of them does not have is null.
pub(super) fn difference(now: &[Box<RawValue>], before: &[Box<RawValue>]) -> (Vec<Box<RawValue>>, usize) {
    let mut all: BTreeMap<Key, [Vec<Fields<'_>>; 2]> = BTreeMap::new();
    for (side, records) in [before, now].into_iter().enumerate() {
        for fields in records.iter().filter_map(|record| serde_json::from_str::<Fields<'_>>(record.get()).ok()) {
            let key =
                (fields.meter_type_name.clone(), fields.user_id.clone(), fields.period_start.clone(), fields.period_end.clone());
            all.entry(key).or_default()[side].push(fields);
        }
    }
    let (mut shown, mut count) = (Vec::new(), 0);
    for ((meter_type, user, start, end), [before, now]) in all {
        // Several meter operators may count for the same user.
        for at in 0..before.len().max(now.len()) {
            let (before, now) = (before.get(at), now.get(at));
            if text(before) == text(now) {
                continue;
            }
            count += 1;
            if shown.len() < SHOWN_MAX {
                let head = json!({"meterType": meter_type, "userId": user, "periodStart": start, "periodEnd": end});
                let value = |fields: Option<&Fields<'_>>| fields.map_or(RawValue::NULL, |fields| fields.value).to_owned();
                shown.push(Object::of(&head).with("before", &value(before)).with("after", &value(now)).finish());
            }
        }
    }
    (shown, count)
}

/// Returns what is compared of a record.
fn text<'f>(fields: Option<&'f Fields<'_>>) -> Option<[&'f str; 3]> {
    let raw = |text: Option<&'f RawValue>| text.map_or("", RawValue::get);
    fields.map(|fields| [fields.value.get(), raw(fields.unit), raw(fields.groups)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str, value: &str) -> Box<RawValue> {
        let start = "2026-03-01T00:00:00.000Z";
        let text = format!(
            r#"{{"meterTypeName":"Use","userId":"{user}","periodStart":"{start}","periodEnd":null,"value":{value},"groups":{{}}}}"#
        );
        RawValue::from_string(text).unwrap()
    }

    #[test]
    fn values_that_differ_in_the_last_digit_are_found() {
        let digits = "12345678901234567890.12345678901234567";
        let before = [record("anna", &format!("{digits}8")), record("bo", "1"), record("cid", "2")];
        let now = [record("anna", &format!("{digits}9")), record("cid", "2"), record("dora", "null")];
        let (shown, count) = difference(&now, &before);
        let texts: Vec<&str> = shown.iter().map(|one| one.get()).collect();
        assert_eq!(count, 3);
        assert!(texts[0].ends_with(&format!("\"before\":{digits}8,\"after\":{digits}9}}")), "{texts:?}");
        assert!(texts[1].contains("\"userId\":\"bo\"") && texts[1].ends_with("\"before\":1,\"after\":null}"), "{texts:?}");
        assert_eq!(difference(&now, &now).1, 0);
    }
}
