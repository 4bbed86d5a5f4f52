//! The time of an event: where it is declared, what it is, and what is wrong with it.
//!
//! A declared time that is missing or unreadable parks its event: nothing is counted in another
//! period because a field was not there. Only where nothing is declared and the event brings no
//! time is the time of receipt taken, and those events are counted.

use crate::event::json::leaf_of;
use crate::event::{Batch, Kind, Leaf, Slot};
use crate::operator::Operator;
use crate::plan::{Plan, TimeField};
use crate::time::{Clue, TimeFormat, Timestamp};
use crate::verdict::Reason;

/// Bytes of a time that is joined of several fields.
const JOINED_MAX: usize = 128;

/// Why an event has no time.
pub(super) type Flaw = (Reason, String);

/// The time of an event, or `None` for that of its receipt.
#[inline]
pub(super) fn read(
    plan: &Plan,
    batch: &Batch,
    times: &mut [(Slot, Timestamp)],
    row: usize,
    field: &TimeField,
) -> Result<Option<Timestamp>, Flaw> {
    if field.join.is_some() {
        return joined(plan, batch, row, field);
    }
    for &place in &field.slots {
        let leaf = batch.leaf(row, place);
        let parsed = match leaf.kind {
            // A time that the source declares is not looked for elsewhere.
            Kind::Missing | Kind::Null if is_stamped(plan, batch, place) => break,
            Kind::Missing | Kind::Null => continue,
            Kind::Text if leaf.bytes.is_empty() => continue,
            Kind::Text => match &field.format {
                TimeFormat::Default => rfc3339(batch.slot(row, place), leaf.bytes, times.get_mut(row)),
                format => format.parse(leaf.bytes, Clue::Text),
            },
            Kind::EscapedText => field.format.parse(&crate::event::unescape(leaf.bytes), Clue::Text),
            Kind::Number => field.format.parse(leaf.bytes, Clue::Number),
            _ => None,
        };
        return match parsed {
            Some(at) => Ok(Some(at)),
            None => Err(unreadable(plan, batch, place, leaf, field)),
        };
    }
    absent(plan, batch, row, field)
}

/// Whether the source of a batch declares the time that a slot holds.
fn is_stamped(plan: &Plan, batch: &Batch, place: u16) -> bool {
    let source = plan.sources.get(batch.block.origin.source);
    source.and_then(|source| source.time.as_ref()).is_some_and(|(_, to)| *to == place)
}

/// Deduplication and metering ask for the same time: it is read once. A slot says where
/// a text is, and no text ever changes in its place.
#[inline]
fn rfc3339(slot: Slot, text: &[u8], known: Option<&mut (Slot, Timestamp)>) -> Option<Timestamp> {
    match known {
        Some(known) if known.0 == slot => Some(known.1),
        Some(known) => {
            let at = Timestamp::parse_rfc3339(text)?;
            *known = (slot, at);
            Some(at)
        }
        None => Timestamp::parse_rfc3339(text),
    }
}

/// A time of which each part is a field.
fn joined(plan: &Plan, batch: &Batch, row: usize, field: &TimeField) -> Result<Option<Timestamp>, Flaw> {
    let between = field.join.as_deref().unwrap_or_default().as_bytes();
    let mut text = [0u8; JOINED_MAX];
    let mut length = 0;
    for (i, &place) in field.slots.iter().enumerate() {
        let leaf = batch.leaf(row, place);
        let Some(part) = leaf.as_text().filter(|part| !part.is_empty()) else {
            return absent(plan, batch, row, field);
        };
        for bytes in [if i == 0 { &[][..] } else { between }, &part] {
            let Some(room) = text.get_mut(length..length + bytes.len()) else {
                return Err(unreadable(plan, batch, place, leaf, field));
            };
            room.copy_from_slice(bytes);
            length += bytes.len();
        }
    }
    let text = &text[..length];
    match field.format.parse(text, Clue::Text) {
        Some(at) => Ok(Some(at)),
        None => {
            let advice = field.format.advice(text, Clue::Text).map_or(String::new(), |advice| format!("; {advice}"));
            let text = String::from_utf8_lossy(text);
            Err((Reason::BadTime, format!("{} is \"{text}\"; expected {}{advice}", names(plan, field), field.format.expected())))
        }
    }
}

/// An event without the fields of its time.
#[cold]
fn absent(plan: &Plan, batch: &Batch, row: usize, field: &TimeField) -> Result<Option<Timestamp>, Flaw> {
    // The source declares what becomes `time`.
    let source = plan.sources.get(batch.block.origin.source).and_then(|source| source.time.as_ref());
    let declared = source.filter(|(_, to)| field.slots.contains(to)).map(|(declared, _)| declared);
    let declared = declared.or(field.declared.then_some(field));
    let is_there = |slot: &u16| batch.leaf(row, *slot).kind != Kind::Missing;
    match declared {
        Some(declared) if declared.missing_received => Ok(None),
        Some(declared) => Err((Reason::NoTime, absences(plan, batch, row, declared))),
        // A field that a script does not return is gone: a forgotten time is not that of receipt.
        None if is_returned(plan, batch, row) => {
            Err((Reason::BadTime, format!("the event that the script returned has no {}", names(plan, field))))
        }
        None if field.slots.iter().any(is_there) => {
            let there = field.slots.iter().copied().filter(|slot| is_there(slot)).collect();
            Err((Reason::NoTime, absences(plan, batch, row, &TimeField { slots: there, ..field.clone() })))
        }
        None => Ok(None),
    }
}

/// Names the fields of a time that have no value, and what each is: `` `Start` and `Offset` are
/// empty``.
#[cold]
fn absences(plan: &Plan, batch: &Batch, row: usize, field: &TimeField) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for &slot in &field.slots {
        let leaf = batch.leaf(row, slot);
        let has_value = had_value(leaf) || leaf.as_text().is_some_and(|text| !text.is_empty());
        // An object is no part of a joined time.
        let what = match leaf.kind {
            Kind::Json => "neither text nor a number",
            Kind::Null if leaf.bytes == EMPTY => "empty",
            _ => plan.absence(batch, leaf),
        };
        match groups.last_mut() {
            _ if has_value => {}
            Some((last, names)) if *last == what => names.push(format!("`{}`", plan.paths[usize::from(slot)])),
            _ => groups.push((what, vec![format!("`{}`", plan.paths[usize::from(slot)])])),
        }
    }
    let shown = |(what, names): &(&str, Vec<String>)| match names.len() {
        1 => format!("{} is {what}", names[0]),
        _ => format!("{} are {what}", names.join(" and ")),
    };
    groups.iter().map(shown).collect::<Vec<_>>().join(" and ")
}

/// An empty text that a source replaced.
const EMPTY: &[u8] = b"\"\"";

/// Returns the bytes of the `null` that a source leaves in place of a field that is a part of its declared
/// time and receives it, if a part is absent. Messages need them to describe the field.
pub(super) fn replaced(leaf: Leaf<'_>) -> Option<&[u8]> {
    match leaf.kind {
        Kind::Missing => None,
        Kind::Text if leaf.bytes.is_empty() => Some(EMPTY),
        _ => Some(leaf.bytes),
    }
}

/// Whether a field had a value before the source replaced it. The `null` of an event has these four
/// bytes, or none.
fn had_value(leaf: Leaf<'_>) -> bool {
    leaf.kind == Kind::Null && !matches!(leaf.bytes, b"" | b"null" | EMPTY)
}

/// Whether a script returned the event of a row.
fn is_returned(plan: &Plan, batch: &Batch, row: usize) -> bool {
    let whole = plan.nodes.iter().find_map(|node| match &node.operator {
        Operator::Script(script) => Some(script.whole),
        _ => None,
    });
    whole.is_some_and(|slot| batch.leaf(row, slot).kind == Kind::Json)
}

/// Describes an unreadable time: its field, its text and the expected format.
#[cold]
fn unreadable(plan: &Plan, batch: &Batch, place: u16, leaf: Leaf<'_>, field: &TimeField) -> Flaw {
    let source = plan.sources.get(batch.block.origin.source).and_then(|source| source.time.as_ref());
    // A time that the source could not read was left as JSON.
    let stamped = source.filter(|(_, to)| *to == place && leaf.kind == Kind::Json).map(|(declared, _)| declared);
    let (name, field) = match stamped {
        Some(declared) => (names(plan, declared), declared),
        None => (format!("`{}`", plan.paths[usize::from(place)]), field),
    };
    let read = if leaf.kind == Kind::Json { leaf_of(leaf.bytes) } else { leaf };
    let text = read.as_text().unwrap_or(leaf.bytes.into());
    let clue = if read.kind == Kind::Number { Clue::Number } else { Clue::Text };
    let advice = field.format.advice(text.trim_ascii(), clue).map_or(String::new(), |advice| format!("; {advice}"));
    let mut shown = Vec::new();
    leaf.write_json(&mut shown);
    shown.truncate(100);
    let (shown, expected) = (String::from_utf8_lossy(&shown), field.format.expected());
    (Reason::BadTime, format!("{name} is {shown}; expected {expected}{advice}"))
}

/// The names of a time's fields.
fn names(plan: &Plan, field: &TimeField) -> String {
    let name = |slot: &u16| format!("`{}`", plan.paths[usize::from(*slot)]);
    let between = if field.join.is_some() { " and " } else { " or " };
    field.slots.iter().map(name).collect::<Vec<_>>().join(between)
}

/// The result of reading the fields of a source's declared time: the instant, or a JSON text that
/// no operator takes for a time.
pub(super) enum Stamp {
    /// The instant that was read.
    At(Timestamp),
    /// The event does not have it.
    Absent,
    /// It does not read: its JSON.
    Unreadable(Vec<u8>),
}

/// Reads the declared time of a source.
pub(super) fn stamp(batch: &Batch, row: usize, field: &TimeField) -> Stamp {
    if let Some(between) = &field.join {
        let parts: Option<Vec<_>> =
            field.slots.iter().map(|slot| batch.leaf(row, *slot).as_text().filter(|part| !part.is_empty())).collect();
        let Some(parts) = parts else { return Stamp::Absent };
        let text = parts.join(between.as_bytes());
        return match field.format.parse(&text, Clue::Text) {
            Some(at) => Stamp::At(at),
            None => Stamp::Unreadable(quoted(&text)),
        };
    }
    let Some(&from) = field.slots.first() else { return Stamp::Absent };
    let leaf = batch.leaf(row, from);
    let clue = if leaf.kind == Kind::Number { Clue::Number } else { Clue::Text };
    let text = match leaf.kind {
        Kind::Missing | Kind::Null => return Stamp::Absent,
        Kind::Text if leaf.bytes.is_empty() => return Stamp::Absent,
        Kind::EscapedText => leaf.as_text().unwrap_or_default(),
        _ => leaf.bytes.into(),
    };
    match field.format.parse(&text, clue) {
        Some(at) => Stamp::At(at),
        None => {
            let mut json = Vec::new();
            leaf.write_json(&mut json);
            Stamp::Unreadable(json)
        }
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut json = Vec::new();
    crate::event::quote_into(text, &mut json);
    json
}
