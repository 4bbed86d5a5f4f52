//! Aggregations: how a meter computes its value from the events of a period.
//!
//! Every result is exact and does not depend on the order of arrival, except where the contract
//! says so (ties of `latest`). An aggregation that needs the order of *event times* (`weighted`,
//! `delta`) keeps its points sorted until the period is removed.

mod counter;
mod image;
mod points;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use ethnum::I256;

pub use counter::{Delta, Opening, Restart};
pub use points::{Openings, Points};

use crate::decimal::{Decimal, Packed, Quotient};
use crate::schedule::Period;
use crate::time::Timestamp;

/// How a meter type aggregates values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// Exact sum of the values.
    Sum,
    /// Number of events that count.
    Increment,
    /// Smallest value of the period.
    Min,
    /// Greatest value of the period.
    Max,
    /// Sum of the values divided by their count.
    Avg,
    /// Number of distinct values, compared as text.
    Unique,
    /// Value of the event with the greatest event time.
    Latest,
    /// Integral of a level over the period.
    Weighted(Weighted),
    /// Increase of a monotone counter.
    Delta(Delta),
    /// Nearest-rank percentile; the share is `p`/100, with `p` above 0 and at most 100.
    Percentile(Decimal),
}

/// How a level is integrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Nanoseconds of the time unit, or `None` for the period itself (which makes the
    /// value the period's average level).
    pub unit: Option<i64>,
    /// Whether events state the level or a change of it.
    pub input: LevelInput,
}

/// The meaning of an event's value for a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelInput {
    /// The level from now on.
    Level,
    /// A change of the level.
    Change,
}

impl Aggregation {
    /// The names of a meter type's `aggregation`.
    pub const NAMES: [&'static str; 11] =
        ["sum", "increment", "count", "min", "max", "avg", "unique", "latest", "weighted", "delta", "percentile"];

    /// Whether an event must have a numeric value.
    pub fn needs_number(self) -> bool {
        !matches!(self, Aggregation::Increment | Aggregation::Unique)
    }

    /// Whether an event must have a value at all.
    pub fn needs_value(self) -> bool {
        self != Aggregation::Increment
    }

    /// Whether the end of one period is the beginning of the next.
    pub fn carries_over(self) -> bool {
        matches!(self, Aggregation::Weighted(_) | Aggregation::Delta(_))
    }

    /// Whether readings of several counters or levels must be kept apart.
    pub fn has_series(self) -> bool {
        matches!(self, Aggregation::Weighted(Weighted { input: LevelInput::Level, .. }) | Aggregation::Delta(_))
    }
}

/// The contribution of one event to an aggregate.
#[derive(Clone, Copy, Debug)]
pub struct Contribution {
    /// The number, where the aggregation needs one.
    pub number: Decimal,
    /// The identity of the text, for `unique`; of the series, for `weighted` and `delta`.
    pub fingerprint: u128,
    /// The event's time, which orders `latest` and the levels.
    pub at: Timestamp,
}

/// The state of an aggregation in one period (or one group of it).
#[derive(Clone, Debug)]
pub enum Aggregate {
    /// State of `increment`: the number of events.
    Count(u64),
    /// State of `sum`: the sum so far.
    Sum(Packed),
    /// `min` and `max`: whether there is one, and which.
    Extreme(bool, Packed),
    /// State of `avg`: sum and count.
    Mean(Box<(Decimal, u64)>),
    /// State of `latest`: the greatest event time with its value.
    Latest(Option<Box<(Timestamp, Decimal)>>),
    /// State of `unique`: the fingerprints of the values.
    Distinct(Box<HashSet<u128, FingerprintState>>),
    /// State of `percentile`: every value.
    Values(Box<Vec<Decimal>>),
    /// State of `weighted` and `delta`: the points in order of time.
    Points(Box<Points>),
}

impl Aggregate {
    /// The state before any event.
    pub fn initial(aggregation: Aggregation) -> Aggregate {
        match aggregation {
            Aggregation::Increment => Aggregate::Count(0),
            Aggregation::Sum => Aggregate::Sum(Packed::default()),
            Aggregation::Min | Aggregation::Max => Aggregate::Extreme(false, Packed::default()),
            Aggregation::Avg => Aggregate::Mean(Box::default()),
            Aggregation::Latest => Aggregate::Latest(None),
            Aggregation::Unique => Aggregate::Distinct(Box::default()),
            Aggregation::Percentile(_) => Aggregate::Values(Box::default()),
            Aggregation::Weighted(_) | Aggregation::Delta(_) => Aggregate::Points(Box::default()),
        }
    }

    /// Returns the number of bytes that it holds on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Aggregate::Count(_) | Aggregate::Sum(_) | Aggregate::Extreme(..) | Aggregate::Latest(None) => 0,
            Aggregate::Mean(mean) => size_of_val(&**mean),
            Aggregate::Latest(Some(latest)) => size_of_val(&**latest),
            Aggregate::Distinct(known) => size_of_val(&**known) + known.capacity() * (size_of::<u128>() + 1) * 8 / 7,
            Aggregate::Values(values) => size_of_val(&**values) + values.capacity() * size_of::<Decimal>(),
            Aggregate::Points(points) => size_of_val(&**points) + points.heap_bytes(),
        }
    }

    /// Whether a contribution can be added without leaving the range of decimals.
    #[inline]
    pub fn has_room(&self, contribution: &Contribution) -> bool {
        match self {
            Aggregate::Sum(sum) => Decimal::from(*sum).add(contribution.number).is_some(),
            Aggregate::Mean(mean) => mean.0.add(contribution.number).is_some(),
            Aggregate::Points(points) => points.has_room(contribution.fingerprint),
            _ => true,
        }
    }

    /// Adds a contribution for which there [is room](Aggregate::has_room).
    #[inline]
    pub fn add(&mut self, aggregation: Aggregation, contribution: &Contribution) {
        let Contribution { number, fingerprint, at } = *contribution;
        match self {
            Aggregate::Count(count) => *count += 1,
            Aggregate::Sum(sum) => {
                if let Some(more) = Decimal::from(*sum).add(number) {
                    *sum = more.into();
                }
            }
            Aggregate::Extreme(there, extreme) => {
                let known = Decimal::from(*extreme);
                let beats = match aggregation {
                    Aggregation::Min => number < known,
                    _ => number > known,
                };
                if !*there || beats {
                    (*there, *extreme) = (true, number.into());
                }
            }
            Aggregate::Mean(mean) => {
                mean.0 = mean.0.add(number).unwrap_or(mean.0);
                mean.1 += 1;
            }
            Aggregate::Latest(latest) => {
                if latest.as_ref().is_none_or(|known| at >= known.0) {
                    *latest = Some(Box::new((at, number)));
                }
            }
            Aggregate::Distinct(seen) => {
                seen.insert(fingerprint);
            }
            Aggregate::Values(values) => values.push(number),
            Aggregate::Points(points) => points.insert(fingerprint, at, number),
        }
    }

    /// The value of the period so far; `None` is JSON null.
    pub fn value(&self, aggregation: Aggregation, period: Period) -> Option<Quotient> {
        let whole = |decimal| Some(Quotient::of(decimal, 1));
        match self {
            Aggregate::Count(count) => whole(Decimal::from_count(*count)),
            Aggregate::Sum(sum) => whole((*sum).into()),
            Aggregate::Extreme(false, _) => None,
            Aggregate::Extreme(true, extreme) => whole((*extreme).into()),
            Aggregate::Mean(mean) if mean.1 == 0 => None,
            Aggregate::Mean(mean) => Some(Quotient::of(mean.0, mean.1)),
            Aggregate::Latest(latest) => latest.as_ref().and_then(|known| whole(known.1)),
            Aggregate::Distinct(seen) => whole(Decimal::from_count(seen.len() as u64)),
            Aggregate::Values(values) => match aggregation {
                Aggregation::Percentile(p) => nearest_rank(values, p).and_then(whole),
                _ => None,
            },
            Aggregate::Points(points) => match aggregation {
                Aggregation::Weighted(weighted) => Some(points.integral(weighted, period)),
                Aggregation::Delta(delta) => Some(points.increase(delta)),
                _ => None,
            },
        }
    }

    /// Returns the openings of the next period, for aggregations that carry over.
    pub fn closing(&self, aggregation: Aggregation) -> Openings {
        match (self, aggregation) {
            (Aggregate::Points(points), Aggregation::Weighted(weighted)) => points.closing_levels(weighted.input),
            (Aggregate::Points(points), Aggregation::Delta(delta)) => points.closing_readings(delta),
            _ => Openings::default(),
        }
    }

    /// Begins with the values with which the previous period ended. Returns whether they changed
    /// the state.
    pub fn open_with(&mut self, openings: &Openings) -> bool {
        match self {
            Aggregate::Points(points) => points.open_with(openings),
            _ => false,
        }
    }
}

/// Returns the smallest value such that at least `p` per cent of all values are not above it.
fn nearest_rank(values: &[Decimal], p: Decimal) -> Option<Decimal> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let hundred = I256::from(Decimal::from_int(100).units());
    let share = I256::from(p.units()) * I256::from(count as u64);
    let rank = (share + hundred - 1) / hundred;
    let index = usize::try_from(rank).unwrap_or(count).clamp(1, count) - 1;
    let mut sorted = values.to_vec();
    let (_, value, _) = sorted.select_nth_unstable(index);
    Some(*value)
}

/// A hasher for fingerprints. They are hashes already, so a set neither hashes them again nor needs
/// a random state.
pub type FingerprintState = BuildHasherDefault<Fingerprint>;

/// The low half of a fingerprint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}
