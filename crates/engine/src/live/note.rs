//! Notes: facts about single meters that are in no record, or that one would have to look for among
//! millions of records. Each has the number of the next record, so that notes and records have one
//! order.

use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::meter_type::derived;
use flowmeter_core::partition::Command;
use flowmeter_core::plan::{DeclaredMeter, Plan};
use serde_json::json;

use super::{Live, MeterName};
use crate::{Error, Happening, Noted};

/// The kind of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    Opened,
    /// A meter was deleted.
    Deleted,
    /// A threshold was crossed: the note is the partial record.
    Threshold,
}

const KINDS: [NoteKind; 3] = [NoteKind::Opened, NoteKind::Deleted, NoteKind::Threshold];

/// A note in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteItem<'a> {
    pub kind: NoteKind,
    /// The number of the next record.
    pub before: u64,
    /// The meter, with the names that its records have; or the partial record of a threshold.
    pub json: &'a [u8],
}

/// Decodes an item of the log of notes.
pub fn note_item(item: &[u8]) -> Option<NoteItem<'_>> {
    let mut glass = Glass::new(item);
    let kind = *KINDS.get(usize::from(glass.byte().ok()?))?;
    Some(NoteItem { kind, before: glass.count().ok()?, json: glass.text().ok()? })
}

pub(super) fn written(kind: NoteKind, before: u64, json: &[u8]) -> Vec<u8> {
    let mut pen = Pen::default();
    pen.byte(kind as u8);
    pen.count(before);
    pen.text(json);
    pen.bytes
}

pub(super) fn of_meter(plan: &Plan, noted: &Noted, before: u64) -> Vec<u8> {
    let (kind, json) = note_of_meter(plan, noted);
    written(kind, before, json.as_bytes())
}

/// Returns kind and content of a note about a meter, with the names that its records have.
pub fn note_of_meter(plan: &Plan, noted: &Noted) -> (NoteKind, String) {
    let kind = match noted.happening {
        Happening::Opened => NoteKind::Opened,
        Happening::Deleted => NoteKind::Deleted,
    };
    let meter_type = &plan.meter_types[usize::from(noted.meter_type)];
    let key = plan.processors[usize::from(noted.processor)].key;
    let json = json!({
        "createdAt": noted.created_at.to_string(),
        "deleteOnReset": noted.delete_on_reset,
        "id": noted.id.unwrap_or_else(|| derived::meter(key, meter_type.id, &noted.user)),
        "meterKey": key,
        "meterTypeId": meter_type.id,
        "meterTypeName": meter_type.name,
        "unit": meter_type.unit,
        "userId": String::from_utf8_lossy(&noted.user),
    });
    (kind, json.to_string())
}

impl Live {
    /// Applies a command to one meter, unless the plan does not have it.
    pub(super) fn apply(&mut self, meter: &MeterName, command: impl FnOnce(&DeclaredMeter) -> Command<'_>) {
        if let Some(declared) = meter.declared(&self.plan) {
            let noted = self.engine.apply(declared.user.as_bytes(), command(&declared), self.clock);
            self.outlet.note(&self.plan, &noted);
        }
    }

    /// Returns whether notes about single meters are written.
    pub fn listens(&self) -> bool {
        self.engine.listens()
    }

    /// Removes the notes before a number, whose events were stored.
    pub fn release_notes(&mut self, before: u64) -> Result<(), Error> {
        self.outlet.release_notes(before).map(drop)
    }
}
