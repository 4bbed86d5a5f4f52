//! Records as the typed columns of a Parquet file: readers can add numbers and compare times
//! without a cast, and no digit of a value is lost.
//!
//! [`TYPES`] says what each column is; `cell` makes a record's values, `arrays` makes
//! columns of them and takes them apart again.

mod arrays;
mod cell;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use flowmeter_engine::{Error, Kind};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::format::COLUMNS;
use cell::{Cell, cells};

/// Rows gathered before they are written.
const ROWS: usize = 8192;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Text as it is.
    Text,
    /// An object of any form, as JSON text.
    Json,
    /// An instant, in microseconds, UTC.
    Time,
    /// An exact number: `decimal(38, 18)`.
    Number,
    /// A whole number of 32 bits.
    Small,
    /// A whole number of 64 bits.
    Count,
    /// True or false.
    Flag,
    /// The groups: a list of their fields, keys and values.
    Groups,
}

/// Types of the columns of [`COLUMNS`], in the same order.
const TYPES: [Type; COLUMNS.len()] = [
    Type::Text,   // id
    Type::Text,   // userId
    Type::Text,   // meterTypeId
    Type::Text,   // meterTypeName
    Type::Text,   // meterKey
    Type::Time,   // periodStart
    Type::Time,   // periodEnd
    Type::Text,   // timezone
    Type::Text,   // unit
    Type::Number, // value
    Type::Groups, // groups
    Type::Json,   // carryFirst
    Type::Json,   // carryLast
    Type::Time,   // createdAt
    Type::Time,   // updatedAt
    Type::Flag,   // deleteOnReset
    Type::Text,   // recordId
    Type::Small,  // revision
    Type::Number, // delta
    Type::Count,  // eventCount
    Type::Time,   // firstEvent
    Type::Time,   // lastEvent
    Type::Json,   // customFields
    Type::Json,   // threshold
];

/// Writes records as columns.
pub(super) struct Writer<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: Vec<Vec<Cell>>,
}

fn schema() -> Arc<Schema> {
    let field = |(name, column): (&&str, &Type)| Field::new(*name, arrays::data_type(*column), true);
    Arc::new(Schema::new(COLUMNS.iter().zip(&TYPES).map(field).collect::<Vec<_>>()))
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("Parquet: {why}"))
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file.
    pub(super) fn new(sink: W) -> Result<Writer<W>, Error> {
        let schema = schema();
        let level = ZstdLevel::try_new(1).map_err(wrong)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("flowmeter ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties)).map_err(wrong)?;
        Ok(Writer { writer, schema, rows: Vec::new() })
    }

    /// Takes a record.
    pub(super) fn push(&mut self, json: &[u8]) -> Result<(), Error> {
        self.rows.push(cells(json)?);
        if self.rows.len() >= ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let column = |(at, column): (usize, &Type)| arrays::build(*column, self.rows.iter().map(|row| &row[at]));
        let columns: Vec<ArrayRef> = TYPES.iter().enumerate().map(column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(wrong)?;
        self.rows.clear();
        self.writer.write(&batch).map_err(wrong)
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        self.write()?;
        self.writer.into_inner().map_err(wrong)
    }
}

/// A record as a row of texts, the same for a record and for what its columns hold.
pub(super) fn row(json: &[u8]) -> Result<Vec<String>, Error> {
    Ok(cells(json)?.iter().map(Cell::text).collect())
}

/// The rows of a file that [`Writer`] wrote, in the form of [`row`]. Files of an earlier
/// version, whose columns are all text, are read as well.
pub(super) fn read(bytes: Vec<u8>) -> Result<Vec<Vec<String>>, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).and_then(ParquetRecordBatchReaderBuilder::build);
    let mut rows = Vec::new();
    for batch in reader.map_err(wrong)? {
        let batch = batch.map_err(wrong)?;
        let columns = COLUMNS.iter().zip(&TYPES).map(|(name, column)| arrays::take(*column, batch.column_by_name(name)?));
        let columns: Option<Vec<Vec<Cell>>> = columns.collect();
        let columns = columns.ok_or_else(|| Error::new(Kind::Corrupt, "a Parquet file with other columns than records have"))?;
        rows.extend((0..batch.num_rows()).map(|at| columns.iter().map(|column| column[at].text()).collect()));
    }
    Ok(rows)
}
