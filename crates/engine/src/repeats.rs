//! Repetitions within a round.
//!
//! An event is a duplicate of an earlier one only if that one is not parked. Within a round this
//! is not known yet when identities are checked, so a repetition of an event of the same round is
//! held at the `dedupe` operator. Nearly always it is certain that the earlier event counts, and
//! the repetition is a duplicate. Otherwise the meters stop before the repetition, the earlier
//! events are counted, and the repetition is checked again. The verdicts are those of events
//! taken one by one.

mod careful;
mod group;

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use flowmeter_core::aggregation::Fingerprint;
use flowmeter_core::mediation::Flow;
use flowmeter_core::operator::{Dedupe, Operator, Window};
use flowmeter_core::plan::Plan;

pub(crate) use careful::Careful;
pub(crate) use group::Group;
use group::Showing;

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
pub(crate) fn find(nodes: &[u16], lane: usize, flows: &[&Flow], known: &[Flagged], beside: &[Flagged]) -> Vec<Group> {
    let fingerprints = known.iter().chain(beside).map(|flagged| flagged.fingerprint);
    let mut showings: HashMap<u128, Vec<Showing>, BuildHasherDefault<Fingerprint>> =
        fingerprints.map(|fingerprint| (fingerprint, Vec::new())).collect();
    let refused: BTreeSet<_> = known.iter().map(|flagged| (flagged.flow, flagged.node, flagged.place)).collect();
    for (flow_ix, flow) in flows.iter().enumerate() {
        for &node in nodes {
            for identity in flow.identities(node, lane) {
                let Some(group) = showings.get_mut(&identity.fingerprint) else { continue };
                group.push(Showing {
                    flow: flow_ix,
                    event: flow.event_of(node, identity.place),
                    node,
                    identity: *identity,
                    admitted: !refused.contains(&(flow_ix, node, identity.place)),
                    is_again: flow.batch.block.again,
                });
            }
        }
    }
    showings.into_values().filter_map(|showings| Group::new(lane, showings)).collect()
}

fn dedupe(plan: &Plan, node: u16) -> Option<&Dedupe> {
    let Operator::Dedupe(dedupe) = &plan.nodes[usize::from(node)].operator else { return None };
    Some(dedupe)
}

/// The window of a deduplicating operator. A calendar window is part of the identity.
pub(crate) fn window_of(plan: &Plan, node: u16) -> Option<i64> {
    match dedupe(plan, node).map(|dedupe| &dedupe.window) {
        Some(Window::Rolling(span)) => Some(*span),
        Some(Window::Calendar(..) | Window::Forever) | None => None,
    }
}
