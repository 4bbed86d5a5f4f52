//! Cron schedules: five fields, evaluated on civil time.
//!
//! The field syntax and the search for the next match are croner's. It runs on civil
//! time without a zone; [`wall_clock`] then applies our rule for gaps and folds, which
//! differs from every cron daemon's and is the same as for the other schedules.

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

use super::{BadSchedule, Period, civil_at, wall_clock};
use crate::time::{Timestamp, Zone};

/// The five fields as they are written in a meter type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronFields {
    /// 0–59.
    pub minute: String,
    /// 0–23.
    pub hour: String,
    /// 1–31, or `L` for the last day of the month.
    pub day: String,
    /// 1–12 or names.
    pub month: String,
    /// 0–7 (Sunday is 0 and 7) or names.
    pub weekday: String,
}

/// A checked cron schedule. Where both `day` and `weekday` are restricted, either
/// suffices, as cron does; a day that a month lacks is skipped.
#[derive(Clone, Debug)]
pub struct Cron {
    cron: croner::Cron,
    pub(super) fields: CronFields,
}

/// Written alike, they are alike.
impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.fields == other.fields
    }
}

impl Cron {
    /// Checks the fields, each alone (so that the error names it) and together.
    pub fn new(fields: &CronFields) -> Result<Cron, BadSchedule> {
        let parts = [
            ("minute", &fields.minute, "0-59, lists, ranges, steps"),
            ("hour", &fields.hour, "0-23, lists, ranges, steps"),
            ("day", &fields.day, "1-31, lists, ranges, steps, or L for the last day"),
            ("month", &fields.month, "1-12 or JAN-DEC, lists, ranges, steps"),
            ("weekday", &fields.weekday, "0-7 or SUN-SAT, lists, ranges, steps"),
        ];
        for (i, (part, text, syntax)) in parts.iter().enumerate() {
            let mut alone = ["*"; 5];
            alone[i] = text.as_str();
            if text.contains(char::is_whitespace) || text.is_empty() || parse(&alone).is_none() {
                return Err(BadSchedule { part, reason: format!("`{text}` is not a cron {part}; write {syntax}, or *") });
            }
        }
        let together = parts.map(|(_, text, _)| text.as_str());
        let never = || BadSchedule {
            part: "day",
            reason: format!("no date ever matches day `{}` in month `{}`", fields.day, fields.month),
        };
        let cron = Cron { cron: parse(&together).ok_or_else(never)?, fields: fields.clone() };
        cron.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).ok_or_else(never)?;
        Ok(cron)
    }

    /// The period that holds an instant.
    pub(super) fn period_at(&self, zone: &Zone, at: Timestamp) -> Period {
        // Clocks that were put back show a civil time again: start a day late and walk.
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

    /// The first boundary after `at`, searching from a civil time.
    fn after(&self, mut civil: DateTime, at: Timestamp, zone: &Zone) -> Timestamp {
        while let Some(next) = self.next(civil, false) {
            match wall_clock(next, zone) {
                Some(instant) if instant > at => return instant,
                _ => civil = next,
            }
        }
        Timestamp::MAX
    }

    fn next(&self, civil: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&civil, inclusive).ok().filter(|next| next.year() < 4000)
    }

    fn previous(&self, civil: DateTime) -> Option<DateTime> {
        self.cron.find_previous_occurrence(&civil, false).ok().filter(|before| before.year() > 1000)
    }
}

fn parse(fields: &[&str; 5]) -> Option<croner::Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(&fields.join(" ")).ok()
}
