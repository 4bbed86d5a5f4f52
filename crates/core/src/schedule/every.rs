//! "Every n units, from an anchor": the n-th boundary by arithmetic on the calendar.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{Span, ToSpan};

use super::{BadSchedule, Period, civil_at, wall_clock};
use crate::time::{Timestamp, Zone};

/// The unit of a period's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Hours of the wall clock.
    Hour,
    /// Days of the calendar.
    Day,
    /// Weeks of seven calendar days.
    Week,
    /// Months of the calendar.
    Month,
    /// Quarters of three months.
    Quarter,
    /// Years of the calendar.
    Year,
}

impl Unit {
    /// Returns the unit with this name in the singular.
    pub fn named(name: &str) -> Option<Unit> {
        Some(match name {
            "hour" => Unit::Hour,
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            "quarter" => Unit::Quarter,
            "year" => Unit::Year,
            _ => return None,
        })
    }
}

/// The position in its unit at which a period begins. Parts that do not apply to the unit are
/// omitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// 1 to 12; for quarters any month of the cycle. January by default.
    pub month: Option<i8>,
    /// 1 to 31; a month without that day begins on its last. The 1st by default.
    pub day: Option<i8>,
    /// The weekday; Monday by default.
    pub weekday: Option<Weekday>,
    /// Hour and minute; midnight by default. For hours only the minute counts.
    pub time: Option<(i8, i8)>,
}

/// A checked schedule of equal steps. Cycles of more than one unit are counted from 1970 (weeks
/// from its first Monday, or the weekday of the anchor).
#[derive(Clone, Debug, PartialEq)]
pub struct Every {
    pub(super) unit: Unit,
    pub(super) count: i64,
    pub(super) day: i8,
    pub(super) base: DateTime,
}

/// Steps further than this from 1970 exceed the range of instants.
const STEPS_MAX: i64 = 10_000_000;

impl Every {
    /// Checks the parts against the unit. `count` is 1 to 1,000.
    pub fn new(unit: Unit, count: i64, anchor: &Anchor) -> Result<Every, BadSchedule> {
        if !(1..=1000).contains(&count) {
            return Err(bad("count", "count must be a whole number from 1 to 1000"));
        }
        check_parts(unit, anchor)?;
        let (hour, minute) = anchor.time.unwrap_or((0, 0));
        let day = anchor.day.unwrap_or(1);
        let month = anchor.month.unwrap_or(1);
        let date = match unit {
            Unit::Hour | Unit::Day => Date::constant(1970, 1, 1),
            Unit::Week => {
                let weekday = anchor.weekday.unwrap_or(Weekday::Monday);
                let offset = Weekday::Thursday.until(weekday);
                Date::constant(1970, 1, 1).checked_add(offset.days()).unwrap_or(Date::MIN)
            }
            // The day is applied to each month separately, so the base holds the 1st.
            Unit::Month | Unit::Quarter | Unit::Year => {
                Date::new(1970, month, 1).map_err(|_| bad("anchor.month", "month must be 1 to 12"))?
            }
        };
        let time = Time::new(hour, minute, 0, 0).map_err(|_| bad("anchor.time", "time must be HH:MM, from 00:00 to 23:59"))?;
        Ok(Every { unit, count, day, base: date.to_datetime(time) })
    }

    /// Returns the period that holds an instant.
    pub(super) fn period_at(&self, zone: &Zone, at: Timestamp) -> Period {
        let mut n = self.estimate(civil_at(at, zone));
        // The estimate ignores anchor days and changes of clocks: walk the last steps.
        while self.boundary(n, zone) > at {
            n -= 1;
        }
        let mut start = self.boundary(n, zone);
        loop {
            let end = self.boundary(n + 1, zone);
            if end > at {
                return Period { start, end };
            }
            n += 1;
            start = end;
        }
    }

    /// Returns the n-th boundary since the base, as an instant; the ends of the range where the
    /// calendar does not reach it.
    fn boundary(&self, n: i64, zone: &Zone) -> Timestamp {
        let beyond = if n < 0 { Timestamp::MIN } else { Timestamp::MAX };
        self.civil(n).and_then(|civil| wall_clock(civil, zone)).unwrap_or(beyond)
    }

    fn civil(&self, n: i64) -> Option<DateTime> {
        let steps = n.checked_mul(self.count).filter(|steps| steps.abs() < STEPS_MAX)?;
        let (step, monthly): (Span, bool) = match self.unit {
            Unit::Hour => (Span::new().try_hours(steps).ok()?, false),
            Unit::Day => (Span::new().try_days(steps).ok()?, false),
            Unit::Week => (Span::new().try_weeks(steps).ok()?, false),
            Unit::Month => (Span::new().try_months(steps).ok()?, true),
            Unit::Quarter => (Span::new().try_months(steps * 3).ok()?, true),
            Unit::Year => (Span::new().try_years(steps).ok()?, true),
        };
        let civil = self.base.checked_add(step).ok()?;
        if !monthly {
            return Some(civil);
        }
        let date = civil.date();
        let day = self.day.min(date.days_in_month());
        Some(Date::new(date.year(), date.month(), day).ok()?.to_datetime(civil.time()))
    }

    /// Returns the step near a civil time, off by at most two.
    fn estimate(&self, civil: DateTime) -> i64 {
        let days = days_between(self.base.date(), civil.date());
        let months = (i64::from(civil.year()) - i64::from(self.base.year())) * 12 + i64::from(civil.month())
            - i64::from(self.base.month());
        let units = match self.unit {
            Unit::Hour => days * 24 + i64::from(civil.hour()),
            Unit::Day => days,
            Unit::Week => days.div_euclid(7),
            Unit::Month => months,
            Unit::Quarter => months.div_euclid(3),
            Unit::Year => months.div_euclid(12),
        };
        units.div_euclid(self.count) + 1
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(0, |span| i64::from(span.get_days()))
}

fn check_parts(unit: Unit, anchor: &Anchor) -> Result<(), BadSchedule> {
    if anchor.month.is_some_and(|month| !(1..=12).contains(&month)) {
        return Err(bad("anchor.month", "month must be 1 to 12"));
    }
    if anchor.day.is_some_and(|day| !(1..=31).contains(&day)) {
        return Err(bad("anchor.day", "day must be 1 to 31"));
    }
    let monthly = matches!(unit, Unit::Month | Unit::Quarter | Unit::Year);
    if anchor.month.is_some() && !matches!(unit, Unit::Quarter | Unit::Year | Unit::Month) {
        return Err(bad("anchor.month", "month applies to months, quarters and years only; leave it out"));
    }
    if anchor.day.is_some() && !monthly {
        return Err(bad("anchor.day", "day applies to months, quarters and years only; leave it out"));
    }
    if anchor.weekday.is_some() && unit != Unit::Week {
        return Err(bad("anchor.weekday", "weekday applies to weeks only; leave it out"));
    }
    Ok(())
}

fn bad(part: &'static str, reason: &str) -> BadSchedule {
    BadSchedule { part, reason: reason.to_owned() }
}
