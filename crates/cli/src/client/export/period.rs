//! The month, day or range of an export.

use flowmeter_core::time::Timestamp;

use super::record::Period;
use crate::failure::Wrong;

const NANOS_PER_HOUR: i64 = 3_600_000_000_000;
const NANOS_PER_DAY: i64 = 24 * NANOS_PER_HOUR;
/// No clock is further from UTC.
const OFFSET_MAX: i64 = 26 * NANOS_PER_HOUR;

/// A bound: a date on the clock of each record's zone, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// Midnight of a date, as if it were UTC.
    Local(Timestamp),
    Instant(Timestamp),
}

/// A range of time: with its start, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    from: Bound,
    to: Bound,
}

impl Range {
    /// Reads `2026`, `2026-10`, `2026-10-05` or `FROM..TO`.
    ///
    /// # Errors
    /// The text is none of them, or the end is not after the start.
    pub(super) fn read(text: &str) -> anyhow::Result<Range> {
        let wrong = |part: &str| {
            let form = "write a month (2026-10), a day (2026-10-05), a year (2026), or FROM..TO of them or of RFC 3339 times";
            Wrong(format!("--period {text}: `{part}` is no period; {form}"))
        };
        let Some((from, to)) = text.split_once("..") else {
            let (from, to) = unit(text).ok_or_else(|| wrong(text))?;
            return Ok(Range { from: Bound::Local(from), to: Bound::Local(to) });
        };
        let range = Range { from: bound(from).ok_or_else(|| wrong(from))?, to: bound(to).ok_or_else(|| wrong(to))? };
        let is_empty = match (range.from, range.to) {
            (Bound::Local(from), Bound::Local(to)) | (Bound::Instant(from), Bound::Instant(to)) => from >= to,
            (Bound::Local(_), Bound::Instant(_)) | (Bound::Instant(_), Bound::Local(_)) => {
                let message = format!("--period {text}: one end is a date and the other a time; write both in one form");
                return Err(Wrong(message).into());
            }
        };
        if is_empty {
            return Err(Wrong(format!("--period {text}: the end is not after the start; the range is without its end")).into());
        }
        Ok(range)
    }

    /// Whether a period begins in this range.
    pub(super) fn contains(&self, period: &Period) -> bool {
        let is_from = match self.from {
            Bound::Local(from) => period.local_start >= from,
            Bound::Instant(from) => period.start >= from,
        };
        is_from
            && match self.to {
                Bound::Local(to) => period.local_start < to,
                Bound::Instant(to) => period.start < to,
            }
    }

    /// Returns an instant before which no period of this range ends, in RFC 3339.
    pub(super) fn ends_from(&self) -> Option<String> {
        let from = match self.from {
            Bound::Local(from) => from.saturating_sub(OFFSET_MAX),
            Bound::Instant(from) => from,
        };
        Some(from.to_string())
    }
}

/// Returns the start and the end of a year, a month or a day.
fn unit(text: &str) -> Option<(Timestamp, Timestamp)> {
    let number = |part: &str, digits: usize| {
        let is_number = part.len() == digits && part.bytes().all(|c| c.is_ascii_digit());
        is_number.then(|| part.parse::<u32>().ok()).flatten()
    };
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map(|month| number(month, 2).filter(|month| (1..=12).contains(month)));
    let day = parts.next().map(|day| number(day, 2));
    if parts.next().is_some() {
        return None;
    }
    Some(match (month, day) {
        (None, _) => (midnight(year, 1, 1)?, midnight(year + 1, 1, 1)?),
        (Some(month), None) => {
            let month = month?;
            (midnight(year, month, 1)?, midnight(year + month / 12, month % 12 + 1, 1)?)
        }
        (Some(month), Some(day)) => {
            let start = midnight(year, month?, day?)?;
            (start, start.saturating_add(NANOS_PER_DAY))
        }
    })
}

fn bound(text: &str) -> Option<Bound> {
    match Timestamp::parse_rfc3339(text.as_bytes()) {
        Some(instant) => Some(Bound::Instant(instant)),
        None => unit(text).map(|(start, _)| Bound::Local(start)),
    }
}

/// Returns midnight of a date that exists, as if it were UTC.
fn midnight(year: u32, month: u32, day: u32) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(format!("{year:04}-{month:02}-{day:02}T00:00:00Z").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> String {
        let shown = |bound: Bound| match bound {
            Bound::Local(at) => at.to_string().trim_end_matches("T00:00:00.000Z").to_owned(),
            Bound::Instant(at) => at.to_string(),
        };
        match Range::read(text) {
            Ok(range) => format!("{} {}", shown(range.from), shown(range.to)),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn months_days_years_and_ranges_are_read() {
        for (text, expected) in [
            ("2026-10", "2026-10-01 2026-11-01"),
            ("2026-12", "2026-12-01 2027-01-01"),
            ("2024-02-29", "2024-02-29 2024-03-01"),
            ("2026", "2026-01-01 2027-01-01"),
            ("2026-10-15..2026-11-15", "2026-10-15 2026-11-15"),
            ("2026-10..2027", "2026-10-01 2027-01-01"),
            ("2026-10-01T00:00:00+02:00..2026-10-02T00:00:00Z", "2026-09-30T22:00:00.000Z 2026-10-02T00:00:00.000Z"),
        ] {
            assert_eq!(range(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2026-13", "--period 2026-13: `2026-13` is no period; write a month (2026-10)"),
            ("2026-02-30", "`2026-02-30` is no period"),
            ("2026-1", "`2026-1` is no period"),
            ("october", "`october` is no period"),
            ("2026-10-05..", "`` is no period"),
            ("2026-10..2026-10", "the end is not after the start"),
            ("2026-10..2026-11-01T00:00:00Z", "write both in one form"),
        ] {
            assert!(range(text).contains(expected), "{text}: {}", range(text));
        }
    }
}
