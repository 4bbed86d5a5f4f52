//! Meter types: the template of a meter.

mod own;

use std::sync::Arc;

use uuid::Uuid;

use crate::aggregation::Aggregation;
use crate::decimal::{Decimal, FRACTION_DIGITS, Fraction, Rounding};
use crate::event::Path;
use crate::schedule::Schedule;
use crate::time::{Timestamp, Zone};

/// The template of a meter: its aggregation and its schedule of resets.
#[derive(Clone, Debug)]
pub struct MeterType {
    /// The given id, or one derived from the name.
    pub id: Uuid,
    /// Unique, at most 80 characters.
    pub name: String,
    /// A description for people.
    pub description: Option<String>,
    /// The biller's name for it; unique.
    pub external_ref: Option<String>,
    /// The category that guiding rules address.
    pub category: String,
    /// The unit of values; shown in records.
    pub unit: String,
    /// How values are aggregated.
    pub aggregation: Aggregation,
    /// The schedule by which it resets.
    pub schedule: Arc<Schedule>,
    /// The time zone of the schedule.
    pub zone: Zone,
    /// The field with the time zone of a meter. The event that opens the meter decides; without
    /// the field, the meter has that of its type.
    pub zone_from: Option<Path>,
    /// Start of validity; events before it are parked.
    pub active_from: Timestamp,
    /// End of validity; events at or after it are parked.
    pub active_to: Timestamp,
    /// The amount a user may use in a period; thresholds may be a share of it.
    pub capacity: Option<Decimal>,
    /// The field with the capacity of a meter; the newest of its events that has the field decides.
    pub capacity_from: Option<Path>,
    /// Values at which a partial record is made.
    pub thresholds: Vec<Threshold>,
    /// Whether an event may open a meter.
    pub auto_create: bool,
    /// Whether a period without events is flushed.
    pub flush_empty: bool,
    /// Periods without events that one event may open.
    pub empty_periods_max: u32,
    /// The handling of events for flushed periods.
    pub late: Late,
    /// Maximum of group values that a meter keeps apart.
    pub group_limit: u32,
}

/// A value at which a meter makes a partial record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Unique in its meter type.
    pub name: String,
    /// The value that must be reached; without it, a share of the capacity.
    pub value: Option<Decimal>,
    /// The share of the capacity, if it was written as one.
    pub percent_of_capacity: Option<Decimal>,
    /// Custom fields of the partial record: name and JSON.
    pub custom_fields: Vec<(String, String)>,
}

impl Threshold {
    /// Returns the value that must be reached under a capacity; `None` without one where it is a
    /// share of it. A share is rounded once, half-even.
    pub fn limit(&self, capacity: Option<Decimal>) -> Option<Decimal> {
        let hundred = Decimal::from_int(100);
        let share =
            || Fraction::product(self.percent_of_capacity?, capacity?).divide(hundred, FRACTION_DIGITS, Rounding::HalfEven);
        self.value.or_else(share)
    }
}

/// The capacity and thresholds of one meter that differ from those of its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// The capacity that was set for the meter. It takes precedence over that of events.
    pub capacity: Option<Decimal>,
    /// The capacity that an event named: the newest one that names any, with its time.
    pub capacity_of_event: Option<(Timestamp, Decimal)>,
    /// Thresholds in place of those of its type.
    pub thresholds: Option<Vec<Threshold>>,
}

impl OwnLimits {
    /// Returns the capacity of the meter, if it has one of its own.
    pub fn any_capacity(&self) -> Option<Decimal> {
        self.capacity.or(self.capacity_of_event.map(|(_, capacity)| capacity))
    }
}

impl MeterType {
    /// Whether a meter of the type takes its zone or capacity from events.
    pub fn reads_events(&self) -> bool {
        self.zone_from.is_some() || self.capacity_from.is_some()
    }
}

/// The handling of events whose period was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The policy for such events.
    pub policy: LatePolicy,
    /// How long a period stays open after its end, in nanoseconds.
    pub grace: i64,
    /// How long after its end a period may be amended, in nanoseconds.
    pub amend_within: i64,
}

/// The policy for an event whose period was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatePolicy {
    /// The period is corrected by a new revision of its record.
    Amend,
    /// It counts in the current period.
    Carry,
    /// It goes to the correction queue.
    Park,
}

impl Default for Late {
    fn default() -> Late {
        Late { policy: LatePolicy::Amend, grace: 0, amend_within: crate::limits::AMEND_WITHIN }
    }
}

/// Derives ids for things that have a name but no id: the same name gives the same id on every
/// machine.
pub mod derived {
    use sha1::{Digest, Sha1};
    use uuid::{Builder, Uuid};

    /// The namespace of names that users give. It is part of every id, so it never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0xd805_43c3_55c8_5a89_9c62_76f2_b3aa_e222);

    /// Returns the UUIDv5 of a name in a namespace (RFC 9562, section 5.5). Each record needs two,
    /// so the hash implementation uses the processor's SHA instructions.
    pub fn named(namespace: &Uuid, name: &[u8]) -> Uuid {
        let digest: [u8; 20] = Sha1::new().chain_update(namespace.as_bytes()).chain_update(name).finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Builder::from_sha1_bytes(half).into_uuid()
    }

    /// Returns the id of a pipeline.
    pub fn pipeline(name: &str) -> Uuid {
        named(&NAMESPACE, format!("pipeline/{name}").as_bytes())
    }

    /// Returns the id of a meter type.
    pub fn meter_type(name: &str) -> Uuid {
        named(&NAMESPACE, format!("meterType/{name}").as_bytes())
    }

    /// Returns the id of a meter. Like the meter, it is unique by meter key, meter type and user.
    pub fn meter(meter_key: Uuid, meter_type: Uuid, user: &[u8]) -> Uuid {
        let mut name = Vec::with_capacity(64);
        name.extend_from_slice(meter_type.as_bytes());
        name.extend_from_slice(user);
        named(&meter_key, &name)
    }

    /// Returns the id of a record: the UUIDv5, in the namespace of its meter, of the text
    /// `periodStart/periodEnd/revision` as the record writes it.
    pub fn record(meter: Uuid, period_and_revision: &[u8]) -> Uuid {
        named(&meter, period_and_revision)
    }
}
