//! The events of a round that show the same identity.

use std::collections::BTreeMap;

use flowmeter_core::partition::{Identity, is_within, recorded_at};
use flowmeter_core::time::Timestamp;

/// Where an event of the round shows an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Showing {
    pub(super) flow: usize,
    pub(super) event: u32,
    pub(super) node: u16,
    pub(super) identity: Identity,
    /// Whether it was admitted when the round asked for all of them.
    pub(super) admitted: bool,
    /// Whether it was corrected and comes again: it is no duplicate in any case, but it records
    /// its identity only if no other event has spent it.
    pub(super) is_again: bool,
}

impl Showing {
    /// Its place in the order of arrival.
    pub(super) fn arrival(&self) -> (usize, u32) {
        (self.flow, self.event)
    }
}

/// The events of a round that show the same identity, in the order of arrival, and what is known
/// of them while the round is counted.
#[derive(Debug)]
pub(crate) struct Group {
    /// The partition of the identity.
    pub(super) lane: usize,
    pub(super) showings: Vec<Showing>,
    /// The first that is held; all after it are held too.
    pub(super) held_from: usize,
    /// Those whose identity is recorded, but which may still be parked.
    pub(super) unsettled: Vec<usize>,
    /// Those that spend the identity, by the time it is recorded at. All lie further apart than
    /// the window.
    spent: BTreeMap<Timestamp, usize>,
}

impl Group {
    /// Returns a group if one of its events repeats another one of it. That one is held, and so
    /// are all after it, which might repeat it.
    pub(super) fn new(lane: usize, showings: Vec<Showing>) -> Option<Group> {
        let first = showings.iter().position(|showing| showing.admitted)?;
        // A repetition before `first` repeats only events of earlier rounds: it is a duplicate.
        let held_from = first + showings[first..].iter().position(|showing| !showing.admitted)?;
        let unsettled = (first..held_from).collect();
        Some(Group { lane, showings, held_from, unsettled, spent: BTreeMap::new() })
    }

    /// Returns the operator and the place of each event that is held.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, u16, u32)> + '_ {
        let held = self.showings[self.held_from..].iter().filter(|showing| !showing.is_again);
        held.map(|showing| (showing.flow, showing.node, showing.identity.place))
    }

    /// Returns the first event after a place that is held, in the order of arrival.
    pub(crate) fn first_held_after(&self, place: (usize, u32)) -> Option<(usize, u32)> {
        self.showings[self.held_from..].iter().map(Showing::arrival).find(|arrival| *arrival > place)
    }

    pub(super) fn spend(&mut self, showing: usize) {
        let at = recorded_at(self.showings[showing].identity.at);
        self.spent.insert(at, showing);
    }

    pub(super) fn unspend(&mut self, showing: usize) {
        let at = recorded_at(self.showings[showing].identity.at);
        self.spent.remove(&at);
    }

    /// Returns the event that has spent the identity of this one.
    pub(super) fn spent_by(&self, showing: usize, window: Option<i64>) -> Option<usize> {
        let at = recorded_at(self.showings[showing].identity.at);
        let before = self.spent.range(..=at).next_back();
        let after = self.spent.range(at..).next();
        let mut nearest = before.into_iter().chain(after);
        nearest.find(|(recorded, _)| is_within(**recorded, at, window)).map(|(_, showing)| *showing)
    }
}
