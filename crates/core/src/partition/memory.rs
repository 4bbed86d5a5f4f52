//! Meters in memory.

use hashbrown::HashTable;

use super::{Meter, MeterIx, MeterKey, Meters};

/// Meters in memory, found by hash and compared by name.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    meters: Vec<Option<Meter>>,
    free: Vec<u32>,
    index: HashTable<(u64, u32)>,
}

impl Memory {
    fn slot(&self, meter: MeterIx) -> &Meter {
        match &self.meters[meter.0 as usize] {
            Some(meter) => meter,
            // An index is given out with a meter and taken back with it.
            None => unreachable!("a meter index outlived its meter"),
        }
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
                self.meters[at as usize] = Some(meter);
                at
            }
            None => {
                self.meters.push(Some(meter));
                self.meters.len() as u32 - 1
            }
        };
        self.index.insert_unique(hash, (hash, at), |&(hash, _)| hash);
        MeterIx(at)
    }

    fn peek(&self, meter: MeterIx) -> Option<&Meter> {
        self.meters.get(meter.0 as usize)?.as_ref()
    }

    fn all(&self) -> impl Iterator<Item = (MeterIx, &Meter)> {
        let meters = self.meters.iter().enumerate();
        meters.filter_map(|(at, meter)| Some((MeterIx(at as u32), meter.as_ref()?)))
    }

    #[inline]
    fn get(&self, meter: MeterIx) -> &Meter {
        self.slot(meter)
    }

    #[inline]
    fn get_mut(&mut self, meter: MeterIx) -> &mut Meter {
        match &mut self.meters[meter.0 as usize] {
            Some(meter) => meter,
            None => unreachable!("a meter index outlived its meter"),
        }
    }

    fn remove(&mut self, hash: u64, meter: MeterIx) {
        if let Ok(entry) = self.index.find_entry(hash, |&(_, at)| at == meter.0) {
            entry.remove();
            self.meters[meter.0 as usize] = None;
            self.free.push(meter.0);
        }
    }

    fn count(&self) -> usize {
        self.index.len()
    }
}
