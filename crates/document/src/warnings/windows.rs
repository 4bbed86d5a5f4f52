//! Windows that do not fit the periods in which their events count.

use std::sync::Arc;

use flowmeter_core::meter_type::MeterType;
use flowmeter_core::operator::{Accumulate, Operator, Windows};
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::Calendar;
use flowmeter_core::time::Timestamp;

use super::super::problem::Problems;
use super::super::tree::Node as Tree;

/// From when on the boundaries of a schedule are looked at, and how many: more than a year of months, and
/// both changes of the clock where days are shorter and longer.
const LOOKED_AT_FROM: &[u8] = b"2026-01-01T00:00:00Z";
const BOUNDARIES: usize = 400;

/// Warns of windows whose events come after the periods they belong to, or that are in two of them. `nodes`
/// gives the node of an operator by its place in the document.
pub(crate) fn of_windows(tree: &Tree, plan: &Plan, nodes: &[u16], warnings: &mut Problems) {
    let items = tree.get("operators").map(Tree::items).unwrap_or_default();
    for (at, (item, node)) in items.iter().zip(nodes).enumerate() {
        let Operator::Accumulate(accumulate) = &plan.nodes[usize::from(*node)].operator else { continue };
        let body = item.get("accumulate").unwrap_or(item);
        let field = format!("operators[{at}].accumulate");
        for kind in counted_below(plan, *node) {
            of_type(body, &field, accumulate, &plan.meter_types[usize::from(kind)], warnings);
        }
    }
}

fn of_type(body: &Tree, field: &str, accumulate: &Accumulate, kind: &MeterType, warnings: &mut Problems) {
    let name = &kind.name;
    if accumulate.late.grace > kind.late.grace {
        let late = body.get("late").unwrap_or(body);
        let message = format!(
            "windows wait {} for late events, longer than periods of `{name}` do: the last window of each period comes after \
             its record; give `{name}` a `late.grace` as long",
            late.text("grace").unwrap_or_default()
        );
        warnings.add(late, &format!("{field}.late.grace"), message);
    }
    if let Some(boundary) = straddled(accumulate, kind) {
        let message = format!(
            "a window is in two periods of `{name}`, around {boundary}: all of it counts in one of them; choose windows that \
             end with the periods"
        );
        warnings.add(body.get("window").unwrap_or(body), &format!("{field}.window"), message);
    }
}

/// The first boundary of a meter type that is within a window.
fn straddled(accumulate: &Accumulate, kind: &MeterType) -> Option<Timestamp> {
    let periods = Calendar::new(Arc::clone(&kind.schedule), kind.zone.clone());
    let mut at = Timestamp::parse_rfc3339(LOOKED_AT_FROM)?;
    let boundaries = std::iter::from_fn(|| {
        at = periods.compute(at).end;
        (at != Timestamp::MAX).then_some(at)
    });
    let mut boundaries = boundaries.take(BOUNDARIES);
    match &accumulate.windows {
        Windows::Size { size, step, offset } => {
            boundaries.find(|boundary| size > step || (boundary.nanos() - offset).rem_euclid(*step) != 0)
        }
        Windows::Schedule(schedule) => {
            let windows = Calendar::new(Arc::clone(schedule), accumulate.zone.clone());
            boundaries.find(|boundary| windows.compute(*boundary).start != *boundary)
        }
        // Where a session ends is not known.
        Windows::Sessions { .. } => None,
    }
}

/// The meter types in which events behind a node count, each once.
fn counted_below(plan: &Plan, node: u16) -> Vec<u16> {
    let mut reached = vec![false; plan.nodes.len()];
    let mut waiting = vec![node];
    let mut kinds: Vec<u16> = Vec::new();
    while let Some(node) = waiting.pop() {
        let node = usize::from(node);
        if std::mem::replace(&mut reached[node], true) {
            continue;
        }
        waiting.extend(plan.nodes[node].outputs.iter().flatten());
        if let Operator::Meter(processor) = plan.nodes[node].operator {
            let rules = &plan.processors[usize::from(processor)].rules;
            kinds.extend(rules.iter().flat_map(|rule| &rule.meter_types));
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
