//! The periods of a meter, as the oracle sees them.

use flowmeter_core::schedule::Period;
use flowmeter_core::time::Timestamp;

use super::Oracle;
use super::meter::Meter;
use crate::documents::{at, plan_of};

impl Oracle {
    /// Returns the periods of a meter that ended by an instant and were not flushed.
    pub(super) fn unflushed(&self, meter: &Meter, number: usize, until: i64) -> Vec<Period> {
        let mut due = Vec::new();
        let mut period = self.period(meter, number, meter.first);
        while !meter.gone && period.end.nanos() <= until {
            if !meter.flushed.contains_key(&period.start.nanos()) {
                due.push(period);
            }
            period = self.period(meter, number, period.end.nanos());
        }
        due
    }

    /// Returns the period of an instant by a version's schedule.
    pub(super) fn boundaries(&self, number: usize, version: u32, instant: i64) -> Period {
        match plan_of(self.number, version) {
            Ok(plan) => plan.meter_types[number].schedule.period_at(&plan.meter_types[number].zone, at(instant)),
            Err(why) => panic!("a version without a plan: {why}"),
        }
    }

    /// Returns the period of an instant by the eras of a meter.
    pub(super) fn era_period(&self, meter: &Meter, number: usize, instant: i64) -> Period {
        let mut eras = meter.eras.iter().rev();
        let era = eras.find(|era| era.0 <= instant).copied().unwrap_or((i64::MIN, self.version));
        let until = meter.eras.iter().map(|era| era.0).find(|from| *from > instant).unwrap_or(i64::MAX);
        let Period { start, end } = self.boundaries(number, era.1, instant);
        Period { start: start.max(at(era.0)), end: end.min(at(until)) }
    }

    /// Returns the period of a meter that contains an instant: flushed periods stay as they were,
    /// and no other reaches into them.
    pub(super) fn period(&self, meter: &Meter, number: usize, instant: i64) -> Period {
        if let Some((start, end)) = meter.flushed_at(instant) {
            return Period { start: at(start), end: at(end) };
        }
        let Period { start, end } = self.era_period(meter, number, instant);
        let before = meter.flushed.values().filter(|end| **end <= instant).max().copied();
        let behind = meter.flushed.keys().find(|start| **start > instant).copied();
        let declared = meter.declared.filter(|_| !meter.gone);
        let start = [before, declared].into_iter().flatten().map(at).fold(start, Timestamp::max);
        Period { start, end: behind.map_or(end, |behind| end.min(at(behind))) }
    }
}
