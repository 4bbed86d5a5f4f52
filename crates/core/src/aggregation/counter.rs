//! Readings of one counter: what a rise and a fall add.
//!
//! A counter is read in the order of event time, late readings included, so its increase does not
//! depend on the order of arrival.

use ethnum::I256;

use crate::decimal::{Decimal, ONE};

/// How the readings of a counter are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// How a drop is read.
    pub restart: Restart,
    /// Where the counter begins at 0 again: a drop is that.
    pub wrap_at: Option<Decimal>,
    /// Whether the first reading ever counts from 0, instead of only being a beginning.
    pub from_zero: bool,
    /// Whether a single 0 between two higher readings is a glitch.
    pub ignore_zero: bool,
}

/// The meaning of a drop of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// A restart from 0, however small it is.
    #[default]
    Any,
    /// A restart where the reading is below that share of the last. A smaller drop is a dip, and
    /// nothing counts until the highest reading is passed again.
    Below(Decimal),
    /// A fall: the meter may run backwards.
    Never,
}

/// The value of a counter or a level at the end of a period. The next period begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The last reading, or the level.
    pub last: Decimal,
    /// The highest reading since the counter started.
    pub high: Decimal,
    /// Whether a 0 was read since, which may be a glitch.
    pub zero: bool,
}

impl Opening {
    /// A reading that is the highest.
    pub(super) fn at(reading: Decimal) -> Opening {
        Opening { last: reading, high: reading, zero: false }
    }
}

/// A counter while its readings are followed.
pub(super) struct Counter {
    pub(super) delta: Delta,
    pub(super) state: Option<Opening>,
}

impl Counter {
    /// Takes the next reading. Returns by how many units the counter rose.
    pub(super) fn read(&mut self, reading: Decimal) -> I256 {
        let units = |decimal: Decimal| I256::from(decimal.units());
        let Some(mut before) = self.state else {
            self.state = Some(Opening::at(reading));
            return if self.delta.from_zero { units(reading) } else { I256::ZERO };
        };
        if self.delta.ignore_zero && reading == Decimal::ZERO && before.last > Decimal::ZERO && !before.zero {
            before.zero = true;
            self.state = Some(before);
            return I256::ZERO;
        }
        let falls = reading < before.last;
        let (rise, after) = match (self.delta.wrap_at, self.delta.restart) {
            (Some(wrap), _) if falls && before.last <= wrap => {
                (units(reading) + units(wrap) - units(before.last), Opening::at(reading))
            }
            // A counter beyond its own end did not wrap: it started again.
            (Some(_), _) | (None, Restart::Any) if falls => (units(reading), Opening::at(reading)),
            (Some(_), _) | (None, Restart::Any | Restart::Never) => (units(reading) - units(before.last), Opening::at(reading)),
            (None, Restart::Below(share)) if falls && is_below(reading, share, before.last) => {
                (units(reading), Opening::at(reading))
            }
            (None, Restart::Below(_)) => {
                let high = before.high.max(reading);
                (units(high) - units(before.high), Opening { last: reading, high, zero: false })
            }
        };
        self.state = Some(after);
        rise
    }
}

/// Whether a reading is below a share of another.
fn is_below(reading: Decimal, share: Decimal, of: Decimal) -> bool {
    I256::from(reading.units()) * I256::from(ONE) < I256::from(share.units()) * I256::from(of.units())
}
