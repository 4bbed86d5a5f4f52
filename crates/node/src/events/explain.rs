//! Explains a metered record: the events that made it, added up again.
//!
//! These are the events of the record's user that counted before the record was made. They are
//! processed with the plan again, into separate meters. The clock advances there as it did then,
//! which follows from the records of the meter. The result is compared with the record.

use std::ops::ControlFlow;
use std::sync::Arc;

use flowmeter_core::aggregation::Aggregate;
use flowmeter_core::event::Path;
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::{Calendar, Period};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::PastAnswers;
use flowmeter_engine::live::{folder_of, items, record_item};
use flowmeter_engine::outbox::RecordKey;
use flowmeter_engine::{Arrival, Error, Kind, Recount};
use flowmeter_store::archive::{Filter, Row, SUBJECT_PATH};
use flowmeter_store::log::Reader;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::events::flushed::carries;
use crate::events::trace::counted_shown;
use crate::installation::{Installation, Served};
use crate::pipelines::KeptPipeline;
use crate::records::RecordView;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::shown;
use crate::tables::TableHistory;
use crate::verbatim::{self, Object};

/// Maximum of events that are counted again; a record with more is shown, but not added up.
const EVENTS_MAX: u64 = 2_000_000;
/// Earlier records of a meter that are read at once.
const RECORDS_AT_ONCE: usize = 64;

/// The fields of a record that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: String,
    user_id: String,
    meter_type_id: String,
    meter_key: String,
    period_start: String,
    value: Box<RawValue>,
    meter_meta_data: MetaData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaData {
    record_id: String,
    #[serde(default)]
    event_count: u64,
}

/// A record, and the times at which records of its meter were made.
struct Found {
    told: Told,
    json: Box<RawValue>,
    made_at: Timestamp,
    /// Its number, and none of the times, if the pipeline is loaded.
    number: u64,
    flushes: Vec<Timestamp>,
}

impl Found {
    /// Reads a record, if it has the wanted id.
    fn of(made_at: Timestamp, json: &[u8], record_id: &str) -> Option<Found> {
        let (told, json) = (serde_json::from_slice::<Told>(json).ok()?, serde_json::from_slice::<Box<RawValue>>(json).ok()?);
        (told.meter_meta_data.record_id == record_id).then(|| Found { told, json, made_at, number: 0, flushes: Vec::new() })
    }
}

/// Finds a record of a loaded pipeline, and the earlier flushes of its meter.
fn find_in_index(served: &Served, record_id: &str) -> Result<Option<Found>, Error> {
    let Some(record) = served.record(record_id)?.filter(|record| !record.is_threshold) else { return Ok(None) };
    let made_at = Timestamp::from_nanos(record.flushed_at);
    let Some(mut found) = Found::of(made_at, record.json.get().as_bytes(), record_id) else { return Ok(None) };
    found.number = record.number;
    Ok(Some(found))
}

/// Returns the times, from `since` on, at which earlier records of the meter of a record were made. Of
/// those before, it returns the last: nothing is counted again before it.
fn earlier_flushes(served: &Served, found: &Found, since: i64) -> Result<Vec<Timestamp>, Error> {
    let meter = (RecordKey::Meter, found.told.id.as_str());
    let (mut flushes, mut before) = (Vec::new(), found.number);
    loop {
        let wanted = |earlier: &RecordView| !earlier.is_threshold && earlier.flushed_at < found.made_at.nanos();
        let earlier = served.records_of(meter, 0..before, (RECORDS_AT_ONCE, true), wanted)?;
        flushes.extend(earlier.iter().map(|earlier| Timestamp::from_nanos(earlier.flushed_at)));
        match earlier.last() {
            Some(last) if earlier.len() == RECORDS_AT_ONCE && last.flushed_at >= since => before = last.number,
            _ => break,
        }
    }
    flushes.sort();
    flushes.dedup();
    let older = flushes.partition_point(|at| at.nanos() < since);
    flushes.drain(..older.saturating_sub(1));
    Ok(flushes)
}

/// Refuses to explain a partial record of a threshold: its value is that of the event that crossed
/// it, and only whole periods are added up again.
fn not_of_a_threshold(served: &Served, record_id: &str) -> Result<(), Refused> {
    let at = |why: Error| refusal_of(&why);
    let Some(partial) = served.record(record_id).map_err(at)?.filter(|record| record.is_threshold) else { return Ok(()) };
    let field = |name: &str| partial.field(name).unwrap_or_default();
    let (meter, start) = (field("id"), field("periodStart"));
    let is_whole = |record: &RecordView| !record.is_threshold && record.field("periodStart").as_deref() == Some(&start);
    let whole = served.records_of((RecordKey::Meter, &meter), 0..u64::MAX, (1, true), is_whole).map_err(at)?.pop();
    let whole = whole.and_then(|record| record.field("recordId"));
    let detail = format!("`{record_id}` is the partial record of a threshold; only records of whole periods are added up again");
    let refusal = Refusal::new(RefusalKind::Conflict, detail);
    Err(Box::new(match whole {
        Some(id) => refusal.remedy(format!("Explain the record of its period: {id}.")).extra("periodRecordId", id),
        None => refusal.remedy("Explain the record of its period once that is closed."),
    }))
}

impl Installation {
    /// Returns a page of the events that made a record, whether all events add up to it, and the
    /// number of events of the page.
    pub fn explain(&self, namespace: &str, record_id: &str, from: u64, limit: usize) -> Result<(Box<RawValue>, usize), Refused> {
        let at = |why: Error| refusal_of(&why);
        for pipeline in self.pipelines(namespace).map_err(at)?.iter() {
            if let Some(found) = self.find_record(pipeline, record_id).map_err(at)? {
                return self.explain_in(pipeline, &found, from, limit).map_err(at);
            }
            if let Some(served) = self.served_of(pipeline.id) {
                not_of_a_threshold(&served, record_id)?;
            }
        }
        Err(not_found("record", record_id))
    }

    fn records_of(&self, pipeline: &KeptPipeline, take: &mut dyn FnMut(Timestamp, &[u8])) -> Result<(), Error> {
        let mut reader = Reader::of_item_beside(Arc::clone(self.disk()), &format!("{}/records", folder_of(pipeline.id)), 0)?;
        while let Some(entry) = reader.read()? {
            let records = items(&entry).filter_map(|(_, item)| record_item(item)).filter(|record| !record.is_threshold);
            records.for_each(|record| take(Timestamp::from_nanos(entry.at), record.json));
        }
        Ok(())
    }

    fn find_record(&self, pipeline: &KeptPipeline, record_id: &str) -> Result<Option<Found>, Error> {
        match self.served_of(pipeline.id) {
            Some(served) => find_in_index(&served, record_id),
            None => self.find_in_log(pipeline, record_id),
        }
    }

    /// Finds a record of a pipeline that is not loaded.
    fn find_in_log(&self, pipeline: &KeptPipeline, record_id: &str) -> Result<Option<Found>, Error> {
        let mut found: Option<Found> = None;
        self.records_of(pipeline, &mut |made_at, json| {
            if found.is_none() && holds(json, record_id) {
                found = Found::of(made_at, json, record_id);
            }
        })?;
        let Some(mut found) = found else { return Ok(None) };
        let mut flushes = Vec::new();
        self.records_of(pipeline, &mut |made_at, json| {
            if made_at < found.made_at && holds(json, &found.told.id) && flushes.last() != Some(&made_at) {
                flushes.push(made_at);
            }
        })?;
        found.flushes = flushes;
        Ok(Some(found))
    }

    fn explain_in<'f>(
        &'f self,
        pipeline: &KeptPipeline,
        found: &'f Found,
        from: u64,
        limit: usize,
    ) -> Result<(Box<RawValue>, usize), Error> {
        let told = &found.told;
        let plan = self.plan_at(pipeline, found.made_at)?;
        let kind = plan.meter_types.iter().position(|kind| kind.id.to_string() == told.meter_type_id);
        let processor = plan.processors.iter().position(|processor| processor.key.to_string() == told.meter_key);
        let (Some(kind), Some(processor)) = (kind, processor) else {
            return Err(Error::new(Kind::Invalid, "the pipeline no longer has the record's meter type or its meter operator"));
        };
        let start = Timestamp::parse_rfc3339(told.period_start.as_bytes()).unwrap_or(Timestamp::MIN);
        let since = since(&plan, kind, start);
        let flushes = match self.served_of(pipeline.id) {
            Some(served) => earlier_flushes(&served, found, since)?,
            None => found.flushes.clone(),
        };
        let declared = self.declared(pipeline, &plan, Some(&told.user_id))?;
        let mut recount = Recount::new(Arc::clone(&plan), &[]);
        if let Some(calendar) = self.calendar_of(pipeline, told)? {
            recount.begin_with(kind as u16, calendar);
        }
        recount.open(&declared);
        if carries(&plan.meter_types[kind])
            && let (Some(served), Ok(id)) = (self.served_of(pipeline.id), Uuid::try_parse(&told.id))
        {
            // Late events count in this period only where the meter has flushed the one before.
            let of = (told.user_id.as_str(), processor as u16, kind as u16);
            let flushed = served.flushed_before(id, of, found.made_at)?;
            flushed.iter().for_each(|flushed| recount.open(std::slice::from_ref(&flushed.meter)));
        }
        let mut again = Again {
            recount,
            tables: self.table_history(&pipeline.namespace, &plan)?,
            answers: self.past_answers(pipeline, &plan, Timestamp::MIN)?,
            is_subject: user_paths(&plan, processor) == [SUBJECT_PATH],
            is_carrying: carries(&plan.meter_types[kind]) && !plan.is_bounded(),
            plan,
            kind: kind as u16,
            processor: processor as u16,
            start,
            found,
            flushes: flushes.into_iter().peekable(),
            page: from..from.saturating_add(limit as u64),
            counted: 0,
            looked_at: 0,
            shown: Vec::new(),
        };
        let through = self.count_again(pipeline, &mut again, since)?;
        Ok(again.told(pipeline, through))
    }

    /// Returns the calendar of the record's meter, which is not the plan's schedule if that
    /// changed.
    fn calendar_of(&self, pipeline: &KeptPipeline, told: &Told) -> Result<Option<Calendar>, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(None) };
        let (Ok(key), Ok(kind)) = (Uuid::try_parse(&told.meter_key), Uuid::try_parse(&told.meter_type_id)) else {
            return Ok(None);
        };
        let user = told.user_id.clone();
        served.worker().ask(move |live| live.calendar_of(&user, key, kind))
    }

    /// Passes every event that may be part of the record. Returns false if there are too many.
    fn count_again(&self, pipeline: &KeptPipeline, again: &mut Again<'_>, since: i64) -> Result<bool, Error> {
        let until = again.found.made_at.nanos().saturating_add(1);
        let user = &again.found.told.user_id;
        let filter = Filter {
            verdict: Some("counted".to_owned()),
            received_at: Some(since..until),
            subject: again.is_subject.then(|| user.clone()),
            hints: user_paths(&again.plan, usize::from(again.processor)).into_iter().map(|path| (path, user.clone())).collect(),
            ..Filter::default()
        };
        let mut from = Some(0);
        while let Some(next) = from {
            from = self.walk_events(pipeline, &filter, next, &mut |row| again.take(&row))?;
            if again.looked_at >= EVENTS_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the time of receipt from which events may be part of a period.
fn since(plan: &Plan, kind: usize, start: Timestamp) -> i64 {
    // Aggregations that carry over depend on all earlier events.
    match plan.meter_types[kind].aggregation.carries_over() || start == Timestamp::MIN {
        true => i64::MIN,
        false => start.nanos().saturating_sub(plan.future_tolerance),
    }
}

/// Returns the paths at which an event, as it was received, has its user; none if operators may change
/// it on the way.
fn user_paths(plan: &Plan, processor: usize) -> Vec<String> {
    let paths: Vec<&Path> = plan.processors[processor].user.iter().map(|slot| &plan.paths[usize::from(*slot)]).collect();
    let is_kept = plan.nodes.iter().all(|node| node.operator.keeps_fields());
    let is_received = is_kept && paths.iter().all(|path| !path.is_computed());
    paths.into_iter().filter(|_| is_received).map(|path| path.as_str().to_owned()).collect()
}

/// Whether a JSON text contains an id: cheaper than parsing it.
fn holds(json: &[u8], id: &str) -> bool {
    memchr::memmem::find(json, id.as_bytes()).is_some()
}

/// A record that is being counted again.
struct Again<'f> {
    plan: Arc<Plan>,
    tables: TableHistory<'f>,
    /// Recorded answers of the services that it asks.
    answers: Option<PastAnswers>,
    recount: Recount,
    /// Whether the user of an event is its subject, as it was received.
    is_subject: bool,
    /// Whether late events count in the current period.
    is_carrying: bool,
    kind: u16,
    processor: u16,
    start: Timestamp,
    found: &'f Found,
    flushes: std::iter::Peekable<std::vec::IntoIter<Timestamp>>,
    page: std::ops::Range<u64>,
    counted: u64,
    looked_at: u64,
    shown: Vec<Box<RawValue>>,
}

impl Again<'_> {
    fn take(&mut self, row: &Row) -> ControlFlow<()> {
        let user = self.found.told.user_id.as_str();
        if self.is_somebody_elses(row, user) {
            return ControlFlow::Continue(());
        }
        self.looked_at += 1;
        let received_at = Timestamp::from_nanos(row.received_at);
        // The clock of a server closes periods before it counts an event of the same instant, which
        // matters where the event is late.
        let is_before = |at: &Timestamp| *at < received_at || (*at == received_at && self.is_carrying);
        while let Some(flushed_at) = self.flushes.next_if(is_before) {
            self.recount.come_to(flushed_at);
        }
        match self.tables.at(received_at) {
            Ok(tables) => self.recount.use_tables(tables),
            Err(why) => tracing::error!("a table cannot be read for an explanation: {why}"),
        }
        match self.answers.as_mut().map(|past| past.at(received_at)).transpose() {
            Ok(answers) => answers.into_iter().for_each(|answers| self.recount.use_answers(answers)),
            Err(why) => tracing::error!("answers of services cannot be read for an explanation: {why}"),
        }
        let number = row.position;
        let arrival = Arrival { raw: &row.raw, at: received_at, number, origin: &row.origin, line: row.line };
        let steps = self.recount.take(arrival, Some(user.as_bytes()));
        let mine = steps.counted.iter().find(|counted| {
            counted.meter_type == self.kind
                && counted.processor == self.processor
                && counted.period.start.nanos().div_euclid(1_000_000) == self.start.nanos().div_euclid(1_000_000)
        });
        if let Some(counted) = mine {
            if self.page.contains(&self.counted) {
                let head = json!({
                    "id": row.id, "source": row.source, "position": row.position,
                    "receivedAt": crate::rows::shown(received_at), "verdict": row.verdict,
                });
                // The record names its meter.
                let id = Uuid::try_parse(&self.found.told.id).unwrap_or_default();
                self.shown.push(counted_shown(&self.plan, counted, id, head));
            }
            self.counted += 1;
        }
        if self.looked_at >= EVENTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether an event belongs to another user, which its row shows if the user is its subject.
    fn is_somebody_elses(&self, row: &Row, user: &str) -> bool {
        self.is_subject && row.subject.as_deref().is_some_and(|subject| subject != user)
    }

    /// Returns the value of a period without events.
    fn without_events(&self) -> Box<RawValue> {
        let aggregation = self.plan.meter_types[usize::from(self.kind)].aggregation;
        let period = Period { start: self.start, end: self.start };
        let value = Aggregate::initial(aggregation).value(aggregation, period);
        if value.is_some() { verbatim::raw(&json!(0)) } else { RawValue::NULL.to_owned() }
    }

    fn told(mut self, pipeline: &KeptPipeline, through: bool) -> (Box<RawValue>, usize) {
        let told = &self.found.told;
        self.recount.come_to(self.found.made_at);
        if self.recount.record(self.processor, self.kind, self.start).is_none() {
            self.recount.flush(self.found.made_at);
        }
        let again = self.recount.record(self.processor, self.kind, self.start);
        let again = again.and_then(|json| serde_json::from_slice::<Told>(json).ok());
        let again = again.map(|again| (again.value, again.meter_meta_data.event_count));
        // Without events there is no meter in the recount.
        let is_empty = told.meter_meta_data.event_count == 0 && self.counted == 0;
        let again = again.or_else(|| is_empty.then(|| (self.without_events(), 0)));
        let recount = again.filter(|_| through).map_or_else(
            || RawValue::NULL.to_owned(),
            |(value, events)| {
                // Both are computed, so both are written in the same canonical way.
                let equal = value.get() == told.value.get() && events == told.meter_meta_data.event_count;
                Object::of(&json!({"eventCount": events, "equal": equal})).with("value", &value).finish()
            },
        );
        let next = (self.counted > self.page.end).then_some(self.page.end.to_string());
        let head = json!({
            "pipeline": pipeline.name, "madeAt": shown(self.found.made_at), "eventsFound": self.counted,
            "nextCursor": next,
        });
        let explained = Object::of(&head).with("record", &self.found.json).with("recount", &recount);
        (explained.with_list("events", &self.shown).finish(), self.shown.len())
    }
}
