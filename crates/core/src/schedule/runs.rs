//! When sessions of a pipeline start by themselves.

use super::Schedule;
use crate::time::{Timestamp, Zone};

/// When sessions of a pipeline start by themselves.
#[derive(Clone, Debug)]
pub struct RunSchedule {
    /// The schedule whose boundaries are the starts.
    pub schedule: Schedule,
    /// The time zone of the boundaries.
    pub zone: Zone,
    /// Whether a run that is due while one is running waits for it; otherwise it is skipped.
    pub queues: bool,
    /// Handling of runs that were due while the server was down.
    pub catch_up: CatchUp,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Nanoseconds before it is tried again.
    pub pause: i64,
}

/// Handling of runs that were due while the server was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest is made up for.
    Latest,
    /// All are made up for, in order.
    All,
    /// None is made up for.
    None,
}

impl RunSchedule {
    /// Returns the first instant after another one at which a run is due.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        Some(self.schedule.period_at(&self.zone, at).end).filter(|next| *next != Timestamp::MAX)
    }
}
