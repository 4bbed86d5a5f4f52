//! Identities of parked events.
//!
//! A parked event does not spend its identity: the next event with the same identity that is not
//! parked takes its place, and settles it in the correction queue. Exact, as deduplication is:
//! by fingerprint and event time within the window, whatever else arrived in between.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::{Identity, is_within, recorded_at};
use crate::aggregation::Fingerprint;
use crate::image::{Glass, Pen, Seen};
use crate::time::Timestamp;

/// Parked events by identity.
#[derive(Clone, Debug, Default)]
pub struct ParkedIdentities {
    /// Event times and arrivals, in the order of arrival.
    by: HashMap<u128, Vec<(Timestamp, u64)>, BuildHasherDefault<Fingerprint>>,
}

impl ParkedIdentities {
    /// Whether no parked event is known.
    pub fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    /// Remembers a parked event.
    pub(super) fn add(&mut self, identity: &Identity, arrival: u64) {
        let parked = self.by.entry(identity.fingerprint).or_default();
        parked.push((recorded_at(identity.at), arrival));
    }

    /// Removes the parked events that have an identity within its window, and gives their
    /// arrivals.
    pub(super) fn take(&mut self, identity: &Identity, window: Option<i64>) -> Vec<u64> {
        let Some(parked) = self.by.get_mut(&identity.fingerprint) else { return Vec::new() };
        let at = recorded_at(identity.at);
        let taken = parked.extract_if(.., |(known, _)| is_within(*known, at, window));
        let taken = taken.map(|(_, arrival)| arrival).collect();
        if parked.is_empty() {
            self.by.remove(&identity.fingerprint);
        }
        taken
    }

    /// Forgets parked events by arrival.
    pub(super) fn forget(&mut self, is_settled: &dyn Fn(u64) -> bool) {
        self.by.retain(|_, parked| {
            parked.retain(|(_, arrival)| !is_settled(*arrival));
            !parked.is_empty()
        });
    }

    /// Writes them in the order of fingerprints, so that equal states are equal bytes.
    pub(super) fn write_to(&self, pen: &mut Pen) {
        let mut sorted: Vec<_> = self.by.iter().collect();
        sorted.sort_unstable_by_key(|(fingerprint, _)| **fingerprint);
        pen.count(sorted.len() as u64);
        for (fingerprint, parked) in sorted {
            pen.wide(*fingerprint);
            pen.count(parked.len() as u64);
            for (at, arrival) in parked {
                pen.time(*at);
                pen.count(*arrival);
            }
        }
    }

    pub(super) fn read(glass: &mut Glass<'_>) -> Seen<ParkedIdentities> {
        let mut by = HashMap::default();
        for _ in 0..glass.length()? {
            let fingerprint = glass.wide()?;
            let mut parked = Vec::new();
            for _ in 0..glass.length()? {
                parked.push((glass.time()?, glass.count()?));
            }
            by.insert(fingerprint, parked);
        }
        Ok(ParkedIdentities { by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(fingerprint: u128, at: i64) -> Identity {
        Identity { fingerprint, at: Timestamp::from_nanos(at), place: 0 }
    }

    #[test]
    fn an_event_takes_the_place_of_parked_ones_within_its_window() {
        let mut parked = ParkedIdentities::default();
        for (fingerprint, at, arrival) in [(1, 0, 10), (1, 9, 11), (1, 30, 12), (2, 0, 13)] {
            parked.add(&identity(fingerprint, at), arrival);
        }
        assert_eq!(parked.take(&identity(1, 5), Some(10)), [10, 11]);
        assert_eq!(parked.take(&identity(1, 5), Some(10)), [0; 0]);
        assert_eq!(parked.take(&identity(3, 5), None), [0; 0]);
        let mut pen = Pen::default();
        parked.write_to(&mut pen);
        let mut read = ParkedIdentities::read(&mut Glass::new(&pen.bytes)).unwrap();
        assert_eq!(read.take(&identity(1, 0), None), [12]);
        read.forget(&|arrival| arrival == 13);
        assert!(read.is_empty());
    }
}
