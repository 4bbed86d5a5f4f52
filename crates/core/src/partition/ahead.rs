//! Looks ahead: brings the next meters into the cache before they count or are flushed.
//!
//! Meters are many and events reach them in no order, so nearly every read of one waits for memory.
//! Each loop here reads one step of the way (index, meter, period, groups) for all usages of a
//! chunk. These reads do not depend on each other and run in parallel; event by event, each would
//! wait for the one before.

use super::{MeterIx, MeterKey, Meters, Usage};
use crate::event::Batch;
use crate::plan::Plan;

/// Usages, or meters to be flushed, that are fetched together.
pub(super) const AHEAD: usize = 16;

/// Fetches meters that are due, with the period that each flushes next.
pub(super) fn fetch_due(meters: &impl Meters, due: &[MeterIx]) {
    let mut near = 0;
    let found = || due.iter().filter_map(|ix| meters.peek(*ix));
    for meter in found() {
        near ^= meter.next().nanos() ^ meter.periods.last().map_or(0, |held| held.events as i64) ^ meter.changed_at.nanos();
    }
    let mut periods = [None; AHEAD];
    for (period, meter) in periods.iter_mut().zip(found()) {
        *period = meter.periods.place(meter.next()).ok().map(|place| &meter.periods[place]);
    }
    for period in periods.iter().flatten() {
        near ^= period.events as i64 ^ period.amount.groups.touch();
    }
    std::hint::black_box(near);
}

/// The meters that the usages of a chunk most likely count in.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// In the order in which counting asks for them: of each usage, of each rule, of each meter type.
    meters: Vec<Option<MeterIx>>,
    /// The number of meters before the end of each usage.
    ends: [usize; AHEAD],
    usage: usize,
    next: usize,
}

impl Ahead {
    /// Fetches the meters of at most [`AHEAD`] usages.
    pub(super) fn fetch(&mut self, meters: &impl Meters, plan: &Plan, processor_ix: u16, batch: &Batch, usages: &[Usage]) {
        let processor = &plan.processors[usize::from(processor_ix)];
        self.meters.clear();
        (self.usage, self.next) = (0, 0);
        let mut near = 0;
        for (end, usage) in self.ends.iter_mut().zip(usages) {
            near ^= i64::from(batch.resolve(usage.user).bytes.first().copied().unwrap_or_default());
            let mut rules = usage.rules;
            while rules != 0 {
                let rule = &processor.rules[rules.trailing_zeros() as usize];
                // Only where several rules apply are all of them tried.
                rules = if processor.match_all { rules & (rules - 1) } else { 0 };
                if let Some(&slot) = rule.group_by.first().and_then(|(_, slots)| slots.first()) {
                    near ^= i64::from(batch.leaf(usage.row as usize, slot).bytes.first().copied().unwrap_or_default());
                }
                for &meter_type in &rule.meter_types {
                    let key = MeterKey::new(b"", usage.user_hash, processor_ix, meter_type);
                    self.meters.push(meters.guess(key.hash));
                }
            }
            *end = self.meters.len();
        }
        let found = || self.meters.iter().flatten().filter_map(|ix| meters.peek(*ix));
        // A field on each cache line of a meter, then its groups.
        for meter in found() {
            near ^= meter.next().nanos() ^ meter.periods.last().map_or(0, |held| held.events as i64) ^ meter.changed_at.nanos();
        }
        for period in found().filter_map(|meter| meter.periods.last()) {
            near ^= period.amount.groups.touch();
        }
        std::hint::black_box(near);
    }

    /// Advances to the next usage of the chunk.
    pub(super) fn next_usage(&mut self) {
        self.next = if self.usage == 0 { 0 } else { self.ends[self.usage - 1] };
        self.usage += 1;
    }

    /// Returns the next meter of the current usage, if one was found: another meter may have it by
    /// now, or another key.
    #[inline]
    pub(super) fn next_meter(&mut self) -> Option<MeterIx> {
        if self.usage == 0 || self.next >= self.ends[self.usage - 1] {
            return None;
        }
        self.next += 1;
        self.meters[self.next - 1]
    }
}
