//! The counts of a session: those of its pipeline, less those at its start.

use std::sync::Arc;

use flowmeter_core::operator::{Operator, output_name};
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Totals};
use serde_json::{Value, json};

use super::KeptSession;
use crate::installation::{Installation, Served};
use crate::pipelines::KeptPipeline;

/// Returns the counters of a loaded pipeline, for people.
pub fn counts(plan: &Plan, totals: &Totals) -> Value {
    let tally = &totals.tally;
    let reasons: serde_json::Map<String, Value> =
        tally.parked_by_reason().map(|(reason, count)| (reason.code().to_owned(), json!(count))).collect();
    let operators = (0u16..).zip(&plan.nodes).zip(&totals.operators).map(|((at, node), count)| {
        let mut shown =
            json!({"id": node.id, "operator": node.operator.name(), "in": count.received, "out": count.passed, "errors": count.errors});
        if let Operator::Split(_) = &node.operator {
            shown["derived"] = json!(count.derived);
        } else if let Operator::Script(_) = &node.operator {
            let counters: serde_json::Map<String, Value> =
                totals.counters_of(at).map(|(name, count)| (name.to_owned(), json!(count))).collect();
            shown["derived"] = json!(count.derived);
            shown["counters"] = Value::Object(counters);
        } else if let Operator::Branch(_) = &node.operator {
            let of = |port: usize| {
                let name = output_name(port, node.outputs.len());
                let count = totals.counters_of(at).find(|(known, _)| *known == name).map_or(0, |(_, count)| count);
                (name, json!(count))
            };
            shown["outputs"] = Value::Object((0..node.outputs.len()).map(of).collect());
        } else if let Operator::Enrich(_) = &node.operator {
            shown["unmatched"] = json!(count.unmatched);
        } else if node.operator.releases() {
            let more = [("derived", count.derived), ("held", count.held()), ("amended", 0), ("late", count.late)];
            more.into_iter().for_each(|(name, count)| shown[name] = json!(count));
        }
        shown
    });
    let held: u64 = totals.operators.iter().map(flowmeter_core::mediation::OperatorCount::held).sum();
    json!({
        "events": {
            "received": tally.received, "derived": tally.derived, "counted": tally.counted, "late": tally.late,
            "duplicate": tally.duplicate, "filtered": tally.filtered, "split": tally.split, "absorbed": tally.absorbed,
            "held": held, "cancelled": tally.cancelled, "parked": tally.parked_total(), "parkedByReason": reasons,
            "timedByReceipt": totals.timed_by_receipt,
        },
        "metersOpened": totals.meters_opened,
        "operators": operators.collect::<Vec<_>>(),
    })
}

/// Returns counts less earlier ones. Operators are compared by id.
fn less(now: Value, before: &Value) -> Value {
    match (now, before) {
        (Value::Object(members), before) => {
            let less = |(name, value): (String, Value)| {
                let value = less(value, &before[&name]);
                (name, value)
            };
            Value::Object(members.into_iter().map(less).collect())
        }
        (Value::Array(items), Value::Array(before)) => {
            let of = |item: &Value| before.iter().find(|known| known["id"] == item["id"]).cloned().unwrap_or_default();
            Value::Array(
                items
                    .into_iter()
                    .map(|item| {
                        let before = of(&item);
                        less(item, &before)
                    })
                    .collect(),
            )
        }
        (Value::Number(now), before) => match (now.as_u64(), before.as_u64()) {
            (Some(now), Some(before)) => json!(now.saturating_sub(before)),
            _ => Value::Number(now),
        },
        (now, _) => now,
    }
}

impl Installation {
    /// Returns the counts of a session: those of its pipeline, less those at its start.
    pub(crate) fn counts_of(&self, session: &KeptSession, plan: &Plan, totals: &Totals) -> Value {
        less(counts(plan, totals), &session.counts_before)
    }

    /// Checks the share of parked events of a session.
    ///
    /// # Errors
    /// It is above `maxErrorPercent`.
    pub(crate) fn check_errors(&self, session: &KeptSession, served: &Served, plan: &Plan) -> Result<(), Error> {
        let events = &self.counts_of(session, plan, &served.board().totals())["events"];
        let count = |name: &str| events[name].as_u64().unwrap_or_default();
        flowmeter_connectors::completeness::check_errors(plan, count("parked"), count("received"))
    }

    /// Returns the counts of a pipeline since it was made; null if it is not loaded.
    pub fn pipeline_counts(&self, pipeline: &KeptPipeline) -> Result<Value, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(Value::Null) };
        let plan = served.worker.ask(|live| Arc::clone(live.plan()))?;
        Ok(counts(&plan, &served.board().totals()))
    }

    /// Returns the counts of a session so far, or at its end.
    pub fn session_counts(&self, session: &KeptSession) -> Result<Value, Error> {
        match self.served_of(session.pipeline_id).filter(|served| served.session() == session.number) {
            Some(served) => {
                let plan = served.worker.ask(|live| Arc::clone(live.plan()))?;
                Ok(self.counts_of(session, &plan, &served.board().totals()))
            }
            None => Ok(session.counts.clone()),
        }
    }
}
