//! Meters in memory.

use hashbrown::HashTable;

use super::{Meter, MeterIx, MeterKey, Meters};

/// Meters in memory, found by hash and compared by name.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// In chunks, so that growing moves no meter and wastes little.
    chunks: Vec<Vec<Option<Meter>>>,
    free: Vec<u32>,
    index: HashTable<(u64, u32)>,
}

/// Meters of a chunk, as a power of two: 192 KiB.
const CHUNK_BITS: u32 = 10;
const CHUNK_MASK: u32 = (1 << CHUNK_BITS) - 1;

impl Memory {
    fn slot(&self, meter: MeterIx) -> &Meter {
        match self.peek(meter) {
            Some(meter) => meter,
            // An index is given out with a meter and taken back with it.
            None => unreachable!("a meter index outlived its meter"),
        }
    }
}

impl Memory {
    /// Returns the place after those of all meters.
    pub(super) fn places_end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        ((self.chunks.len().saturating_sub(1) << CHUNK_BITS) + last) as u32
    }

    fn place(&mut self, at: u32) -> &mut Option<Meter> {
        &mut self.chunks[(at >> CHUNK_BITS) as usize][(at & CHUNK_MASK) as usize]
    }

    fn push(&mut self, meter: Meter) -> u32 {
        let size = 1 << CHUNK_BITS;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == size) {
            self.chunks.push(Vec::with_capacity(size));
        }
        let before = (self.chunks.len() - 1) * size;
        let Some(chunk) = self.chunks.last_mut() else { unreachable!("a chunk was just added") };
        chunk.push(Some(meter));
        (before + chunk.len() - 1) as u32
    }
}

impl Meters for Memory {
    #[inline]
    fn find(&self, key: &MeterKey<'_>) -> Option<MeterIx> {
        let same = |&(hash, at): &(u64, u32)| hash == key.hash && self.is(MeterIx(at), key);
        self.index.find(key.hash, same).map(|&(_, at)| MeterIx(at))
    }

    #[inline]
    fn is(&self, meter: MeterIx, key: &MeterKey<'_>) -> bool {
        self.peek(meter).is_some_and(|meter| {
            meter.meter_type == key.meter_type && meter.processor == key.processor && *meter.user == *key.user
        })
    }

    #[inline]
    fn guess(&self, hash: u64) -> Option<MeterIx> {
        self.index.find(hash, |&(known, _)| known == hash).map(|&(_, at)| MeterIx(at))
    }

    fn insert(&mut self, hash: u64, meter: Meter) -> MeterIx {
        let at = match self.free.pop() {
            Some(at) => {
                *self.place(at) = Some(meter);
                at
            }
            None => self.push(meter),
        };
        self.index.insert_unique(hash, (hash, at), |&(hash, _)| hash);
        MeterIx(at)
    }

    fn peek(&self, meter: MeterIx) -> Option<&Meter> {
        self.chunks.get((meter.0 >> CHUNK_BITS) as usize)?.get((meter.0 & CHUNK_MASK) as usize)?.as_ref()
    }

    fn all(&self) -> impl Iterator<Item = (MeterIx, &Meter)> {
        let meters = self.chunks.iter().flatten().enumerate();
        meters.filter_map(|(at, meter)| Some((MeterIx(at as u32), meter.as_ref()?)))
    }

    #[inline]
    fn get(&self, meter: MeterIx) -> &Meter {
        self.slot(meter)
    }

    #[inline]
    fn get_mut(&mut self, meter: MeterIx) -> &mut Meter {
        match self.place(meter.0) {
            Some(meter) => meter,
            None => unreachable!("a meter index outlived its meter"),
        }
    }

    fn remove(&mut self, hash: u64, meter: MeterIx) {
        if let Ok(entry) = self.index.find_entry(hash, |&(_, at)| at == meter.0) {
            entry.remove();
            *self.place(meter.0) = None;
            self.free.push(meter.0);
        }
    }

    fn count(&self) -> usize {
        self.index.len()
    }
}
