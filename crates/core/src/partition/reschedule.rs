//! Meter types whose reset schedule or time zone changed.
//!
//! A change takes effect for a meter after its current period
//! (`docs/decisions/0015-schedules-in-eras.md`). The period that holds the instant ends as before;
//! the next one runs from there to the first boundary of the new schedule. Older periods stay as
//! they were, for late events and their corrections. So every meter refers to the calendar of its
//! periods; meters of a type with the same changes share one.

use super::{Birth, Identities, Meter, MeterIx, MeterKey, Meters, Partition, Standing};
use crate::plan::Plan;
use crate::schedule::{Calendar, Era, Period};
use crate::time::Timestamp;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Makes meters follow the schedules of the plan from their next period on.
    pub(super) fn reschedule(&mut self, at: Timestamp) {
        let meters: Vec<MeterIx> = self.meters.all().map(|(ix, _)| ix).collect();
        for ix in meters {
            let meter = self.meters.get(ix);
            let kind = self.kind(meter);
            let calendar = &self.calendars[usize::from(meter.calendar)];
            // A zone of its own stays.
            let zone = if kind.zone_from.is_some() { &calendar.last_era().zone } else { &kind.zone };
            if calendar.last_era().resets_like(&kind.schedule, zone) {
                continue;
            }
            let zone = zone.clone();
            let from = self.changes_at(meter, at);
            let next = match from {
                None => Calendar::new(kind.schedule.clone(), zone),
                // A period without an end never changes its schedule.
                Some(Timestamp::MAX) => continue,
                Some(from) => calendar.followed_by(Era { from, schedule: kind.schedule.clone(), zone }),
            };
            if let Some(next) = self.calendar(next) {
                self.meters.get_mut(ix).calendar = next;
                self.cut_anew(ix, from);
                self.schedule_next(ix);
            }
        }
    }

    /// Moves a period to the new schedule if it has not begun and has no data but handed-over
    /// values: its start stays, its end changes.
    fn cut_anew(&mut self, ix: MeterIx, from: Option<Timestamp>) {
        let Some(from) = from else { return };
        let Ok(place) = self.meters.get(ix).periods.place(from) else { return };
        let calendar = usize::from(self.meters.get(ix).calendar);
        let period = self.calendars[calendar].compute(from);
        self.meters.get_mut(ix).periods[place].period = period;
    }

    /// Returns the end of the current period of a meter: after the instant, and after every period
    /// that it holds or has flushed. `None` if it has not begun yet, or if nothing of it remains
    /// that could change.
    fn changes_at(&self, meter: &Meter, at: Timestamp) -> Option<Timestamp> {
        let held = meter.periods.iter().filter(|held| held.period.start <= at || held.events > 0 || held.sent().is_some());
        let held = held.map(|held| held.period.end);
        let flushed = meter.stretches().iter().map(|stretch| stretch.period.end);
        let growing = meter.has_flushed_any().then_some(meter.flushed.end);
        let reached = held.chain(flushed).chain(growing).max();
        let is_stone = !meter.is_alive() && meter.stretches().iter().all(|stretch| stretch.standing == Standing::Closed);
        if is_stone || (reached.is_none() && meter.next() > at) {
            return None;
        }
        // A deleted meter has no current period.
        let current = (meter.birth != Birth::Gone).then(|| self.calendars[usize::from(meter.calendar)].compute(at).end);
        reached.into_iter().chain(current).max()
    }

    /// Returns the calendar of a meter, a deleted one included.
    pub fn calendar_of(&self, user: &[u8], processor: u16, meter_type: u16) -> Option<&Calendar> {
        let ix = self.meters.find(&MeterKey::new(user, Plan::user_hash(user), processor, meter_type))?;
        self.calendars.get(usize::from(self.meters.get(ix).calendar))
    }

    /// Sets the calendar of future meters of a type, to recount data that was counted under another
    /// schedule or in the zone of its meter.
    pub fn begin_with(&mut self, meter_type: u16, calendar: Calendar) {
        if let Some(known) = self.calendars.get_mut(usize::from(meter_type)) {
            *known = calendar;
            self.begun_with.push(meter_type);
        }
    }

    /// Returns the number of a calendar, new or known. `None` beyond 65,535; that would take meters
    /// whose events are in as many periods of the future.
    pub(super) fn calendar(&mut self, calendar: Calendar) -> Option<u16> {
        let known = self.calendars.iter().position(|known| known.is(&calendar));
        let at = known.unwrap_or_else(|| {
            self.calendars.push(calendar);
            self.calendars.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Returns the period of a meter that holds an instant.
    #[inline]
    pub(super) fn period_of(&mut self, ix: MeterIx, at: Timestamp) -> Period {
        let meter = self.meters.get(ix);
        let period = meter.fit(self.calendars[usize::from(meter.calendar)].period_at(at), at);
        match meter.birth {
            Birth::Declared if meter.stretch_at(at).is_none() => Period { start: period.start.max(meter.created_at), ..period },
            _ => period,
        }
    }
}
