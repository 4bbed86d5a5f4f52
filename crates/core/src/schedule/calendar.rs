//! A schedule in a zone, with a cache of its periods.
//!
//! Periods are computed with the calendar once and then found by comparing integers. A run of
//! events near each other costs one comparison, any other lookup a binary search.
//!
//! A changed schedule is valid from an instant on, which is a boundary of the previous one. So a
//! calendar is a sequence of eras, and no period extends beyond its era.

use std::sync::Arc;

use super::{Period, Schedule};
use crate::image::{Glass, Pen, Seen};
use crate::time::{Timestamp, Zone};

/// Maximum of cached periods; beyond it, the cache is emptied (a schedule of hours over a century
/// fits).
const KEPT_MAX: usize = 1 << 20;

/// A schedule and its zone, from an instant on.
#[derive(Clone, Debug)]
pub struct Era {
    /// The first instant of the era.
    pub from: Timestamp,
    /// The schedule of the era.
    pub schedule: Arc<Schedule>,
    /// The time zone of the schedule.
    pub zone: Zone,
}

impl Era {
    /// Whether another schedule and zone are the same, whatever the start.
    pub fn resets_like(&self, schedule: &Schedule, zone: &Zone) -> bool {
        *self.schedule == *schedule && self.zone.name() == zone.name()
    }
}

/// The periods of a schedule, or of several in sequence. A pure function with a cache.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// The eras in order; never empty.
    eras: Vec<Era>,
    /// Sorted and disjoint; gaps are periods that were not requested yet.
    kept: Vec<Period>,
    last: usize,
}

impl Calendar {
    /// Creates a calendar with an empty cache.
    pub fn new(schedule: Arc<Schedule>, zone: Zone) -> Calendar {
        Calendar::of(vec![Era { from: Timestamp::MIN, schedule, zone }])
    }

    fn of(eras: Vec<Era>) -> Calendar {
        Calendar { eras, kept: Vec::new(), last: 0 }
    }

    /// Returns this calendar up to an instant, which must be a boundary, with another schedule from
    /// there on.
    pub fn followed_by(&self, next: Era) -> Calendar {
        let mut eras: Vec<Era> = self.eras.iter().filter(|era| era.from < next.from).cloned().collect();
        if !eras.last().is_some_and(|last| last.resets_like(&next.schedule, &next.zone)) {
            eras.push(next);
        }
        Calendar::of(eras)
    }

    /// Whether another calendar has the same eras.
    pub fn is(&self, other: &Calendar) -> bool {
        let same = |(a, b): (&Era, &Era)| a.from == b.from && a.resets_like(&b.schedule, &b.zone);
        self.eras.len() == other.eras.len() && self.eras.iter().zip(&other.eras).all(same)
    }

    /// Returns the era that holds an instant.
    pub fn era_at(&self, at: Timestamp) -> &Era {
        let after = self.eras.partition_point(|era| era.from <= at);
        &self.eras[after.saturating_sub(1)]
    }

    /// Returns the last era, which has no end.
    pub fn last_era(&self) -> &Era {
        &self.eras[self.eras.len() - 1]
    }

    /// Returns the period that holds an instant.
    #[inline]
    pub fn period_at(&mut self, at: Timestamp) -> Period {
        match self.kept.get(self.last) {
            Some(period) if period.contains(at) => *period,
            _ => self.search(at),
        }
    }

    /// Computes the period that holds an instant.
    pub fn compute(&self, at: Timestamp) -> Period {
        let after = self.eras.partition_point(|era| era.from <= at).max(1);
        let era = &self.eras[after - 1];
        let period = era.schedule.period_at(&era.zone, at);
        let until = self.eras.get(after).map_or(Timestamp::MAX, |next| next.from);
        Period { start: period.start.max(era.from), end: period.end.min(until) }
    }

    fn search(&mut self, at: Timestamp) -> Period {
        // The last instant ends every period and is in none: use the one before it.
        let at = at.min(Timestamp::MAX.saturating_sub(1));
        let after = self.kept.partition_point(|period| period.start <= at);
        if let Some(before) = after.checked_sub(1)
            && self.kept[before].contains(at)
        {
            self.last = before;
            return self.kept[before];
        }
        let period = self.compute(at);
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.last = self.kept.partition_point(|kept| kept.start <= at);
        self.kept.insert(self.last, period);
        period
    }

    /// Appends the eras to an image.
    pub(crate) fn write_to(&self, pen: &mut Pen) {
        pen.count(self.eras.len() as u64);
        for era in &self.eras {
            pen.time(era.from);
            era.schedule.write_to(pen);
            pen.text(era.zone.name().as_bytes());
        }
    }

    /// Reads a calendar from an image.
    pub(crate) fn read(glass: &mut Glass<'_>) -> Seen<Calendar> {
        let mut eras: Vec<Era> = Vec::new();
        for _ in 0..glass.length()? {
            let from = glass.time()?;
            let schedule = Arc::new(Schedule::read_image(glass)?);
            let Some(zone) = Zone::named(&glass.string()?) else { return glass.damaged() };
            let in_order = eras.last().map_or(from == Timestamp::MIN, |before| before.from < from);
            if !in_order {
                return glass.damaged();
            }
            eras.push(Era { from, schedule, zone });
        }
        if eras.is_empty() { glass.damaged() } else { Ok(Calendar::of(eras)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a failed test panics

    use super::*;
    use crate::schedule::{Anchor, Cron, CronFields, Every, Unit};

    fn era(from: &str, schedule: &str, zone: &str) -> Era {
        let schedule = Arc::new(Schedule::named(schedule).unwrap());
        Era { from: at(from), schedule, zone: Zone::named(zone).unwrap() }
    }

    fn at(text: &str) -> Timestamp {
        if text.is_empty() { Timestamp::MIN } else { Timestamp::parse_rfc3339(text.as_bytes()).unwrap() }
    }

    fn calendar(eras: &[(&str, &str, &str)]) -> Calendar {
        let mut eras = eras.iter().map(|(from, schedule, zone)| era(from, schedule, zone));
        let first = eras.next().unwrap();
        eras.fold(Calendar::new(first.schedule, first.zone), |calendar, era| calendar.followed_by(era))
    }

    #[test]
    fn periods_end_where_an_era_does_and_begin_there() {
        let monthly_then_weekly = [("", "monthly", "Etc/UTC"), ("2024-06-01T00:00:00Z", "weekly", "Etc/UTC")];
        let other_zone = [("", "daily", "Etc/UTC"), ("2024-06-02T00:00:00Z", "daily", "Asia/Kathmandu")];
        for (eras, instant, start, end) in [
            (monthly_then_weekly, "2024-05-31T23:59:59Z", "2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z"),
            // A Saturday: the first week of the new schedule is the rest of it.
            (monthly_then_weekly, "2024-06-01T00:00:00Z", "2024-06-01T00:00:00Z", "2024-06-03T00:00:00Z"),
            (monthly_then_weekly, "2024-06-03T00:00:00Z", "2024-06-03T00:00:00Z", "2024-06-10T00:00:00Z"),
            (other_zone, "2024-06-02T01:00:00Z", "2024-06-02T00:00:00Z", "2024-06-02T18:15:00Z"),
        ] {
            let mut calendar = calendar(&eras);
            let expected = Period { start: at(start), end: at(end) };
            assert_eq!(calendar.compute(at(instant)), expected, "{instant}");
            assert_eq!(calendar.period_at(at(instant)), expected, "{instant}, kept");
        }
    }

    #[test]
    fn a_change_that_is_reverted_in_time_has_no_effect() {
        let plain = calendar(&[("", "monthly", "Etc/UTC")]);
        let back = [("", "monthly", "Etc/UTC"), ("2024-06-01T00:00:00Z", "daily", "Etc/UTC")];
        let back = calendar(&back).followed_by(era("2024-06-01T00:00:00Z", "monthly", "Etc/UTC"));
        assert!(back.is(&plain) && !back.is(&calendar(&[("", "monthly", "Europe/Oslo")])));
    }

    #[test]
    fn an_image_comes_back_and_is_cut_nowhere() {
        let cron = ["*/5", "1-3", "L", "*", "MON"].map(str::to_owned);
        let [minute, hour, day, month, weekday] = cron;
        let cron = Cron::new(&CronFields { minute, hour, day, month, weekday }).unwrap();
        let every = |unit, count, anchor| Schedule::Every(Every::new(unit, count, &anchor).unwrap());
        let weekday = Some(jiff::civil::Weekday::Sunday);
        let sunday = Anchor { weekday, time: Some((10, 30)), ..Anchor::default() };
        let leap_day = Anchor { month: Some(2), day: Some(29), ..Anchor::default() };
        let eras = [
            ("2024-06-01T00:00:00Z", Schedule::Cron(Box::new(cron)), "Europe/Oslo"),
            ("2024-06-02T00:00:00Z", every(Unit::Week, 2, sunday), "Asia/Kathmandu"),
            ("2024-06-03T00:00:00Z", every(Unit::Year, 1, leap_day), "Etc/UTC"),
        ];
        let calendar = eras.into_iter().fold(calendar(&[("", "never", "+02:00")]), |calendar, (from, schedule, zone)| {
            calendar.followed_by(Era { from: at(from), schedule: Arc::new(schedule), zone: Zone::named(zone).unwrap() })
        });
        let mut pen = Pen::default();
        calendar.write_to(&mut pen);
        let mut glass = Glass::new(&pen.bytes);
        let read = Calendar::read(&mut glass).unwrap();
        assert!(glass.is_at_end() && read.is(&calendar));
        for instant in ["2024-05-01T00:00:00Z", "2024-06-01T12:00:00Z", "2024-06-02T12:00:00Z", "2025-06-01T12:00:00Z"] {
            assert_eq!(read.compute(at(instant)), calendar.compute(at(instant)));
        }
        for cut in 0..pen.bytes.len() {
            assert!(Calendar::read(&mut Glass::new(&pen.bytes[..cut])).is_err());
        }
    }
}
