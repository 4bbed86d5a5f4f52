//! Meters with flushed periods, for counting an event again.
//!
//! An event is carried to the current period only if its meter had flushed the event's own one. A
//! recount begins without meters, so it is given those whose type carries late events, with the
//! start of their first record: advancing the clock then flushes the same periods.

use flowmeter_core::meter_type::{LatePolicy, MeterType};
use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::RecordKey;
use flowmeter_engine::{Counted, Error};
use serde_json::Value;
use uuid::Uuid;

use crate::installation::Served;
use crate::records::RecordView;

/// A meter with flushed periods.
pub(crate) struct Flushed {
    /// The meter as a document would declare it, from the start of its first record.
    pub(crate) meter: DeclaredMeter,
    /// The time of its last flush before the instant in question.
    pub(crate) last: Timestamp,
}

/// Whether late events of a type count in the current period.
pub(crate) fn carries(kind: &MeterType) -> bool {
    kind.late.policy == LatePolicy::Carry
}

/// Whether an event counted in another period than that of its time, since that had been flushed.
pub(crate) fn is_carried(plan: &Plan, counted: &Counted) -> bool {
    let is_own = counted.period.start <= counted.event_at && counted.event_at < counted.period.end;
    !is_own && carries(&plan.meter_types[usize::from(counted.meter_type)])
}

impl Served {
    /// Returns the meter with an id as it was before an instant, if it had made records by then.
    ///
    /// # Errors
    /// The records cannot be read.
    pub(crate) fn flushed_before(
        &self,
        id: Uuid,
        (user, processor, meter_type): (&str, u16, u16),
        until: Timestamp,
    ) -> Result<Option<Flushed>, Error> {
        let id = id.to_string();
        let end = |is_reversed: bool| -> Result<Option<RecordView>, Error> {
            let is_earlier = |record: &RecordView| !record.is_threshold && record.flushed_at < until.nanos();
            Ok(self.records_of((RecordKey::Meter, &id), 0..u64::MAX, (1, is_reversed), is_earlier)?.pop())
        };
        let (Some(first), Some(last)) = (end(false)?, end(true)?) else { return Ok(None) };
        let start = serde_json::from_str::<Value>(first.json.get())
            .ok()
            .and_then(|record| Timestamp::parse_rfc3339(record.get("periodStart")?.as_str()?.as_bytes()));
        let Some(start) = start else { return Ok(None) };
        let meter = DeclaredMeter {
            id: None,
            user: user.to_owned(),
            processor,
            meter_type,
            created_at: Some(start),
            delete_on_reset: false,
            custom_fields: Vec::new(),
            zone: None,
            capacity: None,
            thresholds: None,
        };
        Ok(Some(Flushed { meter, last: Timestamp::from_nanos(last.flushed_at) }))
    }
}
