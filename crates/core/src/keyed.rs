//! State by key: what `rate`, `aggregate`, `accumulate`, `correlate` and `script` keep in a partition.
//!
//! A key belongs to one partition, and its events come in the order of arrival. State never
//! refers to a plan by place: images name operators and fields, so that they outlive the
//! version that wrote them.

mod accumulate;
mod aggregate;
mod by_period;
mod correlate;
mod fold;
mod form;
mod gathered;
mod keys;
mod made;
mod pairs;
mod rate;
mod script;
mod segment;
mod sessions;
#[cfg(test)]
mod tests;
mod texts;

pub use form::Change;
pub(crate) use form::{Form, change, former_text};
pub(crate) use keys::hash_of;
use keys::{AHEAD, Keys};
pub use made::{key_id, stamp_text};
pub(crate) use rate::quantity;

use crate::event::{Batch, Slot};
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Keyed, Operator};
use crate::partition::Effects;
use crate::plan::Plan;
use crate::table::{RowIx, Tables};
use crate::time::Timestamp;
use crate::verdict::{Reason, Verdict};

/// An event for an operator that keeps state by key.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The row of the event in its batch.
    pub row: u32,
    /// Its place among those that wait for an answer.
    pub place: u32,
    /// Its key, as in ids of derived events.
    pub key: Slot,
    /// The hash of its key.
    pub hash: u64,
    /// When it was; without a time of its own, when it was received.
    pub at: Timestamp,
    /// Its place in the order of arrival.
    pub order: Order,
    /// Its number among the received events; none for a derived one.
    pub arrival: Option<u64>,
    /// For pairs: whether it is a stop.
    pub is_stop: bool,
    /// For pairs, and for scripts that see more than some fields: the whole event, as JSON.
    pub json: Slot,
    /// For scripts: the values of its key, as a JSON list.
    pub key_list: Slot,
    /// For prices from a table: the row of its tariff.
    pub tariff: Option<RowIx>,
}

/// A place in the order of arrival: of the received event, and among those derived of it.
pub type Order = (u64, u32);

/// An event that an operator released.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Released {
    /// Where its window ends: the first criterion of their order.
    pub end: Timestamp,
    /// Its key: the second.
    pub key: Box<[u8]>,
    /// Where its window starts: the third.
    pub start: Timestamp,
    /// The event, as JSON.
    pub json: Vec<u8>,
    /// How many events are settled by it: they are held no longer.
    pub settles: u64,
}

/// An event in the state of an operator whose verdict changed after it was absorbed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejudged {
    /// Its place in the order of arrival.
    pub order: Order,
    /// The verdict of the event.
    pub verdict: Verdict,
    /// Details of the verdict, for a person.
    pub detail: String,
    /// The event, as JSON; of a window, the event that it would have become.
    pub json: Vec<u8>,
    /// The number of its events: more than one for a window.
    pub events: u64,
    /// Its number among the received events, if it is one of them.
    pub arrival: Option<u64>,
}

/// When events are released.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The instant of the tick.
    pub at: Timestamp,
    /// How far the watermark of the operator has come; the clock, where it has none.
    pub until: Timestamp,
    /// How much is released.
    pub extent: ReleaseExtent,
}

/// How much an operator releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseExtent {
    /// The windows and pairs that are due.
    Due,
    /// All windows, and all pairs with a stop. Their ends stay as scheduled.
    All,
    /// Everything as it is at the instant: windows and pairs end there, and the operator begins
    /// empty.
    Ended,
}

/// The state of one operator in one partition.
#[derive(Debug)]
pub(crate) enum State {
    Rate(rate::Rates),
    Aggregate(aggregate::Aggregates),
    Accumulate(accumulate::Accumulated),
    Correlate(correlate::Correlated),
    Script(script::States),
}

impl State {
    /// Empty state of an operator; none for one that keeps no state by key.
    pub(crate) fn of(plan: &Plan, node: u16) -> Option<State> {
        Some(match plan.nodes[usize::from(node)].operator.keyed()? {
            Keyed::Rate(_, running) => State::Rate(rate::Rates::new(running)),
            Keyed::Aggregate(aggregate) => State::Aggregate(aggregate::Aggregates::new(aggregate)),
            Keyed::Accumulate(accumulate) => State::Accumulate(accumulate::Accumulated::new(accumulate)),
            Keyed::Correlate(correlate) => State::Correlate(correlate::Correlated::new(correlate)),
            Keyed::Script(_) => State::Script(script::States::default()),
        })
    }

    /// Takes events in the order of arrival, received at an instant.
    pub(crate) fn take(
        &mut self,
        plan: &Plan,
        node: u16,
        (batch, tables): (&Batch, &Tables),
        inputs: &[Input],
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        match (self, &plan.nodes[usize::from(node)].operator) {
            (State::Rate(state), Operator::Rate(rate)) => state.take(plan, rate, (batch, tables), inputs, effects),
            (State::Aggregate(state), Operator::Aggregate(aggregate)) => state.take(plan, aggregate, batch, inputs, effects),
            (State::Accumulate(state), Operator::Accumulate(accumulate)) => {
                state.take(plan, accumulate, batch, inputs, at, effects);
            }
            (State::Correlate(state), Operator::Correlate(correlate)) => state.take(correlate, batch, inputs, effects),
            (State::Script(state), Operator::Script(script)) => state.take(script, batch, inputs, at, effects),
            (State::Rate(_) | State::Aggregate(_) | State::Accumulate(_) | State::Correlate(_) | State::Script(_), _) => {
                debug_assert!(false, "the state of another operator");
            }
        }
    }

    /// Advances time to an instant: releases what is due and forgets what is too old.
    pub(crate) fn release(&mut self, plan: &Plan, node: u16, due: Due, effects: &mut impl Effects) {
        match (self, &plan.nodes[usize::from(node)].operator) {
            (State::Rate(state), Operator::Rate(_)) => state.tick(due.at),
            (State::Aggregate(state), Operator::Aggregate(_)) => state.tick(due.at),
            (State::Accumulate(state), Operator::Accumulate(accumulate)) => state.release(plan, node, accumulate, due, effects),
            (State::Correlate(state), Operator::Correlate(correlate)) => state.release(plan, node, correlate, due, effects),
            // Its state has no end.
            (State::Script(_), Operator::Script(_)) => {}
            (State::Rate(_) | State::Aggregate(_) | State::Accumulate(_) | State::Correlate(_) | State::Script(_), _) => {
                debug_assert!(false, "the state of another operator");
            }
        }
    }

    /// Gives up the events that it holds: they are parked.
    pub(crate) fn forget(&self, plan: &Plan, node: u16, effects: &mut impl Effects) {
        match (self, &plan.nodes[usize::from(node)].operator) {
            (State::Accumulate(state), Operator::Accumulate(accumulate)) => state.forget(plan, node, accumulate, effects),
            (State::Correlate(state), Operator::Correlate(_)) => state.forget(effects),
            // They hold no events: theirs have passed.
            (State::Rate(_), Operator::Rate(_))
            | (State::Aggregate(_), Operator::Aggregate(_))
            | (State::Script(_), Operator::Script(_)) => {}
            (State::Rate(_) | State::Aggregate(_) | State::Accumulate(_) | State::Correlate(_) | State::Script(_), _) => {
                debug_assert!(false, "the state of another operator");
            }
        }
    }

    /// Whether it holds nothing that an event could depend on.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            State::Rate(state) => state.is_empty(),
            State::Aggregate(state) => state.is_empty(),
            State::Accumulate(state) => state.is_empty(),
            State::Correlate(state) => state.is_empty(),
            State::Script(state) => state.is_empty(),
        }
    }

    /// The earliest instant at which something may be due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        match self {
            State::Rate(_) | State::Aggregate(_) | State::Script(_) => None,
            State::Accumulate(state) => state.next_due(),
            State::Correlate(state) => state.next_due(),
        }
    }

    /// The greatest event time that was taken, and when the last event was received.
    pub(crate) fn seen(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            State::Rate(_) | State::Aggregate(_) | State::Correlate(_) | State::Script(_) => None,
            State::Accumulate(state) => state.seen(),
        }
    }

    /// Appends it to an image.
    pub(crate) fn write_to(&self, pen: &mut Pen) {
        match self {
            State::Rate(state) => state.write_to(pen),
            State::Aggregate(state) => state.write_to(pen),
            State::Accumulate(state) => state.write_to(pen),
            State::Correlate(state) => state.write_to(pen),
            State::Script(state) => state.write_to(pen),
        }
    }

    /// Reads it from an image. `is_former`: an older program wrote the image, without the numbers of
    /// received events. `kept`: the fields that its windows keep, where the image names them.
    pub(crate) fn read(plan: &Plan, node: u16, glass: &mut Glass<'_>, is_former: bool, kept: Option<&[&str]>) -> Seen<State> {
        let Some(keyed) = plan.nodes[usize::from(node)].operator.keyed() else { return glass.damaged() };
        Ok(match keyed {
            Keyed::Rate(_, running) => State::Rate(rate::Rates::read(running, glass)?),
            Keyed::Aggregate(aggregate) => State::Aggregate(aggregate::Aggregates::read(aggregate, glass)?),
            Keyed::Accumulate(accumulate) => State::Accumulate(accumulate::Accumulated::read(plan, accumulate, kept, glass)?),
            Keyed::Correlate(correlate) => State::Correlate(correlate::Correlated::read(correlate, glass, is_former)?),
            Keyed::Script(_) => State::Script(script::States::read(glass)?),
        })
    }
}

/// Returns the fields that the windows of an operator keep of their last event.
pub(crate) fn kept_fields<'p>(plan: &'p Plan, operator: &Operator) -> Vec<&'p str> {
    let Operator::Accumulate(accumulate) = operator else { return Vec::new() };
    accumulate.keep.iter().map(|slot| plan.paths[usize::from(*slot)].as_str()).collect()
}

/// The key of an input.
fn key_of<'a>(batch: &'a Batch, input: &Input) -> &'a [u8] {
    batch.resolve(input.key).bytes
}

/// Why an event does not change the state.
type Flaw = (Reason, String);
