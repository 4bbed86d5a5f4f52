//! The next periods to close, by pipeline and meter type: those that are open now, and those that
//! ended and wait for their grace.

use std::sync::PoisonError;

use flowmeter_core::meter_type::MeterType;
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::Period;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use serde_json::{Value, json};

use crate::installation::{Installation, Served};
use crate::rows::shown;

/// Meters of a pipeline up to which they are counted by type in its worker.
const COUNTED_MAX: u64 = 1_000_000;
/// Maximum of periods of one type that are listed.
const WAITING_MAX: usize = 50;
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
    /// Returns the next periods to close of a namespace, the earliest due first. A meter type is
    /// listed where a rule of the pipeline counts in it or where it has meters.
    pub fn closings(&self, namespace: &str, limit: usize) -> Result<Vec<Value>, Error> {
        let now = self.now();
        let mut found: Vec<(Timestamp, Value)> = Vec::new();
        for served in self.served_in(namespace) {
            let Some(compiled) = self.compiled(&served.kept) else { continue };
            let counts = self.meters_by_type(&served);
            let open = self.open_parked(&served);
            for (at, kind) in compiled.plan.meter_types.iter().enumerate() {
                let meters = counts.as_ref().and_then(|counts| counts.get(at).copied());
                let is_single = compiled.plan.meter_types.len() == 1;
                let meters = if is_single { Some(served.board().meters()) } else { meters };
                if !counts_in(&compiled.plan, at as u16) && meters.unwrap_or_default() == 0 {
                    continue;
                }
                for Period { start, end } in waiting(kind, now) {
                    let due = end.saturating_add(kind.late.grace);
                    found.push((
                        due,
                        json!({
                            "meterType": kind.name, "pipeline": served.kept.name, "timezone": kind.zone.name(),
                            "unit": kind.unit, "periodStart": shown(start), "periodEnd": shown(end),
                            "graceEnd": shown(due), "meters": meters, "openCorrections": open,
                        }),
                    ));
                }
            }
        }
        found.sort_by_key(|(due, _)| *due);
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

/// Whether a rule counts in a meter type.
pub(crate) fn counts_in(plan: &Plan, meter_type: u16) -> bool {
    plan.processors.iter().flat_map(|processor| &processor.rules).any(|rule| rule.meter_types.contains(&meter_type))
}

/// Returns the periods of a type that are not closed, the newest first: the one that is open now, if
/// it ends, and those that ended and wait for their grace.
fn waiting(kind: &MeterType, now: Timestamp) -> Vec<Period> {
    let mut waiting = Vec::new();
    let mut period = kind.schedule.period_at(&kind.zone, now);
    while period.end != Timestamp::MAX && period.end.saturating_add(kind.late.grace) > now && waiting.len() < WAITING_MAX {
        let before = period.start.saturating_sub(1);
        waiting.push(period);
        if waiting.last().is_none_or(|last| last.start == Timestamp::MIN) {
            break;
        }
        period = kind.schedule.period_at(&kind.zone, before);
    }
    waiting
}
