//! The filter of a run: says of most fingerprints, without a read, that they are not in it. It
//! misses one in 65,536 of them, and never excludes a fingerprint that is there.
//!
//! A run's filter is cut into parts, each a binary fuse filter of some consecutive fingerprints. So
//! the filter of a merged run is built while the merge runs, in bounded memory and steps. One
//! filter of the whole run would need all keys, and some thirty bytes of scratch memory for each,
//! at once at the end.
//!
//! The key is the high half of a fingerprint: 64 good bits of a hash, and in order.

use xorf::{BinaryFuse16, Filter as _};

use super::page::{long, word};

/// Keys of a full part. Smaller parts use more bits for each key, larger ones more scratch memory:
/// this is 2.3 bytes a key and 9 MB.
const PART_KEYS: usize = 1 << 18;
/// Bytes of a written part, before its slots.
const PART_HEAD: usize = 32;

/// A filter in memory.
#[derive(Default)]
pub(super) struct Filter {
    /// The first key of each part.
    firsts: Vec<u64>,
    parts: Vec<BinaryFuse16>,
    last: u64,
    /// The number of parts for each key of the range, times 2⁶⁴.
    scale: u64,
}

/// A filter under construction, from ascending keys.
#[derive(Default)]
pub(super) struct Building {
    filter: Filter,
    keys: Vec<u64>,
}

impl Building {
    /// Adds the next key, which must not be below the previous one. Returns `None` if a part cannot
    /// be built, which does not happen with different keys.
    pub(super) fn push(&mut self, key: u64) -> Option<()> {
        if self.keys.last() == Some(&key) {
            return Some(());
        }
        // Equal keys are in one part, so that a key determines its part.
        if self.keys.len() >= PART_KEYS {
            self.cut()?;
        }
        self.keys.push(key);
        Some(())
    }

    pub(super) fn finish(mut self) -> Option<Filter> {
        self.cut()?;
        self.filter.prepare();
        Some(self.filter)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + self.keys.capacity() * size_of::<u64>()
    }

    fn cut(&mut self) -> Option<()> {
        if let (Some(&first), Some(&last)) = (self.keys.first(), self.keys.last()) {
            self.filter.parts.push(BinaryFuse16::try_from(self.keys.as_slice()).ok()?);
            self.filter.firsts.push(first);
            self.filter.last = last;
            self.keys.clear();
        }
        Some(())
    }
}

impl Filter {
    /// Returns whether a key may be there; never false for one that is.
    #[inline]
    pub(super) fn may_hold(&self, key: u64) -> bool {
        self.part_of(key).is_some_and(|part| self.parts[part].contains(&key))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let slots: usize = self.parts.iter().map(|part| part.fingerprints.len() * size_of::<u16>()).sum();
        slots + self.parts.capacity() * size_of::<BinaryFuse16>() + self.firsts.capacity() * size_of::<u64>()
    }

    /// Returns the part of a key. Fingerprints are uniform and parts equal, so the place in the
    /// range is the part or the one beside it. If not, a search finds it.
    #[inline]
    fn part_of(&self, key: u64) -> Option<usize> {
        let first = *self.firsts.first()?;
        if key < first || key > self.last {
            return None;
        }
        let guess = ((u128::from(key - first) * u128::from(self.scale)) >> 64) as usize;
        let guess = guess.min(self.firsts.len() - 1);
        let after = self.firsts.get(guess + 1).is_none_or(|&next| key < next);
        match self.firsts[guess] <= key && after {
            true => Some(guess),
            false => Some(self.firsts.partition_point(|&first| first <= key) - 1),
        }
    }

    fn prepare(&mut self) {
        let range = self.last - self.firsts.first().copied().unwrap_or(0);
        let scale = ((self.firsts.len() as u128) << 64) / (u128::from(range) + 1);
        self.scale = u64::try_from(scale).unwrap_or(u64::MAX);
    }

    /// Passes the written filter to `sink` in pieces: the last key, then the parts.
    pub(super) fn write<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        sink(&self.last.to_le_bytes())?;
        let mut bytes = Vec::new();
        for (first, part) in self.firsts.iter().zip(&self.parts) {
            let shape = &part.descriptor;
            bytes.clear();
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&shape.seed.to_le_bytes());
            bytes.extend_from_slice(&shape.segment_length.to_le_bytes());
            bytes.extend_from_slice(&shape.segment_length_mask.to_le_bytes());
            bytes.extend_from_slice(&shape.segment_count_length.to_le_bytes());
            bytes.extend_from_slice(&(part.fingerprints.len() as u32).to_le_bytes());
            bytes.extend(part.fingerprints.iter().flat_map(|slot| slot.to_le_bytes()));
            sink(&bytes)?;
        }
        Ok(())
    }

    /// Reads the output of [`Filter::write`]. Returns `None` if the bytes cannot be that.
    pub(super) fn read(bytes: &[u8]) -> Option<Filter> {
        let (last, mut rest) = bytes.split_first_chunk()?;
        let mut filter = Filter { last: u64::from_le_bytes(*last), ..Filter::default() };
        while !rest.is_empty() {
            let (head, behind) = rest.split_at_checked(PART_HEAD)?;
            let (slots, behind) = behind.split_at_checked(word(head, 28) as usize * 2)?;
            filter.firsts.push(long(head, 0));
            filter.parts.push(read_part(head, slots)?);
            rest = behind;
        }
        let ascending = filter.firsts.is_sorted_by(|one, next| one < next);
        if !ascending || filter.firsts.last()? > &filter.last {
            return None;
        }
        filter.prepare();
        Some(filter)
    }
}

fn read_part(head: &[u8], slots: &[u8]) -> Option<BinaryFuse16> {
    // The type of the shape has no public name, so an existing value is changed.
    let mut part = BinaryFuse16::try_from([0].as_slice()).ok()?;
    part.descriptor.seed = long(head, 8);
    part.descriptor.segment_length = word(head, 16);
    part.descriptor.segment_length_mask = word(head, 20);
    part.descriptor.segment_count_length = word(head, 24);
    part.fingerprints = slots.as_chunks().0.iter().map(|slot| u16::from_le_bytes(*slot)).collect();
    // Three slots of consecutive segments are read: all of them must exist.
    let (length, counted) = (part.descriptor.segment_length, part.descriptor.segment_count_length);
    let needed = u64::from(counted) + 2 * u64::from(length);
    let sound = length.is_power_of_two()
        && part.descriptor.segment_length_mask == length - 1
        && counted.is_multiple_of(length)
        && needed <= part.fingerprints.len() as u64;
    sound.then_some(part)
}
