//! The steps of each event of a test: the operators that it met, and what each made of it.

use std::collections::BTreeMap;

use flowmeter_core::mediation::{Stayed, Tap};
use flowmeter_core::operator::Operator;
use flowmeter_core::plan::Plan;
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::ParkedEvent;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::verbatim::{self, Object};

/// Events whose steps are shown.
const EVENTS_MAX: usize = 200;

/// One step of an event.
#[derive(Clone, Debug)]
struct Step {
    operator: u16,
    /// Number of the derived event; 0 for the event itself.
    part: u32,
    before: Option<String>,
    /// The fields as the event left; `None` if it stayed.
    after: Option<String>,
    verdict: Verdict,
    nanos: Option<u64>,
}

/// Why an event was parked: operator, reason, detail.
type WhyParked = (Option<String>, &'static str, String);

/// The steps of events, by their line.
#[derive(Debug, Default)]
pub(super) struct Steps {
    events: BTreeMap<u64, Vec<Step>>,
    parked: BTreeMap<u64, Vec<WhyParked>>,
    /// Whether there are events whose steps are not shown.
    has_more: bool,
}

impl Steps {
    fn add(&mut self, line: u64, step: Step) {
        if self.events.len() >= EVENTS_MAX && !self.events.contains_key(&line) {
            self.has_more = true;
            return;
        }
        self.events.entry(line).or_default().push(step);
    }

    pub(super) fn passed(&mut self, tap: &Tap, line: u64) {
        let Tap { operator, part, ref before, ref fields, nanos, .. } = *tap;
        let (before, after) = (before.clone(), Some(fields.clone()));
        let step = Step { operator, part, before, after, verdict: Verdict::Open, nanos };
        self.add(line, step);
    }

    pub(super) fn stayed(&mut self, stayed: &Stayed, line: u64) {
        let Stayed { operator, part, ref before, verdict, nanos, .. } = *stayed;
        self.add(line, Step { operator, part, before: Some(before.clone()), after: None, verdict, nanos });
    }

    pub(super) fn parked(&mut self, event: &ParkedEvent<'_>) {
        if self.parked.len() < EVENTS_MAX || self.parked.contains_key(&event.line) {
            let why = (event.operator.map(str::to_owned), event.reason.code(), event.detail.to_owned());
            self.parked.entry(event.line).or_default().push(why);
        }
    }

    /// Whether not all events are shown.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Returns the events with their steps, in order.
    pub(super) fn shown(&self, plan: &Plan) -> Vec<Box<RawValue>> {
        let mut lines: Vec<u64> = self.events.keys().chain(self.parked.keys()).copied().collect();
        lines.sort_unstable();
        lines.dedup();
        lines.truncate(EVENTS_MAX);
        let event = |line: &u64| {
            let steps = self.events.get(line).map(Vec::as_slice).unwrap_or_default();
            let parked = self.parked.get(line).map(Vec::as_slice).unwrap_or_default();
            let mut shown: Vec<Box<RawValue>> = steps.iter().map(|step| step.shown(plan, parked)).collect();
            // An event that could not be read has met no operator.
            for (_, reason, detail) in parked.iter().filter(|(operator, ..)| operator.is_none()) {
                shown.push(verbatim::raw(
                    &json!({"operator": Value::Null, "outcome": "parked", "reason": reason, "detail": detail}),
                ));
            }
            Object::of(&json!({"event": line})).with_list("steps", &shown).finish()
        };
        lines.iter().map(event).collect()
    }
}

impl Step {
    fn shown(&self, plan: &Plan, parked: &[WhyParked]) -> Box<RawValue> {
        let node = &plan.nodes[usize::from(self.operator)];
        let why = parked.iter().find(|(operator, ..)| self.after.is_none() && operator.as_deref() == Some(node.id.as_str()));
        let outcome = match (&self.after, why) {
            (Some(_), _) => "passed",
            (None, Some(_)) => "parked",
            (None, None) => outcome(&node.operator, self.verdict),
        };
        let mut head = json!({"operator": node.id, "type": node.operator.name(), "outcome": outcome});
        if self.part > 0 {
            head["part"] = json!(self.part);
        }
        if let Some((_, reason, detail)) = why {
            head["reason"] = json!(reason);
            head["detail"] = json!(detail);
        }
        let fields = |text: &Option<String>| match text {
            Some(text) => verbatim::sent(text.as_bytes()),
            None => RawValue::NULL.to_owned(),
        };
        let shown = Object::of(&head).with("before", &fields(&self.before)).with("after", &fields(&self.after));
        shown.with("ms", &millis(self.nanos)).finish()
    }
}

/// Returns milliseconds with three places; null if the time is not known.
fn millis(nanos: Option<u64>) -> Box<RawValue> {
    let Some(nanos) = nanos else { return RawValue::NULL.to_owned() };
    let (whole, rest) = (nanos / 1_000_000, nanos / 1_000 % 1_000);
    RawValue::from_string(format!("{whole}.{rest:03}")).unwrap_or_default()
}

/// Returns the outcome of an event that stayed at an operator and was not parked there.
fn outcome(operator: &Operator, verdict: Verdict) -> &'static str {
    match operator {
        Operator::Meter(_) if verdict == Verdict::Counted => "counted",
        Operator::Dedupe(_) => "duplicate",
        Operator::Split(_) | Operator::Script(_) if verdict == Verdict::Split => "split",
        Operator::Aggregate(_) | Operator::Accumulate(_) | Operator::Correlate(_) => "absorbed",
        Operator::Script(_) if verdict == Verdict::Absorbed => "absorbed",
        Operator::Meter(_)
        | Operator::Split(_)
        | Operator::Script(_)
        | Operator::Filter(_)
        | Operator::Map(_)
        | Operator::Validate(_)
        | Operator::Branch(_)
        | Operator::Enrich(_)
        | Operator::Currency(_)
        | Operator::Rate(_)
        | Operator::Http(_) => "filtered",
    }
}
