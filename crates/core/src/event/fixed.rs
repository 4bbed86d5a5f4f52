//! Lines of fixed width to events: each column is a range of characters.

use super::batch::Batch;
use super::csv::ColumnType;
use super::slot::{Kind, Slot};

/// Where the columns of a line go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// First and last character, counted from 1, the slot and the type.
    pub targets: Vec<(usize, usize, u16, ColumnType)>,
    /// Slots in a row.
    pub width: usize,
}

/// Fills the batch with the lines of its block. Blanks around a field are cut. A line may end
/// before its last columns, as editors cut blanks: those are empty.
pub fn decode(columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    for record in batch.cut() {
        let (start, end) = (record.start as usize, record.end as usize);
        let row = batch.push(record);
        let line = &row.bytes[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > event_bytes_max {
            let detail = format!("the line has {} bytes; the limit is {event_bytes_max}", line.len());
            batch.refuse(detail);
            continue;
        }
        let Ok(text) = simdutf8::basic::from_utf8(line) else {
            let detail = super::not_utf8(line);
            batch.refuse(detail);
            continue;
        };
        let is_ascii = line.is_ascii();
        for &(first, last, slot, column_type) in &columns.targets {
            let field = match is_ascii {
                true => text.get((first - 1).min(text.len())..last.min(text.len())).unwrap_or_default(),
                false => characters(text, first, last),
            };
            let field = field.trim_matches(' ').as_bytes();
            let from = row.arena.len();
            let kind = match column_type {
                ColumnType::Form(form) => form.read_into(field, row.arena),
                plain => {
                    row.arena.extend_from_slice(field);
                    plain.kind(field)
                }
            };
            let kind = if field.is_empty() { Kind::Null } else { kind };
            row.slots[usize::from(slot)] = Slot::in_arena(kind, from, row.arena.len());
        }
    }
}

/// The characters from one to another, counted from 1, as far as they are there.
fn characters(text: &str, first: usize, last: usize) -> &str {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let start = places.clone().nth(first - 1).unwrap_or(text.len());
    let end = places.nth(last).unwrap_or(text.len());
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_not_bytes() {
        let mut batch = Batch::default();
        batch.block.open().extend_from_slice("Zoë  0012.50\r\nBob    7\nAl\n\u{e9}\n".as_bytes());
        batch.block.seal();
        let columns = Columns { targets: vec![(1, 5, 0, ColumnType::Text), (6, 12, 1, ColumnType::Number)], width: 2 };
        decode(&columns, &mut batch, 100);
        let shown = |event: usize, slot| {
            let leaf = batch.leaf(event, slot);
            format!("{:?} {}", leaf.kind, String::from_utf8_lossy(leaf.bytes))
        };
        assert_eq!(shown(0, 0), "Text Zoë");
        assert_eq!(shown(0, 1), "Number 0012.50");
        assert_eq!(shown(1, 1), "Number 7");
        assert_eq!(shown(2, 1), "Null ");
        assert!(batch.faults.is_empty());
    }
}
