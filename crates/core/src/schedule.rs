//! Reset schedules: when a meter's period ends and the next begins.
//!
//! A schedule is a sequence of wall-clock times in the meter type's zone. Each is computed from the
//! calendar itself (from the anchor, or by the cron expression), never from the previous boundary:
//! stepping from one to the next would drift after a 31st or a change of clocks. One rule maps a
//! wall-clock time to an instant ([`wall_clock`]): inside a gap, the first instant after it; where
//! the clock shows it twice, the earlier one. Two wall-clock times that map to one instant (a day
//! that a zone skipped) are one boundary, so there are no empty periods.

mod calendar;
mod cron;
mod every;
mod image;
mod label;
mod runs;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;

pub use calendar::{Calendar, Era};
pub use cron::{Cron, CronFields};
pub use every::{Anchor, Every, Unit};
pub use runs::{CatchUp, RunSchedule};

use crate::time::{Timestamp, Zone};

/// The schedule by which meters of a type reset.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// One period without end.
    Never,
    /// Every so many hours, days, weeks, months, quarters or years from an anchor.
    Every(Every),
    /// At the times a cron expression names.
    Cron(Box<Cron>),
}

/// A metering period: half-open, `[start, end)`. `end` is [`Timestamp::MAX`] for a period without
/// an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

impl Period {
    /// Whether an instant is inside.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// The reason why a schedule is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSchedule {
    /// The invalid part, as a path below the schedule (`anchor.day`), or empty.
    pub part: &'static str,
    /// The problem and the correct form.
    pub reason: String,
}

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The names of schedules that need no anchor.
pub const SHORT_NAMES: [&str; 7] = ["hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "never"];

impl Schedule {
    /// Returns the schedule of a short name, with the default anchor.
    pub fn named(name: &str) -> Option<Schedule> {
        let unit = match name {
            "hourly" => Unit::Hour,
            "daily" => Unit::Day,
            "weekly" => Unit::Week,
            "monthly" => Unit::Month,
            "quarterly" => Unit::Quarter,
            "yearly" => Unit::Year,
            "never" => return Some(Schedule::Never),
            _ => return None,
        };
        Every::new(unit, 1, &Anchor::default()).ok().map(Schedule::Every)
    }

    /// Returns the period that holds an instant.
    pub fn period_at(&self, zone: &Zone, at: Timestamp) -> Period {
        // The last instant ends every period and is in none: use the one before it.
        let at = at.min(Timestamp::MAX.saturating_sub(1));
        match self {
            Schedule::Never => Period { start: Timestamp::MIN, end: Timestamp::MAX },
            Schedule::Every(every) => every.period_at(zone, at),
            Schedule::Cron(cron) => cron.period_at(zone, at),
        }
    }
}

/// Returns the instant at which a zone's clock first shows, or first passes, a civil time. `None`
/// only outside the years that the time-zone library supports.
pub(crate) fn wall_clock(civil: DateTime, zone: &Zone) -> Option<Timestamp> {
    let zone = zone.jiff();
    let instant = match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok()?,
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok()?,
        AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset before the gap, the skipped time is at or after the change of
            // clocks, and there is no other change in between.
            let inside = before.to_timestamp(civil).ok()?;
            let after = inside.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
            zone.preceding(after).next()?.timestamp()
        }
    };
    Some(Timestamp::from_jiff(instant))
}

/// Returns the civil time that a zone's clock shows at an instant.
fn civil_at(at: Timestamp, zone: &Zone) -> DateTime {
    zone.jiff().to_datetime(at.to_jiff())
}
