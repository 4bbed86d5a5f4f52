//! Exact deduplication: fingerprints with the event time they were seen at.
//!
//! An event is a duplicate when an event with the same identity arrived before it and their event
//! times are less than the window apart. The rule depends on no other event, so the answer depends
//! neither on what else arrived nor on how late.
//!
//! The table has open addressing and grows shard by shard, so that no single event waits for the
//! whole table.

mod drain;

pub use drain::Drain;

use super::{Admission, Identities, Identity};
use crate::time::Timestamp;

/// Shards of a table, a power of two.
const SHARDS: usize = 64;
/// Initial slots of a shard.
const SLOTS_MIN: usize = 16;
/// Identities that are looked up together, so that their memory is fetched together.
const CHUNK: usize = 32;

/// A table of fingerprints in memory.
#[derive(Clone, Debug)]
pub struct IdentityTable {
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    low: u64,
    high: u64,
    /// Event time; [`FREE`] marks a free slot.
    at: i64,
}

const FREE: i64 = i64::MIN;
const EMPTY: Slot = Slot { low: 0, high: 0, at: FREE };

impl Default for IdentityTable {
    fn default() -> IdentityTable {
        IdentityTable { shards: vec![Shard::default(); SHARDS] }
    }
}

impl Identities for IdentityTable {
    fn admit(&mut self, identities: &[Identity], window: Option<i64>, answer: &mut dyn FnMut(&Identity, Admission)) {
        for chunk in identities.chunks(CHUNK) {
            // Independent reads that run in parallel; the second loop finds them in the cache.
            let near = chunk.iter().fold(0, |near, identity| near ^ self.touch(identity.fingerprint));
            std::hint::black_box(near);
            for identity in chunk {
                match self.shards[shard_of(identity.fingerprint)].admit(identity, window) {
                    Admission::New => {}
                    known => answer(identity, known),
                }
            }
        }
    }

    fn withdraw(&mut self, fingerprint: u128, at: Timestamp) {
        self.shards[shard_of(fingerprint)].withdraw(fingerprint, recorded_at(at).nanos());
    }

    fn expect(&mut self, count: usize) {
        for shard in &mut self.shards {
            shard.expect(count.div_ceil(SHARDS));
        }
    }
}

impl Shard {
    /// Reserves slots for `count` identities, filled to two thirds.
    fn expect(&mut self, count: usize) {
        let size = count + count / 2;
        if size > self.slots.len() && count > self.used {
            self.resize(size.max(SLOTS_MIN));
        }
    }
}

fn shard_of(fingerprint: u128) -> usize {
    (fingerprint >> 64) as usize & (SHARDS - 1)
}

impl IdentityTable {
    /// Returns the number of identities.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    /// Returns the bytes of memory that it takes, used or free.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.capacity() * size_of::<Slot>()).sum()
    }

    /// Returns a number of identities that never take more memory than this: a shard that has just
    /// grown is filled to eight fifteenths, and none is smaller than its initial size.
    pub fn count_within(memory_bytes: usize) -> usize {
        (memory_bytes / size_of::<Slot>()).saturating_sub(SHARDS * SLOTS_MIN) * 8 / 15
    }

    fn touch(&self, fingerprint: u128) -> i64 {
        let shard = &self.shards[shard_of(fingerprint)];
        shard.slots.get(home(fingerprint as u64, shard.slots.len())).map_or(0, |slot| slot.at)
    }
}

impl Shard {
    /// Admits an identity and records it.
    #[inline]
    fn admit(&mut self, identity: &Identity, window: Option<i64>) -> Admission {
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        let (low, high) = (identity.fingerprint as u64, (identity.fingerprint >> 64) as u64);
        let at = recorded_at(identity.at).nanos();
        let size = self.slots.len();
        let mut place = home(low, size);
        let mut admission = Admission::New;
        loop {
            let slot = &mut self.slots[place];
            if slot.at == FREE {
                *slot = Slot { low, high, at };
                self.used += 1;
                return admission;
            }
            if slot.low == low && slot.high == high {
                if within(slot.at, at, window) {
                    return Admission::Known;
                }
                admission = Admission::Beside;
            }
            place += 1;
            if place == size {
                place = 0;
            }
        }
    }

    /// Removes an identity. Later ones of the same run move back, so that each is still found from
    /// its home slot.
    fn withdraw(&mut self, fingerprint: u128, at: i64) {
        let (low, high) = (fingerprint as u64, (fingerprint >> 64) as u64);
        let size = self.slots.len();
        if size == 0 {
            return;
        }
        let next = |place: usize| if place + 1 == size { 0 } else { place + 1 };
        let mut hole = home(low, size);
        while self.slots[hole] != (Slot { low, high, at }) {
            if self.slots[hole].at == FREE {
                return;
            }
            hole = next(hole);
        }
        let mut place = next(hole);
        while self.slots[place].at != FREE {
            let way = |from: usize| (place + size - from) % size;
            if way(home(self.slots[place].low, size)) >= way(hole) {
                self.slots[hole] = self.slots[place];
                hole = place;
            }
            place = next(place);
        }
        self.slots[hole] = EMPTY;
        self.used -= 1;
    }

    #[cold]
    fn grow(&mut self) {
        // Grows by half, not to double: unused memory is still cleared and paid for.
        self.resize((self.slots.len() + self.slots.len() / 2).max(SLOTS_MIN));
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        for slot in old.into_iter().filter(|slot| slot.at != FREE) {
            let mut place = home(slot.low, size);
            while self.slots[place].at != FREE {
                place = (place + 1) % size;
            }
            self.slots[place] = slot;
        }
    }
}

/// Returns the home slot of an identity in a table of any size.
#[inline]
fn home(low: u64, size: usize) -> usize {
    ((u128::from(low) * size as u128) >> 64) as usize
}

/// Returns the event time under which an identity is recorded: its own, except for the earliest
/// possible nanosecond, which marks free slots.
pub fn recorded_at(at: Timestamp) -> Timestamp {
    at.max(Timestamp::from_nanos(FREE + 1))
}

/// Whether an identity recorded at `known` makes one of the same fingerprint at `at` a duplicate.
/// Both times are results of [`recorded_at`]; the window is in nanoseconds, `None` for ever.
pub fn is_within(known: Timestamp, at: Timestamp, window: Option<i64>) -> bool {
    within(known.nanos(), at.nanos(), window)
}

#[inline]
fn within(known: i64, at: i64, window: Option<i64>) -> bool {
    window.is_none_or(|window| known.abs_diff(at) < window.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicates(table: &mut IdentityTable, events: &[(u128, i64)], window: Option<i64>) -> Vec<u32> {
        let identity = |(event, &(fingerprint, at)): (usize, &(u128, i64))| Identity {
            fingerprint,
            at: Timestamp::from_nanos(at),
            place: event as u32,
        };
        let identities: Vec<_> = events.iter().enumerate().map(identity).collect();
        let mut found = Vec::new();
        let mut answer = |identity: &Identity, admission| {
            if admission == Admission::Known {
                found.push(identity.place);
            }
        };
        table.admit(&identities, window, &mut answer);
        found
    }

    #[test]
    fn the_first_arrival_wins_within_the_window() {
        let mut table = IdentityTable::default();
        let events = [(1, 0), (2, 0), (1, 9), (1, 10), (1, 19), (1, -9), (1, -10), (3, i64::MIN)];
        assert_eq!(duplicates(&mut table, &events, Some(10)), [2, 4, 5]);
        assert_eq!(duplicates(&mut table, &[(3, i64::MIN), (1, 500)], Some(10)), [0]);
        assert_eq!(duplicates(&mut table, &[(1, 900), (9, 0)], None), [0]);
    }

    #[test]
    fn agrees_with_a_set_through_many_growths() {
        let mut table = IdentityTable::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut state = 7u128;
        let mut events = Vec::new();
        let mut expected = Vec::new();
        for event in 0..200_000u32 {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            // A third of them are repetitions; many share low bits.
            let fingerprint = if event % 3 == 0 { state >> 111 } else { state };
            if !seen.insert(fingerprint) {
                expected.push(event);
            }
            events.push((fingerprint, 0));
        }
        assert_eq!(duplicates(&mut table, &events, None), expected);
    }

    #[test]
    fn withdrawn_identities_are_new_again_and_others_stay_known() {
        let mut table = IdentityTable::default();
        let mut state = 7u128;
        let mut next = || {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            // All have one home, the last slot of a shard: a long run that wraps around to the
            // front.
            state | 0x3f_ffff << 42 | 0x3f << 64
        };
        let events: Vec<(u128, i64)> = (0..5_000).map(|at| (next(), at)).collect();
        assert_eq!(duplicates(&mut table, &events, None), [0; 0]);
        for (fingerprint, at) in events.iter().step_by(3) {
            table.withdraw(*fingerprint, Timestamp::from_nanos(*at));
            // Withdrawing again, and at another time, finds nothing.
            table.withdraw(*fingerprint, Timestamp::from_nanos(*at));
            table.withdraw(*fingerprint, Timestamp::from_nanos(*at + 1));
        }
        assert_eq!(table.count(), 5_000 - 5_000usize.div_ceil(3));
        let expected: Vec<u32> = (0..5_000).filter(|place| place % 3 != 0).collect();
        assert_eq!(duplicates(&mut table, &events, None), expected);
    }

    #[test]
    fn an_identity_known_outside_the_window_is_told_as_beside() {
        let mut table = IdentityTable::default();
        let mut told = Vec::new();
        let identity = |at| Identity { fingerprint: 9, at: Timestamp::from_nanos(at), place: 0 };
        for at in [0, 5, 10, 20] {
            let mut answer = |_: &Identity, admission| told.push((at, admission));
            table.admit(&[identity(at)], Some(10), &mut answer);
        }
        assert_eq!(told, [(5, Admission::Known), (10, Admission::Beside), (20, Admission::Beside)]);
    }

    #[test]
    fn drains_in_order_and_begins_anew() {
        let mut table = IdentityTable::default();
        let mut state = 7u128;
        let mut expected = Vec::new();
        for at in 0..5_000 {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            expected.push((state, at));
        }
        expected.extend(expected.clone().iter().step_by(7).map(|&(fingerprint, at)| (fingerprint, at - 10)));
        assert!(duplicates(&mut table, &expected, Some(10)).is_empty());
        assert_eq!(table.count(), expected.len());
        assert!(IdentityTable::count_within(table.memory_bytes()) <= expected.len());
        expected.sort_unstable();
        let drained: Vec<_> = table.drain().map(|(fingerprint, at)| (fingerprint, at.nanos())).collect();
        assert_eq!(drained, expected);
        assert_eq!(table.count(), 0);
        assert!(duplicates(&mut table, &expected[..100], Some(1)).is_empty());
        drop(table.drain());
        assert!(duplicates(&mut table, &expected[..100], Some(1)).is_empty());
    }
}
