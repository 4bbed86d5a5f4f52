//! A schedule in a zone, with the periods it has been asked for kept at hand.
//!
//! Periods are computed with the calendar once and then found by comparing integers:
//! a run of events near each other costs one comparison, any other a binary search.

use std::sync::Arc;

use super::{Period, Schedule};
use crate::time::{Timestamp, Zone};

/// Periods kept; beyond it the memory is started afresh (a schedule of hours over a
/// century fits).
const KEPT_MAX: usize = 1 << 20;

/// The periods of one schedule in one zone. A pure function with a memory.
#[derive(Clone, Debug)]
pub struct Calendar {
    schedule: Arc<Schedule>,
    zone: Zone,
    /// Sorted and disjoint; gaps are periods nobody asked for yet.
    kept: Vec<Period>,
    last: usize,
}

impl Calendar {
    /// A calendar with an empty memory.
    pub fn new(schedule: Arc<Schedule>, zone: Zone) -> Calendar {
        Calendar { schedule, zone, kept: Vec::new(), last: 0 }
    }

    /// The period that holds an instant.
    #[inline]
    pub fn period_at(&mut self, at: Timestamp) -> Period {
        match self.kept.get(self.last) {
            Some(period) if period.contains(at) => *period,
            _ => self.search(at),
        }
    }

    fn search(&mut self, at: Timestamp) -> Period {
        let after = self.kept.partition_point(|period| period.start <= at);
        if let Some(before) = after.checked_sub(1)
            && self.kept[before].contains(at)
        {
            self.last = before;
            return self.kept[before];
        }
        let period = self.schedule.period_at(&self.zone, at);
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.last = self.kept.partition_point(|kept| kept.start <= at);
        self.kept.insert(self.last, period);
        period
    }
}
