//! The events that the event store has read but that are in no finished file: their keys, and the
//! places from which they are read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::event::Path;
use flowmeter_core::plan::Plan;
use flowmeter_engine::live::{Arrivals, Arrived, Mark};
use flowmeter_store::archive::{Recent, SUBJECT_PATH};

/// Events between two marks: reading one of them costs little.
const MARK_EVENTS: u64 = 2048;

/// The events of a pipeline that are in no file.
pub(crate) struct Unfiled {
    pub(crate) recent: Arc<Recent>,
    marks: Mutex<VecDeque<Mark>>,
}

impl Unfiled {
    pub(crate) fn new(recent: Arc<Recent>) -> Unfiled {
        Unfiled { recent, marks: Mutex::default() }
    }

    fn marks(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the place of events that were read.
    pub(crate) fn note(&self, arrivals: &Arrivals, arrived: &Arrived) {
        let mut marks = self.marks();
        if marks.back().is_none_or(|last| arrived.first >= last.arrival + MARK_EVENTS) {
            marks.extend(arrivals.mark(arrived));
        }
    }

    /// Removes marks that no event behind an arrival needs.
    pub(crate) fn release(&self, before: u64) {
        let mut marks = self.marks();
        while marks.get(1).is_some_and(|second| second.arrival <= before) {
            marks.pop_front();
        }
    }

    /// Returns the last mark at an arrival or before it.
    pub(crate) fn mark(&self, arrival: u64) -> Option<Mark> {
        let marks = self.marks();
        let after = marks.partition_point(|mark| mark.arrival <= arrival);
        marks.get(after.checked_sub(1)?).copied()
    }
}

/// Returns the paths at which events have their users, but the subject.
pub(crate) fn user_paths(plan: &Plan) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for slot in plan.processors.iter().flat_map(|processor| &processor.user) {
        let path = &plan.paths[usize::from(*slot)];
        if !path.is_computed() && path.as_str() != SUBJECT_PATH && !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    paths
}
