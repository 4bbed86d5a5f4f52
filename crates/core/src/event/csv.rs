//! Rows of delimited text to events: each column is a field, named by the header or by
//! the pipeline.
//!
//! A column is text unless the pipeline gives it a type: `00186705257` is a telephone
//! number until someone says it is a number. A row with more or fewer fields than
//! columns is refused, not guessed at.
//!
//! Quoting is strict by default (RFC 4180): [`strict`] says where a row ends and what is wrong
//! with it. `quotes: lenient` reads what spreadsheets read, by csv-core.

mod number;
pub mod strict;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use number::NumberForm;

use super::batch::{Batch, Row};
use super::slot::{Kind, Slot};
use crate::limits::QUOTED_LINES_MAX;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between two fields.
    pub delimiter: u8,
    /// Around fields that hold delimiters or line ends; doubled inside. `None`: quotes
    /// are characters like any other.
    pub quote: Option<u8>,
    /// A line beginning with it is not a row.
    pub comment: Option<u8>,
    /// Whether text that is not quoted by the rules is read somehow.
    pub lenient: bool,
    /// Whether blanks around fields are cut.
    pub trim: bool,
    /// Lines that a quoted field may span.
    pub quoted_lines_max: u32,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            delimiter: b',',
            quote: Some(b'"'),
            comment: None,
            lenient: false,
            trim: false,
            quoted_lines_max: QUOTED_LINES_MAX,
        }
    }
}

impl Dialect {
    /// A lenient reader of this dialect.
    pub fn reader(&self) -> csv_core::Reader {
        let mut builder = csv_core::ReaderBuilder::new();
        builder.delimiter(self.delimiter).comment(self.comment);
        match self.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        builder.build()
    }

    /// The fields of a row, unquoted.
    ///
    /// # Errors
    /// Returns the message if the quotes of the row are wrong.
    pub fn fields(&self, row: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut fields = Vec::new();
        if self.lenient {
            let mut found = Fields::default();
            found.read(&mut self.reader(), row);
            fields.extend((0..found.len()).map(|at| unguarded(found.get(at), self.quote).into_owned()));
            return Ok(fields);
        }
        strict::split(self, row, &mut |field| fields.push(field.text(row, self.quote).into_owned()))?;
        Ok(fields)
    }
}

/// How the text of a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text; an empty field is empty text.
    Text,
    /// A number where it reads as one, text where it does not; an empty field is null.
    Number,
    /// A number as an office writes it; an empty field is null.
    Form(NumberForm),
    /// `true` and `false`; an empty field is null.
    Boolean,
}

/// Where each column of a file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// By column: the slot and the type, or `None` for a column that is not read.
    pub targets: Vec<Option<(u16, ColumnType)>>,
    /// Slots that are the same column under another name: from, to.
    pub copies: Vec<(u16, u16)>,
    /// Slots in a row.
    pub width: usize,
}

/// Fills the batch with the rows of its block, cut by the source.
pub fn decode(dialect: &Dialect, columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    let valid_utf8 = simdutf8::basic::from_utf8(batch.block.bytes()).is_ok();
    let mut lenient = dialect.lenient.then(|| (dialect.reader(), Fields::default()));
    let records = batch.cut();
    for record in records.iter().copied() {
        let (start, end) = (record.start as usize, record.end as usize);
        let mut row = batch.push(record);
        let text = &row.bytes[start..end];
        let read = if text.len() > event_bytes_max {
            Err(format!("the row has {} bytes; the limit is {event_bytes_max}", end - start))
        } else if !valid_utf8 && simdutf8::basic::from_utf8(text).is_err() {
            Err(super::not_utf8(text))
        } else {
            match &mut lenient {
                Some((reader, fields)) => {
                    fields.read(reader, text);
                    let put = |column| put(columns, &mut row, column, None, &unguarded(fields.get(column), dialect.quote));
                    count((0..fields.len()).map(put).count(), columns)
                }
                None => decode_strict(dialect, columns, &mut row, start, end),
            }
        };
        match read {
            Ok(()) => columns.copies.iter().for_each(|(from, to)| row.slots[usize::from(*to)] = row.slots[usize::from(*from)]),
            Err(detail) => batch.refuse(detail),
        }
    }
    batch.keep_cut(records);
}

/// Returns the text of a field that was read leniently, without the guard of spreadsheets: `00123` of
/// `="00123"`.
fn unguarded(field: &[u8], quote: Option<u8>) -> Cow<'_, [u8]> {
    let inner = quote.and_then(|quote| field.strip_prefix(&[b'=', quote])?.strip_suffix(&[quote]));
    match (inner, quote) {
        (Some(inner), Some(quote)) => strict::single_quotes(inner, quote),
        _ => Cow::Borrowed(field),
    }
}

/// Reads a row; without quotes its fields stay where they are in the block.
fn decode_strict(dialect: &Dialect, columns: &Columns, row: &mut Row<'_>, start: usize, end: usize) -> Result<(), String> {
    let bytes = row.bytes;
    let text = &bytes[start..end];
    let mut column = 0;
    if dialect.quote.is_none_or(|quote| memchr::memchr(quote, text).is_none()) {
        let mut from = 0;
        for to in memchr::memchr_iter(dialect.delimiter, text).chain([text.len()]) {
            let field = strict::Field::plain(text, from, to, dialect.trim);
            put(columns, row, column, Some(start + field.start), &text[field.start..field.end]);
            (column, from) = (column + 1, to + 1);
        }
        return count(column, columns);
    }
    strict::split(dialect, text, &mut |field| {
        let content = field.text(text, dialect.quote);
        let place = matches!(content, Cow::Borrowed(_)).then_some(start + field.start);
        put(columns, row, column, place, &content);
        column += 1;
    })?;
    count(column, columns)
}

fn count(found: usize, columns: &Columns) -> Result<(), String> {
    let expected = columns.targets.len();
    let fields = if found == 1 { "field" } else { "fields" };
    let columns = if expected == 1 { "column" } else { "columns" };
    match found == expected {
        true => Ok(()),
        false => Err(format!("the row has {found} {fields}, but the file has {expected} {columns}")),
    }
}

/// Notes a field; `place` is where in the block it is, if it is there.
#[inline]
fn put(columns: &Columns, row: &mut Row<'_>, column: usize, place: Option<usize>, field: &[u8]) {
    let Some(Some((slot, column_type))) = columns.targets.get(column) else { return };
    let from = row.arena.len();
    let found = match column_type {
        ColumnType::Form(form) => {
            let kind = form.read_into(field, row.arena);
            Slot::in_arena(kind, from, row.arena.len())
        }
        plain => {
            let kind = plain.kind(field);
            match place {
                Some(place) => Slot::in_block(kind, place, place + field.len()),
                None => {
                    row.arena.extend_from_slice(field);
                    Slot::in_arena(kind, from, row.arena.len())
                }
            }
        }
    };
    row.slots[usize::from(*slot)] = found;
}

impl ColumnType {
    /// The type of a name.
    pub fn named(name: &str) -> Option<ColumnType> {
        Some(match name {
            "text" => ColumnType::Text,
            "number" => ColumnType::Number,
            "boolean" => ColumnType::Boolean,
            _ => return None,
        })
    }

    /// The kind of a field of this type.
    #[inline]
    pub fn kind(self, field: &[u8]) -> Kind {
        match self {
            ColumnType::Text => Kind::Text,
            _ if field.is_empty() => Kind::Null,
            // A number beyond the range stays one, to be rounded or refused where it counts.
            ColumnType::Number if crate::decimal::parse(field) != Err(crate::decimal::Inexact::NotANumber) => Kind::Number,
            ColumnType::Boolean if field == b"true" => Kind::True,
            ColumnType::Boolean if field == b"false" => Kind::False,
            ColumnType::Number | ColumnType::Form(_) | ColumnType::Boolean => Kind::Text,
        }
    }
}

/// The fields of one row, unquoted leniently.
#[derive(Default)]
pub struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    /// Reads the fields of one record. A reader is dear to make and cheap to use again.
    pub fn read(&mut self, reader: &mut csv_core::Reader, record: &[u8]) {
        use csv_core::ReadRecordResult as R;
        reader.reset();
        self.text.resize(record.len() + 1, 0);
        self.ends.clear();
        self.ends.resize(record.len() + 2, 0);
        let (mut input, mut written, mut ended) = (record, 0, 0);
        // The record, then an empty input that marks the end for the reader.
        for _ in 0..2 {
            let (result, read, wrote, ends) = reader.read_record(input, &mut self.text[written..], &mut self.ends[ended..]);
            input = &input[read..];
            written += wrote;
            ended += ends;
            if matches!(result, R::Record | R::End) {
                break;
            }
        }
        self.text.truncate(written);
        self.ends.truncate(ended);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the text of a field.
    pub fn get(&self, field: usize) -> &[u8] {
        let start = field.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[field]]
    }
}
