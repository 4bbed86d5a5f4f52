//! The counters that a worker publishes for monitoring; they never fall.
//!
//! After a crash a pipeline resumes from its checkpoint and replays the later part of the log.
//! Meanwhile its totals are lower than those published before the crash. Monitoring treats a
//! counter that falls as a restart from zero and would add all of it a second time. The published
//! totals are not stored, but they covered no more than the log had when the process started. So a
//! worker publishes no totals until the pipeline has replayed the log up to that position.

#[cfg(test)]
mod tests;

use std::sync::PoisonError;

use flowmeter_core::time::Timestamp;

use super::Board;
use crate::Totals;
use crate::live::Live;

/// The published numbers of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Since the pipeline began; `None` while it replays entries that it applied before a crash.
    pub totals: Option<Totals>,
    /// Time of the newest checkpoint while newer entries were applied; nanoseconds.
    pub unsaved_since: Option<i64>,
    /// The time from which on the earliest due period should be flushed, in nanoseconds: its end,
    /// or the arrival of an event for a period that had ended long before.
    pub flush_from: Option<i64>,
}

/// The state that decides which numbers are published.
pub(super) struct Known {
    /// The end of the log when the process started.
    taken_before: u64,
    saved_at: Timestamp,
    saved_position: u64,
    /// The earliest due period, and the time from which on it should be flushed.
    flush: Option<(Timestamp, Timestamp)>,
}

impl Known {
    /// Returns the state of a pipeline that has just been opened, with the end of the log.
    pub(super) fn of(live: &Live, log_end: u64) -> Known {
        let (saved_at, saved_position) = (live.clock(), live.position());
        Known { taken_before: log_end, saved_at, saved_position, flush: None }
    }

    /// Records a new checkpoint.
    pub(super) fn saved(&mut self, live: &Live, at: Timestamp) {
        (self.saved_at, self.saved_position) = (at, live.position());
    }

    /// Publishes the totals of the pipeline.
    pub(super) fn show(&mut self, live: &Live, board: &Board) {
        let is_unsaved = live.position() > self.saved_position;
        let shown = Shown {
            totals: self.has_caught_up(live.position()).then(|| live.totals()),
            unsaved_since: is_unsaved.then_some(self.saved_at.nanos()),
            flush_from: self.flush_from(live.next_due(), live.clock()).map(Timestamp::nanos),
        };
        *board.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn has_caught_up(&self, position: u64) -> bool {
        position >= self.taken_before
    }

    fn flush_from(&mut self, due: Option<Timestamp>, clock: Timestamp) -> Option<Timestamp> {
        self.flush = due.map(|due| match self.flush {
            Some((known, from)) if known == due => (due, from),
            _ => (due, due.max(clock)),
        });
        self.flush.map(|(_, from)| from)
    }
}

impl Board {
    /// Returns the published numbers.
    pub fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
