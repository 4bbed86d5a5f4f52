//! Events that operators made, reported to an observer with their verdicts.

use std::collections::BTreeMap;

use flowmeter_core::mediation::Parked;
use flowmeter_core::plan::Plan;
use flowmeter_core::verdict::Verdict;

use crate::Error;
use crate::observer::{DerivedEvent, Observer};
use crate::slot::Slot;

/// Reports the events that operators made: those of a block that one released, and those that were made
/// of the events of a block.
pub(crate) fn report(plan: &Plan, slot: &Slot, observer: &mut dyn Observer) -> Result<(), Error> {
    let flow = &slot.flow;
    let name = |node: u16| plan.nodes[usize::from(node)].id.as_str();
    let parked: BTreeMap<(u32, u32), &Parked> = flow.parked.iter().map(|parked| ((parked.event, parked.part), parked)).collect();
    let note = |event: u32, part: u32, verdict: Verdict| {
        let note = parked.get(&(event, part)).filter(|_| matches!(verdict, Verdict::Parked(_)));
        (note.and_then(|note| note.operator).map(name), note.map_or("", |note| note.detail.as_str()))
    };
    if let Some(node) = flow.derived_by {
        for (event, verdict) in (0u32..).zip(flow.verdicts()) {
            let (operator, detail) = note(event, 0, *verdict);
            let (made_by, json) = (name(node), flow.batch.raw(event as usize));
            observer.derived(&DerivedEvent { made_by, at: flow.at, arrival: None, verdict: *verdict, operator, detail, json })?;
        }
    }
    for part in 1..=flow.derived_len() {
        let (event, verdict) = (flow.parent_of(part), flow.derived_verdict(part));
        let (operator, detail) = note(event, part, verdict);
        let arrival = flow.derived_by.is_none().then(|| flow.first_arrival + u64::from(event));
        let (made_by, json) = (name(flow.maker_of(part)), slot.mediator.derived_json(flow, part));
        observer.derived(&DerivedEvent { made_by, at: flow.at, arrival, verdict, operator, detail, json: &json })?;
    }
    Ok(())
}
