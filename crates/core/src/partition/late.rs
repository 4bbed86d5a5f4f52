//! Late events: the period an event of a meter counts in, and whether that was flushed.

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

impl<M: Meters, I: Identities> Partition<M, I> {
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
        let former = meter.stretch_at(event_at);
        if meter.birth == Birth::Declared && event_at < meter.created_at && former.is_none() {
            return Err(Refusal::PassOn(Reason::BeforeActive));
        }
        let late = meter.has_flushed(period.start);
        // One that is gone may be corrected; it comes back only where an event may open one.
        if !meter.is_alive() && !kind.auto_create && (!late || kind.late.policy == LatePolicy::Carry) {
            return Err(Refusal::PassOn(Reason::NoMeter));
        }
        if !late {
            return Ok((period, false));
        }
        let too_late = |why: &str| Err(Refusal::Park(Reason::TooLate, format!("the period until {} {why}", period.end)));
        match kind.late.policy {
            LatePolicy::Carry => Ok((self.period_of(ix, at), true)),
            LatePolicy::Park => too_late("is flushed"),
            LatePolicy::Amend => {
                let horizon = self.horizons[usize::from(meter.meter_type)].amendable_from;
                let forgotten = period.end < horizon || former.is_some_and(|former| former.standing == Standing::Closed);
                match forgotten || at.since(period.end) > i128::from(kind.late.amend_within) {
                    true => too_late("may no longer be amended"),
                    false => Ok((period, true)),
                }
            }
        }
    }
}
