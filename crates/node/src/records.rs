//! Metered records as they were flushed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{folder_of, items, record_item};
use flowmeter_engine::outbox::{RecordIndex, RecordKey};
use flowmeter_store::log::Entry;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::installation::{Installation, Served};

/// A record and its number.
#[derive(Clone, Debug)]
pub struct RecordView {
    /// A number that counts up in its pipeline.
    pub number: u64,
    /// The time of its flush, in nanoseconds.
    pub flushed_at: i64,
    /// Whether it is a partial record of a threshold.
    pub is_threshold: bool,
    /// The record as it was flushed, byte for byte.
    pub json: Box<RawValue>,
}

impl RecordView {
    /// Returns a field of the record.
    pub fn field(&self, name: &str) -> Option<String> {
        let record: Value = serde_json::from_str(self.json.get()).ok()?;
        let found = record.get(name).or_else(|| record.get("meterMetaData")?.get(name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    }

    pub(crate) fn of(entry: &Entry, number: u64, item: &[u8]) -> Option<RecordView> {
        let record = record_item(item)?;
        let json = serde_json::from_slice::<Box<RawValue>>(record.json).ok()?;
        Some(RecordView { number, flushed_at: entry.at, is_threshold: record.is_threshold, json })
    }
}

/// The name of the field of a key.
fn field_of(key: RecordKey) -> &'static str {
    match key {
        RecordKey::Record => "recordId",
        RecordKey::User => "userId",
        RecordKey::Meter => "id",
    }
}

impl Installation {
    /// Returns the index of a pipeline's records.
    pub(crate) fn record_index(&self, pipeline: Uuid) -> Arc<RecordIndex> {
        let mut known = self.record_indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RecordIndex::new(Arc::clone(&self.disk), &folder_of(pipeline)));
        Arc::clone(known.entry(pipeline).or_insert_with(new))
    }
}

/// A filter of records.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// Records of this user.
    pub user: Option<String>,
    /// Records of the type with this name or id.
    pub meter_type: Option<String>,
    /// Records of this meter.
    pub meter: Option<String>,
    /// Records whose period ends at this instant or later.
    pub from: Option<Timestamp>,
    /// Records whose period ends before this instant.
    pub to: Option<Timestamp>,
    /// Partial records of thresholds instead of those of periods.
    pub are_thresholds: bool,
}

/// The fields of a record that a filter looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Fields<'a> {
    #[serde(default)]
    id: Cow<'a, str>,
    #[serde(default)]
    user_id: Cow<'a, str>,
    #[serde(default)]
    meter_type_name: Cow<'a, str>,
    #[serde(default)]
    meter_type_id: Cow<'a, str>,
    #[serde(default)]
    period_end: Option<Cow<'a, str>>,
}

impl RecordFilter {
    /// Whether a record is wanted.
    pub fn takes(&self, record: &RecordView) -> bool {
        if record.is_threshold != self.are_thresholds {
            return false;
        }
        let text = record.json.get();
        if self.meter.as_ref().is_some_and(|id| !text.contains(id.as_str())) {
            return false;
        }
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else { return false };
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let end = || {
            let end = fields.period_end.as_ref().and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
            end.unwrap_or(Timestamp::from_nanos(record.flushed_at))
        };
        is(&self.meter, &fields.id)
            && is(&self.user, &fields.user_id)
            && (is(&self.meter_type, &fields.meter_type_name) || is(&self.meter_type, &fields.meter_type_id))
            && self.from.is_none_or(|from| end() >= from)
            && self.to.is_none_or(|to| end() < to)
    }
}

impl Served {
    /// Returns the numbers of the first record that still exists and of the next one to be flushed.
    pub fn records_extent(&self) -> Result<(u64, u64), Error> {
        self.worker().ask(|live| (live.outlet().records().first(), live.outlet().records().written()))
    }

    /// Returns the wanted records from a number up to another, and the number to continue with.
    pub fn records_between(
        &self,
        from: u64,
        until: u64,
        limit: usize,
        wanted: impl Fn(&RecordView) -> bool,
    ) -> Result<(Vec<RecordView>, u64), Error> {
        let reader = self.worker().ask(move |live| {
            let records = live.outlet().records();
            let from = from.max(records.first());
            (from < records.written()).then(|| records.reader(from).map(|reader| (reader, from))).transpose()
        })??;
        let mut found = Vec::new();
        let Some((mut reader, from)) = reader else { return Ok((found, from)) };
        let mut next = from;
        while let Some(entry) = reader.read()? {
            for (number, item) in items(&entry).filter(|(number, _)| *number >= from) {
                if number >= until {
                    return Ok((found, next));
                }
                next = number + 1;
                found.extend(RecordView::of(&entry, number, item).filter(|view| wanted(view)));
                if found.len() >= limit {
                    return Ok((found, next));
                }
            }
        }
        Ok((found, next))
    }

    /// Returns the number of the first record that was flushed at an instant or later; that of the next
    /// record, if all are older. Records are in the order of flushing.
    pub fn record_flushed_at(&self, at: Timestamp) -> Result<u64, Error> {
        let (mut from, mut until) = self.records_extent()?;
        while from < until {
            let middle = u64::midpoint(from, until);
            let (found, _) = self.records_between(middle, until, 1, |_| true)?;
            match found.first() {
                Some(record) if record.flushed_at < at.nanos() => from = record.number + 1,
                _ => until = middle,
            }
        }
        Ok(from)
    }

    /// Returns the numbers of records that may have a value, in order.
    pub(crate) fn numbers_of(&self, key: RecordKey, value: &str) -> Result<Vec<u64>, Error> {
        self.records_index.numbers(key, value, self.board().records())
    }

    /// Returns the record with an id.
    pub fn record(&self, id: &str) -> Result<Option<RecordView>, Error> {
        let numbers = self.numbers_of(RecordKey::Record, id)?;
        let mut found = None;
        self.records_index.read(&numbers, |entry, number, item| {
            let view = RecordView::of(entry, number, item);
            found = view.filter(|view| view.field("recordId").as_deref() == Some(id));
            found.is_none()
        })?;
        Ok(found)
    }

    /// Returns the wanted records of a range that have a value, in order or, if `is_reversed`, from
    /// the last one backwards.
    pub fn records_of(
        &self,
        (key, value): (RecordKey, &str),
        range: Range<u64>,
        (limit, is_reversed): (usize, bool),
        wanted: impl Fn(&RecordView) -> bool,
    ) -> Result<Vec<RecordView>, Error> {
        let mut numbers = self.numbers_of(key, value)?;
        numbers.retain(|number| range.contains(number));
        if is_reversed {
            numbers.reverse();
        }
        let mut found = Vec::new();
        self.records_index.read(&numbers, |entry, number, item| {
            let is_of_value = |view: &RecordView| view.field(field_of(key)).as_deref() == Some(value);
            found.extend(RecordView::of(entry, number, item).filter(|view| is_of_value(view) && wanted(view)));
            found.len() < limit
        })?;
        Ok(found)
    }
}
