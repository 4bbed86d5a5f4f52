//! Session events: status changes, operator counts, warnings (no input, a long correction queue,
//! targets that take nothing). Every event has a number and is in the catalog before it is sent;
//! notifications are a cursor over the numbers.
//!
//! Events of status changes are in the commit of the status. The counts at the end of a session
//! come before its last status, in the same commit, so a client that disconnects at the last status
//! has received everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_core::mediation::OperatorCount;
use flowmeter_core::plan::Plan;
use flowmeter_core::session::{OperatorUpdate, Session};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::outbox::Delivery;
use flowmeter_store::catalog::{Change, Table, count_to, key_of};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::notifications::vocabulary::{
    CORRECTIONS_GROWN, DELIVERY_DEAD, DELIVERY_FAILED, DELIVERY_RECOVERED, FLUSH_OVERDUE, FLUSH_RECOVERED, INPUT_RESUMED,
    INPUT_SILENT, OPERATORS, QUERY_FINISHED,
};
use crate::rows::kept;
use crate::sessions::{KeptSession, SessionEvent};

pub(crate) const EVENTS: &[u8] = b"session_events";

/// The state of a session at the last check. It is in memory: after a restart the time without
/// input starts again, and a warning that still applies is sent again.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    received: u64,
    received_at: Timestamp,
    is_silent: bool,
    parked: u64,
    is_grown: bool,
    is_overdue: bool,
}

/// Wakes tasks that wait for events. Its value is only the number of rings.
struct Bell(tokio::sync::watch::Sender<u64>);

impl Default for Bell {
    fn default() -> Bell {
        Bell(tokio::sync::watch::channel(0).0)
    }
}

/// The right to assign numbers.
pub(crate) struct Telling<'t> {
    teller: &'t Teller,
    _numbering: MutexGuard<'t, ()>,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.teller.bell.0.send_modify(|rung| *rung += 1);
    }
}

/// Assigns numbers to events, one at a time.
#[derive(Default)]
pub(crate) struct Teller {
    numbering: Mutex<()>,
    /// Held while events of meters are read, by one task at a time.
    reading: Mutex<()>,
    is_ending: AtomicBool,
    /// Rung when there are new events.
    bell: Bell,
    seen: Mutex<BTreeMap<u64, Seen>>,
    /// Sessions with their targets that take nothing, as reported last.
    failing: Mutex<BTreeSet<(u64, String)>>,
}

impl Teller {
    /// Returns the time of the last input of a session that has been without input for too long.
    pub(crate) fn silent_since(&self, session: u64) -> Option<Timestamp> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&session).filter(|seen| seen.is_silent).map(|seen| seen.received_at)
    }

    /// Locks the assignment of numbers. Tasks that wait for events are woken when the lock is
    /// dropped, which is after the commit.
    pub(crate) fn hold(&self) -> Telling<'_> {
        Telling { teller: self, _numbering: self.numbering.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Stops reading events of meters; the rest is left for the next start.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        drop(self.hold_reading());
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Locks the reading of events of meters.
    pub(crate) fn hold_reading(&self) -> MutexGuard<'_, ()> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installation {
    /// Returns the number of the newest event.
    pub fn newest_event(&self) -> Result<u64, Error> {
        Ok(self.catalog.counter(EVENTS)?)
    }

    /// Returns a channel that changes when there may be new events.
    pub fn listen(&self) -> tokio::sync::watch::Receiver<u64> {
        self.teller.bell.0.subscribe()
    }

    /// Returns the changes that add events, in their order. The caller holds the teller until they
    /// are committed.
    pub(crate) fn told(&self, namespace: &str, at: Timestamp, told: Vec<(&str, Value)>) -> Result<Vec<Change>, Error> {
        self.told_at(namespace, told.into_iter().map(|(event_type, payload)| (at, event_type, payload)))
    }

    /// Returns the changes that add events of several instants.
    pub(crate) fn told_at<'e>(
        &self,
        namespace: &str,
        told: impl Iterator<Item = (Timestamp, &'e str, Value)>,
    ) -> Result<Vec<Change>, Error> {
        let newest = self.newest_event()?;
        let (mut changes, mut count) = (Vec::new(), 0);
        for (number, (at, event_type, payload)) in (newest + 1..).zip(told) {
            let event = SessionEvent {
                number,
                at: at.to_string(),
                event_type: event_type.to_owned(),
                namespace: namespace.to_owned(),
                payload,
            };
            changes.extend(event.added());
            count += 1;
        }
        if count > 0 {
            changes.push(count_to(EVENTS, newest + count));
        }
        Ok(changes)
    }

    /// Adds one event to the catalog.
    pub(crate) fn tell(&self, session: &KeptSession, event_type: &str, more: &Value) -> Result<(), Error> {
        let mut payload = json!({
            "meterId": session.pipeline_id, "meterName": session.pipeline, "sessionId": session.session_id,
            "sessionRunType": session.session_run_type.name(),
        });
        if let (Some(members), Some(more)) = (payload.as_object_mut(), more.as_object()) {
            members.extend(more.clone());
        }
        let _telling = self.teller.hold();
        let changes = self.told(&session.namespace, self.now(), vec![(event_type, payload)])?;
        Ok(self.catalog.commit(&changes)?)
    }

    /// Adds an event for an answered query of the event store, if a notification subscribes to it:
    /// queries are frequent, and subscriptions to them are rare.
    pub fn tell_of_query(&self, namespace: &str, query: &Value) -> Result<(), Error> {
        let all = self.all_notifications()?;
        let wants = |known: &crate::notifications::Notification| {
            let conditions = known.conditions.as_ref();
            known.enabled
                && known.namespace == namespace
                && known.event_type == QUERY_FINISHED
                && conditions.is_none_or(|condition| condition.holds(query))
        };
        if !all.iter().any(wants) {
            return Ok(());
        }
        let _telling = self.teller.hold();
        let changes = self.told(namespace, self.now(), vec![(QUERY_FINISHED, query.clone())])?;
        Ok(self.catalog.commit(&changes)?)
    }

    /// Checks every running session and adds its events.
    pub fn tell_of_sessions(&self) -> Result<(), Error> {
        let now = self.now();
        let served = self.served();
        let mut seen = self.teller.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|number, _| served.iter().any(|served| served.session() == *number));
        for served in &served {
            let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(served.session()))? else { continue };
            let session: KeptSession = kept(&bytes)?;
            if session.session_status.is_final() {
                continue;
            }
            let before = seen.entry(served.session()).or_insert(Seen { received_at: now, ..Seen::default() });
            // Checks that need no answer of the worker come first: the worker itself may hang.
            let looked = self.tell_of(&session, served, *before, now).map(|after| *before = after);
            // A session that has just ended or failed is handled elsewhere.
            if let Err(why) = looked.and_then(|()| self.tell_operators(&session, served, now)) {
                tracing::debug!(session = session.session_id, "session events were not written: {why}");
            }
        }
        Ok(())
    }

    /// Checks the input, the correction queue and the targets of a session.
    fn tell_of(&self, session: &KeptSession, served: &Served, before: Seen, now: Timestamp) -> Result<Seen, Error> {
        let tally = served.board().tally();
        let mut seen = Seen { parked: tally.parked_total(), ..before };
        if tally.received != before.received {
            (seen.received, seen.received_at) = (tally.received, now);
        }
        let settings = &self.settings.sessions;
        let quiet = now.since(seen.received_at);
        seen.is_silent = settings.silence.is_some_and(|bound| quiet >= bound.as_nanos() as i128);
        if seen.is_silent != before.is_silent {
            let event_type = if seen.is_silent { INPUT_SILENT } else { INPUT_RESUMED };
            let last = if seen.is_silent { seen.received_at } else { before.received_at };
            self.tell(session, event_type, &json!({"lastInputTime": last.to_string(), "receivedCount": tally.received}))?;
        }
        if let Some(bound) = settings.corrections_bound
            && (seen.parked != before.parked || before.is_grown)
        {
            let waiting = self.waiting_corrections(served, seen.parked, bound)?;
            seen.is_grown = waiting > bound;
            if seen.is_grown && !before.is_grown {
                self.tell(session, CORRECTIONS_GROWN, &json!({"waitingCount": waiting, "bound": bound}))?;
            }
        }
        seen.is_overdue = self.tell_of_flushes(session, served, before.is_overdue, now)?;
        self.tell_of_targets(session, served)?;
        Ok(seen)
    }

    /// Sends an event when a flush becomes overdue, and when none is any more. Returns whether one
    /// is overdue.
    fn tell_of_flushes(&self, session: &KeptSession, served: &Served, was_overdue: bool, now: Timestamp) -> Result<bool, Error> {
        let Some(bound) = self.settings.sessions.flush_overdue else { return Ok(false) };
        let overdue = self.flush_overdue(served, now);
        let is_overdue = overdue > bound.as_nanos() as i128 && !served.board().is_paused();
        if is_overdue == was_overdue {
            return Ok(is_overdue);
        }
        let seconds = u64::try_from(overdue / 1_000_000_000).unwrap_or(0);
        if is_overdue {
            let due = Timestamp::from_nanos(served.board().due()).to_string();
            tracing::warn!(pipeline = session.pipeline, due, "the flush of a period is overdue by {seconds} s");
            self.tell(session, FLUSH_OVERDUE, &json!({"dueTime": due, "overdueSeconds": seconds}))?;
        } else {
            tracing::info!(pipeline = session.pipeline, "no flush is overdue any more");
            self.tell(session, FLUSH_RECOVERED, &json!({"overdueSeconds": seconds}))?;
        }
        Ok(is_overdue)
    }

    /// Adds events for targets that take nothing, and for those that take records again.
    fn tell_of_targets(&self, session: &KeptSession, served: &Served) -> Result<(), Error> {
        let mut failing = self.teller.failing.lock().unwrap_or_else(PoisonError::into_inner);
        for (target, trouble) in served.delivery.troubles() {
            let key = (session.number, target.clone());
            match trouble {
                Some(why) if !failing.contains(&key) => {
                    tracing::warn!(pipeline = session.pipeline, target, "delivery to target `{target}` fails: {why}");
                    self.tell(session, DELIVERY_FAILED, &json!({"target": target, "error": why}))?;
                    failing.insert(key);
                }
                None if failing.remove(&key) => {
                    tracing::info!(pipeline = session.pipeline, target, "delivery to target `{target}` works again");
                    self.tell(session, DELIVERY_RECOVERED, &json!({"target": target}))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stores outcomes of deliveries with the events of the dead ones, in one commit.
    pub(crate) fn keep_dead(
        &self,
        pipeline: Uuid,
        target: &str,
        dead: &[&Delivery],
        mut changes: Vec<Change>,
    ) -> Result<(), Error> {
        let Some(served) = self.served_of(pipeline) else { return Ok(self.catalog.commit(&changes)?) };
        let session = self.catalog.get(Table::Sessions, &key_of(served.session()))?;
        let session: Option<KeptSession> = session.map(|bytes| kept(&bytes)).transpose()?;
        let payload = |delivery: &&Delivery| {
            json!({
                "meterId": pipeline, "meterName": served.kept.name,
                "sessionId": session.as_ref().map(|session| &session.session_id),
                "sessionRunType": session.as_ref().map(|session| session.session_run_type.name()),
                "target": target, "recordId": delivery.record_id, "answer": delivery.answer,
            })
        };
        let told = dead.iter().map(|delivery| (DELIVERY_DEAD, payload(delivery))).collect();
        let _telling = self.teller.hold();
        changes.extend(self.told(&served.kept.namespace, self.now(), told)?);
        Ok(self.catalog.commit(&changes)?)
    }

    /// Returns the number of parked events that wait for a correction; not counted exactly while
    /// there are few.
    fn waiting_corrections(&self, served: &Served, parked: u64, bound: u64) -> Result<u64, Error> {
        if parked <= bound {
            return Ok(parked);
        }
        let settled = self.catalog.scan(Table::Corrections, served.kept.id.as_bytes(), None, usize::MAX)?.len();
        Ok(parked.saturating_sub(settled as u64 + served.board().settled()))
    }

    /// Adds the counts of every operator, if an interval has passed since the session's start. Each
    /// interval has one update at most.
    fn tell_operators(&self, session: &KeptSession, served: &Served, now: Timestamp) -> Result<(), Error> {
        let plan = served.worker().ask(|live| std::sync::Arc::clone(live.plan()))?;
        let chosen = plan.status_interval.unwrap_or(self.settings.sessions.status_interval.as_nanos() as i64).max(1);
        let started = session.session_start_time;
        let intervals = u64::try_from(now.since(started) / i128::from(chosen)).unwrap_or(0);
        let counter = format!("told_intervals/{}", session.session_id);
        if intervals <= self.catalog.counter(counter.as_bytes())? {
            return Ok(());
        }
        let counts = self.counts_of(session, &plan, &served.board().totals());
        let told = updates(&session.session(&plan), &counts, &plan);
        let _telling = self.teller.hold();
        // The end of a session adds its last counts.
        if self.still(session.number, session.session_status).is_err() {
            return Ok(());
        }
        let mut changes = self.told(&session.namespace, now, told)?;
        changes.push(count_to(counter.as_bytes(), intervals));
        Ok(self.catalog.commit(&changes)?)
    }
}

/// Returns the events with the counts of every operator of a session.
pub(crate) fn updates(session: &Session, counts: &Value, plan: &Plan) -> Vec<(&'static str, Value)> {
    let operators = counts["operators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let count_of = |id: &str| {
        let found = operators.iter().find(|operator| operator["id"] == json!(id));
        let number = |name: &str| found.and_then(|operator| operator[name].as_u64()).unwrap_or(0);
        OperatorCount { received: number("in"), passed: number("out"), errors: number("errors"), ..OperatorCount::default() }
    };
    plan.nodes.iter().map(|node| update(session, &node.id, count_of(&node.id))).collect()
}

fn update(session: &Session, operator: &str, count: OperatorCount) -> (&'static str, Value) {
    let update = OperatorUpdate { session, operator, count };
    (OPERATORS, serde_json::from_str(&update.to_json()).unwrap_or_default())
}
