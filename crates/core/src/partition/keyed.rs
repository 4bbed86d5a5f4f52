//! Operators that keep state by key, in a partition.

use super::{Change, Due, Effects, Identities, Input, Meters, Partition, ReleaseExtent};
use crate::event::Batch;
use crate::image::{Glass, Pen, Seen};
use crate::keyed::{Form, State, change, former_text, kept_fields};
use crate::plan::Plan;
use crate::table::Tables;
use crate::time::Timestamp;

/// The first format of images that names the fields which windows keep.
const FORMAT_WITH_KEPT_FIELDS: u8 = 6;

/// The empty state of a plan's operators; nothing where none keeps state by key.
pub(super) fn empty(plan: &Plan) -> Vec<Option<State>> {
    if !plan.nodes.iter().any(|node| node.operator.is_keyed()) {
        return Vec::new();
    }
    (0..plan.nodes.len() as u16).map(|node| State::of(plan, node)).collect()
}

impl<M: Meters, I: Identities> Partition<M, I> {
    pub(super) fn keep(
        &mut self,
        node: u16,
        given: (&Batch, &Tables),
        inputs: &[Input],
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        if let Some(Some(state)) = self.keyed.get_mut(usize::from(node)) {
            state.take(&self.plan, node, given, inputs, at, effects);
        }
    }

    pub(super) fn release(&mut self, node: u16, due: Due, effects: &mut impl Effects) {
        if let Some(Some(state)) = self.keyed.get_mut(usize::from(node)) {
            state.release(&self.plan, node, due, effects);
        }
        if due.extent == ReleaseExtent::Ended {
            self.begin_empty(node);
        }
    }

    pub(super) fn give_up(&mut self, node: u16, effects: &mut impl Effects) {
        if let Some(Some(state)) = self.keyed.get(usize::from(node)) {
            state.forget(&self.plan, node, effects);
        }
        self.begin_empty(node);
    }

    fn begin_empty(&mut self, node: u16) {
        if let Some(state) = self.keyed.get_mut(usize::from(node)) {
            *state = State::of(&self.plan, node);
        }
    }

    /// When an operator may have something to release; of one with a watermark, when its first
    /// window ends.
    pub fn next_release(&self, node: u16) -> Option<Timestamp> {
        self.keyed.get(usize::from(node))?.as_ref()?.next_due()
    }

    /// The greatest event time that an operator took, and when it took the last event.
    pub fn seen(&self, node: u16) -> Option<(Timestamp, Timestamp)> {
        self.keyed.get(usize::from(node))?.as_ref()?.seen()
    }

    /// Returns why the state of an operator has no place under another plan, if it has none. State
    /// that holds nothing needs none.
    pub fn displaced(&self, node: u16, plan: &Plan) -> Option<Change> {
        let state = self.keyed.get(usize::from(node))?.as_ref()?;
        if state.is_empty() { None } else { change((&self.plan, node), plan) }
    }

    /// Appends the state of each operator, by its id and what its state depends on.
    pub(super) fn write_keyed(&self, pen: &mut Pen) {
        let states = self.keyed.iter().enumerate().filter_map(|(node, state)| Some((node, state.as_ref()?)));
        pen.count(states.clone().count() as u64);
        for (node, state) in states {
            let operator = &self.plan.nodes[node];
            pen.text(operator.id.as_bytes());
            let form = Form::of(&self.plan, &operator.operator).map(|form| form.text());
            pen.text(form.unwrap_or_default().as_bytes());
            let kept = kept_fields(&self.plan, &operator.operator);
            pen.count(kept.len() as u64);
            kept.iter().for_each(|path| pen.text(path.as_bytes()));
            pen.byte(u8::from(!state.is_empty()));
            let mut image = Pen::default();
            state.write_to(&mut image);
            pen.text(&image.bytes);
        }
    }

    /// Reads the state of operators that are still there, in the same form.
    pub(super) fn read_keyed(&mut self, format: u8, glass: &mut Glass<'_>) -> Seen<()> {
        for _ in 0..glass.length()? {
            let (id, form) = (glass.string()?, glass.string()?);
            let kept: Option<Vec<String>> = match format >= FORMAT_WITH_KEPT_FIELDS {
                true => Some((0..glass.length()?).map(|_| glass.string()).collect::<Seen<_>>()?),
                false => None,
            };
            let (holds, image) = (glass.byte()? != 0, glass.text()?);
            let found = self.plan.nodes.iter().position(|node| node.id == id);
            let same = found.and_then(|node| {
                let operator = &self.plan.nodes[node].operator;
                if Form::of(&self.plan, operator).is_some_and(|now| now.text() == form) {
                    return Some((node, false));
                }
                former_text(&self.plan, operator).is_some_and(|former| former == form).then_some((node, true))
            });
            let Some((node, is_former)) = same else {
                if holds {
                    return Err(crate::image::BadImage::State(id));
                }
                continue;
            };
            let mut image = Glass::new(image);
            let kept: Option<Vec<&str>> = kept.as_ref().map(|kept| kept.iter().map(String::as_str).collect());
            let state = State::read(&self.plan, node as u16, &mut image, is_former, kept.as_deref())?;
            if !image.is_at_end() {
                return image.damaged();
            }
            self.keyed[node] = Some(state);
        }
        Ok(())
    }
}
