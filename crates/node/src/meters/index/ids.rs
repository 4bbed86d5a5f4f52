//! Places of meters by the hash of their id, in eight bytes each.
//!
//! Places are in sorted runs; new ones are in a short list. Runs of similar size are merged. A place
//! whose meter has gone stays, so a reader compares the id of the meter that is there.

use std::sync::Arc;

use uuid::Uuid;

/// Places of the list at which it becomes a run. The list is searched from one end to the other.
const YOUNG_MAX: usize = 4096;

/// Hash in the high half and place in the low one, in order.
pub(super) type Run = Vec<u64>;

/// Places of meters in a partition, by id.
#[derive(Default)]
pub(super) struct Ids {
    /// Runs, the largest first.
    runs: Vec<Arc<Run>>,
    /// New places, in no order.
    young: Run,
}

impl Ids {
    pub(super) fn insert(&mut self, id: Uuid, place: u32) {
        self.young.push(u64::from(hash(id)) << 32 | u64::from(place));
        if self.young.len() >= YOUNG_MAX {
            let mut young = std::mem::take(&mut self.young);
            young.sort_unstable();
            self.runs.push(Arc::new(young));
        }
    }

    /// Returns the places at which the meter with an id may be.
    pub(super) fn places(&self, id: Uuid) -> Vec<u32> {
        let hash = hash(id);
        let first = u64::from(hash) << 32;
        let mut found = Vec::new();
        for run in &self.runs {
            let from = run.partition_point(|entry| *entry < first);
            found.extend(run[from..].iter().take_while(|entry| (*entry >> 32) as u32 == hash).map(|entry| *entry as u32));
        }
        found.extend(self.young.iter().filter(|entry| (*entry >> 32) as u32 == hash).map(|entry| *entry as u32));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns two runs that should be merged, if there are any.
    pub(super) fn mergeable(&self) -> Option<(Arc<Run>, Arc<Run>)> {
        let at = self.runs.windows(2).rposition(|pair| pair[0].len() < pair[1].len() * 2)?;
        Some((Arc::clone(&self.runs[at]), Arc::clone(&self.runs[at + 1])))
    }

    /// Puts a merged run in the place of the two that it was made of.
    pub(super) fn merged(&mut self, of: &(Arc<Run>, Arc<Run>), run: Run) {
        // Another thread may have merged one of them meanwhile: then this run is of no use.
        let is_pair = |pair: &[Arc<Run>]| Arc::ptr_eq(&pair[0], &of.0) && Arc::ptr_eq(&pair[1], &of.1);
        if let Some(at) = self.runs.windows(2).position(is_pair) {
            self.runs.splice(at..at + 2, [Arc::new(run)]);
        }
    }

    /// Returns the bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.young.capacity() + self.runs.iter().map(|run| run.capacity()).sum::<usize>()) * size_of::<u64>()
    }
}

/// Makes one run of two.
pub(super) fn merge(one: &[u64], other: &[u64]) -> Run {
    let mut merged = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.iter().copied().peekable(), other.iter().copied().peekable());
    while let (Some(mine), Some(theirs)) = (one.peek(), other.peek()) {
        let next = if mine <= theirs { one.next() } else { other.next() };
        merged.extend(next);
    }
    merged.extend(one.chain(other));
    merged.dedup();
    merged
}

/// Ids that people choose may be similar, so all bits count.
fn hash(id: Uuid) -> u32 {
    let (high, low) = id.as_u64_pair();
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use flowmeter_core::meter_type::derived;

    use super::*;

    #[test]
    fn a_merge_that_another_one_overtook_loses_nothing() {
        let mut ids = Ids::default();
        let id = |n: u32| derived::meter(Uuid::nil(), Uuid::nil(), &n.to_le_bytes());
        let mut next = 0;
        let mut fill = |ids: &mut Ids| {
            for n in next..next + YOUNG_MAX as u32 {
                ids.insert(id(n), n);
            }
            next += YOUNG_MAX as u32;
        };
        fill(&mut ids);
        fill(&mut ids);
        let slow = ids.mergeable().unwrap();
        let late = merge(&slow.0, &slow.1);
        fill(&mut ids);
        // The last two runs are merged first, so the slow merge has one of them only.
        let quick = (Arc::clone(&ids.runs[1]), Arc::clone(&ids.runs[2]));
        ids.merged(&quick, merge(&quick.0, &quick.1));
        ids.merged(&slow, late);
        for n in 0..3 * YOUNG_MAX as u32 {
            assert!(ids.places(id(n)).contains(&n), "{n}");
        }
    }

    #[test]
    fn places_are_found_before_and_after_merging() {
        let mut ids = Ids::default();
        let id = |n: u32| derived::meter(Uuid::nil(), Uuid::nil(), &n.to_le_bytes());
        for n in 0..30_000 {
            ids.insert(id(n), n);
            if n % 3 == 0 {
                // The meter was opened again at the same place.
                ids.insert(id(n), n);
            }
            if n % 5000 == 0 {
                while let Some(pair) = ids.mergeable() {
                    ids.merged(&pair, merge(&pair.0, &pair.1));
                }
            }
        }
        for n in 0..30_000 {
            let found = ids.places(id(n));
            assert!(found.contains(&n) && found.len() < 3, "{n}: {found:?}");
        }
        assert!(ids.runs.len() < 6, "{}", ids.runs.len());
    }
}
