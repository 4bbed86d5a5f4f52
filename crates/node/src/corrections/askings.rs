//! Facts about the requests that settle parked events, until the audit has them.
//!
//! The log has the key that settled an event and nothing else about the request. If the server ends
//! between a settlement and its entry of the audit, the entry lacks the reason and the request's id.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::audit::{Asking, Who};

/// Requests that are remembered; beyond them those of the smallest numbers are forgotten, which
/// were parked first.
const KEPT_MAX: usize = 20_000;

/// Facts about requests, by pipeline and number of the parked event.
#[derive(Debug, Default)]
pub(crate) struct Askings(Mutex<BTreeMap<(Uuid, u64), (String, Asking)>>);

impl Askings {
    /// Remembers the request that is about to settle an event.
    pub(crate) fn note(&self, pipeline: Uuid, number: u64, who: &Who) {
        let Asking { id, via, reason } = &who.request;
        if id.is_none() && via.is_none() && reason.is_none() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((pipeline, number), (who.name.clone(), who.request.clone()));
        while all.len() > KEPT_MAX {
            all.pop_first();
        }
    }

    /// Returns and forgets the request of an author that settled an event.
    pub(crate) fn take(&self, pipeline: Uuid, number: u64, author: &str) -> Asking {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.remove(&(pipeline, number)).filter(|(name, _)| name == author);
        known.map(|(_, asking)| asking).unwrap_or_default()
    }
}
