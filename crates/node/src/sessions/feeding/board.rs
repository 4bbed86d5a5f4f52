//! The state of a source that a session reads, for people and monitoring.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_connectors::sources::Behind;
use flowmeter_core::source::SourcePlan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use serde_json::{Value, json};

/// The state of a source.
pub struct SourceBoard {
    id: String,
    kind: &'static str,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    behind: Behind,
    events: u64,
    bytes: u64,
    last_at: Option<Timestamp>,
    failing: Option<(Timestamp, String)>,
    has_ended: bool,
}

impl SourceBoard {
    pub(crate) fn new(plan: &SourcePlan) -> SourceBoard {
        SourceBoard { id: plan.id.clone(), kind: plan.kind.name(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the id of the source in the document.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what is not taken, as far as it is known.
    pub fn behind(&self) -> Behind {
        self.state().behind
    }

    /// Returns the events that the session took.
    pub fn events(&self) -> u64 {
        self.state().events
    }

    /// Whether it cannot be read at present.
    pub fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    pub(crate) fn show(&self, behind: Behind) {
        self.state().behind = behind;
    }

    pub(crate) fn add(&self, events: u64, bytes: u64, now: Timestamp) {
        let mut state = self.state();
        state.events += events;
        state.bytes += bytes;
        state.last_at = Some(now);
    }

    pub(crate) fn end(&self) {
        self.state().has_ended = true;
    }

    /// Notes that it cannot be read. Returns whether it could before.
    pub(crate) fn fail(&self, why: &Error, now: Timestamp) -> bool {
        let mut state = self.state();
        let since = state.failing.as_ref().map(|(since, _)| *since);
        state.failing = Some((since.unwrap_or(now), why.to_string()));
        since.is_none()
    }

    /// Notes that it can be read. Returns whether it could not before.
    pub(crate) fn recover(&self) -> bool {
        self.state().failing.take().is_some()
    }

    /// Returns the state as the API shows it.
    pub fn shown(&self) -> Value {
        let State { behind, events, bytes, last_at, failing, has_ended } = self.state().clone();
        let state = match (&failing, has_ended) {
            (Some(_), _) => "failing",
            (None, true) => "exhausted",
            (None, false) => "reading",
        };
        let mut shown = json!({
            "id": self.id, "kind": self.kind, "state": state, "events": events, "bytes": bytes,
            "lastEventsAt": last_at.map(|at| at.to_string()),
            "behind": {"items": behind.items, "bytes": behind.bytes}, "failedItems": behind.failed,
        });
        if let Some((since, why)) = failing {
            shown["failingSince"] = json!(since.to_string());
            shown["error"] = json!(why);
        }
        shown
    }
}
