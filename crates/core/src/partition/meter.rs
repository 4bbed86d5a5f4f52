//! A meter and the data of its periods.

use thin_vec::ThinVec;
use uuid::Uuid;

use super::groups::Groups;
use super::{Name, Periods};
use crate::aggregation::Aggregate;
use crate::decimal::Resting;
use crate::meter_type::{OwnLimits, derived};
use crate::plan::Plan;
use crate::record::{Direction, record_id};
use crate::schedule::Period;
use crate::time::Timestamp;

/// The unique key of a meter.
#[derive(Clone, Copy, Debug)]
pub struct MeterKey<'a> {
    /// Hash of the three other fields.
    pub hash: u64,
    /// The user of the meter.
    pub user: &'a [u8],
    /// Index of the processor.
    pub processor: u16,
    /// Index of the meter type.
    pub meter_type: u16,
}

impl<'a> MeterKey<'a> {
    /// Creates the key of a user's meter; `user_hash` is [`crate::plan::Plan::user_hash`].
    #[inline]
    pub fn new(user: &'a [u8], user_hash: u64, processor: u16, meter_type: u16) -> MeterKey<'a> {
        let salt = (u64::from(processor) << 16 | u64::from(meter_type)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        MeterKey { hash: user_hash ^ salt, user, processor, meter_type }
    }
}

/// The origin of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Through the API or the pipeline: its first period starts when it was created.
    Declared,
    /// By an event: its first period is a whole one.
    ByEvent,
    /// The meter is gone. Its flushed periods are kept, so that a late event corrects them and no
    /// meter that takes its place flushes them again; see [`super::Stones`].
    Gone,
}

/// One user's bucket for one meter type in one meter processor.
///
/// It is laid out for the hot path in three cache lines. The first identifies the meter and its
/// flushed periods; the second and third hold the period that events count in.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Meter {
    /// The user of the meter.
    pub user: Name,
    /// Index of the processor.
    pub processor: u16,
    /// Index of the meter type.
    pub meter_type: u16,
    /// Index of the partition's calendar that splits time into its periods: the calendar of its
    /// type until that changes.
    pub calendar: u16,
    /// The origin of the meter.
    pub birth: Birth,
    /// Whether it is deleted at its next reset.
    pub delete_on_reset: bool,
    /// The time of its creation; of a meter opened by an event, the start of its first period.
    pub created_at: Timestamp,
    /// The flushed stretch that grows: its end is the start of the period to flush next. Other
    /// flushed stretches are in [`Rare`].
    pub flushed: Period,
    /// The instant at which a period is to be flushed next.
    pub due: Timestamp,
    /// Periods that have data.
    pub periods: Periods,
    /// The last event time in flushed periods.
    pub changed_at: Timestamp,
    /// Data that few meters have.
    pub rare: Option<Box<Rare>>,
}

/// Data that few meters have.
#[derive(Clone, Debug, Default)]
pub struct Rare {
    /// The given id; without it, the id is derived.
    pub id: Option<Uuid>,
    /// Custom fields: name and JSON text, by name.
    pub custom_fields: Vec<(String, String)>,
    /// Stretches that were flushed besides the one that grows, in order.
    pub stretches: Vec<Stretch>,
    /// A capacity or thresholds of its own.
    pub limits: Option<Box<OwnLimits>>,
}

/// Consecutive periods that were flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The span from the start of the first period to the end of the last.
    pub period: Period,
    /// The meter that flushed it.
    pub standing: Standing,
}

/// The meter that flushed a stretch, and whether it may still be amended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The meter itself flushed it.
    Own,
    /// A deleted meter of the same key flushed it.
    Former,
    /// A deleted meter flushed it and its data was removed: it cannot be amended.
    Closed,
}

/// The data of one period of a meter. It stays after the flush for as long as the period may be
/// amended.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct OpenPeriod {
    /// The start and end.
    pub period: Period,
    /// Time of the first event; [`Timestamp::MAX`] before any.
    pub first_at: Timestamp,
    /// Time of the last event; [`Timestamp::MIN`] before any.
    pub last_at: Timestamp,
    /// Number of counted events.
    pub events: u64,
    /// The value and its breakdowns.
    pub amount: Amount,
    /// Data that few periods have, or only after their flush.
    pub extra: Option<Box<Extra>>,
}

/// Data that few periods have, or only after their flush.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// First and last occurrences of fields.
    pub carry: ThinVec<Carry>,
    /// The state of its records, once flushed.
    pub sent: Option<Sent>,
    /// Bits of thresholds reached (low half) and recovered (high half).
    pub crossed: u64,
}

/// The value of a period and its breakdowns.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Amount {
    /// The value of the meter.
    pub total: Aggregate,
    /// The values of its groups.
    pub groups: Groups,
}

/// An occurrence of a carried field.
#[derive(Clone, Debug)]
pub struct Carry {
    /// Index of the field in the plan.
    pub field: u16,
    /// Whether the last occurrence is kept, or the first.
    pub last: bool,
    /// The time of the event.
    pub at: Timestamp,
    /// The value, as JSON.
    pub json: Vec<u8>,
}

/// The state of the records of a period.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The last revision, `None` if no record was made.
    pub revision: Option<u32>,
    /// The value of this revision.
    pub value: Option<Resting>,
    /// The `updatedAt` of this revision.
    pub updated_at: Timestamp,
    /// The time of the next revision, if there is something to amend.
    pub amend_at: Option<Timestamp>,
}

impl OpenPeriod {
    /// Creates a period without events.
    pub fn new(period: Period, total: Aggregate) -> OpenPeriod {
        OpenPeriod {
            period,
            first_at: Timestamp::MAX,
            last_at: Timestamp::MIN,
            events: 0,
            amount: Amount { total, groups: Groups::default() },
            extra: None,
        }
    }

    /// Returns the state of its records, once flushed.
    #[inline]
    pub fn sent(&self) -> Option<&Sent> {
        self.extra.as_ref()?.sent.as_ref()
    }

    /// Returns the state of its records, to change it.
    pub(super) fn sent_mut(&mut self) -> Option<&mut Sent> {
        self.extra.as_mut()?.sent.as_mut()
    }

    /// Sets the state of its records.
    pub(super) fn set_sent(&mut self, sent: Option<Sent>) {
        if sent.is_some() || self.extra.is_some() {
            self.extra.get_or_insert_default().sent = sent;
        }
    }

    /// Returns the first and last occurrences of fields.
    pub fn carry(&self) -> &[Carry] {
        self.extra.as_ref().map_or(&[], |extra| extra.carry.as_slice())
    }

    /// Returns the bits of thresholds reached (low half) and recovered (high half).
    pub fn crossed(&self) -> u64 {
        self.extra.as_ref().map_or(0, |extra| extra.crossed)
    }
}

impl Meter {
    /// Returns `updatedAt` as of the last flush.
    pub(super) fn updated_at(&self) -> Timestamp {
        if self.changed_at == Timestamp::MIN { self.created_at } else { self.changed_at }
    }

    /// Returns its id: the given one, or one derived from its key.
    pub fn id(&self, plan: &Plan) -> Uuid {
        let given = self.rare.as_ref().and_then(|rare| rare.id);
        given.unwrap_or_else(|| {
            let meter_key = plan.processors[usize::from(self.processor)].key;
            derived::meter(meter_key, plan.meter_types[usize::from(self.meter_type)].id, &self.user)
        })
    }

    /// Returns a period as its records show it: a period without a start begins with the meter.
    pub fn shown(&self, period: Period) -> Period {
        Period { start: if period.start == Timestamp::MIN { self.created_at } else { period.start }, ..period }
    }

    /// Returns the id of the partial record of a period.
    pub(super) fn partial_record_id(&self, id: Uuid, held: &OpenPeriod, threshold: &str, direction: Direction) -> Uuid {
        let number = held.sent().and_then(|sent| sent.revision).map_or(0, |sent| sent + 1);
        record_id(id, self.shown(held.period), number, Some((threshold, direction)))
    }

    /// Whether the meter exists, neither deleted nor kept only for corrections.
    pub fn is_alive(&self) -> bool {
        self.birth != Birth::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_is_three_cache_lines() {
        assert_eq!(size_of::<Option<Meter>>(), 192);
    }
}
