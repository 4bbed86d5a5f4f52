//! Whether it is certain, before counting, that an event will not be parked.
//!
//! A repetition within a round is a duplicate only if the event it repeats is not parked. This is
//! nearly always certain before counting, so the repetition does not have to wait. `false` means
//! "check again after counting", never "it will be parked".

use super::{Birth, Identities, MeterKey, Meters, Partition, Usage, read_value};
use crate::aggregation::{Aggregation, Contribution};
use crate::decimal::Decimal;
use crate::event::Batch;
use crate::meter_type::MeterType;
use crate::plan::{Processor, Rule};
use crate::time::Timestamp;

/// Units of decimals up to which a value is ordinary: a million of them still fit a meter that
/// has [`ROOM_UNITS`] left.
const ORDINARY_UNITS: i128 = 1 << 90;
const ROOM_UNITS: i128 = 1 << 110;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Whether a usage surely counts or is dropped, and is not parked.
    pub fn is_sure(&self, processor_ix: u16, batch: &Batch, usage: &Usage, at: Timestamp, by_receipt: bool) -> bool {
        let processor = &self.plan.processors[usize::from(processor_ix)];
        let user = batch.resolve(usage.user).as_text().unwrap_or_default();
        let user_hash = usage.user_hash;
        let held = (0..processor.rules.len()).filter(|rule| usage.rules >> rule & 1 == 1);
        // Without `match: all` the first rule has the only say, since all of its types take it.
        let asked = if processor.match_all { processor.rules.len() } else { 1 };
        held.take(asked).map(|rule| &processor.rules[rule]).all(|rule| {
            self.is_readable(processor, rule, batch, usage)
                && rule.meter_types.iter().all(|&meter_type| {
                    let key = MeterKey::new(&user, user_hash, processor_ix, meter_type);
                    self.is_sure_at(&key, usage, at, by_receipt)
                })
        })
    }

    fn is_readable(&self, processor: &Processor, rule: &Rule, batch: &Batch, usage: &Usage) -> bool {
        let aggregation = |kind: &u16| self.plan.meter_types[usize::from(*kind)].aggregation;
        let needed = rule.meter_types.iter().map(aggregation).any(Aggregation::needs_value);
        let leaf = batch.leaf(usage.row as usize, rule.value);
        let read = || read_value(leaf, rule.round, rule.numeric, processor.text_numbers);
        !needed || read().is_ok_and(|number| number.units().abs() < ORDINARY_UNITS)
    }

    fn is_sure_at(&self, key: &MeterKey<'_>, usage: &Usage, at: Timestamp, by_receipt: bool) -> bool {
        let kind = &self.plan.meter_types[usize::from(key.meter_type)];
        let is_active = kind.active_from <= usage.at && usage.at < kind.active_to;
        is_active
            && !kind.reads_events()
            && kind.auto_create
            && match self.meters.find(key) {
                None => {
                    self.stones.flushed.is_empty()
                        && self.surely_opens(key, kind, usage, at)
                        && self.is_in_time(key, kind, usage, at, by_receipt)
                }
                Some(ix) => {
                    let meter = self.meters.get(ix);
                    let is_plain = meter.birth == Birth::ByEvent && meter.rare.is_none();
                    is_plain
                        && meter.calendar == key.meter_type
                        && usage.at >= meter.next()
                        && self.is_in_time(key, kind, usage, at, by_receipt)
                        && meter.periods.iter().all(|held| has_much_room(&held.amount.total, usage.at))
                }
            }
    }

    /// Whether an event certainly opens no more periods without events than its type allows.
    fn surely_opens(&self, key: &MeterKey<'_>, kind: &MeterType, usage: &Usage, at: Timestamp) -> bool {
        let known = self.openings.get(&(key.meter_type, key.meter_type)).filter(|known| known.holds(at.min(kind.active_to)));
        !kind.flush_empty || known.is_some_and(|known| known.surely_opens(usage.at))
    }

    /// Whether the type takes events of that time in any case.
    fn is_in_time(&self, key: &MeterKey<'_>, kind: &MeterType, usage: &Usage, at: Timestamp, by_receipt: bool) -> bool {
        let mut calendar = self.calendars[usize::from(key.meter_type)].clone();
        !by_receipt || super::late::is_in_time(kind, calendar.period_at(usage.at), at)
    }
}

fn has_much_room(total: &crate::aggregation::Aggregate, at: Timestamp) -> bool {
    [ROOM_UNITS, -ROOM_UNITS]
        .into_iter()
        .filter_map(Decimal::from_units)
        .all(|number| total.has_room(&Contribution { number, fingerprint: 0, at }))
}
