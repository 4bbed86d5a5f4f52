//! Points in event time: levels and counter readings.

use ethnum::{I256, U256};

use super::{LevelInput, Weighted};
use crate::decimal::{Decimal, ONE, Quotient};
use crate::schedule::Period;
use crate::time::Timestamp;

/// Values by event time; of equal times the later arrival stands behind.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// What the period began with, once the period before is closed.
    pub(super) opening: Option<Decimal>,
    pub(super) points: Vec<(Timestamp, Decimal)>,
}

impl Points {
    /// Bytes it holds elsewhere.
    pub(super) fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<(Timestamp, Decimal)>()
    }

    /// Adds a point behind all that are not later.
    pub(super) fn insert(&mut self, at: Timestamp, value: Decimal) {
        let place = self.points.partition_point(|(known, _)| *known <= at);
        self.points.insert(place, (at, value));
    }

    /// The level or reading at the end.
    pub(super) fn closing(&self, input: LevelInput) -> Option<Decimal> {
        match input {
            LevelInput::Level => self.points.last().map(|(_, value)| *value).or(self.opening),
            LevelInput::Change => {
                let opening = self.opening.unwrap_or(Decimal::ZERO);
                // A level beyond the range stays at its last sound value.
                let level = self.points.iter().fold(opening, |level, (_, change)| level.add(*change).unwrap_or(level));
                (self.opening.is_some() || !self.points.is_empty()).then_some(level)
            }
        }
    }

    /// Level times time, in the declared unit, over the whole period.
    pub(super) fn integral(&self, weighted: Weighted, period: Period) -> Quotient {
        let mut level = self.opening.unwrap_or(Decimal::ZERO);
        let mut from = period.start;
        let mut sum = I256::ZERO;
        for &(at, value) in &self.points {
            sum += I256::from(level.units()) * I256::from(at.since(from));
            level = match weighted.input {
                LevelInput::Level => value,
                LevelInput::Change => level.add(value).unwrap_or(level),
            };
            from = at;
        }
        sum += I256::from(level.units()) * I256::from(period.end.since(from).max(0));
        let unit = weighted.unit.map_or_else(|| period.end.since(period.start), i128::from);
        Quotient::new(sum, U256::new(unit.max(1) as u128) * U256::new(ONE as u128))
    }

    /// How much a counter rose. A reading below the one before is a restart from
    /// nought: it counts as what it shows. The very first reading is only a beginning.
    pub(super) fn increase(&self) -> Quotient {
        let mut last = self.opening;
        let mut sum = I256::ZERO;
        for &(_, reading) in &self.points {
            sum += match last {
                None => I256::ZERO,
                Some(before) if reading < before => I256::from(reading.units()),
                Some(before) => I256::from(reading.units()) - I256::from(before.units()),
            };
            last = Some(reading);
        }
        Quotient::new(sum, U256::new(ONE as u128))
    }
}
