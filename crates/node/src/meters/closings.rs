//! The next periods to close, by pipeline and meter type: those that are open now, and those that
//! ended and wait for their grace. And those that closed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
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
/// Periods of one type that closed within a span; of a type with more, none is returned.
const CLOSED_MAX: usize = 6;
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

    /// Returns the next period to close of each meter type of a namespace, the earliest due first.
    pub fn nearest_closings(&self, namespace: &str, limit: usize) -> Result<Vec<Value>, Error> {
        let mut seen = BTreeSet::new();
        let mut nearest = self.closings(namespace, usize::MAX)?;
        nearest.retain(|closing| seen.insert((closing["pipeline"].to_string(), closing["meterType"].to_string())));
        nearest.truncate(limit);
        Ok(nearest)
    }

    /// Returns the meter types whose periods closed within a span, by the time of closing. Types that
    /// close often in the span are left out: they would hide the others.
    pub fn closed(
        &self,
        namespace: &str,
        pipeline: Option<&str>,
        span: Range<Timestamp>,
    ) -> BTreeMap<Timestamp, BTreeSet<String>> {
        let mut closed: BTreeMap<Timestamp, BTreeSet<String>> = BTreeMap::new();
        for served in self.served_in(namespace) {
            let Some(compiled) = self.compiled(&served.kept) else { continue };
            if pipeline.is_some_and(|wanted| wanted != served.kept.name) {
                continue;
            }
            let made = Timestamp::parse_rfc3339(served.kept.created_at.as_bytes()).unwrap_or(Timestamp::MIN);
            let span = span.start.max(made)..span.end.min(self.now());
            for (at, kind) in compiled.plan.meter_types.iter().enumerate() {
                let ends = ends_within(kind, &span);
                if counts_in(&compiled.plan, at as u16) && ends.len() <= CLOSED_MAX {
                    for end in ends {
                        closed.entry(end).or_default().insert(kind.name.to_string());
                    }
                }
            }
        }
        closed
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
pub fn counts_in(plan: &Plan, meter_type: u16) -> bool {
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

/// Returns when periods of a type closed within a span, the newest first, and one more than
/// [`CLOSED_MAX`] at most.
fn ends_within(kind: &MeterType, span: &Range<Timestamp>) -> Vec<Timestamp> {
    let mut ends = Vec::new();
    let mut at = span.end.saturating_sub(kind.late.grace.saturating_add(1));
    while ends.len() <= CLOSED_MAX {
        let start = kind.schedule.period_at(&kind.zone, at).start;
        let closed = start.saturating_add(kind.late.grace);
        if start == Timestamp::MIN || closed < span.start {
            break;
        }
        ends.push(closed);
        at = start.saturating_sub(1);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text.as_bytes()).unwrap()
    }

    #[test]
    fn periods_that_closed_within_a_span_are_found_with_their_grace() {
        let document = "pipeline: days
source: { http: {} }
operators:
  - meter: { key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a11, rules: [{ category: use, value: 1 }] }
meterTypes:
  - { name: Use, category: use, resetSchedule: daily, timezone: Europe/Oslo, late: { grace: 1h } }
";
        let compiled = flowmeter_document::Pipeline::read(document).unwrap();
        let kind = &compiled.plan.meter_types[0];
        // A day of 25 hours: local midnight moves from 22:00 to 23:00 UTC.
        let ends = ends_within(kind, &(at("2026-10-24T00:00:00Z")..at("2026-10-27T00:00:00Z")));
        assert_eq!(ends, [at("2026-10-26T00:00:00Z"), at("2026-10-24T23:00:00Z")]);
        let often = ends_within(kind, &(at("2026-01-01T00:00:00Z")..at("2026-10-27T00:00:00Z")));
        assert_eq!(often.len(), CLOSED_MAX + 1);
    }
}
