//! The columns of the event store: their names and types, and events as their values.
//!
//! Positions and lines are signed, since not every reader supports unsigned 64 bits. Strings are
//! plain strings here; the Parquet writer gives them a dictionary where they repeat. An event is
//! stored as text, so that it can be queried. The few events that are not text are stored as bytes
//! in a separate column, so that nothing is lost.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::event::ArchivedEvent;

pub(super) const POSITION: &str = "position";
pub(super) const RECEIVED_AT: &str = "received_at";
pub(super) const PIPELINE: &str = "pipeline";
pub(super) const LINE: &str = "line";
pub(super) const ID: &str = "id";
pub(super) const SOURCE: &str = "source";
pub(super) const SUBJECT: &str = "subject";
pub(super) const EVENT_AT: &str = "event_at";
pub(super) const VERDICT: &str = "verdict";
pub(super) const DETAIL: &str = "detail";
pub(super) const RAW: &str = "raw";
pub(super) const RAW_BYTES: &str = "raw_bytes";

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number of 64 bits.
    Number,
    /// An instant in nanoseconds since 1970, UTC.
    Time,
    Text,
    Bytes,
}

/// A column: its name, its type, and whether every event has a value.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
}

const fn always(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_required: true }
}

const fn maybe(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_required: false }
}

/// All columns in order.
pub(super) const COLUMNS: [Column; 17] = [
    always(POSITION, Kind::Number),
    always(RECEIVED_AT, Kind::Time),
    always(PIPELINE, Kind::Text),
    always("namespace", Kind::Text),
    always("origin", Kind::Text),
    always(LINE, Kind::Number),
    maybe(ID, Kind::Text),
    maybe(SOURCE, Kind::Text),
    maybe("event_type", Kind::Text),
    maybe(SUBJECT, Kind::Text),
    maybe(EVENT_AT, Kind::Time),
    always(VERDICT, Kind::Text),
    maybe("reason", Kind::Text),
    maybe(DETAIL, Kind::Text),
    maybe("operator", Kind::Text),
    maybe(RAW, Kind::Text),
    maybe(RAW_BYTES, Kind::Bytes),
];

/// The schema of a file.
pub(super) static SCHEMA: LazyLock<Result<TypePtr, ParquetError>> = LazyLock::new(|| {
    let fields = COLUMNS.iter().map(field).collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    Ok(Arc::new(Type::group_type_builder("arrow_schema").with_fields(fields).build()?))
});

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let builder = Type::primitive_type_builder(column.name, physical(column.kind))
        .with_repetition(if column.is_required { Repetition::REQUIRED } else { Repetition::OPTIONAL })
        .with_logical_type(logical(column.kind));
    Ok(Arc::new(builder.build()?))
}

fn physical(kind: Kind) -> Physical {
    match kind {
        Kind::Number | Kind::Time => Physical::INT64,
        Kind::Text | Kind::Bytes => Physical::BYTE_ARRAY,
    }
}

fn logical(kind: Kind) -> Option<LogicalType> {
    match kind {
        Kind::Number | Kind::Bytes => None,
        Kind::Time => Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
        Kind::Text => Some(LogicalType::String),
    }
}

/// Whether a file has these columns.
pub(super) fn are_columns_of(schema: &SchemaDescriptor) -> bool {
    let pairs = schema.columns().iter().zip(&COLUMNS);
    schema.columns().len() == COLUMNS.len()
        && pairs.into_iter().all(|(theirs, ours)| {
            theirs.name() == ours.name
                && theirs.physical_type() == physical(ours.kind)
                && theirs.logical_type_ref() == logical(ours.kind).as_ref()
                && (theirs.max_def_level() == 0) == ours.is_required
                && theirs.max_rep_level() == 0
        })
}

/// Rows of a column that the Parquet writer gets at once: so few that they need little memory.
const WRITTEN_ROWS: usize = 8 << 10;

/// Converts events to columns, until there are enough for a row group.
#[derive(Default)]
pub(super) struct Columns {
    rows: usize,
    bytes: usize,
    values: [Values; COLUMNS.len()],
    /// Columns with the texts that were written, for their memory: fresh pages cost more than writing to them.
    spent: Vec<(usize, Bytes)>,
    /// The texts that the Parquet writer gets next.
    texts: Vec<ByteArray>,
}

/// The present values of a column, and for each row whether it has one.
#[derive(Default)]
struct Values {
    numbers: Vec<i64>,
    /// Texts in sequence, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    levels: Vec<i16>,
}

impl Columns {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the bytes held: those of the events, their times and their positions.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event. Position and line are separate arguments, in the signed form of the columns.
    pub(super) fn push(&mut self, position: i64, line: i64, event: &ArchivedEvent<'_>) {
        let text = std::str::from_utf8(event.raw).ok();
        let mut row = Row { columns: self, next: 0 };
        row.number(Some(position));
        row.number(Some(event.received_at));
        row.text(Some(event.pipeline));
        row.text(Some(event.namespace));
        row.text(Some(event.origin));
        row.number(Some(line));
        row.text(event.id);
        row.text(event.source);
        row.text(event.event_type);
        row.text(event.subject);
        row.number(event.event_at);
        row.text(Some(event.verdict));
        row.text(event.reason);
        row.text(event.detail);
        row.text(event.operator);
        row.text(text);
        row.blob(text.is_none().then_some(event.raw));
        self.rows += 1;
    }

    /// Writes a column of a row group.
    pub(super) fn write(&mut self, column: usize, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let rows = self.rows;
        let Columns { values, spent, texts, .. } = self;
        let Values { numbers, bytes, ends, levels } = &mut values[column];
        let is_required = COLUMNS[column].is_required;
        let whole = Bytes::from(std::mem::take(bytes));
        let (mut first, mut start) = (0, 0);
        for row in (0..rows).step_by(WRITTEN_ROWS) {
            let until = rows.min(row + WRITTEN_ROWS);
            let levels = (!is_required).then(|| &levels[row..until]);
            let present = levels.map_or(until - row, |levels| levels.iter().filter(|level| **level > 0).count());
            let of_part = first..first + present;
            first += present;
            match COLUMNS[column].kind {
                Kind::Number | Kind::Time => {
                    writer.typed::<Int64Type>().write_batch(&numbers[of_part], levels, None)?;
                }
                Kind::Text | Kind::Bytes => {
                    texts.extend(ends[of_part].iter().map(|end| {
                        let text = whole.slice(start..*end);
                        start = *end;
                        ByteArray::from(text)
                    }));
                    writer.typed::<ByteArrayType>().write_batch(texts, levels, None)?;
                    texts.clear();
                }
            }
        }
        numbers.clear();
        ends.clear();
        levels.clear();
        spent.push((column, whole));
        Ok(())
    }

    /// Starts a new row group after all columns are written.
    pub(super) fn clear(&mut self) {
        (self.rows, self.bytes) = (0, 0);
        for (column, whole) in self.spent.drain(..) {
            // The Parquet writer still has bounds of some columns; the large ones have none.
            if let Ok(whole) = whole.try_into_mut() {
                let mut bytes = Vec::from(whole);
                bytes.clear();
                self.values[column].bytes = bytes;
            }
        }
    }
}

/// A row being added, value by value.
struct Row<'c> {
    columns: &'c mut Columns,
    next: usize,
}

impl Row<'_> {
    fn values(&mut self, is_there: bool, bytes: usize) -> &mut Values {
        self.columns.bytes += bytes;
        let values = &mut self.columns.values[self.next];
        if !COLUMNS[self.next].is_required {
            values.levels.push(i16::from(is_there));
        }
        self.next += 1;
        values
    }

    fn number(&mut self, number: Option<i64>) {
        self.values(number.is_some(), size_of::<i64>()).numbers.extend(number);
    }

    fn text(&mut self, text: Option<&str>) {
        self.blob(text.map(str::as_bytes));
    }

    fn blob(&mut self, bytes: Option<&[u8]>) {
        let values = self.values(bytes.is_some(), bytes.map_or(0, <[u8]>::len));
        if let Some(bytes) = bytes {
            values.bytes.extend_from_slice(bytes);
            values.ends.push(values.bytes.len());
        }
    }
}
