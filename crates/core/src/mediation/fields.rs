//! Fields that operators set, and whole events as JSON.
//!
//! A row has a slot for each path that the pipeline reads. One path may be inside another
//! (`data` and `data.item`): an operator that sets one keeps the others true.

use std::sync::Arc;

use super::flow::{Flow, Token};
use crate::event::json::{Document, Member, Tree, leaf_of};
use crate::event::{Batch, Kind, Leaf, Path, Slot};
use crate::plan::Plan;
use crate::verdict::Reason;

/// By path of the plan, the paths around it and inside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kin {
    around: Vec<Vec<u16>>,
    inside: Vec<Vec<u16>>,
    /// All paths, outer ones before those inside them.
    outer_first: Vec<u16>,
    /// Where a whole event is that a script returned.
    returned: Option<u16>,
}

impl Kin {
    /// Whether no operator needs it.
    pub(super) fn is_empty(&self) -> bool {
        self.outer_first.is_empty()
    }

    /// Compares every path with every other. Only pipelines whose operators set fields need it.
    pub(super) fn of(paths: &[Path]) -> Kin {
        let lists = |holds: &dyn Fn(&Path, &Path) -> bool| {
            let of = |path: &Path| {
                let others = (0..).zip(paths).filter(|(_, other)| *other != path && holds(path, other));
                others.map(|(slot, _)| slot).collect::<Vec<u16>>()
            };
            paths.iter().map(of).collect::<Vec<_>>()
        };
        let mut outer_first: Vec<u16> = (0..paths.len() as u16).collect();
        outer_first.sort_by_key(|slot| paths[usize::from(*slot)].names().len());
        let around = lists(&|path, other| other.covers(path));
        Kin { around, inside: lists(&|path, other| path.covers(other)), outer_first, returned: None }
    }
}

/// Sets a field of a row and keeps the fields around it and inside it true.
pub(super) fn set(plan: &Plan, kin: &Kin, batch: &mut Batch, row: usize, slot: u16, kind: Kind, bytes: &[u8]) {
    let value = batch.store(kind, bytes);
    set_slot(plan, kin, batch, row, slot, value);
}

/// As [`set`], with a value that the batch holds already, or none.
pub(super) fn set_slot(plan: &Plan, kin: &Kin, batch: &mut Batch, row: usize, slot: u16, value: Slot) {
    batch.set_slot(row, slot, value);
    let path = &plan.paths[usize::from(slot)];
    let inside = kin.inside.get(usize::from(slot)).map_or(&[][..], Vec::as_slice);
    if !inside.is_empty() {
        inside.iter().for_each(|inner| batch.set_slot(row, *inner, Slot::MISSING));
        let leaf = batch.resolve(value);
        if leaf.kind == Kind::Json {
            let text = leaf.bytes.to_vec();
            let depth = path.names().len();
            let wanted: Vec<_> = inside.iter().map(|inner| (*inner, &plan.paths[usize::from(*inner)].names()[depth..])).collect();
            project(batch, row, &text, &wanted);
        }
    }
    for &outer in kin.around.get(usize::from(slot)).map_or(&[][..], Vec::as_slice) {
        let before = batch.leaf(row, outer);
        if value.kind() == Kind::Missing && before.kind != Kind::Json {
            continue;
        }
        let mut tree = if before.kind == Kind::Json { Tree::Raw(before.bytes.to_vec()) } else { Tree::object() };
        let names = &path.names()[plan.paths[usize::from(outer)].names().len()..];
        tree.set(names, json_of(batch.resolve(value)).as_deref());
        let mut text = Vec::new();
        tree.write_to(&mut text);
        let stored = batch.store(Kind::Json, &text);
        batch.set_slot(row, outer, stored);
    }
}

/// Puts another event, as JSON, in the place of a row's: a field that it lacks is gone. Computed
/// values are left alone.
///
/// # Errors
/// The text is no JSON object.
pub(super) fn replace(plan: &Plan, batch: &mut Batch, row: usize, returned: u16, json: &[u8]) -> Result<(), (Reason, String)> {
    let document = Document::new(json.to_vec());
    let Some(members) = document.members() else {
        return Err((Reason::OperatorError, "the script returned an event that is no JSON".to_owned()));
    };
    let fields = (0..).zip(&plan.paths).filter(|(_, path)| !path.is_computed());
    let wanted: Vec<(u16, &[Box<str>])> = fields.map(|(slot, path)| (slot, path.names())).collect();
    wanted.iter().for_each(|(slot, _)| batch.set_slot(row, *slot, Slot::MISSING));
    let whole = batch.store(Kind::Json, json);
    batch.set_slot(row, returned, whole);
    spread(batch, row, &members, &wanted);
    Ok(())
}

/// Finds the values of paths inside the text of an object, and sets their slots.
fn project(batch: &mut Batch, row: usize, text: &[u8], wanted: &[(u16, &[Box<str>])]) {
    let document = Document::new(text.to_vec());
    spread(batch, row, &document.members().unwrap_or_default(), wanted);
}

/// Finds the values of paths inside the members of an object, and sets their slots.
fn spread(batch: &mut Batch, row: usize, members: &[Member<'_>], wanted: &[(u16, &[Box<str>])]) {
    for member in members {
        let below = wanted.iter().filter(|(_, names)| names.first().is_some_and(|name| *name.as_bytes() == *member.name));
        let mut deeper = Vec::new();
        for &(slot, names) in below {
            if names.len() == 1 {
                let leaf = leaf_of(member.value);
                let value = batch.store(leaf.kind, leaf.bytes);
                batch.set_slot(row, slot, value);
            } else {
                deeper.push((slot, &names[1..]));
            }
        }
        if !deeper.is_empty() {
            project(batch, row, member.value, &deeper);
        }
    }
}

fn json_of(leaf: Leaf<'_>) -> Option<Vec<u8>> {
    (leaf.kind != Kind::Missing).then(|| {
        let mut json = Vec::new();
        leaf.write_json(&mut json);
        json
    })
}

/// The whole event of a row as it is by now: as it came, with the fields that operators
/// changed. One that did not come as JSON has the fields that the pipeline names, and all its columns
/// if an operator needs them.
pub(super) fn whole(plan: &Plan, kin: &Kin, batch: &Batch, event: usize, row: usize) -> Vec<u8> {
    if batch.json && !batch.is_changed(row) {
        return batch.raw(event).trim_ascii().to_vec();
    }
    let returned = kin.returned.map(|slot| batch.leaf(row, slot)).filter(|leaf| leaf.kind == Kind::Json);
    let mut tree = match returned {
        Some(returned) => Tree::Raw(returned.bytes.to_vec()),
        None if batch.json => Tree::Raw(batch.raw(event).trim_ascii().to_vec()),
        None => {
            let mut tree = Tree::object();
            for (path, leaf) in batch.unnamed_leaves(row) {
                tree.set(path.names(), json_of(leaf).as_deref());
            }
            tree
        }
    };
    for &slot in &kin.outer_first {
        let path = &plan.paths[usize::from(slot)];
        if !path.is_computed() {
            tree.set(path.names(), json_of(batch.leaf(row, slot)).as_deref());
        }
    }
    let mut text = Vec::new();
    tree.write_to(&mut text);
    text
}

impl Flow {
    /// Returns a derived event of the flow, numbered from 1, as it was made: JSON.
    pub(super) fn derived_json(&self, plan: &Plan, kin: &Kin, part: u32) -> Vec<u8> {
        let derived = &self.derived[part as usize - 1];
        whole(plan, kin, &self.batch, derived.parent.event as usize, derived.row as usize)
    }

    /// Returns the event of a token as it is by now: JSON.
    pub(super) fn json(&self, plan: &Plan, kin: &Kin, token: Token) -> Vec<u8> {
        whole(plan, kin, &self.batch, token.event as usize, token.row as usize)
    }
}

/// Returns the data for operators that set fields; empty where there are none.
pub(super) fn kin_of(plan: &Plan) -> Arc<Kin> {
    let sets = plan.nodes.iter().any(|node| node.operator.sets_fields());
    let mut kin = if sets { Kin::of(&plan.paths) } else { Kin::default() };
    kin.returned = plan.nodes.iter().find_map(|node| match &node.operator {
        crate::operator::Operator::Script(script) => Some(script.whole),
        _ => None,
    });
    Arc::new(kin)
}
