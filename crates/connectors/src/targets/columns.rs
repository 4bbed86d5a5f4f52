//! Records as the typed columns of a Parquet file: readers can add numbers and compare times
//! without a cast, and no digit of a value is lost.
//!
//! [`TYPES`] has the type of each column; `cell` makes a record's values, `leaves` makes columns of
//! them, and `back` reads them again.

mod back;
mod cell;
mod leaves;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flowmeter_engine::{Error, Kind};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::format::COLUMNS;
pub(crate) use cell::Cell;
use cell::cells;
use leaves::Leaf;

/// Records of a row group: some 20 MiB in memory while they are collected, and few enough groups in
/// a file of millions.
const ROWS: usize = 65_536;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Text as it is.
    Text,
    /// An object of any form, as JSON text.
    Json,
    /// An instant, in microseconds, UTC.
    Time,
    /// A time as the clocks of some zone show it, in microseconds.
    Local,
    /// An exact number: `decimal(38, 18)`.
    Number,
    /// A whole number of 32 bits.
    Small,
    /// A whole number of 64 bits.
    Count,
    /// The value true or false.
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
pub(crate) struct Writer<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    /// The leaves by column.
    leaves: Vec<Vec<Leaf>>,
    rows: usize,
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("Parquet: {why}"))
}

impl<W: Write + Send> Writer<W> {
    /// Creates a file with the columns of records.
    pub(super) fn of_records(sink: W) -> Result<Writer<W>, Error> {
        let columns: Vec<(&str, Type)> = COLUMNS.into_iter().zip(TYPES).collect();
        Writer::new(sink, &columns)
    }

    /// Creates a file with these columns.
    pub(crate) fn new(sink: W, columns: &[(&str, Type)]) -> Result<Writer<W>, Error> {
        let fields = columns.iter().map(|(name, column)| leaves::schema_of(name, *column));
        let schema = format!("message record {{ {} }}", fields.collect::<Vec<_>>().join(" "));
        let schema = Arc::new(parse_message_type(&schema).map_err(wrong)?);
        let level = ZstdLevel::try_new(1).map_err(wrong)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("flowmeter ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(sink, schema, Arc::new(properties)).map_err(wrong)?;
        Ok(Writer { writer, leaves: columns.iter().map(|(_, column)| leaves::leaves_of(*column)).collect(), rows: 0 })
    }

    /// Adds a record to the row group.
    pub(super) fn push(&mut self, json: &[u8]) -> Result<(), Error> {
        self.push_cells(&cells(json)?)
    }

    /// Adds a row, with a value for each column.
    pub(crate) fn push_cells(&mut self, cells: &[Cell]) -> Result<(), Error> {
        self.leaves.iter_mut().zip(cells).for_each(|(leaves, cell)| leaves::push(leaves, cell));
        self.rows += 1;
        if self.rows >= ROWS { self.write_row_group().map_err(wrong) } else { Ok(()) }
    }

    fn write_row_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let mut group = self.writer.next_row_group()?;
        for leaf in self.leaves.iter_mut().flatten() {
            let Some(mut column) = group.next_column()? else { break };
            leaf.write(&mut column)?;
            column.close()?;
        }
        group.close().map(drop)
    }

    /// Completes the file and returns its sink.
    pub(crate) fn finish(mut self) -> Result<W, Error> {
        self.write_row_group().map_err(wrong)?;
        self.writer.into_inner().map_err(wrong)
    }
}

/// Returns a record as a row of texts, equal for a record and for its columns.
pub(super) fn row(json: &[u8]) -> Result<Vec<String>, Error> {
    Ok(cells(json)?.iter().map(Cell::text).collect())
}

/// Returns the rows of a file that [`Writer`] wrote, in the form of [`row`]. Files of an earlier
/// version, whose columns are all text, can be read as well.
pub(super) fn read(bytes: Vec<u8>) -> Result<Vec<Vec<String>>, Error> {
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(wrong)?;
    let other = || Error::new(Kind::Corrupt, "a Parquet file with other columns than records have");
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).map_err(wrong)? {
        let row = row.map_err(wrong)?;
        let cell = |(name, column): (&&str, &Type)| {
            let (_, field) = row.get_column_iter().find(|(known, _)| known == name)?;
            back::cell(*column, field)
        };
        let cells: Option<Vec<Cell>> = COLUMNS.iter().zip(&TYPES).map(cell).collect();
        rows.push(cells.ok_or_else(other)?.iter().map(Cell::text).collect());
    }
    Ok(rows)
}
