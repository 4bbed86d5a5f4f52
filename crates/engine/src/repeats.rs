//! Repetitions within a round.
//!
//! An event is a duplicate of an earlier one only if that one is not parked. Within a round this
//! is not known yet when identities are checked, so a repetition of an event of the same round is
//! held at the `dedupe` operator. Nearly always it is certain that the earlier event counts, and
//! the repetition is a duplicate. Otherwise the meters stop before the repetition, the earlier
//! events are counted, and the repetition is checked again. The verdicts are those of events
//! taken one by one.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use flowmeter_core::aggregation::Fingerprint;
use flowmeter_core::mediation::{Answers, Asking, Flow};
use flowmeter_core::operator::{Dedupe, Operator, Window};
use flowmeter_core::partition::{Admission, Command, Identities, Identity, is_within, recorded_at};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use rayon::prelude::*;

use crate::lane::Lane;
use crate::noted::Noting;
use crate::round::Slot;

/// Where an event of the round shows an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Showing {
    flow: usize,
    event: u32,
    node: u16,
    identity: Identity,
    /// Whether it was admitted when it was asked.
    admitted: bool,
}

/// An event that shows the identity of an earlier one of its round.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    showing: Showing,
    /// The partition of the identity.
    lane: usize,
    /// The earlier ones, in order.
    earlier: Vec<Showing>,
    /// Whether it was corrected and comes again: it is no duplicate in any case, but it records
    /// its identity only if no other event has spent it.
    is_again: bool,
}

/// An identity that was not new, by flow: the first step of finding repetitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flagged {
    pub(crate) flow: usize,
    pub(crate) node: u16,
    pub(crate) fingerprint: u128,
    pub(crate) place: u32,
}

/// Finds the repetitions among the identities of a stage that a partition answered for.
/// `known` are the identities answered as duplicates, `beside` those known outside the window.
pub(crate) fn find(nodes: &[u16], lane: usize, flows: &[&Flow], known: &[Flagged], beside: &[Flagged]) -> Vec<Repeat> {
    let fingerprints = known.iter().chain(beside).map(|flagged| flagged.fingerprint);
    let mut groups: HashMap<u128, Vec<Showing>, BuildHasherDefault<Fingerprint>> =
        fingerprints.map(|fingerprint| (fingerprint, Vec::new())).collect();
    for (flow_ix, flow) in flows.iter().enumerate() {
        for &node in nodes {
            for identity in flow.identities(node, lane) {
                if let Some(group) = groups.get_mut(&identity.fingerprint) {
                    let event = flow.event_of(node, identity.place);
                    let identity = *identity;
                    group.push(Showing { flow: flow_ix, event, node, identity, admitted: true });
                }
            }
        }
    }
    let place_of = |flagged: &Flagged| (flagged.flow, flagged.node, flagged.place);
    let told: std::collections::BTreeSet<_> = known.iter().map(place_of).collect();
    let mut repeats = Vec::new();
    for mut group in groups.into_values().filter(|group| group.len() > 1) {
        for showing in &mut group {
            let place = (showing.flow, showing.node, showing.identity.place);
            showing.admitted = !told.contains(&place);
        }
        repeats.extend(held(&group, lane, flows));
    }
    repeats
}

/// Returns the events of a group that must wait: those answered as duplicates, and those that
/// would be duplicates of them if they were admitted after all.
fn held(group: &[Showing], lane: usize, flows: &[&Flow]) -> Vec<Repeat> {
    let mut held: Vec<Repeat> = Vec::new();
    let mut is_admitted_before = false;
    for (place, showing) in group.iter().enumerate() {
        let is_again = flows[showing.flow].batch.block.again;
        // An event that repeats only events of earlier rounds is certainly a duplicate.
        let is_open = if showing.admitted { !held.is_empty() } else { is_admitted_before };
        if is_open || !held.is_empty() {
            let earlier = group[..place].to_vec();
            held.push(Repeat { showing: *showing, lane, earlier, is_again });
        }
        is_admitted_before |= showing.admitted;
    }
    held
}

impl Repeat {
    /// The operator and the place where it is held, if it is.
    pub(crate) fn held_at(&self) -> Option<(usize, u16, u32)> {
        let Showing { flow, node, identity, .. } = self.showing;
        (!self.is_again).then_some((flow, node, identity.place))
    }

    fn arrival(&self) -> (usize, u32) {
        (self.showing.flow, self.showing.event)
    }

    /// An earlier event that spends the identity, if its fate is as it looks now.
    fn spent_by<I: Identities>(&self, plan: &Plan, slots: &[Slot], lanes: &[Lane<I>]) -> Option<(usize, u32)> {
        let window = window_of(plan, self.showing.node);
        let at = recorded_at(self.showing.identity.at);
        let near = |earlier: &&Showing| is_within(recorded_at(earlier.identity.at), at, window);
        // One that is held itself has no fate yet.
        let told = self.earlier.iter().filter(|earlier| earlier.admitted).filter(near);
        let mut told = told.filter(|earlier| {
            let flow = &slots[earlier.flow].flow;
            flow.is_recorded(earlier.node, earlier.identity.place) && is_sure(plan, flow, earlier.event, lanes)
        });
        told.next().map(|earlier| (earlier.flow, earlier.event))
    }
}

/// Whether an event surely is not parked.
fn is_sure<I: Identities>(plan: &Plan, flow: &Flow, event: u32, lanes: &[Lane<I>]) -> bool {
    let by_receipt = flow.batch.block.received_at.is_some();
    let (mut waits, mut is_sure) = (false, true);
    for &node in plan.stages.last().map_or(&[][..], Vec::as_slice) {
        let Operator::Meter(processor) = plan.nodes[usize::from(node)].operator else { continue };
        for (partition, lane) in lanes.iter().enumerate() {
            for usage in flow.usages_of(node, partition, event..event + 1) {
                waits = true;
                is_sure &= lane.partition.is_sure(processor, &flow.batch, usage, flow.at, by_receipt);
            }
        }
    }
    match flow.verdict(event) {
        Verdict::Counted | Verdict::Filtered => is_sure,
        Verdict::Open => waits && is_sure,
        Verdict::Duplicate | Verdict::Parked(_) => false,
    }
}

fn dedupe(plan: &Plan, node: u16) -> Option<&Dedupe> {
    match &plan.nodes[usize::from(node)].operator {
        Operator::Dedupe(dedupe) => Some(dedupe),
        Operator::Filter(_) | Operator::Map(_) | Operator::Validate(_) | Operator::Branch(_) | Operator::Meter(_) => None,
    }
}

/// The window of a deduplicating operator. A calendar window is part of the identity.
pub(crate) fn window_of(plan: &Plan, node: u16) -> Option<i64> {
    match dedupe(plan, node).map(|dedupe| &dedupe.window) {
        Some(Window::Rolling(span)) => Some(*span),
        Some(Window::Calendar(..) | Window::Forever) | None => None,
    }
}

/// The last stage of a round in which events are held.
pub(crate) struct Careful<'r, I> {
    pub(crate) plan: &'r Plan,
    pub(crate) slots: &'r mut [Slot],
    pub(crate) lanes: &'r mut [Lane<I>],
}

impl<I: Identities + Send + Sync> Careful<'_, I> {
    /// Counts everything, and decides about what is held at its place.
    pub(crate) fn count(&mut self, mut repeats: Vec<Repeat>) {
        repeats.sort_by_key(|repeat| (repeat.arrival(), repeat.showing.node));
        let (mut assumed, mut open) = (Vec::new(), Vec::new());
        for repeat in repeats {
            match repeat.spent_by(self.plan, self.slots, self.lanes) {
                Some(by) => assumed.push((repeat, by)),
                None => open.push(repeat),
            }
        }
        let flows = self.slots.len();
        self.lanes.iter_mut().for_each(|lane| lane.begin(flows));
        let mut from = (0, 0);
        for repeat in open {
            let until = repeat.arrival();
            self.count_span(from, until);
            from = until;
            self.decide(&repeat);
        }
        self.count_span(from, (self.slots.len(), 0));
        for (repeat, (flow, event)) in assumed {
            match self.slots[flow].flow.verdict(event) {
                // The meter ran out of range within this very round: nothing is lost by that.
                Verdict::Parked(_) => {
                    self.decide(&repeat);
                    let (flow, event) = repeat.arrival();
                    self.count_span((flow, event), (flow, event + 1));
                }
                _ if repeat.is_again => {}
                _ => self.slots[repeat.showing.flow].flow.note_duplicate(repeat.showing.event),
            }
        }
        self.slots.iter_mut().for_each(Slot::finish);
    }

    /// Counts the usages of the events from one place in the round to another.
    fn count_span(&mut self, from: (usize, u32), until: (usize, u32)) {
        let Careful { plan, slots, lanes } = self;
        let events = |flow: usize| {
            let first = if flow == from.0 { from.1 } else { 0 };
            let end = if flow == until.0 { until.1 } else { u32::MAX };
            first..end
        };
        let span = from.0..slots.len().min(until.0 + usize::from(until.1 > 0));
        if span.is_empty() {
            return;
        }
        lanes.par_iter_mut().for_each(|lane| {
            let flows = slots.iter().map(|slot| &slot.flow).enumerate();
            lane.count(plan, flows.filter(|(flow, _)| span.contains(flow)), &events);
        });
        for flow in span {
            let take = |lane: &mut Lane<I>| std::mem::take(&mut lane.answers[flow]);
            let answers: Vec<Answers> = lanes.iter_mut().map(take).collect();
            slots[flow].conclude(events(flow), &answers);
        }
    }

    /// Asks once more about a held event, now that all before it is settled.
    fn decide(&mut self, repeat: &Repeat) {
        for earlier in &repeat.earlier {
            match self.slots[earlier.flow].flow.verdict(earlier.event) {
                Verdict::Parked(_) => self.take_back(repeat.lane, earlier, true),
                Verdict::Duplicate => self.take_back(repeat.lane, earlier, false),
                Verdict::Open | Verdict::Filtered | Verdict::Counted => {}
            }
        }
        self.take_back(repeat.lane, &repeat.showing, false);
        let Showing { flow, node, identity, .. } = repeat.showing;
        let asking = Asking { node, partition: repeat.lane, identity };
        match repeat.is_again {
            true => drop(self.admit(flow, &asking)),
            false => self.ask(flow, &asking),
        }
    }

    /// Takes an identity back, if it is recorded for that event.
    fn take_back(&mut self, lane: usize, showing: &Showing, is_parked: bool) {
        let flow = &mut self.slots[showing.flow].flow;
        let (node, identity) = (showing.node, &showing.identity);
        if !flow.is_recorded(node, identity.place) {
            return;
        }
        flow.record(node, identity.place, false);
        let arrival = flow.first_arrival + u64::from(showing.event);
        let command = match is_parked {
            true => Command::Park { identity, arrival },
            false => Command::Withdraw { identity },
        };
        self.lanes[lane].partition.apply(command, Timestamp::MIN, &mut Noting::default());
    }

    /// Admits an event and leads it on to where it waits next, or notes that it is a duplicate.
    fn ask(&mut self, flow: usize, asking: &Asking) {
        let (node, place) = (asking.node, asking.identity.place);
        let is_admitted = self.admit(flow, asking);
        let slot = &mut self.slots[flow];
        if !is_admitted {
            slot.flow.note_duplicate(slot.flow.event_of(node, place));
            return;
        }
        for next in slot.release(node, place) {
            self.ask(flow, &next);
        }
    }

    /// Whether an identity is new; if so, it is recorded.
    fn admit(&mut self, flow: usize, asking: &Asking) -> bool {
        let Asking { node, partition, identity } = *asking;
        let window = window_of(self.plan, node);
        let mut is_known = false;
        let mut answer = |_: &Identity, admission| is_known = admission == Admission::Known;
        let identities = self.lanes[partition].partition.identities_mut();
        identities.admit(&[identity], window, &mut answer);
        self.slots[flow].flow.record(node, identity.place, !is_known);
        !is_known
    }
}
