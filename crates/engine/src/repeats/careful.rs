//! Counting a round in which events are held.

use flowmeter_core::mediation::{Answers, Asking};
use flowmeter_core::operator::Operator;
use flowmeter_core::partition::{Admission, Command, Identities, Identity};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use rayon::prelude::*;

use super::group::{Group, Showing};
use super::window_of;
use crate::lane::Lane;
use crate::noted::Noting;
use crate::slot::Slot;

/// Up to so many events are counted on this thread: waking others would take longer.
const EVENTS_ALONE_MAX: u32 = 256;

/// The last stage of a round in which events are held.
pub(crate) struct Careful<'r, I> {
    plan: &'r Plan,
    slots: &'r mut [Slot],
    lanes: &'r mut [Lane<I>],
    /// The first event that has not been counted.
    from: (usize, u32),
}

/// A held event that is a duplicate unless the event it repeats is parked after all.
struct Assumed {
    group: usize,
    showing: usize,
    by: usize,
}

impl<'r, I: Identities + Send + Sync> Careful<'r, I> {
    pub(crate) fn new(plan: &'r Plan, slots: &'r mut [Slot], lanes: &'r mut [Lane<I>]) -> Careful<'r, I> {
        Careful { plan, slots, lanes, from: (0, 0) }
    }

    /// Counts everything, and decides about what is held at its place.
    pub(crate) fn count(mut self, mut groups: Vec<Group>) {
        let flows = self.slots.len();
        self.lanes.iter_mut().for_each(|lane| lane.begin(flows));
        let mut held: Vec<(usize, usize)> = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            held.extend((group.held_from..group.showings.len()).map(|showing| (number, showing)));
            // Whether a held event is admitted is decided at its place, not before.
            for showing in group.showings[group.held_from..].iter().filter(|showing| showing.admitted) {
                self.take_back(group.lane, showing, false);
            }
        }
        held.sort_by_key(|&(group, showing)| {
            let showing = &groups[group].showings[showing];
            (showing.arrival(), showing.node)
        });
        let mut assumed = Vec::new();
        for (number, showing) in held {
            match self.decide(&mut groups[number], showing) {
                Some(by) => assumed.push(Assumed { group: number, showing, by }),
                None => groups[number].unsettled.push(showing),
            }
        }
        self.count_until((flows, 0));
        for assumed in &assumed {
            self.confirm(&mut groups[assumed.group], assumed);
        }
        self.slots.iter_mut().for_each(Slot::finish);
    }

    /// Decides about a held event: returns the event it repeats, or leads it on.
    fn decide(&mut self, group: &mut Group, number: usize) -> Option<usize> {
        let showing = group.showings[number];
        let window = window_of(self.plan, showing.node);
        self.settle(group);
        let mut spent_by = group.spent_by(number, window);
        if spent_by.is_none() && !group.unsettled.is_empty() && self.from < showing.arrival() {
            self.count_until(showing.arrival());
            self.settle(group);
            spent_by = group.spent_by(number, window);
        }
        if spent_by.is_none() {
            self.lead_on(group.lane, &showing);
        }
        spent_by
    }

    /// Everything has been counted: an event that repeats one that counts is a duplicate.
    fn confirm(&mut self, group: &mut Group, assumed: &Assumed) {
        let showing = group.showings[assumed.showing];
        let earlier = &group.showings[assumed.by];
        let mut is_duplicate = true;
        if let Verdict::Parked(_) = self.slots[earlier.flow].flow.verdict_at(earlier.node, earlier.identity.place) {
            // The meter ran out of range within this very round.
            group.unspend(assumed.by);
            group.unsettled.push(assumed.by);
            is_duplicate = self.decide(group, assumed.showing).is_some();
        }
        if showing.is_again {
            return;
        }
        if is_duplicate {
            self.slots[showing.flow].flow.note_duplicate(showing.node, showing.identity.place);
            return;
        }
        let (flow, event) = showing.arrival();
        self.count_span((flow, event), (flow, event + 1));
        group.unsettled.push(assumed.showing);
    }

    /// Finds out what has become of the events that may still be parked.
    fn settle(&mut self, group: &mut Group) {
        let unsettled = std::mem::take(&mut group.unsettled);
        for number in unsettled {
            let showing = group.showings[number];
            let flow = &self.slots[showing.flow].flow;
            if !flow.is_recorded(showing.node, showing.identity.place) {
                continue;
            }
            let is_counted = showing.arrival() < self.from;
            match flow.verdict_at(showing.node, showing.identity.place) {
                Verdict::Parked(_) => self.take_back(group.lane, &showing, true),
                Verdict::Duplicate if is_counted => self.take_back(group.lane, &showing, false),
                Verdict::Counted | Verdict::Filtered | Verdict::Split if is_counted => group.spend(number),
                Verdict::Open | Verdict::Counted | Verdict::Filtered | Verdict::Split
                    if !is_counted && self.is_sure(&showing) =>
                {
                    group.spend(number);
                }
                Verdict::Open
                | Verdict::Counted
                | Verdict::Filtered
                | Verdict::Split
                | Verdict::Absorbed
                | Verdict::Cancelled
                | Verdict::Duplicate => group.unsettled.push(number),
            }
        }
    }

    /// Whether an event that has not been counted surely is not parked.
    fn is_sure(&self, showing: &Showing) -> bool {
        let flow = &self.slots[showing.flow].flow;
        let by_receipt = flow.batch.block.received_at.is_some();
        let events = showing.event..showing.event + 1;
        let mut waits = false;
        for &node in self.plan.stages.last().map_or(&[][..], Vec::as_slice) {
            let Operator::Meter(processor) = self.plan.nodes[usize::from(node)].operator else { continue };
            for (partition, lane) in self.lanes.iter().enumerate() {
                for usage in flow.usages_of(node, partition, events.clone()) {
                    waits = true;
                    if !lane.partition.is_sure(processor, &flow.batch, usage, flow.at, by_receipt) {
                        return false;
                    }
                }
            }
        }
        waits || flow.verdict_at(showing.node, showing.identity.place) != Verdict::Open
    }

    /// Counts all events before a place in the round.
    fn count_until(&mut self, until: (usize, u32)) {
        let from = std::mem::replace(&mut self.from, until);
        self.count_span(from, until);
    }

    /// Counts the usages of the events from one place in the round to another.
    fn count_span(&mut self, from: (usize, u32), until: (usize, u32)) {
        let Careful { plan, slots, lanes, .. } = self;
        let events = |flow: usize| {
            let first = if flow == from.0 { from.1 } else { 0 };
            let end = if flow == until.0 { until.1 } else { u32::MAX };
            first..end
        };
        let span = from.0..slots.len().min(until.0 + usize::from(until.1 > 0));
        if span.is_empty() || from == until {
            return;
        }
        let count = |lane: &mut Lane<I>| {
            let flows = slots.iter().map(|slot| &slot.flow).enumerate();
            lane.count(plan, flows.take(span.end).skip(span.start), &events);
        };
        match from.0 == until.0 && until.1 - from.1 <= EVENTS_ALONE_MAX {
            true => lanes.iter_mut().for_each(count),
            false => lanes.par_iter_mut().for_each(count),
        }
        for flow in span {
            let take = |lane: &mut Lane<I>| std::mem::take(&mut lane.answers[flow]);
            let answers: Vec<Answers> = lanes.iter_mut().map(take).collect();
            slots[flow].conclude(events(flow), &answers);
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
        let is_parked = is_parked && !flow.is_derived(node, identity.place);
        let command = match is_parked {
            true => Command::Park { identity, arrival },
            false => Command::Withdraw { identity },
        };
        self.lanes[lane].partition.apply(command, Timestamp::MIN, &mut Noting::default());
    }

    /// Asks once more for an event that was held, and leads it on if its identity is new.
    fn lead_on(&mut self, lane: usize, showing: &Showing) {
        let Showing { flow, node, identity, .. } = *showing;
        let asking = Asking { node, partition: lane, identity };
        match showing.is_again {
            true => drop(self.admit(flow, &asking)),
            false => self.ask(flow, &asking),
        }
    }

    /// Admits an event and leads it on to where it waits next, or notes that it is a duplicate.
    fn ask(&mut self, flow: usize, asking: &Asking) {
        let (node, place) = (asking.node, asking.identity.place);
        let is_admitted = self.admit(flow, asking);
        let slot = &mut self.slots[flow];
        if !is_admitted {
            slot.flow.note_duplicate(node, place);
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
