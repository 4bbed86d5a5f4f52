//! The keys of an operator and what it keeps of each.
//!
//! Events reach keys in no order, so nearly every look at one waits for memory. [`Keys::fetch`]
//! looks at the keys of several events at once: those reads run in parallel.

use hashbrown::HashTable;

use crate::plan::Plan;

/// Events whose keys are fetched together.
pub(super) const AHEAD: usize = 16;
/// Keys of a chunk, as a power of two.
const CHUNK_BITS: u32 = 10;
const CHUNK_MASK: u32 = (1 << CHUNK_BITS) - 1;

/// The number of a key: as long as the key is there, it is the same.
pub(super) type Place = u32;

/// The values of an operator by key.
#[derive(Debug)]
pub(crate) struct Keys<T> {
    /// A part of the hash and the place.
    index: HashTable<(u32, Place)>,
    /// In chunks, so that growing moves no value.
    chunks: Vec<Vec<Option<Entry<T>>>>,
    free: Vec<Place>,
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    key: Box<[u8]>,
    value: T,
}

impl<T> Default for Keys<T> {
    fn default() -> Keys<T> {
        Keys { index: HashTable::new(), chunks: Vec::new(), free: Vec::new() }
    }
}

/// The bits of a hash that the index itself does not compare.
fn part(hash: u64) -> u32 {
    (hash >> 24) as u32
}

/// The hash of a key.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    Plan::user_hash(key)
}

impl<T> Keys<T> {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn entry(&self, place: Place) -> Option<&Entry<T>> {
        self.chunks[(place >> CHUNK_BITS) as usize][(place & CHUNK_MASK) as usize].as_ref()
    }

    fn slot(&mut self, place: Place) -> &mut Option<Entry<T>> {
        &mut self.chunks[(place >> CHUNK_BITS) as usize][(place & CHUNK_MASK) as usize]
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let same = |&(of, place): &(u32, Place)| of == part(hash) && self.entry(place).is_some_and(|entry| *entry.key == *key);
        self.index.find(hash, same).map(|(_, place)| *place)
    }

    /// Brings the keys with these hashes near, and what `touch` reads of their values.
    pub(super) fn fetch(&self, hashes: impl Iterator<Item = u64>, touch: impl Fn(&T) -> u64) {
        let mut places = [None; AHEAD];
        for (place, hash) in places.iter_mut().zip(hashes) {
            *place = self.index.find(hash, |(of, _)| *of == part(hash)).map(|(_, place)| *place);
        }
        let found = || places.iter().flatten().filter_map(|place| self.entry(*place));
        let mut near = 0;
        for entry in found() {
            near ^= entry.hash;
        }
        for entry in found() {
            near ^= u64::from(entry.key.first().copied().unwrap_or_default()) ^ touch(&entry.value);
        }
        std::hint::black_box(near);
    }

    /// The value at a place.
    pub(super) fn at(&self, place: Place) -> Option<(&[u8], &T)> {
        self.entry(place).map(|entry| (&*entry.key, &entry.value))
    }

    /// The value at a place, to change it.
    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.slot(place).as_mut().map(|entry| &mut entry.value)
    }

    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<&T> {
        self.find(hash, key).and_then(|place| self.at(place)).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut T> {
        let place = self.find(hash, key)?;
        self.at_mut(place)
    }

    /// Returns the value of a key, which it makes if there is none, and its place.
    #[inline]
    pub(super) fn get_or_insert_with(&mut self, hash: u64, key: &[u8], make: impl FnOnce() -> T) -> (Place, &mut T) {
        let place = match self.find(hash, key) {
            Some(place) => place,
            None => self.add(hash, key, make()),
        };
        match self.slot(place) {
            Some(entry) => (place, &mut entry.value),
            None => unreachable!("a key was found or added there"),
        }
    }

    /// Sets the value of a key.
    pub(super) fn insert(&mut self, key: &[u8], value: T) {
        let hash = hash_of(key);
        match self.get_mut(hash, key) {
            Some(known) => *known = value,
            None => drop(self.add(hash, key, value)),
        }
    }

    fn add(&mut self, hash: u64, key: &[u8], value: T) -> Place {
        let entry = Some(Entry { hash, key: key.into(), value });
        let place = match self.free.pop() {
            Some(place) => {
                *self.slot(place) = entry;
                place
            }
            None => self.push(entry),
        };
        let chunks = &self.chunks;
        let hash_at = |place: Place| chunks[(place >> CHUNK_BITS) as usize][(place & CHUNK_MASK) as usize].as_ref();
        self.index.insert_unique(hash, (part(hash), place), |(_, other)| hash_at(*other).map_or(0, |entry| entry.hash));
        place
    }

    fn push(&mut self, entry: Option<Entry<T>>) -> Place {
        let size = 1 << CHUNK_BITS;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == size) {
            // The first one grows: most operators have few keys, or very many.
            let room = if self.chunks.is_empty() { 0 } else { size };
            self.chunks.push(Vec::with_capacity(room));
        }
        let before = (self.chunks.len() - 1) << CHUNK_BITS;
        let Some(chunk) = self.chunks.last_mut() else { unreachable!("a chunk was just added") };
        chunk.push(entry);
        (before + chunk.len() - 1) as Place
    }

    /// Removes a key; returns its value.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<T> {
        let place = self.find(hash, key)?;
        self.remove_at(place)
    }

    /// Removes the key at a place; returns its value.
    pub(super) fn remove_at(&mut self, place: Place) -> Option<T> {
        let hash = self.entry(place)?.hash;
        if let Ok(found) = self.index.find_entry(hash, |(_, other)| *other == place) {
            found.remove();
        }
        self.free.push(place);
        self.slot(place).take().map(|entry| entry.value)
    }

    /// Removes the keys whose value is not to be kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&mut T) -> bool) {
        let all = self.chunks.iter_mut().flatten().enumerate();
        let of = |(place, slot): (usize, &mut Option<Entry<T>>)| (!is_kept(&mut slot.as_mut()?.value)).then_some(place as Place);
        let gone: Vec<Place> = all.filter_map(of).collect();
        for place in gone {
            self.remove_at(place);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.chunks.iter().flatten().flatten().map(|entry| (&*entry.key, &entry.value))
    }

    /// Keys and values in the order of the keys: images must not depend on how keys came.
    pub(super) fn sorted(&self) -> Vec<(&[u8], &T)> {
        let mut sorted: Vec<_> = self.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keys_come_and_go_as_in_a_map() {
        let (mut keys, mut expected) = (Keys::default(), BTreeMap::new());
        let mut number = 1u64;
        for round in 0..20_000u64 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("{}", (number >> 33) % 3000);
            let hash = hash_of(key.as_bytes());
            match number >> 60 {
                0..6 => {
                    keys.insert(key.as_bytes(), round);
                    expected.insert(key, round);
                }
                6..10 => {
                    let (place, value) = keys.get_or_insert_with(hash, key.as_bytes(), || round);
                    *value += 1;
                    *expected.entry(key.clone()).or_insert(round) += 1;
                    assert_eq!(keys.at(place), Some((key.as_bytes(), &expected[&key])));
                }
                10..14 => assert_eq!(keys.remove(hash, key.as_bytes()), expected.remove(&key)),
                14 => assert_eq!(keys.get(hash, key.as_bytes()), expected.get(&key)),
                _ if round % 100 == 0 => {
                    keys.retain(|value| *value % 3 > 0);
                    expected.retain(|_, value| *value % 3 > 0);
                }
                _ => keys.fetch([hash, 0, 7].into_iter(), |value| *value),
            }
        }
        let found: Vec<(&[u8], u64)> = keys.sorted().into_iter().map(|(key, value)| (key, *value)).collect();
        let all: Vec<(&[u8], u64)> = expected.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
        assert_eq!((found, keys.len(), keys.is_empty()), (all, expected.len(), false));
    }
}
