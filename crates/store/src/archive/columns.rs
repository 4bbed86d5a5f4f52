//! The columns: their names and types, events into columns and columns into rows.
//!
//! Positions and lines are signed, since not every reader knows unsigned 64 bits.
//! Strings are plain strings here; the Parquet writer gives them a dictionary where they
//! repeat. An event is kept as text, to be queried as such, and the few that are not
//! text as bytes in a column of their own, so that nothing is lost.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder, TimestampNanosecondBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::event::{ArchivedEvent, Row};

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

/// Names and types, in order.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let always = |name: &str, kind: DataType| Field::new(name, kind, false);
    let maybe = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        always(POSITION, DataType::Int64),
        always(RECEIVED_AT, time()),
        always(PIPELINE, DataType::Utf8),
        always("namespace", DataType::Utf8),
        always("origin", DataType::Utf8),
        always(LINE, DataType::Int64),
        maybe(ID, DataType::Utf8),
        maybe(SOURCE, DataType::Utf8),
        maybe("event_type", DataType::Utf8),
        maybe(SUBJECT, DataType::Utf8),
        maybe(EVENT_AT, time()),
        always(VERDICT, DataType::Utf8),
        maybe("reason", DataType::Utf8),
        maybe(DETAIL, DataType::Utf8),
        maybe("operator", DataType::Utf8),
        maybe(RAW, DataType::Utf8),
        maybe(RAW_BYTES, DataType::Binary),
    ]))
});

/// Events turned into columns, until there are enough for a batch.
pub(super) struct Columns {
    rows: usize,
    bytes: usize,
    position: Int64Builder,
    received_at: TimestampNanosecondBuilder,
    pipeline: StringBuilder,
    namespace: StringBuilder,
    origin: StringBuilder,
    line: Int64Builder,
    id: StringBuilder,
    source: StringBuilder,
    event_type: StringBuilder,
    subject: StringBuilder,
    event_at: TimestampNanosecondBuilder,
    verdict: StringBuilder,
    reason: StringBuilder,
    detail: StringBuilder,
    operator: StringBuilder,
    raw: StringBuilder,
    raw_bytes: BinaryBuilder,
}

impl Columns {
    pub(super) fn new() -> Columns {
        let time = || TimestampNanosecondBuilder::new().with_timezone("UTC");
        Columns {
            rows: 0,
            bytes: 0,
            position: Int64Builder::new(),
            received_at: time(),
            pipeline: StringBuilder::new(),
            namespace: StringBuilder::new(),
            origin: StringBuilder::new(),
            line: Int64Builder::new(),
            id: StringBuilder::new(),
            source: StringBuilder::new(),
            event_type: StringBuilder::new(),
            subject: StringBuilder::new(),
            event_at: time(),
            verdict: StringBuilder::new(),
            reason: StringBuilder::new(),
            detail: StringBuilder::new(),
            operator: StringBuilder::new(),
            raw: StringBuilder::new(),
            raw_bytes: BinaryBuilder::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the events as they came in.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event. Position and line are given apart, as the columns have them.
    pub(super) fn push(&mut self, position: i64, line: i64, event: &ArchivedEvent<'_>) {
        self.rows += 1;
        self.bytes += event.raw.len() + event.detail.map_or(0, str::len);
        self.position.append_value(position);
        self.received_at.append_value(event.received_at);
        self.pipeline.append_value(event.pipeline);
        self.namespace.append_value(event.namespace);
        self.origin.append_value(event.origin);
        self.line.append_value(line);
        self.id.append_option(event.id);
        self.source.append_option(event.source);
        self.event_type.append_option(event.event_type);
        self.subject.append_option(event.subject);
        self.event_at.append_option(event.event_at);
        self.verdict.append_value(event.verdict);
        self.reason.append_option(event.reason);
        self.detail.append_option(event.detail);
        self.operator.append_option(event.operator);
        let text = std::str::from_utf8(event.raw).ok();
        self.raw.append_option(text);
        self.raw_bytes.append_option(text.is_none().then_some(event.raw));
    }

    /// The events so far as a batch; none remain.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.position.finish()),
            Arc::new(self.received_at.finish()),
            Arc::new(self.pipeline.finish()),
            Arc::new(self.namespace.finish()),
            Arc::new(self.origin.finish()),
            Arc::new(self.line.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.event_type.finish()),
            Arc::new(self.subject.finish()),
            Arc::new(self.event_at.finish()),
            Arc::new(self.verdict.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.operator.finish()),
            Arc::new(self.raw.finish()),
            Arc::new(self.raw_bytes.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
    }
}

/// Whether a file has these columns.
pub(super) fn are_columns_of(schema: &Schema) -> bool {
    let pairs = schema.fields().iter().zip(SCHEMA.fields());
    schema.fields().len() == SCHEMA.fields().len()
        && pairs.into_iter().all(|(theirs, ours)| theirs.name() == ours.name() && theirs.data_type() == ours.data_type())
}

/// The rows of a batch that has all columns.
pub(super) fn rows(batch: &RecordBatch) -> Vec<Row> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let strings: Vec<Option<&StringArray>> = batch.columns().iter().map(|column| column.as_string_opt::<i32>()).collect();
    let text = |column: usize, row: usize| match strings[column] {
        Some(array) if array.is_valid(row) => Some(array.value(row)),
        _ => None,
    };
    let sure = |column: usize, row: usize| text(column, row).unwrap_or_default().to_owned();
    let (position, line): (&Int64Array, &Int64Array) = (batch.column(0).as_primitive(), batch.column(5).as_primitive());
    let received_at: &TimestampNanosecondArray = batch.column(1).as_primitive();
    let event_at: &TimestampNanosecondArray = batch.column(10).as_primitive();
    let raw_bytes: &BinaryArray = batch.column(16).as_binary();
    let row = |i: usize| Row {
        position: position.value(i).cast_unsigned(),
        received_at: received_at.value(i),
        pipeline: sure(2, i),
        namespace: sure(3, i),
        origin: sure(4, i),
        line: line.value(i).cast_unsigned(),
        id: owned(text(6, i)),
        source: owned(text(7, i)),
        event_type: owned(text(8, i)),
        subject: owned(text(9, i)),
        event_at: event_at.is_valid(i).then(|| event_at.value(i)),
        verdict: sure(11, i),
        reason: owned(text(12, i)),
        detail: owned(text(13, i)),
        operator: owned(text(14, i)),
        raw: match text(15, i) {
            Some(text) => text.as_bytes().to_vec(),
            None if raw_bytes.is_valid(i) => raw_bytes.value(i).to_vec(),
            None => Vec::new(),
        },
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A column of whole numbers or times, by name, as numbers.
pub(super) fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> Option<Box<dyn Fn(usize) -> Option<i64> + 'a>> {
    let column = batch.column_by_name(name)?;
    if let Some(array) = column.as_primitive_opt::<Int64Type>() {
        return Some(Box::new(move |row| array.is_valid(row).then(|| array.value(row))));
    }
    let array = column.as_primitive_opt::<TimestampNanosecondType>()?;
    Some(Box::new(move |row| array.is_valid(row).then(|| array.value(row))))
}

/// A column of strings, by name.
pub(super) fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name)?.as_string_opt::<i32>()
}
