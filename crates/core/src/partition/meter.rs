//! A meter and what it holds of its periods.

use uuid::Uuid;

use super::groups::Groups;
use super::{Name, Periods};
use crate::aggregation::Aggregate;
use crate::decimal::Quotient;
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
    /// How it came to be.
    pub birth: Birth,
    /// Whether it goes at its next reset.
    pub delete_on_reset: bool,
    /// When it was created; of a meter born by an event, the start of its first period.
    pub created_at: Timestamp,
    /// The start of the period to flush next.
    pub next: Timestamp,
    /// The stretch that was flushed, from the first flush on. A meter that grew
    /// backwards afterwards flushes what lies before, then goes on behind it.
    pub flushed: Period,
    /// Periods that hold something.
    pub periods: Periods,
    /// When something is to be flushed next.
    pub due: Timestamp,
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
    pub carry: Vec<Carry>,
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
    pub value: Option<Quotient>,
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
    /// Whether the period that starts there was flushed.
    #[inline]
    pub fn has_flushed(&self, start: Timestamp) -> bool {
        (self.flushed.start <= start && start < self.flushed.end) || (self.created_at <= start && start < self.next)
    }

    /// Notes that a period was flushed, in its turn.
    pub(super) fn note_flushed(&mut self, period: Period) {
        self.next = period.end;
        if period.start == self.flushed.end {
            self.flushed.end = period.end;
        } else if self.next >= self.flushed.start {
            // The gap in front is closed: go on behind what was flushed before.
            self.flushed.start = self.created_at;
            self.next = self.flushed.end;
        }
    }

    /// `updatedAt` as of the last flush.
    pub(super) fn updated_at(&self) -> Timestamp {
        if self.changed_at == Timestamp::MIN { self.created_at } else { self.changed_at }
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
