//! The next periods to close, by pipeline and meter type.

use std::sync::PoisonError;

use flowmeter_core::schedule::Schedule;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use serde_json::{Value, json};

use crate::installation::{Installation, Served};
use crate::rows::shown;

/// Meters of a pipeline up to which they are counted by type in its worker.
const COUNTED_MAX: u64 = 1_000_000;
/// How long a count by type is reused.
const COUNT_STANDS: i64 = 300_000_000_000;

/// How many meters each meter type of a pipeline has, and when that was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetersByType {
    counted_at: i64,
    of: u64,
    counts: Vec<u64>,
}

impl Installation {
    /// Returns the next periods to close of a namespace, the earliest first.
    pub fn closings(&self, namespace: &str, limit: usize) -> Result<Vec<Value>, Error> {
        let now = self.now();
        let mut found: Vec<(Timestamp, Value)> = Vec::new();
        for served in self.served_in(namespace) {
            let Some(compiled) = self.compiled(&served.kept) else { continue };
            let counts = self.meters_by_type(&served);
            let open = self.open_parked(&served);
            for (at, kind) in compiled.plan.meter_types.iter().enumerate() {
                let Some(period) = next_end(&kind.schedule, kind, now) else { continue };
                let meters = counts.as_ref().and_then(|counts| counts.get(at).copied());
                let is_single = compiled.plan.meter_types.len() == 1;
                let meters = if is_single { Some(served.board().meters()) } else { meters };
                let (start, end) = period;
                found.push((
                    end,
                    json!({
                        "meterType": kind.name, "pipeline": served.kept.name, "timezone": kind.zone.name(),
                        "unit": kind.unit, "periodStart": shown(start), "periodEnd": shown(end),
                        "graceEnd": shown(end.saturating_add(kind.late.grace)), "meters": meters, "openCorrections": open,
                    }),
                ));
            }
        }
        found.sort_by_key(|(end, _)| *end);
        Ok(found.into_iter().take(limit).map(|(_, closing)| closing).collect())
    }

    /// Counts the meters of each type, at most every few minutes; none where there are too many to
    /// count beside events.
    fn meters_by_type(&self, served: &Served) -> Option<Vec<u64>> {
        let (now, of) = (self.now().nanos(), served.board().meters());
        let cache = || self.overview.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache().get(&served.kept.id)
            && (known.of == of
                || now - known.counted_at < COUNT_STANDS.min(1_000_000_000 + i64::try_from(of).unwrap_or(0) * 10_000))
        {
            return Some(known.counts.clone());
        }
        if of > COUNTED_MAX {
            return None;
        }
        let counted = served.worker().ask(|live| {
            let mut counts = vec![0_u64; live.plan().meter_types.len()];
            for (_, meter) in live.meters() {
                if let Some(count) = counts.get_mut(usize::from(meter.meter_type)) {
                    *count += 1;
                }
            }
            counts
        });
        let counts = counted.ok()?;
        cache().insert(served.kept.id, MetersByType { counted_at: now, of, counts: counts.clone() });
        Some(counts)
    }
}

/// Start and end of the period that is open now, if it ends.
fn next_end(schedule: &Schedule, kind: &flowmeter_core::meter_type::MeterType, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let period = schedule.period_at(&kind.zone, now);
    (period.end != Timestamp::MAX).then_some((period.start, period.end))
}
