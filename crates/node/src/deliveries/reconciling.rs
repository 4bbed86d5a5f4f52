//! Comparing what targets hold with what was flushed, and sending again what is missing.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::{Amount, Difference, Part, Report};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::delivery::Courier;
use super::not_at_work;
use crate::audit::Who;
use crate::installation::{Installation, Served};
use crate::refusal::{Refused, not_found, refusal_of};

/// A comparison that is asked for.
#[derive(Clone, Debug)]
pub struct ReconcileWish {
    pub pipeline: String,
    /// One target; all of the pipeline, without.
    pub target: Option<String>,
    /// Periods that end at this instant or later.
    pub from: Timestamp,
    /// Periods that end before this instant.
    pub to: Timestamp,
    /// Whether missing and different records are sent again.
    pub mends: bool,
}

/// The targets of a comparison, and the records that they should hold.
pub(crate) struct Comparison {
    served: Arc<Served>,
    pub(crate) couriers: Vec<Arc<Courier>>,
    part: Part,
    mends: bool,
}

/// The result of comparing the targets of a pipeline.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    pub pipeline: String,
    pub targets: Vec<Reconciled>,
}

impl Reconciliation {
    /// Returns the JSON form.
    pub fn shown(&self) -> Box<RawValue> {
        /// Reports are JSON already.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'r> {
            pipeline: &'r str,
            /// Of those that were asked; null if none was.
            agrees: Option<bool>,
            not_asked: Vec<&'r str>,
            targets: Vec<Box<RawValue>>,
        }
        let not_asked = self.targets.iter().filter(|one| one.verdict().is_none()).map(|one| one.target.as_str());
        let shown = Shown {
            pipeline: &self.pipeline,
            agrees: self.targets.iter().filter_map(Reconciled::verdict).reduce(|one, other| one && other),
            not_asked: not_asked.collect(),
            targets: self.targets.iter().map(Reconciled::shown).collect(),
        };
        to_raw_value(&shown).unwrap_or_default()
    }
}

/// The result of comparing a target.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// Name of the target.
    pub target: String,
    /// The differences and the number of mended records; or the error if the target does not
    /// answer.
    pub report: Result<(Report, u64), String>,
}

impl Reconciled {
    /// Whether the target holds the expected records; `None` if it cannot be read. A target that
    /// does not answer does not agree.
    pub fn verdict(&self) -> Option<bool> {
        self.report.as_ref().map_or(Some(false), |(report, _)| report.verdict())
    }

    /// Returns the JSON form.
    pub fn shown(&self) -> Box<RawValue> {
        let (report, mended) = match &self.report {
            Ok(found) => found,
            Err(why) => return to_raw_value(&json!({"target": self.target, "error": why})).unwrap_or_default(),
        };
        let is_asked = !report.unreadable;
        let periods = report.periods.iter().map(|((meter_type, start, end), sums)| ShownPeriod {
            meter_type,
            period_start: start,
            period_end: end,
            flushed: ShownSum::of(&sums.flushed),
            held: is_asked.then(|| ShownSum::of(&sums.held)),
            missing: is_asked.then_some(sums.missing),
            different: is_asked.then_some(sums.different),
            known: is_asked.then_some(sums.known),
        });
        let shown = ShownReport {
            target: &self.target,
            asked: is_asked,
            agrees: report.verdict(),
            periods: periods.collect(),
            differences: &report.differences,
            difference_count: report.difference_count,
            sent_again: *mended,
        };
        to_raw_value(&shown).unwrap_or_default()
    }
}

/// A report in its JSON form. Sums are written as they are, without parsing their digits again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownReport<'r> {
    target: &'r str,
    /// Whether the target's records can be read.
    asked: bool,
    agrees: Option<bool>,
    periods: Vec<ShownPeriod<'r>>,
    differences: &'r [Difference],
    difference_count: u64,
    sent_again: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownPeriod<'r> {
    meter_type: &'r str,
    period_start: &'r str,
    period_end: &'r str,
    flushed: ShownSum,
    held: Option<ShownSum>,
    missing: Option<u64>,
    different: Option<u64>,
    known: Option<u64>,
}

#[derive(Serialize)]
struct ShownSum {
    records: u64,
    /// Records that are revisions of earlier ones.
    revisions: u64,
    /// The sum of the newest revisions of each period of a meter; null beyond 38 digits.
    value: Option<Box<RawValue>>,
}

impl ShownSum {
    fn of(amount: &Amount) -> ShownSum {
        let value = amount.value.get().and_then(|value| RawValue::from_string(value.to_string()).ok());
        ShownSum { records: amount.records, revisions: amount.revisions, value }
    }
}

impl Installation {
    /// Compares flushed records with those that targets hold.
    pub fn reconcile(&self, who: &Who, wish: &ReconcileWish) -> Result<Reconciliation, Refused> {
        let comparison = self.comparison(&who.namespace, wish)?;
        let compared = comparison.couriers.iter().map(|courier| self.compared(who, &comparison, courier));
        Ok(Reconciliation { pipeline: wish.pipeline.clone(), targets: compared.collect::<Result<_, _>>()? })
    }

    /// Finds the targets of a comparison and the records up to now.
    pub(crate) fn comparison(&self, namespace: &str, wish: &ReconcileWish) -> Result<Comparison, Refused> {
        let pipeline = self.pipeline(namespace, &wish.pipeline)?;
        let served = self.served_of(pipeline.id).ok_or_else(|| not_at_work(&pipeline.name))?;
        let mut couriers = served.delivery.couriers();
        if let Some(target) = &wish.target {
            couriers.retain(|courier| courier.id() == target);
            if couriers.is_empty() {
                return Err(not_found("target", target));
            }
        }
        let part = Part { first: 0, until: served.delivery.end(), ends_from: wish.from, ends_before: wish.to };
        Ok(Comparison { served, couriers, part, mends: wish.mends })
    }

    /// Compares one target of a comparison.
    pub(crate) fn compared(&self, who: &Who, comparison: &Comparison, courier: &Courier) -> Result<Reconciled, Refused> {
        let Comparison { served, part, mends, .. } = comparison;
        let change = json!({"target": courier.id()});
        let audited = || self.audited(who, "delivery.mend", &served.kept.name, serde_json::Value::Null, change);
        let audited = mends.then(audited).transpose().map_err(|why| refusal_of(&why))?;
        let report = courier.compare(*part, audited).map_err(|why| why.to_string());
        Ok(Reconciled { target: courier.id().to_owned(), report })
    }
}
