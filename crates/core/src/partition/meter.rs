//! A meter and what it holds of its periods.

use thin_vec::ThinVec;
use uuid::Uuid;

use super::groups::Groups;
use super::{Name, Periods};
use crate::aggregation::Aggregate;
use crate::decimal::Resting;
use crate::meter_type::derived;
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;

/// What makes a meter unique.
#[derive(Clone, Copy, Debug)]
pub struct MeterKey<'a> {
    /// Hash of the three below.
    pub hash: u64,
    /// The user.
    pub user: &'a [u8],
    /// The processor.
    pub processor: u16,
    /// The type.
    pub meter_type: u16,
}

impl<'a> MeterKey<'a> {
    /// The key of a user's meter; `user_hash` is [`crate::plan::Plan::user_hash`].
    #[inline]
    pub fn new(user: &'a [u8], user_hash: u64, processor: u16, meter_type: u16) -> MeterKey<'a> {
        let salt = (u64::from(processor) << 16 | u64::from(meter_type)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        MeterKey { hash: user_hash ^ salt, user, processor, meter_type }
    }
}

/// How a meter came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Through the API or the pipeline: its first period starts when it was created.
    Declared,
    /// By an event: its first period is a whole one.
    ByEvent,
    /// It is gone. What it flushed is remembered, so that a late event corrects it and no
    /// meter that takes its place flushes it anew; see [`super::Stones`].
    Gone,
}

/// One user's bucket for one meter type in one meter processor.
///
/// Laid out for the hot path: three cache lines, of which the first says whose it is and
/// which periods are flushed, the second and third hold the period events count in.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Meter {
    /// Whose it is.
    pub user: Name,
    /// The processor.
    pub processor: u16,
    /// The type.
    pub meter_type: u16,
    /// Which of the partition's calendars cuts its periods: its type's, until that changes.
    pub calendar: u16,
    /// How it came to be.
    pub birth: Birth,
    /// Whether it goes at its next reset.
    pub delete_on_reset: bool,
    /// When it was created; of a meter born by an event, the start of its first period.
    pub created_at: Timestamp,
    /// The stretch that was flushed and grows: its end is the start of the period to flush
    /// next. What else was flushed stands among the [`Rare`].
    pub flushed: Period,
    /// When something is to be flushed next.
    pub due: Timestamp,
    /// Periods that hold something.
    pub periods: Periods,
    /// The last event time in flushed periods.
    pub changed_at: Timestamp,
    /// What few meters have.
    pub rare: Option<Box<Rare>>,
}

/// What few meters have.
#[derive(Clone, Debug, Default)]
pub struct Rare {
    /// An id that was given; otherwise it is derived.
    pub id: Option<Uuid>,
    /// Name and JSON text, by name.
    pub custom_fields: Vec<(String, String)>,
    /// Stretches that were flushed besides the one that grows, in order.
    pub stretches: Vec<Stretch>,
}

/// Periods in a row that were flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From the start of the first to the end of the last.
    pub period: Period,
    /// By whom.
    pub standing: Standing,
}

/// Who flushed a stretch, and what may still become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The meter itself.
    Own,
    /// One of the same key that was deleted.
    Former,
    /// The same, and what it held is forgotten: nothing of it can be amended.
    Closed,
}

/// What a meter holds of one period. It stays after the flush for as long as the period
/// may be amended.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct OpenPeriod {
    /// Which.
    pub period: Period,
    /// Time of the first event; [`Timestamp::MAX`] before any.
    pub first_at: Timestamp,
    /// Time of the last event; [`Timestamp::MIN`] before any.
    pub last_at: Timestamp,
    /// Events counted.
    pub events: u64,
    /// The whole.
    pub amount: Amount,
    /// What few periods have, or have only once they are flushed.
    pub extra: Option<Box<Extra>>,
}

/// What few periods have, or have only once they are flushed.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// First and last occurrences of fields.
    pub carry: ThinVec<Carry>,
    /// What has been sent, once flushed.
    pub sent: Option<Sent>,
    /// Bits of thresholds reached (low half) and recovered (high half).
    pub crossed: u64,
}

/// The value of a period and its breakdowns.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Amount {
    /// Of the meter.
    pub total: Aggregate,
    /// Of its groups.
    pub groups: Groups,
}

/// An occurrence of a carried field.
#[derive(Clone, Debug)]
pub struct Carry {
    /// Which field of the plan.
    pub field: u16,
    /// Whether the last is kept, or the first.
    pub last: bool,
    /// When.
    pub at: Timestamp,
    /// What, as JSON.
    pub json: Vec<u8>,
}

/// What has been sent of a period.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The last revision, `None` if no record was made.
    pub revision: Option<u32>,
    /// Its value.
    pub value: Option<Resting>,
    /// Its `updatedAt`.
    pub updated_at: Timestamp,
    /// When the next revision goes, if there is something to amend.
    pub amend_at: Option<Timestamp>,
}

impl OpenPeriod {
    /// A period before any event.
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

    /// What has been sent, once flushed.
    #[inline]
    pub fn sent(&self) -> Option<&Sent> {
        self.extra.as_ref()?.sent.as_ref()
    }

    /// What has been sent, to change.
    pub(super) fn sent_mut(&mut self) -> Option<&mut Sent> {
        self.extra.as_mut()?.sent.as_mut()
    }

    /// Notes what has been sent.
    pub(super) fn set_sent(&mut self, sent: Option<Sent>) {
        if sent.is_some() || self.extra.is_some() {
            self.extra.get_or_insert_default().sent = sent;
        }
    }

    /// First and last occurrences of fields.
    pub fn carry(&self) -> &[Carry] {
        self.extra.as_ref().map_or(&[], |extra| extra.carry.as_slice())
    }

    /// Bits of thresholds reached (low half) and recovered (high half).
    pub fn crossed(&self) -> u64 {
        self.extra.as_ref().map_or(0, |extra| extra.crossed)
    }
}

impl Meter {
    /// `updatedAt` as of the last flush.
    pub(super) fn updated_at(&self) -> Timestamp {
        if self.changed_at == Timestamp::MIN { self.created_at } else { self.changed_at }
    }

    /// Its id: given, or derived from its key.
    pub fn id(&self, plan: &Plan) -> Uuid {
        let given = self.rare.as_ref().and_then(|rare| rare.id);
        given.unwrap_or_else(|| {
            let meter_key = plan.processors[usize::from(self.processor)].key;
            derived::meter(meter_key, plan.meter_types[usize::from(self.meter_type)].id, &self.user)
        })
    }

    /// A period as its records show it: one without a beginning begins with the meter.
    pub fn shown(&self, period: Period) -> Period {
        Period { start: if period.start == Timestamp::MIN { self.created_at } else { period.start }, ..period }
    }

    /// Whether it is there: neither deleted nor only remembered.
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
