//! A round of a pipeline that keeps state by key: span by span through all stages.
//!
//! Whether an event is a repetition may depend on what becomes of an earlier one of the same
//! round, and state by key depends on the order of events. So a span ends before the first event
//! that repeats another of it: that event is looked at once the others are through. Spans grow
//! again after that, so that the work stays in proportion to the events.

use flowmeter_core::mediation::Flow;
use flowmeter_core::operator::Operator;
use flowmeter_core::partition::Identities;
use flowmeter_core::plan::Plan;
use rayon::prelude::*;

use crate::lane::Lane;
use crate::slot::Slot;

/// The flow and the event where a span begins or ends.
type Place = (usize, u32);

/// The stages of a round, taken span by span.
pub(crate) struct InOrder<'r, I> {
    plan: &'r Plan,
    slots: &'r mut [Slot],
    lanes: &'r mut [Lane<I>],
}

impl<'r, I: Identities + Send + Sync> InOrder<'r, I> {
    pub(crate) fn new(plan: &'r Plan, slots: &'r mut [Slot], lanes: &'r mut [Lane<I>]) -> InOrder<'r, I> {
        InOrder { plan, slots, lanes }
    }

    /// Takes all events, span by span.
    pub(crate) fn take(mut self) {
        let end = (self.slots.len(), 0);
        let most = if self.asks_later() { 1 } else { u64::MAX };
        let (mut from, mut length) = ((0, 0), most);
        while from < end {
            let until = self.behind(from, length);
            let cut = self.take_span(from, until);
            length = match cut {
                Some(cut) => self.distance(from, cut).saturating_mul(2).min(most),
                None => length.saturating_mul(2).min(most),
            };
            from = cut.unwrap_or(until);
        }
        self.slots.iter_mut().for_each(Slot::finish);
    }

    /// Whether events are asked for repetitions behind or beside state by key, which cannot be
    /// taken back.
    fn asks_later(&self) -> bool {
        let asks = |node: &u16| matches!(self.plan.nodes[usize::from(*node)].operator, Operator::Dedupe(_));
        let keeps = |node: &u16| self.plan.nodes[usize::from(*node)].operator.is_keyed();
        let Some((first, later)) = self.plan.stages.split_first() else { return false };
        later.iter().flatten().any(asks) || (first.iter().any(keeps) && first.iter().any(asks))
    }

    fn events_of(&self, flow: usize) -> u32 {
        self.slots[flow].flow.batch.len() as u32
    }

    /// The place so many events behind another.
    fn behind(&self, from: Place, mut length: u64) -> Place {
        let (mut flow, mut event) = from;
        while flow < self.slots.len() {
            let left = u64::from(self.events_of(flow).saturating_sub(event));
            if length < left {
                return (flow, event + length as u32);
            }
            length -= left;
            (flow, event) = (flow + 1, 0);
        }
        (flow, 0)
    }

    fn distance(&self, from: Place, until: Place) -> u64 {
        let whole: u64 = (from.0..until.0).map(|flow| u64::from(self.events_of(flow))).sum();
        (whole + u64::from(until.1)).saturating_sub(u64::from(from.1)).max(1)
    }

    /// Takes a span through all stages, or a part of it: then returns where it was cut.
    fn take_span(&mut self, from: Place, until: Place) -> Option<Place> {
        let mut cut = None;
        self.enter(from, until, false);
        self.answer(0);
        // Repetitions among the children of the first event of a span cannot be cut apart.
        let held = self.lanes.iter().flat_map(|lane| &lane.repeats).filter_map(|group| group.first_held_after(from));
        if let Some(place) = held.min() {
            self.with_flows(|plan, lanes, flows| lanes.par_iter_mut().for_each(|lane| lane.take_back(plan, flows)));
            self.enter(from, place, true);
            self.answer(0);
            cut = Some(place);
        }
        for stage in 0..self.plan.stages.len() {
            if stage > 0 {
                self.answer(stage);
            }
            // Left are repetitions among the children of one event.
            self.lanes.iter_mut().filter(|lane| !lane.repeats.is_empty()).for_each(Lane::tell_held);
            let lanes = &*self.lanes;
            self.slots.par_iter_mut().enumerate().for_each(|(i, slot)| {
                slot.resume(stage, lanes.iter().map(|lane| &lane.answers[i]));
            });
        }
        self.with_flows(|plan, lanes, flows| {
            lanes.par_iter_mut().for_each(|lane| {
                lane.spend(plan, flows);
                lane.partition.settle_identities();
            });
        });
        cut
    }

    /// Leads the events of a span to the first stage; none of any other.
    fn enter(&mut self, from: Place, until: Place, again: bool) {
        self.slots.par_iter_mut().enumerate().for_each(|(flow, slot)| {
            let first = if flow == from.0 { from.1 } else { 0 };
            let end = if flow == until.0 { until.1 } else { u32::MAX };
            let is_in = from.0 <= flow && flow <= until.0;
            slot.enter_span(&if is_in { first..end } else { u32::MAX..u32::MAX }, again);
        });
    }

    fn answer(&mut self, stage: usize) {
        self.with_flows(|plan, lanes, flows| lanes.par_iter_mut().for_each(|lane| lane.answer(plan, stage, flows)));
    }

    fn with_flows(&mut self, act: impl FnOnce(&Plan, &mut [Lane<I>], &[&Flow])) {
        let flows: Vec<&Flow> = self.slots.iter().map(|slot| &slot.flow).collect();
        act(self.plan, self.lanes, &flows);
    }
}
