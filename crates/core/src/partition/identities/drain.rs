//! Empties a table in the order of fingerprints, without a second copy of it.
//!
//! Each shard is sorted in place and the shards are merged while they are read. So spilling a table
//! that fills its memory needs no additional memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{EMPTY, FREE, IdentityTable, Shard};
use crate::time::Timestamp;

/// The fingerprints of a table with their event times, ascending. The table is empty after this is
/// dropped, whether it was read to its end or not.
#[derive(Debug)]
pub struct Drain<'a> {
    shards: &'a mut [Shard],
    /// The next entry of each shard: fingerprint, event time, shard, place.
    heads: BinaryHeap<Reverse<(u128, i64, usize, usize)>>,
}

impl IdentityTable {
    /// Empties the table in ascending order of fingerprint and event time. Its memory is kept for
    /// later identities.
    pub fn drain(&mut self) -> Drain<'_> {
        for shard in &mut self.shards {
            shard.sort();
        }
        let heads = self.shards.iter().enumerate().filter_map(|(shard, of)| of.head(shard, 0)).collect();
        Drain { shards: &mut self.shards, heads }
    }
}

impl Iterator for Drain<'_> {
    type Item = (u128, Timestamp);

    fn next(&mut self) -> Option<(u128, Timestamp)> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((fingerprint, at, shard, place)) = *head;
        match self.shards[shard].head(shard, place + 1) {
            Some(next) => *head = next,
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        Some((fingerprint, Timestamp::from_nanos(at)))
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        for shard in self.shards.iter_mut() {
            shard.slots[..shard.used].fill(EMPTY);
            shard.used = 0;
        }
    }
}

impl Shard {
    /// Moves the used slots to the front, ascending; the rest is free. Lookups in the shard fail
    /// until it is emptied.
    fn sort(&mut self) {
        let mut used = 0;
        for place in 0..self.slots.len() {
            if self.slots[place].at != FREE {
                self.slots.swap(used, place);
                used += 1;
            }
        }
        self.slots[..used].sort_unstable_by_key(|slot| (slot.high, slot.low, slot.at));
    }

    fn head(&self, shard: usize, place: usize) -> Option<Reverse<(u128, i64, usize, usize)>> {
        let slot = self.slots[..self.used].get(place)?;
        Some(Reverse((u128::from(slot.high) << 64 | u128::from(slot.low), slot.at, shard, place)))
    }
}
