//! Late events: the period an event counts in, and whether that is closed.
//!
//! In a server the time of receipt decides, so that a verdict never depends on how a history is
//! cut into requests or on what else the user has: an event whose period ended longer than
//! `grace` + `amendWithin` before is too late, and a type that parks or carries late events does
//! so once `grace` is over. A run over files has one instant for all events; there only what an
//! earlier run flushed is closed.

use super::count::Refusal;
use super::gone::amendable_for;
use super::meter::{Birth, Meter, Sent, Standing};
use super::{Identities, MeterIx, Meters, Partition};
use crate::aggregation::Aggregate;
use crate::decimal::Resting;
use crate::meter_type::{LatePolicy, MeterType};
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// What was, of the meters of a type, whatever the plan says by now: so that a change of the
/// plan makes no record a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Horizon {
    /// What ended before may have been forgotten: it is not amended, even if the plan comes
    /// to allow it.
    pub(super) amendable_from: Timestamp,
    /// Empty periods that began before may have been flushed.
    pub(super) empties_until: Timestamp,
}

impl Horizon {
    /// Of a type that has no meters yet.
    pub(super) fn of(kind: &MeterType) -> Horizon {
        Horizon { amendable_from: Timestamp::MIN, empties_until: Timestamp::MIN }.under(kind)
    }

    /// The same, under a plan that says this of the type.
    pub(super) fn under(self, kind: &MeterType) -> Horizon {
        let empties = if kind.flush_empty { kind.active_to } else { Timestamp::MIN };
        Horizon { empties_until: self.empties_until.max(empties), ..self }
    }

    /// Time comes to an instant.
    pub(super) fn come_to(&mut self, at: Timestamp, kind: &MeterType) {
        self.amendable_from = self.amendable_from.max(at.saturating_sub(amendable_for(kind)));
    }

    /// What has been sent of a period that a meter holds nothing of: nothing, if it was not
    /// flushed; revision 0, if empty ones were.
    pub(super) fn sent_empty(self, meter: &Meter, kind: &MeterType, period: Period) -> Option<Sent> {
        if !meter.has_flushed(period.start) {
            return None;
        }
        let value = Aggregate::initial(kind.aggregation).value(kind.aggregation, period);
        let revision = (period.start < self.empties_until).then_some(0);
        Some(Sent { revision, value: value.map(Resting::from), updated_at: meter.updated_at(), amend_at: None })
    }
}

/// What the time of receipt says of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lateness {
    Open,
    Closed,
    /// Closed for longer than may be amended.
    Forgotten,
}

impl Lateness {
    fn by_receipt(kind: &MeterType, period: Period, at: Timestamp) -> Lateness {
        // At the very instant of the end it depends on whether a tick came before.
        let late = at.since(period.end);
        let grace = i128::from(kind.late.grace);
        match period.end == Timestamp::MAX || late <= grace {
            true => Lateness::Open,
            false if late <= grace + i128::from(kind.late.amend_within) => Lateness::Closed,
            false => Lateness::Forgotten,
        }
    }
}

/// Whether a period is open for every event that is received at an instant.
pub(super) fn is_open(kind: &MeterType, period: Period, at: Timestamp) -> bool {
    Lateness::by_receipt(kind, period, at) == Lateness::Open
}

fn too_late(period: Period, why: &str) -> Refusal {
    Refusal::Park(Reason::TooLate, format!("the period until {} {why}", period.end))
}

const FORGOTTEN: &str = "may no longer be amended";
const CLOSED: &str = "is closed, and the meter type parks late events";

impl<M: Meters, I: Identities> Partition<M, I> {
    fn lateness(&self, kind: &MeterType, period: Period, at: Timestamp) -> Lateness {
        if self.by_receipt { Lateness::by_receipt(kind, period, at) } else { Lateness::Open }
    }

    /// The period that an event counts in which opens a meter, and whether it is late for its
    /// own.
    pub(super) fn place_new(
        &mut self,
        meter_type: u16,
        kind: &MeterType,
        event_at: Timestamp,
        at: Timestamp,
    ) -> Result<(Period, bool), Refusal> {
        let period = self.calendars[usize::from(meter_type)].period_at(event_at);
        match (self.lateness(kind, period, at), kind.late.policy) {
            (Lateness::Open, _) | (Lateness::Closed, LatePolicy::Amend) => Ok((period, false)),
            (Lateness::Forgotten, _) => Err(too_late(period, FORGOTTEN)),
            (Lateness::Closed, LatePolicy::Park) => Err(too_late(period, CLOSED)),
            (Lateness::Closed, LatePolicy::Carry) => Ok((self.calendars[usize::from(meter_type)].period_at(at), true)),
        }
    }

    /// The period of a meter that an event counts in, and whether it is late for its own.
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
        let lateness = self.lateness(kind, period, at);
        if lateness == Lateness::Forgotten {
            return Err(too_late(period, FORGOTTEN));
        }
        let is_closed = lateness == Lateness::Closed && kind.late.policy != LatePolicy::Amend;
        let late = is_closed || self.meters.get(ix).has_flushed(period.start);
        let meter = self.meters.get(ix);
        // One that is gone may be corrected; it comes back only where an event may open one.
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
