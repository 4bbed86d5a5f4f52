//! Rows of delimited text to events: each column is a field, named by the header or by
//! the pipeline.
//!
//! A column is text unless the pipeline gives it a type: `00186705257` is a telephone
//! number until someone says it is a number. A row with more or fewer fields than
//! columns is refused, not guessed at.

use super::batch::Batch;
use super::slot::{Kind, Slot};

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold delimiters or line ends; doubled inside. `None`: quotes
    /// are characters like any other.
    pub quote: Option<u8>,
    /// A line beginning with it is not a row.
    pub comment: Option<u8>,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect { delimiter: b',', quote: Some(b'"'), comment: None }
    }
}

impl Dialect {
    /// A reader of this dialect.
    pub fn reader(&self) -> csv_core::Reader {
        let mut builder = csv_core::ReaderBuilder::new();
        builder.delimiter(self.delimiter).comment(self.comment);
        match self.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        builder.build()
    }
}

/// What the text of a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text; an empty field is empty text.
    Text,
    /// A number where it reads as one, text where it does not; an empty field is null.
    Number,
    /// `true` and `false`; an empty field is null.
    Boolean,
}

/// Where each column of a file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// By column: the slot and the type, or `None` for a column nobody reads.
    pub targets: Vec<Option<(u16, ColumnType)>>,
    /// Slots in a row.
    pub width: usize,
}

/// Fills the batch with the rows of its block, cut by the source.
pub fn decode(dialect: &Dialect, columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    let mut fields = Fields::default();
    let mut reader = dialect.reader();
    for record in batch.cut() {
        let (start, end) = (record.start as usize, record.end as usize);
        let row = batch.push(record);
        let text = &row.bytes[start..end];
        if text.len() > event_bytes_max {
            batch.refuse(format!("the row has {} bytes; the limit is {event_bytes_max}", end - start));
            continue;
        }
        fields.read(&mut reader, text);
        if fields.ends.len() != columns.targets.len() {
            let (found, expected) = (fields.ends.len(), columns.targets.len());
            batch.refuse(format!("the row has {found} fields where the header has {expected}"));
            continue;
        }
        if simdutf8::basic::from_utf8(&fields.text).is_err() {
            batch.refuse("not UTF-8; convert the file first (iconv -t UTF-8)".to_owned());
            continue;
        }
        for (column, target) in columns.targets.iter().enumerate() {
            let Some((slot, column_type)) = *target else { continue };
            let field = fields.get(column);
            let kind = column_type.kind(field);
            let from = row.arena.len();
            row.arena.extend_from_slice(field);
            row.slots[usize::from(slot)] = Slot::in_arena(kind, from, row.arena.len());
        }
    }
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
    pub fn kind(self, field: &[u8]) -> Kind {
        match self {
            ColumnType::Text => Kind::Text,
            _ if field.is_empty() => Kind::Null,
            ColumnType::Number if crate::decimal::parse(field).is_ok() => Kind::Number,
            ColumnType::Boolean if field == b"true" => Kind::True,
            ColumnType::Boolean if field == b"false" => Kind::False,
            _ => Kind::Text,
        }
    }
}

/// The fields of one row, unquoted.
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
        // The record, then an empty input that tells the reader it is over.
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

    /// A field's text.
    pub fn get(&self, field: usize) -> &[u8] {
        let start = field.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[field]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_types_and_ragged_rows() {
        let mut batch = Batch::default();
        let lines = "a;1;\"x;\"\"y\"\"\"\nb;;z\nc;1\nd;no;\"two\r\nlines\"\n";
        batch.block.open().extend_from_slice(lines.as_bytes());
        batch.block.seal();
        batch.block.ends = vec![(14, 0), (19, 1), (23, 2), (44, 3)];
        let columns = Columns {
            targets: vec![Some((1, ColumnType::Text)), Some((0, ColumnType::Number)), Some((2, ColumnType::Text))],
            width: 3,
        };
        decode(&Dialect { delimiter: b';', ..Dialect::default() }, &columns, &mut batch, 100);
        let row = |event| [0, 1, 2].map(|slot| String::from_utf8(batch.leaf(event, slot).bytes.to_vec()).unwrap());
        assert_eq!(row(0), ["1", "a", "x;\"y\""]);
        assert_eq!(batch.leaf(0, 0).kind, Kind::Number);
        assert_eq!(batch.leaf(1, 0).kind, Kind::Null);
        assert_eq!(batch.leaf(3, 0).kind, Kind::Text);
        assert_eq!(row(3)[2], "two\r\nlines");
        assert_eq!(batch.faults[0].detail, "the row has 2 fields where the header has 3");
    }
}
