//! The periods of a meter: the ongoing one, and those that were flushed with all their revisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::outbox::RecordKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::records::RecordView;
use crate::refusal::{Refused, not_found, refusal_of};
use crate::verbatim::{self, Object};

/// The fields of a record that periods show.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    period_start: Option<String>,
    period_end: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    meter_meta_data: Meta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(default)]
    record_id: String,
    #[serde(default)]
    revision: u64,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(default)]
    event_count: u64,
}

/// Start and end of a period, as records write them.
type Bounds = (Option<String>, Option<String>);

/// A revision of a record of a meter.
struct Revision {
    number: u64,
    made_at: Timestamp,
    revision: u64,
    head: Value,
    value: Box<RawValue>,
    delta: Box<RawValue>,
}

impl Revision {
    fn shown(&self, deliveries: &[Value]) -> Box<RawValue> {
        let mut head = self.head.clone();
        head["madeAt"] = json!(self.made_at.to_string());
        head["deliveries"] = json!(deliveries);
        Object::of(&head).with("value", &self.value).with("delta", &self.delta).finish()
    }
}

/// A page of periods: their JSON forms, and the cursor of the next page.
pub type Periods = (Vec<Box<RawValue>>, Option<String>);

impl Installation {
    /// Returns periods of a meter, the newest first, that end before the one of a cursor.
    pub fn meter_periods(&self, namespace: &str, id: &str, cursor: Option<&str>, limit: usize) -> Result<Periods, Refused> {
        let wanted = Uuid::try_parse(id).map_err(|_| not_found("meter", id))?.to_string();
        let meter = match self.meter(namespace, id) {
            Ok((served, view)) => Some((served, view)),
            Err(refused) if refused.kind == crate::refusal::RefusalKind::NotFound => None,
            Err(refused) => return Err(refused),
        };
        let served = match &meter {
            Some((served, _)) => vec![Arc::clone(served)],
            // A meter that was deleted still has records.
            None => self.served_in(namespace),
        };
        let mut found = None;
        for served in served {
            let revisions = revisions(&served, &wanted).map_err(|why| refusal_of(&why))?;
            if !revisions.is_empty() || meter.is_some() {
                found = Some((served, revisions));
                break;
            }
        }
        let (served, revisions) = found.ok_or_else(|| not_found("meter", id))?;
        let mut shown = Vec::new();
        if let (Some((_, view)), None) = (&meter, cursor) {
            shown.extend(ongoing(&view.json));
        }
        // Texts of RFC 3339 in UTC sort like their instants.
        let is_left = |(_, end): &Bounds| cursor.is_none_or(|cursor| end.as_deref().unwrap_or_default() < cursor);
        let mut periods: Vec<(Bounds, Vec<Revision>)> = revisions.into_iter().filter(|(bounds, _)| is_left(bounds)).collect();
        periods.sort_by(|((_, one), _), ((_, other), _)| other.cmp(one));
        let next = periods.get(limit.saturating_sub(1)).and_then(|((_, end), _)| end.clone()).filter(|_| periods.len() > limit);
        for ((start, end), mut revisions) in periods.into_iter().take(limit) {
            revisions.sort_by_key(|one| std::cmp::Reverse(one.revision));
            let all = self.with_deliveries(&served, &revisions).map_err(|why| refusal_of(&why))?;
            let head = json!({"periodStart": start, "periodEnd": end, "open": false});
            shown.push(Object::of(&head).with_list("revisions", &all).finish());
        }
        Ok((shown, next))
    }

    /// Returns all revisions of the period of a record, the newest first.
    pub fn record_history(&self, namespace: &str, id: &str) -> Result<Vec<Box<RawValue>>, Refused> {
        let at = |why: Error| refusal_of(&why);
        for served in self.served_in(namespace) {
            let Some(record) = served.record(id).map_err(at)? else { continue };
            let meter = record.field("id").unwrap_or_default();
            let fields = serde_json::from_str::<Fields<'_>>(record.json.get()).map_err(|_| not_found("record", id))?;
            let bounds = (fields.period_start, fields.period_end);
            let mut revisions = revisions(&served, &meter).map_err(at)?.remove(&bounds).unwrap_or_default();
            revisions.sort_by_key(|one| std::cmp::Reverse(one.revision));
            return self.with_deliveries(&served, &revisions).map_err(at);
        }
        Err(not_found("record", id))
    }

    fn with_deliveries(&self, served: &Served, revisions: &[Revision]) -> Result<Vec<Box<RawValue>>, Error> {
        let shown = |one: &Revision| Ok(one.shown(&self.states_of(served, one.number)?));
        revisions.iter().map(shown).collect()
    }
}

/// Returns the records of a meter by their period.
fn revisions(served: &Served, meter: &str) -> Result<BTreeMap<Bounds, Vec<Revision>>, Error> {
    let of_periods = |record: &RecordView| !record.is_threshold;
    let found = served.records_of((RecordKey::Meter, meter), 0..u64::MAX, (usize::MAX, false), of_periods)?;
    let mut periods: BTreeMap<Bounds, Vec<Revision>> = BTreeMap::new();
    for record in found {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(record.json.get()) else { continue };
        let Meta { record_id, revision, delta, event_count } = fields.meter_meta_data;
        let revision = Revision {
            number: record.number,
            made_at: Timestamp::from_nanos(record.flushed_at),
            revision,
            head: json!({"recordId": record_id, "revision": revision, "eventCount": event_count}),
            value: fields.value.to_owned(),
            delta: delta.unwrap_or(RawValue::NULL).to_owned(),
        };
        periods.entry((fields.period_start, fields.period_end)).or_default().push(revision);
    }
    Ok(periods)
}

/// Returns the ongoing period of a meter: the record that it would make.
fn ongoing(json: &RawValue) -> Option<Box<RawValue>> {
    let fields: Fields<'_> = serde_json::from_str(json.get()).ok()?;
    let head = json!({
        "periodStart": fields.period_start, "periodEnd": fields.period_end, "open": true,
        "eventCount": fields.meter_meta_data.event_count, "revisions": [],
    });
    Some(Object::of(&head).with("value", &verbatim::sent(fields.value.get().as_bytes())).finish())
}
