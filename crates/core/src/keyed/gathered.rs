//! The state of a window, and the derived event it becomes.

use super::fold::{self, Folded, Rank, Value, read_rank, write_rank};
use super::made::{formatted, quoted, stamp_text, stretch};
use super::texts::{TextOrder, Texts};
use super::{Flaw, Input, Order};
use crate::event::json::Tree;
use crate::event::{Batch, Kind, Leaf};
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Accumulate, Stamp};
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// The contribution of an event to a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) rank: Rank,
    pub(super) values: Vec<Option<Value>>,
    /// The fields of the key, as JSON.
    key: Texts,
    /// The fields that are kept, as JSON; empty for one that is missing.
    keep: Texts,
}

/// The state of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gathered {
    pub(super) inputs: u64,
    /// How many of them are in no window that ends later: its release settles them.
    pub(super) settles: u64,
    first: Rank,
    last: Rank,
    key: Texts,
    keep: Texts,
    folded: Box<[Folded]>,
}

impl Taken {
    /// Reads what an event brings, as of an instant.
    pub(super) fn read(&mut self, plan: &Plan, of: &Accumulate, batch: &Batch, input: &Input) -> Result<(), Flaw> {
        let row = input.row as usize;
        self.rank = (input.at, input.order);
        fold::read(plan, &of.fields, of.missing, of.text_numbers, batch, row, &mut self.values)?;
        self.key.clear();
        for slot in &of.key {
            // A field of the key that is missing is null: they are one key.
            self.key.push(|out| batch.leaf(row, *slot).write_json(out));
        }
        self.keep.clear();
        for slot in &of.keep {
            let leaf = batch.leaf(row, *slot);
            self.keep.push(|out| {
                if leaf.kind != Kind::Missing {
                    leaf.write_json(out);
                }
            });
        }
        Ok(())
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        write_rank(self.rank, pen);
        for value in &self.values {
            pen.byte(u8::from(value.is_some()));
            value.iter().for_each(|value| value.write_to(pen));
        }
        self.key.write_to(pen);
        self.keep.write_to(pen);
    }

    pub(super) fn read_image(of: &Accumulate, keep: &TextOrder, glass: &mut Glass<'_>) -> Seen<Taken> {
        let rank = read_rank(glass)?;
        let value = |glass: &mut Glass<'_>| Ok(if glass.byte()? == 0 { None } else { Some(Value::read(glass)?) });
        let values = of.fields.iter().map(|_| value(glass)).collect::<Seen<_>>()?;
        let (key, keep) = (Texts::read(of.key.len(), glass)?, Texts::read_in(keep, glass)?);
        Ok(Taken { rank, values, key, keep })
    }
}

impl Gathered {
    /// Returns a window without events.
    pub(super) fn new(of: &Accumulate) -> Gathered {
        Gathered {
            inputs: 0,
            settles: 0,
            first: (Timestamp::MAX, (u64::MAX, u32::MAX)),
            last: (Timestamp::MIN, (0, 0)),
            key: Texts::default(),
            keep: Texts::default(),
            folded: of.fields.iter().map(|fold| Folded::new(fold.function)).collect(),
        }
    }

    /// The order of arrival of its last event.
    pub(super) fn last_order(&self) -> Order {
        self.last.1
    }

    /// Reads a part of each piece of its memory.
    pub(super) fn touch(&self) -> u64 {
        let folded = self.folded.first().map_or(0, |folded| u64::from(matches!(folded, Folded::Count(_))));
        self.inputs ^ folded
    }

    /// Why an event may not come in.
    pub(super) fn refusal(&self, plan: &Plan, of: &Accumulate, taken: &Taken) -> Option<Flaw> {
        if self.inputs >= of.events_max {
            return Some((Reason::StateFull, format!("the window holds {} events; `eventsMax` allows no more", self.inputs)));
        }
        let mut both = self.folded.iter().zip(&taken.values).zip(&of.fields);
        let ((_, _), fold) = both.find(|((folded, value), _)| value.as_ref().is_some_and(|value| folded.overflows(value)))?;
        let path = plan.paths[usize::from(fold.value)].as_str();
        Some((Reason::BadValue, format!("`{path}` takes the {} of its window out of range", fold.function.name())))
    }

    /// Adds an event that may come in. `is_last`: it is in no window that ends later.
    pub(super) fn add(&mut self, taken: &Taken, is_last: bool) {
        self.inputs += 1;
        self.settles += u64::from(is_last);
        if taken.rank < self.first {
            self.first = taken.rank;
            self.key.copy_from(&taken.key);
        }
        if taken.rank >= self.last {
            self.last = taken.rank;
            self.keep.copy_from(&taken.keep);
        }
        for (folded, value) in self.folded.iter_mut().zip(&taken.values) {
            if let Some(value) = value {
                folded.add(value, taken.rank);
            }
        }
    }

    /// The derived event, as JSON.
    pub(super) fn derived(&self, plan: &Plan, node: u16, of: &Accumulate, key: &[u8], window: Period) -> Vec<u8> {
        let mut tree = Tree::object();
        let mut set = |slot: u16, json: &[u8]| tree.set(plan.paths[usize::from(slot)].names(), Some(json));
        for (&slot, json) in of.key.iter().zip(self.key.iter()) {
            set(slot, json);
        }
        for (fold, folded) in of.fields.iter().zip(&self.folded) {
            let (mut bytes, mut json) = (Vec::new(), Vec::new());
            let kind = folded.write_field(&mut bytes);
            Leaf { kind, bytes: &bytes }.write_json(&mut json);
            set(fold.set, &json);
        }
        for (&slot, json) in of.keep.iter().zip(self.keep.iter()).filter(|(_, json)| !json.is_empty()) {
            set(slot, json);
        }
        let at = match of.stamp {
            Stamp::Start => window.start,
            Stamp::Last => self.last.0,
            Stamp::End => window.end,
        };
        if let Some(&slot) = of.time.slots.first() {
            set(slot, &formatted(at, &of.time.format));
        }
        let operator = plan.nodes[usize::from(node)].id.as_str();
        let id = format!("{operator}/{}/{}", stamp_text(window.start), String::from_utf8_lossy(key));
        let is_elsewhere = of.time.slots.first().is_none_or(|slot| plan.paths[usize::from(*slot)].as_str() != "time");
        let mut name = |name: &str, json: &[u8]| tree.set(&[name.into()], Some(json));
        name("id", &quoted(&id));
        name("source", &quoted(&format!("{}/{operator}", plan.name)));
        name("type", &quoted(operator));
        if is_elsewhere {
            name("time", &quoted(&stamp_text(at)));
        }
        name("window", &stretch(window.start, window.end, ""));
        name("inputs", self.inputs.to_string().as_bytes());
        let mut json = Vec::new();
        tree.write_to(&mut json);
        json
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.count(self.inputs);
        pen.count(self.settles);
        write_rank(self.first, pen);
        write_rank(self.last, pen);
        self.key.write_to(pen);
        self.keep.write_to(pen);
        self.folded.iter().for_each(|folded| folded.write_to(pen));
    }

    pub(super) fn read_image(of: &Accumulate, keep: &TextOrder, glass: &mut Glass<'_>) -> Seen<Gathered> {
        let inputs = glass.count()?;
        // Older programs did not tell them apart.
        let settles = if keep.is_former { inputs } else { glass.count()? };
        Ok(Gathered {
            inputs,
            settles,
            first: read_rank(glass)?,
            last: read_rank(glass)?,
            key: Texts::read(of.key.len(), glass)?,
            keep: Texts::read_in(keep, glass)?,
            folded: of.fields.iter().map(|fold| Folded::read(fold.function, glass)).collect::<Seen<_>>()?,
        })
    }
}
