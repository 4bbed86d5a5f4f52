//! Lines of fixed width to events: each column is a range of characters.

use super::batch::Batch;
use super::csv::ColumnType;
use super::slot::{Kind, Slot};

/// A column that the pipeline reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name in the pipeline.
    pub name: Box<str>,
    /// The first character, counted from 1.
    pub first: usize,
    /// The last character of the column.
    pub last: usize,
    /// The slot of the field.
    pub slot: u16,
    /// How the text is read.
    pub column_type: ColumnType,
    /// Whether the field is a number, by its type or as the value of a rule.
    pub is_number: bool,
}

/// Where the columns of a line go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The columns that the pipeline reads.
    pub targets: Vec<Column>,
    /// Slots in a row.
    pub width: usize,
    /// Whether the characters that a short line lacks are blanks.
    pub short_lines: bool,
}

/// Fills the batch with the lines of its block. Blanks around a field are cut. A line that does not
/// reach the end of a column is refused, because a number that is cut is another number. With
/// `short_lines` the characters that it lacks are blanks.
pub fn decode(columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    let needed = columns.targets.iter().map(|column| column.last).max().unwrap_or_default();
    let records = batch.cut();
    for record in records.iter().copied() {
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
        let length = if is_ascii { text.len() } else { text.chars().count() };
        if length < needed
            && let Some(detail) = cut_short(columns, text, length)
        {
            batch.refuse(detail);
            continue;
        }
        for column in &columns.targets {
            let (first, last) = (column.first, column.last);
            let field = match is_ascii {
                true => text.get((first - 1).min(text.len())..last.min(text.len())).unwrap_or_default(),
                false => characters(text, first, last),
            };
            let field = field.trim_matches(' ').as_bytes();
            let from = row.arena.len();
            let kind = match column.column_type {
                ColumnType::Form(form) => form.read_into(field, row.arena),
                plain => {
                    row.arena.extend_from_slice(field);
                    plain.kind(field)
                }
            };
            let kind = if field.is_empty() { Kind::Null } else { kind };
            row.slots[usize::from(column.slot)] = Slot::in_arena(kind, from, row.arena.len());
        }
    }
    batch.keep_cut(records);
}

/// Describes what a short line lacks; `None` if blanks may take its place.
#[cold]
fn cut_short(columns: &Columns, text: &str, length: usize) -> Option<String> {
    let lacks = |column: &&Column| match columns.short_lines {
        false => column.last > length,
        true => column.is_number && column.last > length && is_aligned_right(characters(text, column.first, length)),
    };
    let column = columns.targets.iter().filter(lacks).min_by_key(|column| column.first)?;
    let Column { name, first, last, .. } = column;
    let place = if first == last { first.to_string() } else { format!("{first} to {last}") };
    let ends = if *first > length { "ends before" } else { "ends inside" };
    let needed = columns.targets.iter().map(|column| column.last).max().unwrap_or_default();
    let advice = match columns.short_lines {
        false => "; if an editor cut the blanks at its end, write `shortLines: allow`",
        true => "; a number that begins with blanks or zeros is aligned to the right, and its last digits are missing",
    };
    let characters = if length == 1 { "character" } else { "characters" };
    Some(format!("the line has {length} {characters} of {needed} and {ends} the column `{name}` ({place}){advice}"))
}

/// Whether the beginning of a number shows that its end is not blank.
fn is_aligned_right(part: &str) -> bool {
    let digits = part.trim_start_matches(['-', '+']).as_bytes();
    part.starts_with(' ') || matches!(digits, [b'0', b'0'..=b'9', ..])
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

    fn column(name: &str, first: usize, last: usize, slot: u16, column_type: ColumnType) -> Column {
        Column { name: name.into(), first, last, slot, column_type, is_number: column_type == ColumnType::Number }
    }

    fn read(columns: &Columns, text: &str) -> Batch {
        let mut batch = Batch::default();
        batch.block.open().extend_from_slice(text.as_bytes());
        batch.block.seal();
        decode(columns, &mut batch, 100);
        batch
    }

    #[test]
    fn columns_are_characters_not_bytes() {
        let targets = vec![column("who", 1, 5, 0, ColumnType::Text), column("n", 6, 12, 1, ColumnType::Number)];
        let columns = Columns { targets, width: 2, short_lines: true };
        let batch = read(&columns, "Zo\u{eb}  0012.50\r\nBob    7\nAl\n\u{e9}\n");
        let shown = |event: usize, slot| {
            let leaf = batch.leaf(event, slot);
            format!("{:?} {}", leaf.kind, String::from_utf8_lossy(leaf.bytes))
        };
        assert_eq!(shown(0, 0), "Text Zo\u{eb}");
        assert_eq!(shown(0, 1), "Number 0012.50");
        assert_eq!(shown(2, 0), "Text Al");
        assert_eq!(shown(2, 1), "Null ");
        assert_eq!(shown(3, 0), "Text \u{e9}");
        assert_eq!(batch.faults.len(), 1, "{:?}", batch.faults);
        assert_eq!(batch.faults[0].event, 1, "a number after a blank is aligned to the right");
    }

    #[test]
    fn a_line_that_ends_early_is_no_other_value() {
        // Characters 1 to 3, 4 to 6, 7 to 11 and 12; nothing reads what comes behind.
        let targets = vec![
            column("id", 1, 3, 0, ColumnType::Text),
            column("who", 4, 6, 1, ColumnType::Text),
            column("secs", 7, 11, 2, ColumnType::Number),
            column("r", 12, 12, 3, ColumnType::Text),
        ];
        let refused = Columns { targets, width: 4, short_lines: false };
        let allowed = Columns { short_lines: true, ..refused.clone() };
        for (label, line, when_refused, when_allowed) in [
            ("whole", "c-1AAA00460A", "460", "460"),
            ("whole, and more", "c-1AAA00460A note", "460", "460"),
            (
                "inside padded digits",
                "c-2AAA004",
                "9 characters of 12 and ends inside the column `secs` (7 to 11)",
                "last digits",
            ),
            ("inside digits after blanks", "c-2AAA  46", "10 characters of 12 and ends inside", "last digits"),
            ("inside blanks before digits", "c-2AAA  ", "8 characters of 12 and ends inside", "last digits"),
            ("inside a number aligned to the left", "c-2AAA46", "8 characters of 12 and ends inside", "46"),
            ("before the last column", "c-2AAA00460", "11 characters of 12 and ends before the column `r` (12)", "460"),
            ("inside a user", "c-2AA", "5 characters of 12 and ends inside the column `who` (4 to 6)", ""),
            ("one character", "c", "1 character of 12 and ends inside the column `id` (1 to 3)", ""),
            ("characters, not bytes", "c-2\u{e9}\u{e9}\u{e9}00460", "11 characters of 12", "460"),
        ] {
            for (columns, expected) in [(&refused, when_refused), (&allowed, when_allowed)] {
                let batch = read(columns, &format!("{line}\n"));
                match batch.faults.first() {
                    Some(fault) => assert!(!expected.is_empty() && fault.detail.contains(expected), "{label}: {}", fault.detail),
                    None => {
                        let text = String::from_utf8_lossy(batch.leaf(0, 2).bytes).into_owned();
                        assert_eq!(text.trim_start_matches('0'), expected, "{label}");
                    }
                }
            }
        }
    }
}
