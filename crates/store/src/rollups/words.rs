//! Interned bytes: users, tuples, the dictionaries of blocks. Each text is stored once and has a
//! number.
//!
//! The texts are stored consecutively, so that a new one needs no allocation of its own and all of
//! them are removed at once.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) -> u32 {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as u32);
        self.ends.len() as u32 - 1
    }

    #[inline]
    pub(super) fn get(&self, ix: u32) -> &[u8] {
        let ix = ix as usize;
        let start = if ix == 0 { 0 } else { self.ends[ix - 1] as usize };
        &self.bytes[start..self.ends[ix] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u32).map(|ix| self.get(ix))
    }

    /// Returns the rank of each text in byte order.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.ends.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, ix)| ranks[*ix as usize] = rank as u32);
        ranks
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    texts: Texts,
    index: HashTable<(u64, u32)>,
}

impl Words {
    /// Returns the number of a text.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        self.intern_hashed(xxh3_64(text), text)
    }

    /// Returns the number of a text with a known hash; the same text must always have the same
    /// hash.
    #[inline]
    pub(super) fn intern_hashed(&mut self, hash: u64, text: &[u8]) -> u32 {
        let texts = &self.texts;
        match self.index.find(hash, |known| known.0 == hash && texts.get(known.1) == text) {
            Some(known) => known.1,
            None => self.add(hash, text),
        }
    }

    #[cold]
    fn add(&mut self, hash: u64, text: &[u8]) -> u32 {
        let ix = self.texts.push(text);
        self.index.insert_unique(hash, (hash, ix), |known| known.0);
        ix
    }

    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Returns the bytes of the texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.texts.bytes.len() + self.texts.len()
    }

    /// Returns the approximate bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.texts.bytes.len() + self.texts.len() * 4 + self.index.capacity() * 20
    }

    /// Removes all texts and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.texts.bytes.clear();
        self.texts.ends.clear();
        self.index.clear();
    }
}
