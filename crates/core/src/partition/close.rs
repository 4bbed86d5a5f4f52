//! Closing: periods that ended become records; corrections become revisions.
//!
//! Meters wait in the order of their due instants. One step flushes one period of one meter and
//! schedules the meter for its next one, so records leave in the order of their period ends and,
//! within one end, of their users.

use super::ahead::{self, AHEAD};
use super::gone::amendable_for;
use super::{Effects, Identities, Meter, MeterIx, Meters, OpenPeriod, Partition, RecordKey, Sent};
use crate::aggregation::{Aggregate, Aggregation};
use crate::decimal::{Quotient, Resting};
use crate::limits::AMEND_SETTLE;
use crate::meter_type::MeterType;
use crate::plan::Plan;
use crate::record::{Crossing, Record, Revision};
use crate::schedule::Period;
use crate::time::Timestamp;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Flushes everything that is due by `at`.
    pub(super) fn tick(&mut self, at: Timestamp, effects: &mut impl Effects) {
        for (horizon, kind) in self.horizons.iter_mut().zip(&self.plan.meter_types) {
            horizon.come_to(at, kind);
        }
        while let Some(entry) = self.due.first_entry()
            && *entry.key() <= at
        {
            let (due, mut meters) = entry.remove_entry();
            // Entries of meters that are gone, or that are now due at another time, are void.
            meters.retain(|ix| self.meters.peek(*ix).is_some_and(|meter| meter.due == due));
            self.sort(&mut meters);
            meters.dedup();
            for chunk in meters.chunks(AHEAD) {
                ahead::fetch_due(&self.meters, chunk);
                for &ix in chunk {
                    self.settle(ix, due, at, effects);
                }
            }
        }
    }

    /// Sends the revisions of all corrections, without waiting for more of them. No period is flushed.
    pub(super) fn revise(&mut self, at: Timestamp, effects: &mut impl Effects) {
        let until = at.saturating_add(AMEND_SETTLE);
        let mut meters: Vec<MeterIx> = self.due.range(..=until).flat_map(|(_, meters)| meters).copied().collect();
        meters.retain(|ix| self.meters.peek(*ix).is_some_and(|meter| meter.due <= until));
        self.sort(&mut meters);
        meters.dedup();
        for ix in meters {
            self.amend(ix, until, effects);
            if self.meters.get(ix).is_alive() {
                self.meters.get_mut(ix).due = Timestamp::MAX;
                self.schedule_next(ix);
            }
        }
    }

    /// Flushes what is due of a meter and schedules it again.
    fn settle(&mut self, ix: MeterIx, due: Timestamp, at: Timestamp, effects: &mut impl Effects) {
        // It is not scheduled now, so it can be scheduled even for the same instant.
        self.meters.get_mut(ix).due = Timestamp::MAX;
        self.amend(ix, due, effects);
        if !self.meters.get(ix).is_alive() {
            return self.settle_gone(ix, due);
        }
        self.skip_empty(ix, at);
        let period = self.next_period(ix);
        let grace = self.kind(self.meters.get(ix)).late.grace;
        if period.end != Timestamp::MAX && period.end.saturating_add(grace) <= due {
            self.flush(ix, period, due, effects);
            // Closing a gap may correct the periods after it.
            self.amend(ix, due, effects);
            if self.meters.get(ix).delete_on_reset {
                return self.delete(ix, effects);
            }
        }
        self.forget_closed(ix, due);
        self.schedule_next(ix);
    }

    /// Where empty periods are not flushed, skips those that ended by `at` in one step.
    fn skip_empty(&mut self, ix: MeterIx, at: Timestamp) {
        let meter = self.meters.get(ix);
        let kind = self.kind(meter);
        if kind.flush_empty || kind.aggregation.carries_over() {
            return;
        }
        let grace = kind.late.grace;
        let open = self.period_of(ix, at.saturating_sub(grace)).start;
        let meter = self.meters.get_mut(ix);
        let next = meter.next();
        let ahead = meter.periods.iter().rev().take_while(|held| held.period.start >= next);
        let held = ahead.filter(|held| held.sent().is_none()).map(|held| held.period.start);
        let target = held.fold(open, Timestamp::min);
        meter.note_flushed_until(target);
    }

    /// Flushes the open periods: every one that began by `at`, and later ones that have events.
    pub(super) fn flush_open(&mut self, at: Timestamp, effects: &mut impl Effects) {
        let mut open = Vec::new();
        let mut meters: Vec<MeterIx> = self.meters.all().map(|(ix, _)| ix).collect();
        self.sort(&mut meters);
        for ix in meters {
            self.amend(ix, Timestamp::MAX, effects);
            if !self.meters.get(ix).is_alive() {
                continue;
            }
            self.skip_empty(ix, at);
            let mut period = self.next_period(ix);
            while period.start <= at {
                open.push((period, ix));
                if period.end == Timestamp::MAX {
                    break;
                }
                period = self.period_behind(ix, period.end);
            }
            // The period behind one that was flushed may hold nothing but what it began with.
            let held = self.meters.get(ix).periods.iter().filter(|held| held.sent().is_none() && held.events > 0);
            let later = held.map(|held| held.period);
            open.extend(later.filter(|later| later.start >= period.start && later.start > at).map(|later| (later, ix)));
        }
        let order = |(period, ix): &(Period, MeterIx)| {
            let meter = self.meters.get(*ix);
            (period.end, &*meter.user, meter.meter_type, meter.processor)
        };
        open.sort_by(|a, b| order(a).cmp(&order(b)));
        for (period, ix) in open {
            self.flush(ix, period, period.end, effects);
            self.schedule_next(ix);
        }
        self.delete_flushed(effects);
    }

    fn delete_flushed(&mut self, effects: &mut impl Effects) {
        let goes = |meter: &Meter| meter.is_alive() && meter.delete_on_reset && meter.has_flushed_any();
        let gone = self.meters.all().filter(|(_, meter)| goes(meter));
        for ix in gone.map(|(ix, _)| ix).collect::<Vec<_>>() {
            self.delete(ix, effects);
        }
    }

    /// Makes the record of a period and notes that it was made.
    fn flush(&mut self, ix: MeterIx, period: Period, due: Timestamp, effects: &mut impl Effects) {
        let plan = std::sync::Arc::clone(&self.plan);
        let meter = self.meters.get_mut(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let place = meter.periods.place(period.start);
        if let Ok(place) = place {
            meter.changed_at = meter.changed_at.max(meter.periods[place].last_at);
        }
        let updated_at = meter.updated_at();
        let empty;
        let held = match place {
            Ok(place) => &self.meters.get(ix).periods[place],
            Err(_) => {
                empty = OpenPeriod::new(period, Aggregate::initial(kind.aggregation));
                &empty
            }
        };
        let wanted = held.events > 0 || (kind.flush_empty && period.start < kind.active_to);
        let revision = wanted.then_some(0);
        let value = held.amount.total.value(kind.aggregation, period);
        if wanted {
            let meter = self.meters.get(ix);
            let revision = Revision { number: 0, delta: None, updated_at };
            self.emit(&plan, meter, held, revision, due, effects);
        }
        let meter = self.meters.get_mut(ix);
        if let Ok(place) = place {
            meter.periods[place].set_sent(Some(Sent { revision, value: value.map(Resting::from), updated_at, amend_at: None }));
        }
        meter.note_flushed(period);
        if kind.aggregation.carries_over() && self.hand_over(ix, period, kind) {
            self.amend_follower(ix, period, due);
        }
    }

    /// Sends revisions of the periods whose corrections have settled.
    fn amend(&mut self, ix: MeterIx, due: Timestamp, effects: &mut impl Effects) {
        if self.meters.get(ix).periods.amends_from().is_none_or(|from| from > due) {
            return;
        }
        let settled = |held: &OpenPeriod| held.sent().is_some_and(|sent| sent.amend_at.is_some_and(|at| at <= due));
        let mut from = 0;
        while let Some(place) = self.meters.get(ix).periods.next_such(from, settled) {
            self.amend_one(ix, place, due, effects);
            from = place + 1;
        }
        self.meters.get_mut(ix).periods.update_amends();
    }

    fn amend_one(&mut self, ix: MeterIx, place: usize, due: Timestamp, effects: &mut impl Effects) {
        let plan = std::sync::Arc::clone(&self.plan);
        let meter = self.meters.get(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let held = &meter.periods[place];
        let Some(sent) = held.sent() else { return };
        let value = held.amount.total.value(kind.aggregation, held.period);
        let delta = match (value, sent.value.as_ref().map(Quotient::from)) {
            (Some(value), Some(before)) => Some(value.minus(before)),
            (value, _) => value,
        };
        let updated_at = sent.updated_at.max(held.last_at);
        let number = sent.revision.map_or(0, |before| before + 1);
        let delta = sent.revision.and(delta);
        // Revisions on demand are sorted first, whenever they would have been due.
        let due = if due == Timestamp::MAX { Timestamp::MIN } else { sent.amend_at.unwrap_or(due) };
        self.emit(&plan, meter, held, Revision { number, delta, updated_at }, due, effects);
        let period = held.period;
        let meter = self.meters.get_mut(ix);
        let revised = Sent { revision: Some(number), value: value.map(Resting::from), updated_at, amend_at: None };
        meter.periods[place].set_sent(Some(revised));
        meter.changed_at = meter.changed_at.max(updated_at);
        if kind.aggregation.carries_over() && self.hand_over(ix, period, kind) {
            self.amend_follower(ix, period, due);
        }
    }

    fn emit(
        &self,
        plan: &Plan,
        meter: &Meter,
        held: &OpenPeriod,
        revision: Revision,
        due: Timestamp,
        effects: &mut impl Effects,
    ) {
        let record = self.record(plan, meter, held, revision, None);
        effects.record(record_key(meter, held.period, revision.number, due), &record);
    }

    /// Returns a record, or a partial one.
    pub(super) fn record<'r>(
        &'r self,
        plan: &'r Plan,
        meter: &'r Meter,
        held: &'r OpenPeriod,
        revision: Revision,
        crossing: Option<Crossing<'r>>,
    ) -> Record<'r> {
        let calendar = &self.calendars[usize::from(meter.calendar)];
        let zone = &calendar.era_at(held.period.start).zone;
        Record { plan, symbols: &self.symbols, meter, zone, held, revision, crossing }
    }

    /// Appends a meter as it is at an instant: the record that its ongoing period would make.
    pub fn show(&self, meter: &Meter, at: Timestamp, out: &mut Vec<u8>) {
        let kind = self.kind(meter);
        let at = at.max(meter.next());
        let ongoing = meter.fit(self.calendars[usize::from(meter.calendar)].compute(at), at);
        let start = ongoing.start.max(meter.created_at);
        let empty;
        let held = match meter.periods.place(start) {
            Ok(place) => &meter.periods[place],
            // The ongoing period has no events, or only a later one has.
            Err(_) => match meter.periods.last().filter(|last| last.sent().is_none()) {
                Some(last) => last,
                None => {
                    empty = OpenPeriod::new(Period { start, ..ongoing }, Aggregate::initial(kind.aggregation));
                    &empty
                }
            },
        };
        let number = held.sent().and_then(|sent| sent.revision).unwrap_or(0);
        let updated_at = meter.updated_at().max(held.last_at);
        let revision = Revision { number, delta: None, updated_at };
        self.record(&self.plan, meter, held, revision, None).write_to(out);
    }

    /// Marks a flushed period as changed. Its revision is sent once the corrections have settled.
    pub(super) fn amend_later(&mut self, ix: MeterIx, place: usize, at: Timestamp, aggregation: Aggregation) {
        let meter = self.meters.get_mut(ix);
        if meter.periods.amend(place, at.saturating_add(AMEND_SETTLE)) {
            self.schedule_next(ix);
        }
        if aggregation.carries_over() {
            let plan = std::sync::Arc::clone(&self.plan);
            let kind = &plan.meter_types[usize::from(self.meters.get(ix).meter_type)];
            self.open_from_before(ix, place, kind);
        }
    }

    /// Hands the closing values of a period over to the next one. Returns whether that changes a
    /// period that was already flushed.
    fn hand_over(&mut self, ix: MeterIx, period: Period, kind: &MeterType) -> bool {
        // Values are not handed over from one meter to another.
        if period.end == Timestamp::MAX || self.meters.get(ix).breaks_within(period.end, period.end) {
            return false;
        }
        let follower = self.period_of(ix, period.end);
        let meter = self.meters.get_mut(ix);
        let horizon = self.horizons[usize::from(meter.meter_type)];
        let Ok(place) = meter.periods.place(period.start) else { return false };
        let next = match meter.periods.place(follower.start) {
            Ok(next) => next,
            // It may have been removed with its revisions, whose numbers are then unknown.
            Err(_) if meter.has_flushed(follower.start) && follower.end < horizon.amendable_from => return false,
            Err(next) => {
                let mut fresh = OpenPeriod::new(follower, Aggregate::initial(kind.aggregation));
                fresh.set_sent(horizon.sent_empty(meter, kind, follower));
                meter.periods.insert(next, fresh);
                next
            }
        };
        self.open_from(ix, place, next, kind)
    }

    /// Opens a period that has its first event with the closing values of the previous one.
    pub(super) fn open_from_before(&mut self, ix: MeterIx, place: usize, kind: &MeterType) {
        let Some(before) = place.checked_sub(1) else { return };
        let meter = self.meters.get(ix);
        let (held, opened) = (&meter.periods[before], &meter.periods[place]);
        if held.sent().is_some() && !meter.breaks_within(held.period.end, opened.period.start) {
            self.open_from(ix, before, place, kind);
        }
    }

    fn open_from(&mut self, ix: MeterIx, from: usize, to: usize, kind: &MeterType) -> bool {
        let Some((before, after)) = self.meters.get_mut(ix).periods.pair_mut(from, to) else { return false };
        let (before, after) = (&before.amount, &mut after.amount);
        let news = after.total.open_with(&before.total.closing(kind.aggregation));
        after.groups.open_with(&before.groups, kind.aggregation, kind.group_limit) | news
    }

    /// Amends the period after an amended one, if it was flushed.
    fn amend_follower(&mut self, ix: MeterIx, period: Period, due: Timestamp) {
        let meter = self.meters.get_mut(ix);
        let Ok(place) = meter.periods.place(period.end) else { return };
        meter.periods.amend(place, due);
    }

    /// Removes periods that may no longer be amended.
    pub(super) fn forget_closed(&mut self, ix: MeterIx, at: Timestamp) {
        let plan = std::sync::Arc::clone(&self.plan);
        let meter = self.meters.get_mut(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let within = amendable_for(kind);
        if meter.periods.iter().next().is_none_or(|first| first.period.end.saturating_add(within) >= at) {
            return;
        }
        let (before, alive) = (meter.next(), meter.is_alive());
        meter.periods.retain(|held| {
            let settled = held.sent().is_some_and(|sent| sent.amend_at.is_none());
            // Aggregations that carry over need the previous period as long as the next one is
            // open.
            let needed = alive && kind.aggregation.carries_over() && held.period.end >= before;
            !settled || needed || held.period.end.saturating_add(within) >= at
        });
    }

    /// Schedules a meter for its next due instant.
    pub(super) fn schedule_next(&mut self, ix: MeterIx) {
        let amends = self.meters.get(ix).periods.amends_from();
        let due = match (self.meters.get(ix).is_alive(), amends) {
            (true, amends) => self.flush_due(ix).min(amends.unwrap_or(Timestamp::MAX)),
            (false, Some(amends)) => amends,
            (false, None) => self.remembered_until(self.meters.get(ix)),
        };
        if due == self.meters.get(ix).due {
            return;
        }
        self.meters.get_mut(ix).due = due;
        if due != Timestamp::MAX {
            self.due.entry(due).or_default().push(ix);
        }
    }

    /// Returns the instant at which the next period of a meter is to be flushed.
    fn flush_due(&mut self, ix: MeterIx) -> Timestamp {
        let period = self.next_period(ix);
        let meter = self.meters.get(ix);
        let kind = self.kind(meter);
        // After the end of its type, a meter waits only for periods that it still holds.
        let over = period.start >= kind.active_to && meter.periods.last().is_none_or(|last| last.period.start < period.start);
        let nothing = !kind.flush_empty && !meter.periods.iter().rev().any(|held| held.sent().is_none());
        match period.end {
            Timestamp::MAX => Timestamp::MAX,
            _ if over || nothing => Timestamp::MAX,
            end => end.saturating_add(kind.late.grace),
        }
    }

    /// Returns the period that a meter flushes next.
    fn next_period(&mut self, ix: MeterIx) -> Period {
        let next = self.meters.get(ix).next();
        Period { start: next, ..self.period_of(ix, next) }
    }

    /// Returns the first period from an instant on that is not flushed.
    fn period_behind(&mut self, ix: MeterIx, from: Timestamp) -> Period {
        let meter = self.meters.get(ix);
        let mut start = from;
        while let Some(stretch) = meter.stretch_at(start) {
            start = stretch.period.end;
        }
        Period { start, ..self.period_of(ix, start) }
    }

    pub(super) fn kind(&self, meter: &Meter) -> &MeterType {
        &self.plan.meter_types[usize::from(meter.meter_type)]
    }
}

pub(super) fn record_key(meter: &Meter, period: Period, revision: u32, due: Timestamp) -> RecordKey<'_> {
    RecordKey { due, user: &meter.user, meter_type: meter.meter_type, processor: meter.processor, period, revision }
}
