//! `script`: an event becomes what the code returns.

use flowmeter_script::{Event, Returned, State};

use super::derived::Derived;
use super::fields::{Kin, replace, set, set_slot};
use super::flow::{Flow, Token};
use super::split::Ids;
use crate::event::json::leaf_of;
use crate::event::{Batch, Kind, Slot};
use crate::operator::{Script, ScriptFailure, Scripted};
use crate::plan::Plan;
use crate::verdict::{Reason, Verdict};

/// The outcome of a script for its event.
pub(super) enum Became {
    /// The event itself, changed.
    Event,
    /// Its children, in order. None: the event is filtered.
    Children(Vec<Token>),
    /// No event: it is filtered.
    Nothing,
}

/// Runs a script without state.
pub(super) fn run(plan: &Plan, kin: &Kin, flow: &Flow, script: &Script, token: Token) -> Result<Scripted, ScriptFailure> {
    let row = token.row as usize;
    let key = key_list(&flow.batch, row, &script.key);
    let run = |event| script.run(event, &key, &State::new(), flow.at).map(|(scripted, _)| scripted);
    match script.given(&flow.batch, row) {
        Some(given) => run(Event::Fields(&given)),
        None => run(Event::Whole(&flow.json(plan, kin, token))),
    }
}

/// The values of a key as a JSON list.
pub(super) fn key_list(batch: &Batch, row: usize, key: &[u16]) -> Vec<u8> {
    let mut list = b"[".to_vec();
    for (i, &slot) in key.iter().enumerate() {
        if i > 0 {
            list.push(b',');
        }
        let leaf = batch.leaf(row, slot);
        match leaf.is_absent() {
            true => list.extend_from_slice(b"null"),
            false => leaf.write_json(&mut list),
        }
    }
    list.push(b']');
    list
}

/// Puts what a script returned in the place of an event.
pub(super) fn take(
    plan: &Plan,
    kin: &Kin,
    flow: &mut Flow,
    node: u16,
    script: &Script,
    scripted: Scripted,
    token: Token,
) -> Result<Became, (Reason, String)> {
    for (name, count) in scripted.counts {
        let counter = flow.counters.entry((node, name)).or_default();
        *counter = counter.saturating_add(count);
    }
    let row = token.row as usize;
    // An event keeps its identity and its place, whatever the script makes of it.
    let identity = [script.id, script.source].map(|slot| (slot, flow.batch.slot(row, slot)));
    match scripted.returned {
        Returned::Nothing => Ok(Became::Nothing),
        Returned::Event(json) => {
            replace(plan, &mut flow.batch, row, script.whole, &json)?;
            for (slot, value) in identity {
                set_slot(plan, kin, &mut flow.batch, row, slot, value);
            }
            Ok(Became::Event)
        }
        Returned::Changed(changes) => {
            for (field, json) in changes {
                let slot = script.fields.as_ref().map_or(script.id, |fields| fields[field]);
                if slot == script.id || slot == script.source {
                    continue;
                }
                match json {
                    Some(json) => {
                        let leaf = leaf_of(&json);
                        set(plan, kin, &mut flow.batch, row, slot, leaf.kind, leaf.bytes);
                    }
                    None => set_slot(plan, kin, &mut flow.batch, row, slot, Slot::MISSING),
                }
            }
            Ok(Became::Event)
        }
        Returned::Children(events) => {
            let mut children = Vec::with_capacity(events.len());
            let mut ids = Ids::of(plan, flow, node, script.id, token);
            for (index, json) in (0u32..).zip(events) {
                let row = flow.batch.copy_row(row);
                replace(plan, &mut flow.batch, row, script.whole, &json)?;
                let source = flow.batch.slot(token.row as usize, script.source);
                set_slot(plan, kin, &mut flow.batch, row, script.source, source);
                match ids.as_mut().map(|ids| ids.next(index)) {
                    Some(id) => set(plan, kin, &mut flow.batch, row, script.id, Kind::Text, id),
                    None => set_slot(plan, kin, &mut flow.batch, row, script.id, Slot::MISSING),
                }
                let pristine = flow.batch.copy_row(row) as u32;
                flow.derived.push(Derived { parent: token, node, index, row: pristine, verdict: Verdict::Open });
                children.push(Token { part: flow.derived.len() as u32, row: row as u32, ..token });
            }
            Ok(Became::Children(children))
        }
    }
}
