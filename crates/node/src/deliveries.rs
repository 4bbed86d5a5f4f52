//! Deliveries for people, who list and change them: every record at every target.
//!
//! Most deliveries are not stored: their state follows from the progress of the target. Those that
//! differ are in the catalog.

pub mod delivery;
pub mod probing;
pub mod reconciling;
mod states;

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::journal::Place;
use flowmeter_engine::outbox::{Attempt, Delivery, DeliveryState, Marks, RecordLog, Records, WindowLimits};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::deliveries::delivery::{Board, CatalogShelf, Courier};
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

/// Records that are examined at once.
const LOOKED_AT: usize = 5_000;

/// A filter of deliveries.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Deliveries to this target.
    pub target: Option<String>,
    /// Deliveries in this state.
    pub state: Option<DeliveryState>,
    /// Deliveries of this record.
    pub record: Option<Uuid>,
    /// Deliveries of records from this number on.
    pub first: u64,
    /// Deliveries of records before this number.
    pub before: Option<u64>,
}

/// A delivery in its JSON form.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// The pipeline, the record's number and the target.
    pub id: String,
    /// State of the delivery.
    pub state: DeliveryState,
    shown: Value,
}

impl DeliveryView {
    /// Returns the JSON form.
    pub fn shown(&self) -> Box<RawValue> {
        to_raw_value(&self.shown).unwrap_or_default()
    }
}

/// Returns a delivery in its JSON form. The board is read once for all deliveries of a page.
fn view(
    served: &Served,
    courier: &Courier,
    board: &Board,
    number: u64,
    of: Option<(Uuid, Uuid)>,
    own: Option<&Delivery>,
) -> DeliveryView {
    let state = own.map_or_else(|| board.state_of(number), |own| own.state);
    let id = format!("{}.{}.{}", served.kept.id, Place::first(number), courier.id());
    let at = |nanos: i64| Timestamp::from_nanos(nanos).to_string();
    let mut shown = json!({
        "id": id, "pipeline": served.kept.name, "target": courier.id(), "kind": courier.plan().kind.name(),
        "recordNumber": number, "state": state.name(),
    });
    let ids = of.or_else(|| own.map(|own| (own.meter, own.record_id)));
    if let Some((meter, record)) = ids {
        shown["meterId"] = json!(meter);
        shown["recordId"] = json!(record);
    }
    if let Some(own) = own {
        shown["attempts"] = json!(own.attempts);
        shown["answer"] = json!(own.answer);
        shown["inDoubt"] = json!(own.in_doubt.is_some());
        shown["firstAttemptAt"] = json!(at(own.tried_first));
        shown["lastAttemptAt"] = json!(at(own.tried_last));
        if own.state == DeliveryState::Retrying {
            shown["nextAttemptAt"] = json!(at(own.next_attempt));
        }
    } else if state == DeliveryState::Retrying {
        shown["attempts"] = json!(board.marks.attempts);
        shown["answer"] = json!(board.marks.answer);
        shown["firstAttemptAt"] = json!(at(board.marks.sent_at));
        shown["lastAttemptAt"] = json!(at(board.marks.tried_last()));
        shown["nextAttemptAt"] = json!(at(board.quiet_until));
    }
    DeliveryView { id, state, shown }
}

/// Returns an attempt as the API shows it.
fn shown_attempt(attempt: &Attempt) -> Value {
    let Attempt { at, ms, status, answer } = attempt;
    json!({"at": Timestamp::from_nanos(*at).to_string(), "ms": ms, "status": status, "answer": answer})
}

/// Returns the progress of each target of a pipeline.
pub fn targets(served: &Served) -> Vec<Value> {
    let end = served.delivery.end();
    let shown = |courier: &Arc<Courier>| {
        let board = courier.board();
        let (marks, (sent, retrying)) = (&board.marks, board.sent_and_retrying());
        json!({
            "pipeline": served.kept.name, "target": courier.id(), "kind": courier.plan().kind.name(),
            "thresholds": courier.plan().thresholds,
            "pending": end.saturating_sub(marks.sent.max(marks.next)), "sent": sent,
            "accepted": marks.accepted, "confirmedTo": marks.confirmed, "deliveredTo": marks.next, "records": end,
            "retrying": retrying, "dead": marks.dead, "skipped": marks.skipped,
            "failingSince": marks.failing_since.map(|at| Timestamp::from_nanos(at).to_string()),
            "deadSince": marks.dead_since.map(|at| Timestamp::from_nanos(at).to_string()),
            "answer": said(marks),
            "halted": board.is_halted, "trouble": board.trouble,
        })
    };
    served.delivery.couriers().iter().map(shown).collect()
}

/// Returns what a target says that takes nothing, or that refused records.
fn said(marks: &Marks) -> Option<&str> {
    let refusal = Some(marks.refusal.as_str()).filter(|refusal| !refusal.is_empty());
    marks.failing_since.map_or(refusal, |_| Some(marks.answer.as_str()))
}

/// The state of a target, for monitoring.
pub struct TargetGauge {
    pub target: String,
    pub accepted: u64,
    /// Number of records accepted since the target was added.
    pub accepted_ever: u64,
    pub lag: u64,
    pub retrying: u64,
    pub dead: u64,
    pub is_failing: bool,
}

/// Returns the state of each target of a pipeline.
pub fn target_gauges(served: &Served) -> Vec<TargetGauge> {
    let end = served.delivery.end();
    let gauge = |courier: &Arc<Courier>| {
        let board = courier.board();
        TargetGauge {
            target: courier.id().to_owned(),
            accepted: board.marks.accepted.saturating_sub(courier.accepted_before()),
            accepted_ever: board.marks.accepted,
            lag: end.saturating_sub(board.marks.next),
            retrying: board.sent_and_retrying().1,
            dead: board.marks.dead,
            is_failing: board.marks.failing_since.is_some() || board.trouble.is_some(),
        }
    };
    served.delivery.couriers().iter().map(gauge).collect()
}

impl Installation {
    pub(crate) fn shelf(&self, served: &Served, courier: &Courier) -> CatalogShelf {
        CatalogShelf::new(Arc::clone(&self.catalog), served.kept.id, courier.id())
    }

    fn record_log(&self, served: &Served, thresholds: bool) -> RecordLog {
        let folder = flowmeter_engine::live::records_folder(&flowmeter_engine::live::folder_of(served.kept.id));
        RecordLog::new(Arc::clone(&self.disk), &folder, thresholds)
    }

    /// Returns deliveries of a pipeline from a position on, by record and target; and the position
    /// to continue with.
    pub fn deliveries(
        &self,
        served: &Served,
        from: u64,
        limit: usize,
        filter: &DeliveryFilter,
    ) -> Result<(Vec<DeliveryView>, u64), Error> {
        let couriers = served.delivery.couriers();
        let ways = couriers.len().max(1) as u64;
        let (first, first_way) = (from / ways, from % ways);
        let has_story = matches!(filter.state, Some(DeliveryState::Dead | DeliveryState::Skipped));
        let mut found: Vec<(u64, DeliveryView)> = Vec::new();
        for (way, courier) in couriers.iter().enumerate() {
            let way = way as u64;
            if filter.target.as_ref().is_some_and(|wanted| wanted != courier.id()) {
                continue;
            }
            let begin = if way < first_way { first + 1 } else { first }.max(filter.first);
            let of_target = match has_story {
                true => self.with_story(served, courier, begin, limit, filter)?,
                false => self.all(served, courier, begin, limit, filter)?,
            };
            found.extend(of_target.into_iter().map(|(number, view)| (number * ways + way, view)));
        }
        found.sort_by_key(|(place, _)| *place);
        found.truncate(limit);
        let next = found.last().map_or(from, |(place, _)| place + 1);
        Ok((found.into_iter().map(|(_, view)| view).collect(), next))
    }

    /// Returns all deliveries of records from a number on, with the numbers.
    pub fn deliveries_from(
        &self,
        served: &Served,
        from: u64,
        filter: &DeliveryFilter,
    ) -> Result<Vec<(u64, DeliveryView)>, Error> {
        let ways = served.delivery.couriers().len().max(1) as u64;
        let (found, _) = self.deliveries(served, from * ways, usize::MAX, filter)?;
        let number = |view: &DeliveryView| view.shown["recordNumber"].as_u64().unwrap_or(from);
        Ok(found.into_iter().map(|view| (number(&view), view)).collect())
    }

    /// Returns the stored deliveries.
    fn with_story(
        &self,
        served: &Served,
        courier: &Courier,
        from: u64,
        limit: usize,
        filter: &DeliveryFilter,
    ) -> Result<Vec<(u64, DeliveryView)>, Error> {
        let deliveries = self.shelf(served, courier).deliveries(from, filter.state, usize::MAX)?;
        let board = courier.board();
        let is_before = |number: u64| filter.before.is_none_or(|before| number < before);
        let is_of =
            |delivery: &&Delivery| filter.record.is_none_or(|record| record == delivery.record_id) && is_before(delivery.number);
        let wanted = deliveries.iter().filter(is_of);
        Ok(wanted.take(limit).map(|own| (own.number, view(served, courier, &board, own.number, None, Some(own)))).collect())
    }

    /// Returns all deliveries, by the log of records.
    fn all(
        &self,
        served: &Served,
        courier: &Courier,
        from: u64,
        limit: usize,
        filter: &DeliveryFilter,
    ) -> Result<Vec<(u64, DeliveryView)>, Error> {
        let (end, board) = (served.delivery.end().min(filter.before.unwrap_or(u64::MAX)), courier.board());
        let mut log = self.record_log(served, courier.plan().thresholds);
        let (mut found, mut next) = (Vec::new(), from);
        // No record before the first that waits can have these states.
        next = next.max(match filter.state {
            Some(DeliveryState::Sent | DeliveryState::Pending) => board.marks.next,
            Some(DeliveryState::Retrying) => {
                let own = self.shelf(served, courier).deliveries(from, filter.state, 1)?;
                own.first().map_or(board.marks.next, |own| own.number.min(board.marks.next))
            }
            _ => 0,
        });
        let needle = filter.record.map(|record| record.to_string());
        while next < end && found.len() < limit {
            let window = log.read(next, end, WindowLimits { records: LOOKED_AT, ..WindowLimits::default() })?;
            if window.span().until == next {
                break;
            }
            next = window.span().until;
            let mut own = self.shelf(served, courier).deliveries(window.span().first, None, window.len())?.into_iter().peekable();
            for record in window.iter() {
                while own.peek().is_some_and(|own| own.number < record.number) {
                    own.next();
                }
                let own = own.peek().filter(|own| own.number == record.number);
                if needle.as_ref().is_some_and(|needle| memchr::memmem::find(record.json, needle.as_bytes()).is_none()) {
                    continue;
                }
                let names = record.names()?;
                if filter.record.is_some_and(|wanted| wanted != names.record_id) {
                    continue;
                }
                let view = view(served, courier, &board, record.number, Some((names.meter, names.record_id)), own);
                if filter.state.is_none_or(|state| state == view.state) {
                    found.push((record.number, view));
                }
                if found.len() >= limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn delivery_of(&self, namespace: &str, id: &str) -> Result<(Arc<Served>, Arc<Courier>, u64), Refused> {
        let missing = || not_found("delivery", id);
        let mut parts = id.splitn(3, '.');
        let pipeline = parts.next().and_then(|text| Uuid::try_parse(text).ok()).ok_or_else(missing)?;
        let number = parts.next().and_then(Place::read_in_first).ok_or_else(missing)?;
        let target = parts.next().ok_or_else(missing)?;
        let served = self.served_of(pipeline).filter(|served| served.kept.namespace == namespace).ok_or_else(missing)?;
        let courier = served.delivery.couriers().into_iter().find(|courier| courier.id() == target).ok_or_else(missing)?;
        if number >= served.delivery.end() {
            return Err(missing());
        }
        Ok((served, courier, number))
    }

    /// Returns a delivery with its record.
    pub fn delivery(&self, namespace: &str, id: &str) -> Result<Box<RawValue>, Refused> {
        let (served, courier, number) = self.delivery_of(namespace, id)?;
        let at = |why: Error| refusal_of(&why);
        let mut log = self.record_log(&served, courier.plan().thresholds);
        let window = log.read(number, number + 1, WindowLimits { records: 1, bytes: usize::MAX }).map_err(at)?;
        let record = window.iter().next().ok_or_else(|| not_found("delivery", id))?;
        let names = record.names().map_err(at)?;
        let shelf = self.shelf(&served, &courier);
        let own = flowmeter_engine::outbox::Shelf::delivery(&shelf, number).map_err(at)?;
        let story = if own.is_none() { shelf.story(number).map_err(at)? } else { None };
        let board = courier.board();
        let is_under_way = matches!(board.state_of(number), DeliveryState::Retrying | DeliveryState::Sent);
        let of_window = if is_under_way { board.marks.history.as_slice() } else { &[] };
        let attempts = own.as_ref().or(story.as_ref()).map_or(of_window, |own| own.history.as_slice());
        /// The record is included as it was made, without parsing its digits.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct WithRecord<'r> {
            #[serde(flatten)]
            delivery: &'r Value,
            /// The last attempts, the oldest first.
            attempt_history: Vec<Value>,
            record: &'r RawValue,
        }
        let internal = |why: serde_json::Error| Box::new(Refusal::new(RefusalKind::Internal, why.to_string()));
        let view = view(&served, &courier, &board, number, Some((names.meter, names.record_id)), own.as_ref());
        let record = serde_json::from_slice(record.json).map_err(internal)?;
        let attempt_history = attempts.iter().map(shown_attempt).collect();
        to_raw_value(&WithRecord { delivery: &view.shown, attempt_history, record }).map_err(internal)
    }

    /// Sends a record again.
    pub fn resend_delivery(&self, who: &Who, id: &str) -> Result<DeliveryView, Refused> {
        let (served, courier, number) = self.delivery_of(&who.namespace, id)?;
        let at = |why: Error| refusal_of(&why);
        let audited = self.audited(who, "delivery.resend", id, Value::Null, Value::Null).map_err(at)?;
        let own = courier.resend(vec![number], audited).map_err(at)?;
        Ok(view(&served, &courier, &courier.board(), number, None, own.first()))
    }

    /// Skips a record, for a reason.
    pub fn skip_delivery(&self, who: &Who, id: &str, reason: &str) -> Result<DeliveryView, Refused> {
        let (served, courier, number) = self.delivery_of(&who.namespace, id)?;
        let at = |why: Error| refusal_of(&why);
        let who = &who.clone().because(reason);
        let audited = self.audited(who, "delivery.skip", id, Value::Null, json!({"reason": reason})).map_err(at)?;
        let own = courier.skip(vec![number], format!("left out by {}: {reason}", who.name), audited).map_err(at)?;
        Ok(view(&served, &courier, &courier.board(), number, None, own.first()))
    }

    /// Sends all records of a pipeline again that are dead or wait for their next attempt; returns
    /// their number.
    pub fn resend_deliveries(&self, who: &Who, pipeline: &str, target: Option<&str>) -> Result<u64, Refused> {
        let at = |why: Error| refusal_of(&why);
        let pipeline = self.pipeline(&who.namespace, pipeline)?;
        let served = self.served_of(pipeline.id).ok_or_else(|| not_at_work(&pipeline.name))?;
        let mut count = 0;
        for courier in served.delivery.couriers() {
            if target.is_some_and(|wanted| wanted != courier.id()) {
                continue;
            }
            let own = self.shelf(&served, &courier).deliveries(0, None, usize::MAX).map_err(at)?;
            let waits = |own: &&Delivery| matches!(own.state, DeliveryState::Dead | DeliveryState::Retrying);
            let numbers: Vec<u64> = own.iter().filter(waits).map(|own| own.number).collect();
            // A window that fails as a whole is sent again as a whole.
            let in_window = courier.board().failing().count() as u64;
            let deliveries = numbers.len() as u64 + in_window;
            if deliveries == 0 {
                courier.hurry().map_err(at)?;
                continue;
            }
            let change = json!({"target": courier.id(), "deliveries": deliveries});
            let audited = self.audited(who, "delivery.resend", &pipeline.name, Value::Null, change).map_err(at)?;
            // That ends the pause of the window too.
            count += courier.resend(numbers, audited).map_err(at)?.len() as u64 + in_window;
        }
        Ok(count)
    }
}

pub(crate) fn not_at_work(pipeline: &str) -> Refused {
    let detail = format!("`{pipeline}` has never run, or reads files once: there is nothing to deliver here");
    Box::new(Refusal::new(RefusalKind::Conflict, detail))
}
