//! State that has no place under another version of the plan.
//!
//! It is released or given up by the operators of the earlier version, at the entry that adopts the
//! other one. So the result depends on the log alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::operator::Operator;
use flowmeter_core::partition::{Change, Identities, Partition, ReleaseExtent};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::merge::RecordSink;
use crate::observer::Totals;
use crate::round::Engine;
use crate::{Error, Kind, Observer};

/// The decision about the state of an operator that has no place under another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateChoice {
    /// It is released as it is: windows and pairs end there.
    Release,
    /// The events that it holds are parked.
    Forget,
}

impl StateChoice {
    /// Returns the choice of a name.
    pub fn named(name: &str) -> Option<StateChoice> {
        match name {
            "release" => Some(StateChoice::Release),
            "forget" => Some(StateChoice::Forget),
            _ => None,
        }
    }
}

/// The choices by the ids of operators.
pub type StateChoices = BTreeMap<String, StateChoice>;

/// Returns the first operator with a choice that keeps no state in any of the plans.
pub fn choice_without_state<'c>(choices: &'c StateChoices, plans: &[&Plan]) -> Option<&'c str> {
    let keeps = |operator: &str| {
        let mut nodes = plans.iter().flat_map(|plan| &plan.nodes);
        nodes.any(|node| node.id == operator && node.operator.is_keyed())
    };
    choices.keys().map(String::as_str).find(|operator| !keeps(operator))
}

/// An operator whose state has no place under another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The id of the operator.
    pub operator: String,
    /// Why its state has no place.
    pub change: Change,
    /// The number of events that it holds.
    pub held: u64,
    /// The decision about its state.
    pub choice: Option<StateChoice>,
}

impl Displaced {
    /// Returns a sentence about the operators without a choice; `None` if there are none.
    pub fn open(all: &[Displaced]) -> Option<String> {
        let open = all.iter().filter(|displaced| displaced.choice.is_none());
        let lines: Vec<String> =
            open.map(|Displaced { operator, change, .. }| format!("operator `{operator}`: {change}")).collect();
        (!lines.is_empty()).then(|| format!("the new version has no place for the state of {}", lines.join("; ")))
    }
}

impl<I: Identities + Send + Sync> Engine<I> {
    /// Returns the operators whose state has no place under another plan, in the order of this one.
    ///
    /// # Errors
    /// `Invalid` if that plan lacks a part that the meters need, or meters that events which are
    /// released could open.
    pub fn displaced(&self, plan: &Plan, choices: &StateChoices) -> Result<Vec<Displaced>, Error> {
        self.check_meters(plan)?;
        let counts = self.totals();
        let nodes = (0u16..).zip(self.plan().nodes.iter().zip(&counts.operators));
        let displaced = nodes.filter_map(|(node, (operator, count))| {
            let (choice, held) = (choices.get(&operator.id).copied(), count.held());
            Some((node, Displaced { operator: operator.id.clone(), change: self.change_of(node, plan)?, held, choice }))
        });
        let displaced: Vec<(u16, Displaced)> = displaced.collect();
        for (node, displaced) in displaced.iter().filter(|(_, displaced)| displaced.choice == Some(StateChoice::Release)) {
            self.check_behind(*node, &displaced.operator, plan)?;
        }
        Ok(displaced.into_iter().map(|(_, displaced)| displaced).collect())
    }

    fn change_of(&self, node: u16, plan: &Plan) -> Option<Change> {
        self.partitions().find_map(|partition| partition.displaced(node, plan))
    }

    /// Checks that another plan has all that the meters need.
    fn check_meters(&self, plan: &Plan) -> Result<(), Error> {
        let meters = self.partitions().flat_map(Partition::meters);
        let missing = meters.into_iter().find_map(|meter| self.missing(meter.processor, meter.meter_type, plan));
        missing.map_or(Ok(()), |what| Err(Error::new(Kind::Invalid, format!("there are meters {what}"))))
    }

    /// Checks that another plan has the meters into which an operator releases.
    fn check_behind(&self, node: u16, operator: &str, plan: &Plan) -> Result<(), Error> {
        let old = self.plan();
        let (mut next, mut seen) = (vec![node], vec![false; old.nodes.len()]);
        while let Some(node) = next.pop() {
            let node = &old.nodes[usize::from(node)];
            for &to in node.outputs.iter().flatten() {
                if !std::mem::replace(&mut seen[usize::from(to)], true) {
                    next.push(to);
                }
            }
            let Operator::Meter(processor) = node.operator else { continue };
            let rules = old.processors[usize::from(processor)].rules.iter();
            let mut types = rules.flat_map(|rule| &rule.meter_types);
            if let Some(what) = types.find_map(|meter_type| self.missing(processor, *meter_type, plan)) {
                let message = format!("the state of the operator `{operator}` is released into meters {what}");
                return Err(Error::new(Kind::Invalid, message));
            }
        }
        Ok(())
    }

    /// Returns what another plan lacks for a meter, if it lacks anything.
    fn missing(&self, processor: u16, meter_type: u16, plan: &Plan) -> Option<String> {
        let old = &self.plan().meter_types[usize::from(meter_type)];
        let key = self.plan().processors[usize::from(processor)].key;
        if !plan.processors.iter().any(|processor| processor.key == key) {
            return Some(format!("of the operator with the key {key}; keep it"));
        }
        let Some(new) = plan.meter_types.iter().find(|known| known.id == old.id) else {
            return Some(format!("of the type `{}`; keep it, or delete them first", old.name));
        };
        let changed = if old.name != new.name {
            "name"
        } else if old.aggregation != new.aggregation {
            "aggregation"
        } else {
            return None;
        };
        Some(format!("of the type `{}`, whose {changed} cannot change; make a new type", old.name))
    }

    /// Continues under another version of the plan. State without a place there is released or
    /// given up first. If this fails, the engine is of no more use.
    ///
    /// # Errors
    /// A released event cannot be processed, or the plan lacks a part that the meters need.
    pub fn adopt(
        &mut self,
        plan: &Arc<Plan>,
        choices: &StateChoices,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        self.settle_displaced(plan, choices, at, sink, observer)?;
        self.exchange(plan)?;
        self.reschedule(at);
        Ok(())
    }

    /// Releases or gives up the state that has no place under another plan.
    pub(crate) fn settle_displaced(
        &mut self,
        plan: &Plan,
        choices: &StateChoices,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let before = Arc::clone(self.plan());
        for (node, operator) in (0u16..).zip(&before.nodes) {
            // Asked here, since an operator in front of it may have released into it.
            if self.change_of(node, plan).is_none() {
                continue;
            }
            match choices.get(&operator.id) {
                Some(StateChoice::Forget) => self.give_up(node, at, observer)?,
                Some(StateChoice::Release) => self.release_of(node, ReleaseExtent::Ended, at, sink, observer)?,
                // It was empty when the version was accepted, and events came since. Their meters may
                // have no place in the version.
                None => match self.check_behind(node, &operator.id, plan) {
                    Ok(()) => self.release_of(node, ReleaseExtent::Ended, at, sink, observer)?,
                    Err(_) => self.give_up(node, at, observer)?,
                },
            }
            let count = &mut self.totals.operators[usize::from(node)];
            count.released = count.absorbed;
        }
        Ok(())
    }
}

impl Totals {
    /// Returns the totals in the order of another plan: operators with the same id continue.
    #[must_use]
    pub(crate) fn under(self, before: &Plan, plan: &Plan) -> Totals {
        let place = |id: &str, of: &Plan| of.nodes.iter().position(|node| node.id == id);
        let count = |id: &str| place(id, before).and_then(|at| self.operators.get(at)).copied().unwrap_or_default();
        let operators = plan.nodes.iter().map(|node| count(&node.id)).collect();
        let counters = self.counters.iter().filter_map(|((at, name), count)| {
            let now = place(&before.nodes.get(usize::from(*at))?.id, plan)?;
            Some(((now as u16, name.clone()), *count))
        });
        let counters = counters.collect();
        Totals { operators, counters, ..self }
    }
}
