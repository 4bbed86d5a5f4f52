//! `split`: one event becomes its children.

use super::derived::Derived;
use super::fields::{Kin, set, set_slot};
use super::flow::{Flow, Token};
use crate::decimal::Decimal;
use crate::event::json::{Document, leaf_of};
use crate::event::{Kind, Slot};
use crate::operator::{Empty, Split};
use crate::plan::Plan;
use crate::verdict::{Reason, Verdict};

/// The children of an event, in order. None: the event is filtered. Each has a row of its own.
pub(super) fn split(
    plan: &Plan,
    kin: &Kin,
    flow: &mut Flow,
    node: u16,
    split: &Split,
    parent: Token,
) -> Result<Vec<Token>, (Reason, String)> {
    let path = || plan.paths[usize::from(split.path)].as_str();
    let leaf = flow.batch.leaf(parent.row as usize, split.path);
    if leaf.is_absent() {
        return Err((Reason::NoValue, format!("`{}` is {}", path(), plan.absence(&flow.batch, leaf))));
    }
    let text = if leaf.kind == Kind::Json { leaf.bytes.to_vec() } else { Vec::new() };
    let document = Document::new(text);
    let elements: Vec<(Option<Vec<u8>>, &[u8])> = match (document.elements(), document.members()) {
        (Some(elements), _) => elements.into_iter().map(|element| (None, element)).collect(),
        (None, Some(members)) => members.into_iter().map(|member| (Some(member.name.into_owned()), member.value)).collect(),
        (None, None) => return Err((Reason::BadValue, format!("`{}` is neither a list nor an object", path()))),
    };
    if elements.is_empty() {
        return match split.empty {
            Empty::Filter => Ok(Vec::new()),
            Empty::Park => Err((Reason::NoValue, format!("`{}` is empty", path()))),
        };
    }
    if elements.len() > split.children_max {
        let (found, most) = (elements.len(), split.children_max);
        return Err((Reason::TooMany, format!("`{}` has {found} elements; `childrenMax` is {most}", path())));
    }
    let mut children = Vec::with_capacity(elements.len());
    let mut ids = Ids::of(plan, flow, node, split.id, parent);
    for (index, (name, element)) in (0u32..).zip(elements) {
        let row = flow.batch.copy_row(parent.row as usize) as u32;
        set_slot(plan, kin, &mut flow.batch, row as usize, split.path, Slot::MISSING);
        let leaf = leaf_of(element);
        set(plan, kin, &mut flow.batch, row as usize, split.into, leaf.kind, leaf.bytes);
        if let Some(key) = split.key {
            match name {
                Some(name) => set(plan, kin, &mut flow.batch, row as usize, key, Kind::Text, &name),
                None => {
                    let index = Decimal::from_count(index.into()).to_string();
                    set(plan, kin, &mut flow.batch, row as usize, key, Kind::Number, index.as_bytes());
                }
            }
        }
        if let Some(id) = ids.as_mut().map(|ids| ids.next(index)) {
            set(plan, kin, &mut flow.batch, row as usize, split.id, Kind::Text, id);
        }
        let pristine = flow.batch.copy_row(row as usize) as u32;
        flow.derived.push(Derived { parent, node, index, row: pristine, verdict: Verdict::Open });
        children.push(Token { part: flow.derived.len() as u32, row, ..parent });
    }
    Ok(children)
}

/// The ids of the children of an event: its own, the operator's and their numbers.
pub(super) struct Ids {
    text: Vec<u8>,
    stem: usize,
}

impl Ids {
    /// Returns the ids of an event's children; none if it has none itself.
    pub(super) fn of(plan: &Plan, flow: &Flow, node: u16, id: u16, parent: Token) -> Option<Ids> {
        let before = flow.batch.leaf(parent.row as usize, id).as_text()?;
        let operator = plan.nodes[usize::from(node)].id.as_bytes();
        let mut text = Vec::with_capacity(before.len() + operator.len() + 12);
        [&before, &b"/"[..], operator, &b"/"[..]].into_iter().for_each(|part| text.extend_from_slice(part));
        Some(Ids { stem: text.len(), text })
    }

    /// Returns the id of a child.
    pub(super) fn next(&mut self, index: u32) -> &[u8] {
        self.text.truncate(self.stem);
        Decimal::from_count(index.into()).write_to(&mut self.text);
        &self.text
    }
}
