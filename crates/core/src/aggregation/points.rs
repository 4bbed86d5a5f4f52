//! Points in event time: levels and counter readings, each series for itself.
//!
//! A meter, or a group of it, may get readings of several counters or levels. Each has a line of
//! its own; the value is the sum over the lines.

use ethnum::{I256, U256};

use super::counter::{Counter, Delta, Opening};
use super::{LevelInput, Weighted};
use crate::decimal::{Decimal, ONE, Quotient};
use crate::limits::SERIES_MAX;
use crate::schedule::Period;
use crate::time::Timestamp;

/// The opening value of each series, by its identity.
pub type Openings = Vec<(u128, Opening)>;

/// Values by series and event time.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// By the identity of the series. Without `series` there is one, 0.
    pub(super) lines: Vec<(u128, Line)>,
}

/// The values of one series; of equal times the later arrival comes last.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The opening value of the period, once the period before is closed.
    pub(super) opening: Option<Opening>,
    pub(super) points: Vec<(Timestamp, Decimal)>,
}

impl Points {
    /// Bytes it holds elsewhere.
    pub(super) fn heap_bytes(&self) -> usize {
        let points: usize = self.lines.iter().map(|(_, line)| line.points.capacity()).sum();
        self.lines.capacity() * size_of::<(u128, Line)>() + points * size_of::<(Timestamp, Decimal)>()
    }

    /// Whether a value of a series can be added.
    pub(super) fn has_room(&self, series: u128) -> bool {
        self.lines.len() < SERIES_MAX || self.place(series).is_ok()
    }

    fn place(&self, series: u128) -> Result<usize, usize> {
        self.lines.binary_search_by_key(&series, |(known, _)| *known)
    }

    /// The line of a series, made if there is none.
    fn line(&mut self, series: u128) -> &mut Line {
        let at = self.place(series).unwrap_or_else(|at| {
            self.lines.insert(at, (series, Line::default()));
            at
        });
        &mut self.lines[at].1
    }

    /// Adds a point to a series, behind all that are not later.
    pub(super) fn insert(&mut self, series: u128, at: Timestamp, value: Decimal) {
        let points = &mut self.line(series).points;
        let place = points.partition_point(|(known, _)| *known <= at);
        points.insert(place, (at, value));
    }

    /// The levels at the end.
    pub(super) fn closing_levels(&self, input: LevelInput) -> Openings {
        let level = |(series, line): &(u128, Line)| Some((*series, Opening::at(line.level(input)?)));
        self.lines.iter().filter_map(level).collect()
    }

    /// The readings at the end.
    pub(super) fn closing_readings(&self, delta: Delta) -> Openings {
        self.lines.iter().filter_map(|(series, line)| Some((*series, line.follow(delta).1?))).collect()
    }

    /// Begins with what the period before ended with. Says whether that is news.
    pub(super) fn open_with(&mut self, openings: &Openings) -> bool {
        let before: Openings = self.lines.iter().filter_map(|(series, line)| Some((*series, line.opening?))).collect();
        if before == *openings {
            return false;
        }
        self.lines.iter_mut().for_each(|(_, line)| line.opening = None);
        for (series, opening) in openings {
            self.line(*series).opening = Some(*opening);
        }
        self.lines.retain(|(_, line)| line.opening.is_some() || !line.points.is_empty());
        true
    }

    /// Level times time, in the declared unit, over the whole period.
    pub(super) fn integral(&self, weighted: Weighted, period: Period) -> Quotient {
        let sum = self.lines.iter().fold(I256::ZERO, |sum, (_, line)| sum + line.integral(weighted.input, period));
        let unit = weighted.unit.map_or_else(|| period.end.since(period.start), i128::from);
        Quotient::new(sum, U256::new(unit.max(1) as u128) * U256::new(ONE as u128))
    }

    /// How much the counters rose.
    pub(super) fn increase(&self, delta: Delta) -> Quotient {
        let sum = self.lines.iter().fold(I256::ZERO, |sum, (_, line)| sum + line.follow(delta).0);
        Quotient::new(sum, U256::new(ONE as u128))
    }
}

impl Line {
    fn level(&self, input: LevelInput) -> Option<Decimal> {
        let opening = self.opening.map(|opening| opening.last);
        match input {
            LevelInput::Level => self.points.last().map(|(_, value)| *value).or(opening),
            LevelInput::Change => {
                // A level beyond the range stays at its last sound value.
                let add = |level: Decimal, (_, change): &(Timestamp, Decimal)| level.add(*change).unwrap_or(level);
                let level = self.points.iter().fold(opening.unwrap_or(Decimal::ZERO), add);
                (opening.is_some() || !self.points.is_empty()).then_some(level)
            }
        }
    }

    /// Units of level times nanoseconds.
    fn integral(&self, input: LevelInput, period: Period) -> I256 {
        let mut level = self.opening.map_or(Decimal::ZERO, |opening| opening.last);
        let mut from = period.start;
        let mut sum = I256::ZERO;
        for &(at, value) in &self.points {
            sum += I256::from(level.units()) * I256::from(at.since(from));
            level = match input {
                LevelInput::Level => value,
                LevelInput::Change => level.add(value).unwrap_or(level),
            };
            from = at;
        }
        sum + I256::from(level.units()) * I256::from(period.end.since(from).max(0))
    }

    /// Units by which the counter rose, and its last value.
    fn follow(&self, delta: Delta) -> (I256, Option<Opening>) {
        let mut counter = Counter { delta, state: self.opening };
        let rise = self.points.iter().fold(I256::ZERO, |sum, (_, reading)| sum + counter.read(*reading));
        (rise, counter.state)
    }
}
