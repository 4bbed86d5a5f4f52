//! The name of a period for people, in the zone in which it was cut: `2026-10`.

use jiff::civil::{DateTime, Time};
use jiff::{Span, tz};

use super::{Period, civil_at};
use crate::time::{Timestamp, Zone};

const NANOS_PER_HOUR: i128 = 3_600_000_000_000;

impl Period {
    /// Returns the year (`2026`), quarter (`2026-Q4`), month (`2026-10`), day (`2026-10-25`) or hour
    /// (`2026-10-25T02:00+02:00`) that this period is in a zone; any other period as its bounds:
    /// `2026-10-15..2026-11-15`. An end that does not exist is left out.
    pub fn label(self, zone: &Zone) -> String {
        if self.start == Timestamp::MIN || self.end == Timestamp::MAX {
            let side = |at: Timestamp, none| if at == none { String::new() } else { instant(at, zone) };
            return format!("{}..{}", side(self.start, Timestamp::MIN), side(self.end, Timestamp::MAX));
        }
        let (start, end) = (civil_at(self.start, zone), civil_at(self.end, zone));
        if let Some(name) = calendar_name(start, end) {
            return name;
        }
        if self.end.since(self.start) == NANOS_PER_HOUR && start.minute() == 0 && start.second() == 0 {
            return instant(self.start, zone);
        }
        format!("{}..{}", instant(self.start, zone), instant(self.end, zone))
    }
}

/// Returns the name of a period that is a whole unit of the calendar.
fn calendar_name(start: DateTime, end: DateTime) -> Option<String> {
    let is_from_midnight = start.time() == Time::midnight() && end.time() == Time::midnight();
    let is_span = |span: Span| start.checked_add(span).is_ok_and(|ends| ends == end);
    let (year, month, day) = (start.year(), start.month(), start.day());
    match is_from_midnight {
        true if month == 1 && day == 1 && is_span(Span::new().years(1)) => Some(format!("{year:04}")),
        true if month % 3 == 1 && day == 1 && is_span(Span::new().months(3)) => Some(format!("{year:04}-Q{}", month / 3 + 1)),
        true if day == 1 && is_span(Span::new().months(1)) => Some(format!("{year:04}-{month:02}")),
        true if is_span(Span::new().days(1)) => Some(start.date().to_string()),
        _ => None,
    }
}

/// Returns the local date of a midnight; of any other instant the local time with its offset.
fn instant(at: Timestamp, zone: &Zone) -> String {
    let civil = civil_at(at, zone);
    if civil.time() == Time::midnight() {
        return civil.date().to_string();
    }
    let offset: tz::Offset = zone.jiff().to_offset(at.to_jiff());
    let seconds = offset.seconds();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    let time = match civil.second() {
        0 => format!("{:02}:{:02}", civil.hour(), civil.minute()),
        second => format!("{:02}:{:02}:{second:02}", civil.hour(), civil.minute()),
    };
    format!("{}T{time}{sign}{:02}:{:02}", civil.date(), minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Anchor, Every, Schedule, Unit};

    #[test]
    fn a_period_has_the_name_of_its_calendar_unit() {
        let at = |text: &str| Timestamp::parse_rfc3339(text.as_bytes()).unwrap();
        for (schedule, zone, instant, label) in [
            ("monthly", "Europe/Oslo", "2026-10-31T22:59:59Z", "2026-10"),
            ("monthly", "Europe/Oslo", "2026-10-31T23:00:00Z", "2026-11"),
            ("yearly", "Asia/Kolkata", "2026-10-31T23:00:00Z", "2026"),
            ("quarterly", "Etc/UTC", "2026-10-31T23:00:00Z", "2026-Q4"),
            ("daily", "Europe/Oslo", "2026-10-25T12:00:00Z", "2026-10-25"),
            ("hourly", "Europe/Oslo", "2026-10-24T23:30:00Z", "2026-10-25T01:00+02:00"),
            // The hour that the clock shows twice is one period.
            ("hourly", "Europe/Oslo", "2026-10-25T00:30:00Z", "2026-10-25T02:00+02:00..2026-10-25T03:00+01:00"),
            ("hourly", "-05:30", "2026-10-25T01:45:00Z", "2026-10-24T20:00-05:30"),
            ("weekly", "Etc/UTC", "2026-10-31T23:00:00Z", "2026-10-26..2026-11-02"),
            ("never", "Etc/UTC", "2026-10-31T23:00:00Z", ".."),
        ] {
            let zone = Zone::named(zone).unwrap();
            let period = Schedule::named(schedule).unwrap().period_at(&zone, at(instant));
            assert_eq!(period.label(&zone), label, "{schedule} {instant}");
        }
        let every = |unit, anchor: Anchor| Schedule::Every(Every::new(unit, 1, &anchor).unwrap());
        for (schedule, zone, instant, label) in [
            (
                every(Unit::Month, Anchor { day: Some(15), ..Anchor::default() }),
                "Etc/UTC",
                "2026-10-31T23:00:00Z",
                "2026-10-15..2026-11-15",
            ),
            (
                every(Unit::Day, Anchor { time: Some((6, 0)), ..Anchor::default() }),
                "Europe/Oslo",
                "2026-10-25T12:00:00Z",
                "2026-10-25T06:00+01:00..2026-10-26T06:00+01:00",
            ),
        ] {
            let zone = Zone::named(zone).unwrap();
            assert_eq!(schedule.period_at(&zone, at(instant)).label(&zone), label);
        }
        let open = Period { start: at("2026-10-01T00:00:00Z"), end: Timestamp::MAX };
        assert_eq!(open.label(&Zone::utc()), "2026-10-01..");
    }
}
