//! Thresholds: partial records before the end of a period.

use super::close::record_key;
use super::{Effects, Identities, MeterIx, Meters, Partition};
use crate::record::{Crossing, Direction, Revision};
use crate::time::Timestamp;

/// Maximum of thresholds of a meter type: a bit each, for two directions, in one word.
pub const THRESHOLDS_MAX: usize = 32;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Reports, after an event, the thresholds that were crossed for the first time in the period
    /// and direction.
    pub(super) fn check_thresholds(
        &mut self,
        ix: MeterIx,
        start: Timestamp,
        event: u32,
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        let plan = std::sync::Arc::clone(&self.plan);
        let meter = self.meters.get(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let Ok(place) = meter.periods.place(start) else { return };
        let held = &meter.periods[place];
        let Some(value) = held.amount.total.value(kind.aggregation, held.period) else { return };
        let (before, capacity) = (held.crossed(), meter.capacity(kind));
        let mut crossed = before;
        let mut json = Vec::new();
        for (bit, threshold) in meter.thresholds(kind).iter().enumerate() {
            let Some(limit) = threshold.limit(capacity) else { continue };
            let (reached, recovered) = (Direction::Reached.bit(bit), Direction::Recovered.bit(bit));
            let above = value.compare(limit).is_ge();
            let direction = match (above, crossed & reached != 0, crossed & recovered != 0) {
                (true, false, _) => Direction::Reached,
                (false, true, false) => Direction::Recovered,
                _ => continue,
            };
            crossed |= if above { reached } else { recovered };
            let number = held.sent().and_then(|sent| sent.revision).map_or(0, |sent| sent + 1);
            let updated_at = meter.changed_at.max(held.last_at);
            let revision = Revision { number, delta: None, updated_at };
            let crossing = Some(Crossing { threshold, limit, direction });
            let record = self.record(&plan, meter, held, revision, crossing);
            if !self.stones.told.is_empty() && self.stones.told.contains(&record.id().as_u128()) {
                // An earlier meter of the same key has already sent it for this period.
                continue;
            }
            json.clear();
            record.write_to(&mut json);
            effects.threshold(event, record_key(meter, held.period, number, at), &json);
        }
        if crossed != before {
            self.meters.get_mut(ix).periods[place].extra.get_or_insert_default().crossed = crossed;
        }
    }
}
