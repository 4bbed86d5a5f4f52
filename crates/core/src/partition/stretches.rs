//! The time that a meter has flushed: stretches of periods, each flushed once.
//!
//! Nearly every meter has one stretch, which grows at its end. A meter that grew backwards, or was
//! flushed ahead of its time, has another one in front. Where a meter of the same processor, type
//! and user was deleted before, its flushed stretches are kept beside them. No period of those is
//! flushed again; at their start and end a period begins and ends, whatever the schedule says, and
//! no level is carried over.
//!
//! Invariants: stretches do not overlap, those beside are in order, and the meter's own stretch
//! ends where its next period begins.

use super::Meter;
use super::meter::{Standing, Stretch};
use crate::schedule::Period;
use crate::time::Timestamp;

impl Meter {
    /// Returns the start of the period to flush next.
    #[inline]
    pub fn next(&self) -> Timestamp {
        self.flushed.end
    }

    /// Whether an instant is in a period that was flushed, by this meter or by a deleted one of the
    /// same key.
    #[inline]
    pub fn has_flushed(&self, at: Timestamp) -> bool {
        self.flushed.contains(at) || self.stretch_at(at).is_some()
    }

    /// Whether it has flushed any period itself.
    pub(super) fn has_flushed_any(&self) -> bool {
        self.flushed.start < self.flushed.end || self.stretches().iter().any(|beside| beside.standing == Standing::Own)
    }

    /// Returns the stretches beside the one that grows.
    pub fn stretches(&self) -> &[Stretch] {
        self.rare.as_ref().map_or(&[], |rare| rare.stretches.as_slice())
    }

    /// Returns the stretch, beside the growing one, that holds an instant.
    #[inline]
    pub(super) fn stretch_at(&self, at: Timestamp) -> Option<&Stretch> {
        self.rare.as_ref()?.stretches.iter().find(|beside| beside.period.contains(at))
    }

    /// Limits a period that the schedule gives for an instant, so that it neither overlaps
    /// stretches without the instant nor leaves the one with it.
    #[inline]
    pub(super) fn fit(&self, period: Period, at: Timestamp) -> Period {
        match self.stretches() {
            [] => period,
            beside => beside.iter().fold(period, |period, beside| fit(period, beside.period, at)),
        }
    }

    /// Whether a meter of the same key ended or began between two instants, so that no level is
    /// carried over.
    pub(super) fn breaks_within(&self, from: Timestamp, to: Timestamp) -> bool {
        let inside = |at: Timestamp| from <= at && at <= to;
        let former = self.stretches().iter().filter(|beside| beside.standing != Standing::Own);
        former.into_iter().any(|beside| inside(beside.period.start) || inside(beside.period.end))
    }

    /// Notes that a period was flushed, in order or ahead of time.
    pub(super) fn note_flushed(&mut self, period: Period) {
        if period.start != self.flushed.end {
            return self.put_beside(period, Standing::Own);
        }
        self.flushed.end = period.end;
        self.step_over();
    }

    /// Notes that everything up to an instant was flushed, except what was flushed before.
    pub(super) fn note_flushed_until(&mut self, target: Timestamp) {
        while self.flushed.end < target {
            let start = self.flushed.end;
            let ahead = self.stretches().iter().map(|beside| beside.period.start).filter(|ahead| *ahead > start);
            self.note_flushed(Period { start, end: ahead.fold(target, Timestamp::min) });
        }
    }

    /// Sets the start of the next period to an earlier instant than the flushed ones.
    pub(super) fn begin_at(&mut self, start: Timestamp) {
        self.set_growing_aside();
        self.flushed = Period { start, end: start };
    }

    /// Continues after stretches that were flushed there before. It merges the meter's own with the
    /// growing one; after another meter's stretch it starts a new one.
    pub(super) fn step_over(&mut self) {
        while let Some(Stretch { period, standing }) = self.stretch_at(self.flushed.end).copied() {
            match standing {
                Standing::Own => {
                    self.flushed.end = period.end;
                    if let Some(rare) = &mut self.rare {
                        rare.stretches.retain(|beside| beside.period != period);
                    }
                }
                Standing::Former | Standing::Closed => {
                    self.set_growing_aside();
                    self.flushed = Period { start: period.end, end: period.end };
                }
            }
        }
    }

    /// Marks all its stretches as those of a deleted meter. Adjacent stretches that can no longer
    /// be amended are merged.
    pub(super) fn end_stretches(&mut self, amendable_from: Timestamp) {
        self.set_growing_aside();
        let Some(rare) = &mut self.rare else { return };
        for beside in &mut rare.stretches {
            if beside.standing == Standing::Own {
                beside.standing = Standing::Former;
            }
            if beside.period.end < amendable_from {
                beside.standing = Standing::Closed;
            }
        }
        merge_closed(&mut rare.stretches);
        let end = rare.stretches.last().map_or(self.created_at, |last| last.period.end);
        self.flushed = Period { start: end, end };
    }

    fn set_growing_aside(&mut self) {
        if self.flushed.start < self.flushed.end {
            let own = self.flushed;
            self.flushed.start = own.end;
            self.put_beside(own, Standing::Own);
        }
    }

    fn put_beside(&mut self, period: Period, standing: Standing) {
        let stretches = &mut self.rare.get_or_insert_default().stretches;
        let place = stretches.partition_point(|beside| beside.period.start < period.start);
        stretches.insert(place, Stretch { period, standing });
    }
}

fn fit(period: Period, beside: Period, at: Timestamp) -> Period {
    let Period { start, end } = period;
    if beside.contains(at) {
        Period { start: start.max(beside.start), end: end.min(beside.end) }
    } else if beside.end <= at {
        Period { start: start.max(beside.end), end }
    } else {
        Period { start, end: end.min(beside.start) }
    }
}

/// Merges adjacent stretches that can no longer be amended.
pub(super) fn merge_closed(stretches: &mut Vec<Stretch>) {
    stretches.dedup_by(|later, earlier| {
        let closed = later.standing == Standing::Closed && earlier.standing == Standing::Closed;
        let merge = closed && earlier.period.end == later.period.start;
        if merge {
            earlier.period.end = later.period.end;
        }
        merge
    });
}

#[cfg(test)]
mod tests {
    use super::super::{Birth, Periods};
    use super::*;

    fn at(n: i64) -> Timestamp {
        Timestamp::from_nanos(n)
    }

    fn period(start: i64, end: i64) -> Period {
        Period { start: at(start), end: at(end) }
    }

    /// Returns a meter whose first period begins at an instant.
    fn meter(first: i64) -> Meter {
        Meter {
            user: b"u"[..].into(),
            processor: 0,
            meter_type: 0,
            calendar: 0,
            birth: Birth::ByEvent,
            delete_on_reset: false,
            created_at: at(first),
            flushed: period(first, first),
            due: Timestamp::MAX,
            periods: Periods::default(),
            changed_at: Timestamp::MIN,
            rare: None,
        }
    }

    /// Flushes periods of ten units in order.
    fn flush(meter: &mut Meter, times: usize) {
        for _ in 0..times {
            let next = meter.next();
            meter.note_flushed(Period { start: next, end: at(next.nanos() + 10) });
        }
    }

    #[test]
    fn a_meter_that_grew_backwards_goes_on_behind_what_it_flushed() {
        let mut meter = meter(100);
        flush(&mut meter, 3);
        meter.begin_at(at(50));
        flush(&mut meter, 2);
        meter.begin_at(at(30));
        assert!(meter.has_flushed(at(69)) && !meter.has_flushed(at(70)) && meter.has_flushed(at(129)));
        flush(&mut meter, 2);
        assert_eq!(meter.next(), at(70), "the first gap is closed");
        flush(&mut meter, 3);
        assert_eq!((meter.flushed, meter.stretches().len()), (period(30, 130), 0));
    }

    #[test]
    fn periods_flushed_ahead_are_not_flushed_again() {
        let mut meter = meter(0);
        flush(&mut meter, 1);
        meter.note_flushed(period(30, 40));
        assert!(meter.has_flushed(at(35)) && !meter.has_flushed(at(25)));
        flush(&mut meter, 2);
        assert_eq!(meter.flushed, period(0, 40));
    }

    #[test]
    fn a_meter_that_takes_the_place_of_another_leaves_its_periods_out() {
        let mut meter = meter(20);
        flush(&mut meter, 2);
        meter.end_stretches(Timestamp::MIN);
        meter.begin_at(at(0));
        assert_eq!(meter.fit(period(10, 30), at(15)), period(10, 20), "up to it");
        assert_eq!(meter.fit(period(10, 30), at(25)), period(20, 30), "inside");
        assert_eq!(meter.fit(period(30, 60), at(45)), period(40, 60), "behind");
        flush(&mut meter, 2);
        assert_eq!((meter.next(), meter.has_flushed(at(45))), (at(40), false));
        flush(&mut meter, 1);
        assert_eq!(meter.flushed, period(40, 50));
        assert!(
            meter.breaks_within(at(20), at(20)) && meter.breaks_within(at(35), at(40)) && !meter.breaks_within(at(21), at(39))
        );
        meter.end_stretches(at(50));
        let closed: Vec<_> = meter.stretches().iter().map(|beside| (beside.period, beside.standing)).collect();
        assert_eq!(closed, [(period(0, 40), Standing::Closed), (period(40, 50), Standing::Former)]);
    }

    #[test]
    fn steps_over_empty_periods_stop_at_other_stretches() {
        let mut meter = meter(20);
        flush(&mut meter, 1);
        meter.end_stretches(Timestamp::MIN);
        meter.begin_at(at(0));
        meter.note_flushed_until(at(70));
        assert_eq!((meter.flushed, meter.has_flushed(at(10)), meter.has_flushed(at(70))), (period(30, 70), true, false));
    }
}
