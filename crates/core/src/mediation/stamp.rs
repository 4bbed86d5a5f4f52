//! Attributes that a source gives to events which do not bring them: `id`, `source`
//! and `time`.

use std::io::Write;

use super::times::{self, Stamp};
use crate::event::{Batch, Kind, Place, Places, Slot};
use crate::source::{IdRule, SourcePlan};

/// Sets what the source says. A time that does not read is kept as it was written, and
/// is judged where it is needed: an operator before may drop the event.
pub(super) fn stamp(source: &SourcePlan, batch: &mut Batch) {
    if source.time.is_none() && source.id_rule.is_none() {
        return;
    }
    let mut text = Vec::with_capacity(32);
    let mut places = Places::of(&batch.block);
    for row in 0..batch.len() {
        if let Some((rule, id, origin)) = &source.id_rule {
            stamp_id(rule, *id, *origin, batch, row, &mut places);
        }
        if let Some((field, to)) = &source.time {
            let found = match times::stamp(batch, row, field) {
                Stamp::At(at) => {
                    text.clear();
                    at.write_nanos(&mut text);
                    batch.store(Kind::Text, &text)
                }
                // JSON, so that nothing takes it for a time of another form.
                Stamp::Unreadable(json) => batch.store(Kind::Json, &json),
                Stamp::Absent => {
                    let kept = times::replaced(batch.leaf(row, *to)).filter(|_| field.slots.contains(to)).map(<[u8]>::to_vec);
                    kept.map_or(Slot::MISSING, |kept| batch.store(Kind::Null, &kept))
                }
            };
            batch.set_slot(row, *to, found);
        }
    }
}

fn stamp_id(rule: &IdRule, id: u16, origin: u16, batch: &mut Batch, row: usize, places: &mut Places) {
    let mut text = Vec::new();
    match rule {
        IdRule::Line => {
            let place = Place::of(places.next(batch.record(row).line));
            // Writing into memory cannot fail.
            let _ = write!(text, "{place}");
        }
        IdRule::Content => {
            let fingerprint = xxhash_rust::xxh3::xxh3_128(batch.raw(row));
            text.extend_from_slice(format!("{fingerprint:032x}").as_bytes());
        }
        IdRule::Fields(slots) => {
            if slots.iter().all(|slot| batch.leaf(row, *slot).is_empty()) {
                return;
            }
            for (i, &slot) in slots.iter().enumerate() {
                text.push(if i == 0 { b'[' } else { b',' });
                batch.leaf(row, slot).write_json(&mut text);
            }
            text.push(b']');
        }
    }
    let stored = batch.store(Kind::Text, &text);
    batch.set_slot(row, id, stored);
    // Lines are numbered within a file; content and fields identify across files.
    if *rule == IdRule::Line {
        let name = std::sync::Arc::clone(&batch.block.origin.name);
        let stored = batch.store(Kind::Text, name.as_bytes());
        batch.set_slot(row, origin, stored);
    }
}
