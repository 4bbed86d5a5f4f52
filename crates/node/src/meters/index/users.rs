//! Users in the order of their names, in little memory.
//!
//! Names are in sorted runs. In a run, each name omits what it has in common with the one before,
//! except at the start of a block. New names are in a tree, which becomes a run when it is full.
//! Runs of similar size are merged, so there are few of them, and a name is copied seldom.
//!
//! A name is never removed, so a reader asks the pipeline whether its meters still exist.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Names of a block. Larger blocks need less memory, smaller ones are searched faster.
const BLOCK_NAMES: usize = 64;
/// Names of the tree at which it becomes a run.
const YOUNG_MAX: usize = 16 << 10;

/// The kinds of meters that a user has, one bit for each; kinds may share a bit.
pub(super) type Kinds = u64;

/// Bounds between which names are.
pub(super) type Bounds<'b> = (Bound<&'b [u8]>, Bound<&'b [u8]>);

/// Whether a bound at the end is behind a name.
fn ends_behind(until: Bound<&[u8]>, name: &[u8]) -> bool {
    match until {
        Bound::Included(until) => name <= until,
        Bound::Excluded(until) => name < until,
        Bound::Unbounded => true,
    }
}

/// Whether a bound at the beginning is before a name.
fn begins_before(from: Bound<&[u8]>, name: &[u8]) -> bool {
    match from {
        Bound::Included(from) => name >= from,
        Bound::Excluded(from) => name > from,
        Bound::Unbounded => true,
    }
}

/// Users with the kinds of their meters, in order.
#[derive(Default)]
pub(super) struct Users {
    /// Runs, the largest first.
    runs: Vec<Arc<Run>>,
    young: BTreeMap<Box<[u8]>, Kinds>,
}

impl Users {
    /// Adds a user, or more kinds of one.
    pub(super) fn insert(&mut self, user: &[u8], kinds: Kinds) {
        match self.young.get_mut(user) {
            Some(known) => *known |= kinds,
            None => drop(self.young.insert(user.into(), kinds)),
        }
        if self.young.len() >= YOUNG_MAX {
            let mut writing = Writing::default();
            std::mem::take(&mut self.young).iter().for_each(|(user, kinds)| writing.push(user, *kinds));
            self.runs.push(Arc::new(writing.finish()));
        }
    }

    /// Returns two runs that should be merged, if there are any.
    pub(super) fn mergeable(&self) -> Option<(Arc<Run>, Arc<Run>)> {
        let at = self.runs.windows(2).rposition(|pair| pair[0].names < pair[1].names * 2)?;
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

    /// Calls `take` with the users within bounds, in order, that may have meters of the wanted
    /// kinds, until it returns false.
    pub(super) fn visit(&self, bounds: Bounds<'_>, wanted: Kinds, mut take: impl FnMut(&[u8]) -> bool) {
        let mut cursors: Vec<Cursor<'_>> = self.runs.iter().map(|run| Cursor::seek(run, bounds.0, wanted)).collect();
        let mut young = self.young_within(bounds).filter(|(_, kinds)| **kinds & wanted != 0);
        let mut next = young.next();
        loop {
            let of_runs = cursors.iter().filter_map(Cursor::name).filter(|name| ends_behind(bounds.1, name)).min();
            let of_tree = next.map(|(user, _)| &**user);
            let Some(least) = of_runs.into_iter().chain(of_tree).min() else { return };
            let least = least.to_vec();
            if !take(&least) {
                return;
            }
            cursors.iter_mut().filter(|cursor| cursor.name() == Some(&*least)).for_each(Cursor::advance);
            if of_tree == Some(&*least) {
                next = young.next();
            }
        }
    }

    /// The same from the last user backwards.
    pub(super) fn visit_back(&self, bounds: Bounds<'_>, wanted: Kinds, mut take: impl FnMut(&[u8]) -> bool) {
        let mut cursors: Vec<Backward<'_>> = self.runs.iter().map(|run| Backward::seek(run, bounds.1, wanted)).collect();
        let mut young = self.young_within(bounds).rev().filter(|(_, kinds)| **kinds & wanted != 0);
        let mut next = young.next();
        loop {
            let of_runs = cursors.iter().filter_map(Backward::name).filter(|name| begins_before(bounds.0, name)).max();
            let of_tree = next.map(|(user, _)| &**user);
            let Some(greatest) = of_runs.into_iter().chain(of_tree).max() else { return };
            let greatest = greatest.to_vec();
            if !take(&greatest) {
                return;
            }
            cursors.iter_mut().filter(|cursor| cursor.name() == Some(&*greatest)).for_each(Backward::advance);
            if of_tree == Some(&*greatest) {
                next = young.next();
            }
        }
    }

    fn young_within(&self, (from, until): Bounds<'_>) -> std::collections::btree_map::Range<'_, Box<[u8]>, Kinds> {
        let is_empty = match (from, until) {
            (Bound::Included(from), Bound::Included(until)) => from > until,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(until) | Bound::Excluded(until)) => from >= until,
            _ => false,
        };
        let bounds = if is_empty { (Bound::Included(&[][..]), Bound::Excluded(&[][..])) } else { (from, until) };
        self.young.range::<[u8], _>(bounds)
    }

    /// Returns the approximate bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let young: usize = self.young.keys().map(|user| user.len() + 48).sum();
        young + self.runs.iter().map(|run| run.bytes.len() + run.blocks.len() * size_of::<Block>()).sum::<usize>()
    }
}

/// Sorted names that do not change.
pub(super) struct Run {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    names: usize,
}

impl Run {
    /// Makes one run of two.
    pub(super) fn merge(one: &Run, other: &Run) -> Run {
        let (mut one, mut other) = (Cursor::first(one), Cursor::first(other));
        let mut writing = Writing::default();
        loop {
            let least = match (one.name(), other.name()) {
                (Some(mine), Some(theirs)) => mine.cmp(theirs),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return writing.finish(),
            };
            if least.is_le() {
                let kinds = if least.is_eq() { other.kinds } else { 0 };
                writing.push(&one.name, one.kinds | kinds);
                one.advance();
            } else {
                writing.push(&other.name, other.kinds);
            }
            if least.is_ge() {
                other.advance();
            }
        }
    }
}

/// Consecutive names of a run.
struct Block {
    at: usize,
    /// Every kind that a user of the block has.
    kinds: Kinds,
}

/// A run under construction.
#[derive(Default)]
struct Writing {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    names: usize,
    last: Vec<u8>,
}

impl Writing {
    fn push(&mut self, name: &[u8], kinds: Kinds) {
        let starts = self.names.is_multiple_of(BLOCK_NAMES);
        if starts {
            self.blocks.push(Block { at: self.bytes.len(), kinds: 0 });
        }
        let shared = if starts { 0 } else { self.last.iter().zip(name).take_while(|(mine, theirs)| mine == theirs).count() };
        for number in [shared as u64, (name.len() - shared) as u64, kinds] {
            write_number(number, &mut self.bytes);
        }
        self.bytes.extend_from_slice(&name[shared..]);
        if let Some(block) = self.blocks.last_mut() {
            block.kinds |= kinds;
        }
        self.last.clear();
        self.last.extend_from_slice(name);
        self.names += 1;
    }

    fn finish(mut self) -> Run {
        self.bytes.shrink_to_fit();
        self.blocks.shrink_to_fit();
        Run { bytes: self.bytes, blocks: self.blocks, names: self.names }
    }
}

/// A place in a run: at a name, or at the end.
struct Cursor<'r> {
    run: &'r Run,
    wanted: Kinds,
    block: usize,
    /// Names of the block that were read, the present one included.
    read: usize,
    at: usize,
    name: Vec<u8>,
    kinds: Kinds,
}

impl<'r> Cursor<'r> {
    fn first(run: &'r Run) -> Cursor<'r> {
        Cursor::seek(run, Bound::Unbounded, Kinds::MAX)
    }

    fn seek(run: &'r Run, from: Bound<&[u8]>, wanted: Kinds) -> Cursor<'r> {
        let is_before = |name: &[u8]| !begins_before(from, name);
        let after = run.blocks.partition_point(|block| is_before(first_name(&run.bytes, block.at)));
        let block = after.saturating_sub(1);
        let mut cursor = Cursor { run, wanted, block, read: 0, at: 0, name: Vec::new(), kinds: 0 };
        cursor.enter(block);
        while cursor.name().is_some_and(is_before) {
            cursor.advance();
        }
        cursor
    }

    fn name(&self) -> Option<&[u8]> {
        (self.block < self.run.blocks.len()).then_some(&self.name)
    }

    /// Goes to the first wanted name of a block or of a later one.
    fn enter(&mut self, block: usize) {
        let later = self.run.blocks[block.min(self.run.blocks.len())..].iter();
        self.block = block + later.take_while(|block| block.kinds & self.wanted == 0).count();
        self.read = 0;
        if let Some(block) = self.run.blocks.get(self.block) {
            self.at = block.at;
            self.name.clear();
            self.advance();
        }
    }

    /// Goes to the next wanted name.
    fn advance(&mut self) {
        while self.block < self.run.blocks.len() {
            let is_last = self.block + 1 == self.run.blocks.len();
            let names = if is_last { self.run.names - self.block * BLOCK_NAMES } else { BLOCK_NAMES };
            if self.read == names {
                return self.enter(self.block + 1);
            }
            let bytes = &self.run.bytes;
            let [shared, rest, kinds] = [(); 3].map(|()| read_number(bytes, &mut self.at));
            self.name.truncate(shared as usize);
            self.name.extend_from_slice(&bytes[self.at..self.at + rest as usize]);
            self.at += rest as usize;
            self.read += 1;
            self.kinds = kinds;
            if kinds & self.wanted != 0 {
                return;
            }
        }
    }
}

/// A place in a run that goes backwards: at a name, or at the beginning.
struct Backward<'r> {
    run: &'r Run,
    wanted: Kinds,
    /// The number of blocks before the present one.
    block: usize,
    /// The wanted names of the block up to the present one.
    names: Vec<Vec<u8>>,
}

impl<'r> Backward<'r> {
    fn seek(run: &'r Run, until: Bound<&[u8]>, wanted: Kinds) -> Backward<'r> {
        let block = run.blocks.partition_point(|block| ends_behind(until, first_name(&run.bytes, block.at)));
        let mut cursor = Backward { run, wanted, block, names: Vec::new() };
        cursor.enter();
        while cursor.name().is_some_and(|name| !ends_behind(until, name)) {
            cursor.advance();
        }
        cursor
    }

    fn name(&self) -> Option<&[u8]> {
        self.names.last().map(Vec::as_slice)
    }

    fn advance(&mut self) {
        self.names.pop();
        if self.names.is_empty() {
            self.enter();
        }
    }

    /// Reads the block before, as far as one has wanted names.
    fn enter(&mut self) {
        while self.names.is_empty() && self.block > 0 {
            self.block -= 1;
            if self.run.blocks[self.block].kinds & self.wanted == 0 {
                continue;
            }
            let mut cursor = Cursor { run: self.run, wanted: self.wanted, block: 0, read: 0, at: 0, name: Vec::new(), kinds: 0 };
            cursor.enter(self.block);
            while cursor.block == self.block
                && let Some(name) = cursor.name()
            {
                self.names.push(name.to_vec());
                cursor.advance();
            }
        }
    }
}

/// Returns the first name of a block, which is whole.
fn first_name(bytes: &[u8], mut at: usize) -> &[u8] {
    let [_, length, _] = [(); 3].map(|()| read_number(bytes, &mut at));
    &bytes[at..at + length as usize]
}

fn write_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(users: &mut Users) {
        while let Some(pair) = users.mergeable() {
            let run = Run::merge(&pair.0, &pair.1);
            users.merged(&pair, run);
        }
    }

    fn all(users: &Users, bounds: Bounds<'_>, wanted: Kinds) -> Vec<Vec<u8>> {
        let (mut found, mut backwards) = (Vec::new(), Vec::new());
        users.visit(bounds, wanted, |user| {
            found.push(user.to_vec());
            true
        });
        users.visit_back(bounds, wanted, |user| {
            backwards.push(user.to_vec());
            true
        });
        backwards.reverse();
        assert_eq!(found, backwards);
        found
    }

    #[test]
    fn users_are_found_in_order_by_kind_and_bound() {
        let (mut users, mut known) = (Users::default(), BTreeMap::<Vec<u8>, Kinds>::new());
        let mut state = 7u64;
        for step in 0..150_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = match state >> 61 {
                0 => format!("user-{}", (state >> 40) % 40_000),
                1 => String::new(),
                2 => format!("ø{}", (state >> 44) % 1000),
                _ => format!("tenant/{}/customer-{}", (state >> 50) % 7, (state >> 33) % 60_000),
            };
            let kinds = 1 << ((state >> 20) % 3) | if state >> 54 == 5 { 1 << 63 } else { 0 };
            users.insert(name.as_bytes(), kinds);
            *known.entry(name.into_bytes()).or_default() |= kinds;
            if step % 10_000 == 0 {
                settle(&mut users);
            }
        }
        let bounds = [
            Bound::Unbounded,
            Bound::Included(&b"tenant/3"[..]),
            Bound::Excluded(b"user-17"),
            Bound::Included(b"user-17"),
            Bound::Excluded(b"\xff"),
            Bound::Excluded(b""),
        ];
        for wanted in [Kinds::MAX, 1, 1 << 63, 1 << 40] {
            for from in bounds {
                for until in bounds {
                    let is_within = |user: &[u8]| begins_before(from, user) && ends_behind(until, user);
                    let expected = known.iter().filter(|(user, kinds)| **kinds & wanted != 0 && is_within(user));
                    let expected: Vec<Vec<u8>> = expected.map(|(user, _)| user.clone()).collect();
                    assert_eq!(all(&users, (from, until), wanted), expected, "{from:?} {until:?} {wanted:x}");
                }
            }
        }
        assert!(users.memory_bytes() < known.len() * 32, "{} bytes for {}", users.memory_bytes(), known.len());
        let mut seen = 0;
        users.visit((Bound::Unbounded, Bound::Unbounded), Kinds::MAX, |_| {
            seen += 1;
            seen < 10
        });
        assert_eq!(seen, 10);
    }
}
