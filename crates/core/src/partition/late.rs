//! Late events: the period an event counts in, and whether that is closed.
//!
//! In a server an event whose period ended longer than `grace` + `amendWithin` before it was
//! received is too late for every user alike, whether the user has a meter or not, so that no
//! verdict depends on how a history is cut into requests. A run over files has one instant for all
//! events; there only what an earlier run flushed is closed.

use super::count::Refusal;
use super::gone::amendable_for;
use super::meter::{Birth, Meter, Sent, Standing};
use super::{Identities, MeterIx, Meters, Partition};
use crate::aggregation::Aggregate;
use crate::decimal::Resting;
use crate::meter_type::{LatePolicy, MeterType};
use crate::mutant::{self, Mutant};
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// The past of the meters of a type, independent of the present plan, so that a change of the plan
/// does not make a record a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Horizon {
    /// Periods that ended before may have been removed. They are not amended, even if a later plan
    /// allows it.
    pub(super) amendable_from: Timestamp,
    /// Empty periods that began before may have been flushed.
    pub(super) empties_until: Timestamp,
}

impl Horizon {
    /// Creates the horizon of a type that has no meters yet.
    pub(super) fn of(kind: &MeterType) -> Horizon {
        Horizon { amendable_from: Timestamp::MIN, empties_until: Timestamp::MIN }.under(kind)
    }

    /// Returns the horizon under a plan with this meter type.
    pub(super) fn under(self, kind: &MeterType) -> Horizon {
        let empties = if kind.flush_empty { kind.active_to } else { Timestamp::MIN };
        Horizon { empties_until: self.empties_until.max(empties), ..self }
    }

    /// Advances the horizon to an instant.
    pub(super) fn come_to(&mut self, at: Timestamp, kind: &MeterType) {
        self.amendable_from = self.amendable_from.max(at.saturating_sub(amendable_for(kind)));
    }

    /// Returns what was sent of a period that a meter has no data of: nothing if it was not
    /// flushed, revision 0 if empty periods were flushed.
    pub(super) fn sent_empty(self, meter: &Meter, kind: &MeterType, period: Period) -> Option<Sent> {
        if !meter.has_flushed(period.start) {
            return None;
        }
        let value = Aggregate::initial(kind.aggregation).value(kind.aggregation, period);
        let revision = (period.start < self.empties_until).then_some(0);
        Some(Sent { revision, value: value.map(Resting::from), updated_at: meter.updated_at(), amend_at: None })
    }
}

/// Whether a period ended so long before an instant that no event received then may amend it.
fn is_forgotten(kind: &MeterType, period: Period, at: Timestamp) -> bool {
    let kept = i128::from(kind.late.grace) + i128::from(kind.late.amend_within);
    period.end != Timestamp::MAX && at.since(period.end) > kept && !mutant::is_put_back(Mutant::LateByFlush)
}

/// Whether an event of a period may be received at an instant, whether its user has a meter or not.
pub(super) fn is_in_time(kind: &MeterType, period: Period, at: Timestamp) -> bool {
    !is_forgotten(kind, period, at)
}

fn too_late(period: Period, why: &str) -> Refusal {
    Refusal::Park(Reason::TooLate, format!("the period until {} {why}", period.end))
}

/// The earliest period that events may open while a period lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    current: Period,
    oldest: Timestamp,
}

impl Opening {
    pub(super) fn holds(&self, at: Timestamp) -> bool {
        self.current.start <= at && at < self.current.end
    }

    /// Whether a period that holds an instant may certainly be opened.
    pub(super) fn surely_opens(&self, at: Timestamp) -> bool {
        self.oldest <= at
    }
}

/// Maximum of records without events that are counted for a message.
const COUNTED_MAX: usize = 10_000;

const FORGOTTEN: &str = "may no longer be amended";
const CLOSED: &str = "is flushed, and the meter type parks late events";

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Returns the period of an event that opens a meter.
    pub(super) fn place_new(
        &mut self,
        (meter_type, calendar): (u16, u16),
        kind: &MeterType,
        event_at: Timestamp,
        at: Timestamp,
    ) -> Result<(Period, bool), Refusal> {
        let period = self.calendars[usize::from(calendar)].period_at(event_at);
        if self.by_receipt && is_forgotten(kind, period, at) {
            return Err(too_late(period, FORGOTTEN));
        }
        self.check_empty((meter_type, calendar), kind, period, at)?;
        Ok((period, false))
    }

    /// Parks an event that would open more periods without events than its meter type allows.
    fn check_empty(&mut self, of: (u16, u16), kind: &MeterType, period: Period, at: Timestamp) -> Result<(), Refusal> {
        if !kind.flush_empty || period.start >= self.oldest_opening(of, kind, at) {
            return Ok(());
        }
        let calendar = &mut self.calendars[usize::from(of.1)];
        let (mut count, mut end) = (0, period.end);
        while end < at.min(kind.active_to) && count < COUNTED_MAX {
            end = calendar.period_at(end).end;
            count += 1;
        }
        let count = if count < COUNTED_MAX { count.to_string() } else { format!("more than {COUNTED_MAX}") };
        let detail = format!(
            "it would make {count} records without events, from {} on; `emptyPeriodsMax` of the meter type `{}` is {}, \
             and `flushEmpty: false` makes none",
            period.end, kind.name, kind.empty_periods_max
        );
        Err(Refusal::Park(Reason::TooOld, detail))
    }

    /// Returns the start of the earliest period that an event may open at an instant, of a meter
    /// type and a calendar.
    fn oldest_opening(&mut self, of: (u16, u16), kind: &MeterType, at: Timestamp) -> Timestamp {
        let at = at.min(kind.active_to);
        if let Some(known) = self.openings.get(&of).filter(|known| known.holds(at)) {
            return known.oldest;
        }
        let calendar = &mut self.calendars[usize::from(of.1)];
        let current = calendar.period_at(at);
        let mut oldest = current.start;
        for _ in 0..=kind.empty_periods_max {
            if oldest == Timestamp::MIN {
                break;
            }
            oldest = calendar.period_at(oldest.saturating_sub(1)).start;
        }
        self.openings.insert(of, Opening { current, oldest });
        oldest
    }

    /// Returns the period of a meter that an event counts in, and whether the event is late for its
    /// own.
    pub(super) fn place(
        &mut self,
        ix: MeterIx,
        kind: &MeterType,
        event_at: Timestamp,
        at: Timestamp,
    ) -> Result<(Period, bool), Refusal> {
        let period = self.period_of(ix, event_at);
        let meter = self.meters.get(ix);
        let former_standing = meter.stretch_at(event_at).map(|former| former.standing);
        if meter.birth == Birth::Declared && event_at < meter.created_at && former_standing.is_none() {
            return Err(Refusal::PassOn(Reason::BeforeActive));
        }
        if self.by_receipt && is_forgotten(kind, period, at) {
            return Err(too_late(period, FORGOTTEN));
        }
        let meter = self.meters.get(ix);
        let late = meter.has_flushed(period.start);
        if !late && period.start < meter.next() && meter.birth == Birth::ByEvent {
            let of = (meter.meter_type, meter.calendar);
            self.check_empty(of, kind, period, at)?;
        }
        let meter = self.meters.get(ix);
        // A deleted meter may be corrected; it is reopened only where an event may open one.
        if !meter.is_alive() && !kind.auto_create && (!late || kind.late.policy == LatePolicy::Carry) {
            return Err(Refusal::PassOn(Reason::NoMeter));
        }
        if !late {
            return Ok((period, false));
        }
        match kind.late.policy {
            LatePolicy::Carry => Ok((self.period_of(ix, at), true)),
            LatePolicy::Park => Err(too_late(period, CLOSED)),
            LatePolicy::Amend => {
                let horizon = self.horizons[usize::from(meter.meter_type)].amendable_from;
                let forgotten = period.end < horizon || former_standing == Some(Standing::Closed);
                match forgotten || at.since(period.end) > i128::from(kind.late.amend_within) {
                    true => Err(too_late(period, FORGOTTEN)),
                    false => Ok((period, true)),
                }
            }
        }
    }
}
