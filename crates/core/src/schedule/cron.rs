//! Cron schedules: five fields, evaluated on civil time.
//!
//! The search for the next match runs on civil time without a zone; [`wall_clock`] then applies
//! our rule for gaps and folds, which differs from every cron daemon's and is the same as for the
//! other schedules.

mod field;
#[cfg(test)]
mod tests;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

use field::Numbers;

use super::{BadSchedule, Period, civil_at, wall_clock};
use crate::time::{Timestamp, Zone};

/// The five fields as they are written in a meter type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronFields {
    /// Minutes, 0 to 59.
    pub minute: String,
    /// Hours, 0 to 23.
    pub hour: String,
    /// 1–31, or `L` for the last day of the month.
    pub day: String,
    /// Months, 1 to 12 or names.
    pub month: String,
    /// 0–7 (Sunday is 0 and 7) or names.
    pub weekday: String,
}

/// A checked cron schedule. Where both `day` and `weekday` are restricted, either
/// suffices, as cron does; a day that a month lacks is skipped.
#[derive(Clone, Debug)]
pub struct Cron {
    minutes: Numbers,
    hours: Numbers,
    days: Days,
    months: Numbers,
    pub(super) fields: CronFields,
}

/// The days of a month on which a schedule matches.
#[derive(Clone, Copy, Debug)]
struct Days {
    /// Days of the month; `None` for any.
    of_month: Option<Numbers>,
    /// Whether the last day of the month matches.
    last: bool,
    /// Days of the week; `None` for any.
    of_week: Option<Numbers>,
}

/// Schedules are equal if they are written alike.
impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.fields == other.fields
    }
}

impl Cron {
    /// Checks the fields, each alone (so that the error names it) and together.
    pub fn new(fields: &CronFields) -> Result<Cron, BadSchedule> {
        let read = |part, text: &str, range, syntax| {
            let reason = || format!("`{text}` is not a cron {part}; write {syntax}, or *");
            field::parse(text, range).ok_or_else(|| BadSchedule { part, reason: reason() })
        };
        let minutes = read("minute", &fields.minute, field::MINUTES, "0-59, lists, ranges, steps")?;
        let hours = read("hour", &fields.hour, field::HOURS, "0-23, lists, ranges, steps")?;
        let (days, last) = without_last(&fields.day);
        let days = days.map(|days| read("day", &days, field::DAYS, "1-31, lists, ranges, steps, or L for the last day"));
        let days = days.transpose()?;
        let months = read("month", &fields.month, field::MONTHS, "1-12 or JAN-DEC, lists, ranges, steps")?;
        let mut weekdays = read("weekday", &fields.weekday, field::WEEKDAYS, "0-7 or SUN-SAT, lists, ranges, steps")?;
        if weekdays.has(7) {
            weekdays.insert(0);
        }
        let days = Days {
            of_month: if fields.day == "*" { None } else { Some(days.unwrap_or_default()) },
            last,
            of_week: (fields.weekday != "*").then_some(weekdays),
        };
        let cron = Cron { minutes, hours, days, months, fields: fields.clone() };
        let never = || BadSchedule {
            part: "day",
            reason: format!("no date ever matches day `{}` in month `{}`", fields.day, fields.month),
        };
        cron.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).ok_or_else(never)?;
        Ok(cron)
    }

    /// Returns the period that holds an instant.
    pub(super) fn period_at(&self, zone: &Zone, at: Timestamp) -> Period {
        // Clocks that were put back show a civil time twice: start a day late and walk back.
        let shown = civil_at(at, zone);
        let mut civil = shown.saturating_add(jiff::Span::new().days(2));
        let mut end = Timestamp::MAX;
        loop {
            let Some(before) = self.previous(civil) else {
                return Period { start: Timestamp::MIN, end };
            };
            let start = wall_clock(before, zone).unwrap_or(Timestamp::MIN);
            if start <= at {
                return Period { start, end: if end == Timestamp::MAX { self.after(before, at, zone) } else { end } };
            }
            (civil, end) = (before, start);
        }
    }

    /// Returns the first boundary after `at`, searching from a civil time.
    fn after(&self, mut civil: DateTime, at: Timestamp, zone: &Zone) -> Timestamp {
        while let Some(next) = self.next(civil, false) {
            match wall_clock(next, zone) {
                Some(instant) if instant > at => return instant,
                _ => civil = next,
            }
        }
        Timestamp::MAX
    }

    /// Returns the first match after a civil time, or at it if that is included.
    fn next(&self, civil: DateTime, is_included: bool) -> Option<DateTime> {
        let minute = civil.with().second(0).subsec_nanosecond(0).build().ok()?;
        let from = match is_included && minute == civil {
            true => minute,
            false => minute.checked_add(1.minute()).ok()?,
        };
        if self.is_match(from.date())
            && let Some(time) = self.first_time(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let mut date = from.date().tomorrow().ok()?;
        while date.year() < LAST_YEAR {
            if !self.months.has(part(date.month())) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if self.is_match(date) {
                return Some(date.to_datetime(self.first_time(Time::midnight())?));
            } else {
                date = date.tomorrow().ok()?;
            }
        }
        None
    }

    /// Returns the last match before a civil time.
    fn previous(&self, civil: DateTime) -> Option<DateTime> {
        let before = civil.checked_sub(1.nanosecond()).ok()?;
        if self.is_match(before.date())
            && let Some(time) = self.last_time(before.time())
        {
            return Some(before.date().to_datetime(time));
        }
        let mut date = before.date().yesterday().ok()?;
        while date.year() > FIRST_YEAR {
            if !self.months.has(part(date.month())) {
                date = date.first_of_month().yesterday().ok()?;
            } else if self.is_match(date) {
                return Some(date.to_datetime(self.last_time(Time::MAX)?));
            } else {
                date = date.yesterday().ok()?;
            }
        }
        None
    }

    fn is_match(&self, date: Date) -> bool {
        let Days { of_month, last, of_week } = self.days;
        let in_month = of_month.map(|days| days.has(part(date.day())) || last && date.day() == date.days_in_month());
        let in_week = of_week.map(|days| days.has(part(date.weekday().to_sunday_zero_offset())));
        let is_day = match (in_month, in_week) {
            (Some(in_month), Some(in_week)) => in_month || in_week,
            (Some(is_day), None) | (None, Some(is_day)) => is_day,
            (None, None) => true,
        };
        is_day && self.months.has(part(date.month()))
    }

    /// Returns the first time of a day that is not before another.
    fn first_time(&self, from: Time) -> Option<Time> {
        let hour = self.hours.at_least(part(from.hour()))?;
        let minute = match hour == part(from.hour()) {
            true => self.minutes.at_least(part(from.minute())),
            false => self.minutes.at_least(0),
        };
        let (hour, minute) = match minute {
            Some(minute) => (hour, minute),
            None => (self.hours.at_least(hour + 1)?, self.minutes.at_least(0)?),
        };
        time(hour, minute)
    }

    /// Returns the last time of a day that is not after another.
    fn last_time(&self, until: Time) -> Option<Time> {
        let hour = self.hours.at_most(part(until.hour()))?;
        let minute = match hour == part(until.hour()) {
            true => self.minutes.at_most(part(until.minute())),
            false => self.minutes.at_most(59),
        };
        let (hour, minute) = match minute {
            Some(minute) => (hour, minute),
            None => (self.hours.at_most(hour.checked_sub(1)?)?, self.minutes.at_most(59)?),
        };
        time(hour, minute)
    }
}

/// Years in which matches are searched.
const FIRST_YEAR: i16 = 1000;
const LAST_YEAR: i16 = 4000;

/// Removes `L` from a list of days. Returns the other days, if any, and whether `L` was there.
fn without_last(text: &str) -> (Option<String>, bool) {
    let (last, days): (Vec<&str>, Vec<&str>) = text.split(',').partition(|day| day.eq_ignore_ascii_case("L"));
    let days = if days.is_empty() { None } else { Some(days.join(",")) };
    (days, !last.is_empty())
}

/// Returns a part of a date or time, which is never negative, as a number of a field.
fn part(number: i8) -> u32 {
    number.unsigned_abs().into()
}

fn time(hour: u32, minute: u32) -> Option<Time> {
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}
