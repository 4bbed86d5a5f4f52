//! The memory that the meters of a partition take.
//!
//! It is computed from their content, not reported by the allocator, so the same meters give the
//! same figure. The allocator's own overhead is not included.

use super::{Amount, Identities, Memory, Meter, Meters, OpenPeriod, Partition};
use crate::aggregation::Aggregate;
use crate::decimal::Resting;
use crate::meter_type::{OwnLimits, Threshold};

/// Bytes that a meter takes in tables outside itself: its entry of the index, which is half to
/// seven eighths full, and its due instant.
pub const METER_INDEX_BYTES: usize = 17 * 4 / 3 + 4;

impl<I: Identities> Partition<Memory, I> {
    /// Returns the approximate bytes of its meters. It visits every meter.
    pub fn meter_bytes(&self) -> usize {
        let meters = self.meters.all().map(|(_, meter)| meter.heap_bytes());
        let own = self.meters.count() * (size_of::<Option<Meter>>() + METER_INDEX_BYTES);
        own + meters.sum::<usize>() + self.symbols.heap_bytes()
    }
}

impl Meter {
    /// Returns the number of bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize {
        let last = self.periods.last().map_or(0, OpenPeriod::heap_bytes);
        let earlier = self.periods.iter().take(self.periods.len().saturating_sub(1));
        let earlier: usize = earlier.map(|held| size_of::<OpenPeriod>() + held.heap_bytes()).sum();
        self.user.heap_bytes() + last + earlier + self.rare.as_deref().map_or(0, super::Rare::heap_bytes)
    }
}

impl super::Rare {
    fn heap_bytes(&self) -> usize {
        let fields: usize = self.custom_fields.iter().map(|(name, json)| 48 + name.len() + json.len()).sum();
        let limits = self.limits.as_deref().map_or(0, |limits| {
            let thresholds = limits.thresholds.as_ref().map_or(0, Vec::len) * size_of::<Threshold>() * 2;
            size_of::<OwnLimits>() + thresholds
        });
        size_of::<super::Rare>() + fields + limits + self.stretches.capacity() * size_of::<super::Stretch>()
    }
}

impl OpenPeriod {
    fn heap_bytes(&self) -> usize {
        let extra = self.extra.as_deref().map_or(0, |extra| {
            let carry: usize = extra.carry.iter().map(|carry| size_of::<super::Carry>() + carry.json.capacity()).sum();
            let value = extra.sent.as_ref().and_then(|sent| sent.value.as_ref()).map_or(0, Resting::heap_bytes);
            size_of::<super::Extra>() + carry + value
        });
        self.amount.heap_bytes() + extra
    }
}

impl Amount {
    fn heap_bytes(&self) -> usize {
        let groups = self.groups.iter().map(|(_, aggregate)| aggregate);
        let inside: usize = groups.chain(self.groups.other()).chain([&self.total]).map(Aggregate::heap_bytes).sum();
        inside + self.groups.table_bytes()
    }
}
