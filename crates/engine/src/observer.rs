//! Observers of a run, and its totals.

use std::collections::BTreeMap;

use flowmeter_core::event::{Batch, Origin};
use flowmeter_core::mediation::{OperatorCount, Stayed, Tap};
use flowmeter_core::operator::Node;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Tally, Verdict};

use crate::Error;
use crate::lane::Superseded;

/// An observer of a run.
pub trait Observer {
    /// Called for an event that is added to the correction queue.
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error>;
    /// Called for an event that leaves an operator.
    fn tapped(&mut self, tap: &Tap, line: u64);
    /// Called for an event that stays at an operator, if every step is noted.
    fn stayed(&mut self, _stayed: &Stayed, _line: u64) {}
    /// Called after a block with its events and the verdict of each.
    fn judged(&mut self, _batch: &Batch, _verdicts: &[Verdict]) {}
    /// Called when an event replaces a parked one with the same identity.
    fn superseded(&mut self, _superseded: Superseded) -> Result<(), Error> {
        Ok(())
    }
    /// Called with the counts of operators after a round, in the order of the plan.
    fn counted(&mut self, _operators: &[OperatorCount]) {}
    /// Whether derived events are wanted as they are made: see [`Observer::derived`].
    fn wants_derived(&self) -> bool {
        false
    }
    /// Called with an event that an operator made, once it has its verdict.
    fn derived(&mut self, _event: &DerivedEvent<'_>) -> Result<(), Error> {
        Ok(())
    }
    /// Called after a round.
    fn progress(&mut self, tally: &Tally, bytes: (u64, Option<u64>));
}

/// An event in the correction queue, with its origin.
#[derive(Clone, Copy, Debug)]
pub struct ParkedEvent<'a> {
    /// The file or address of the event.
    pub origin: &'a Origin,
    /// Its line there, counted from 1.
    pub line: u64,
    /// The operator it was parked at; `None`: it could not be read.
    pub operator: Option<&'a str>,
    /// The reason of parking.
    pub reason: Reason,
    /// The message, with the value and the remedy.
    pub detail: &'a str,
    /// The event as it came in; a derived one as it was made.
    pub raw: &'a [u8],
    /// Whether an operator made it, or held it.
    pub is_derived: bool,
    /// Its number in the order of arrival, if it was received and an operator held it.
    pub held: Option<u64>,
    /// Whether an operator released it, or held it: then it has no line in the origin.
    pub is_released: bool,
}

/// An event that an operator made, with its verdict.
#[derive(Clone, Copy, Debug)]
pub struct DerivedEvent<'a> {
    /// The operator that made it.
    pub made_by: &'a str,
    /// When it was made: at a tick, or when its parent was received.
    pub at: Timestamp,
    /// The number of the received event that it descends from; none if it was released at a tick.
    pub arrival: Option<u64>,
    /// The verdict after the round in which it was made.
    pub verdict: Verdict,
    /// The operator that parked it, if one did.
    pub operator: Option<&'a str>,
    /// The message to it; may be empty.
    pub detail: &'a str,
    /// The event as it was made: JSON.
    pub json: &'a [u8],
}

/// Counters of one script that have names of their own; names come from events.
const COUNTERS_MAX: usize = 1_000;
/// The name of all further counters.
const OTHER_COUNTERS: &str = "(others)";

/// The totals of an engine so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// The numbers of events by verdict.
    pub tally: Tally,
    /// Events that an earlier run absorbed and that have another verdict by now.
    pub rejudged: Tally,
    /// The counts by operator.
    pub operators: Vec<OperatorCount>,
    /// Meters that events opened.
    pub meters_opened: u64,
    /// Events that had no time and were given that of their receipt.
    pub timed_by_receipt: u64,
    /// Counters of scripts, and of operators with several outputs, by operator and name.
    pub counters: BTreeMap<(u16, String), i64>,
}

impl Totals {
    /// Adds the totals of the run that continues from these; events held in between are counted
    /// once.
    #[must_use]
    pub fn plus(&self, run: &Totals) -> Totals {
        let mut sum = self.clone();
        sum.tally.absorb(&run.tally);
        sum.tally.rejudge(&run.rejudged);
        sum.meters_opened += run.meters_opened;
        sum.timed_by_receipt += run.timed_by_receipt;
        sum.count(&run.counters);
        sum.operators.resize(run.operators.len(), OperatorCount::default());
        for (mine, theirs) in sum.operators.iter_mut().zip(&run.operators) {
            let held = mine.held();
            mine.add(theirs);
            mine.absorbed = mine.absorbed.saturating_sub(held);
        }
        sum
    }

    /// Adds what scripts counted.
    pub(crate) fn count(&mut self, counters: &BTreeMap<(u16, String), i64>) {
        for ((operator, name), count) in counters {
            let is_known = self.counters.contains_key(&(*operator, name.clone()));
            let name = match is_known || self.counters_of(*operator).count() < COUNTERS_MAX {
                true => name.clone(),
                false => OTHER_COUNTERS.to_owned(),
            };
            let sum = self.counters.entry((*operator, name)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Adds the number of events by output of operators that have several.
    pub(crate) fn count_outputs(&mut self, nodes: &[Node], outputs: &[Vec<u64>]) {
        for ((operator, node), counts) in (0u16..).zip(nodes).zip(outputs) {
            for (port, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let sum = self.counters.entry((operator, node.output_name(port).to_owned())).or_default();
                *sum = sum.saturating_add_unsigned(*count);
            }
        }
    }

    /// Returns the counters of an operator, by name: those of its script, or of its outputs.
    pub fn counters_of(&self, operator: u16) -> impl Iterator<Item = (&str, i64)> {
        let from = (operator, String::new());
        let of_operator = self.counters.range(from..).take_while(move |((of, _), _)| *of == operator);
        of_operator.map(|((_, name), count)| (name.as_str(), *count))
    }
}
