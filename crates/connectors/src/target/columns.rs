//! Records as the columns of a Parquet file. Every column is text as CSV has it, so that
//! no digit of a value is lost; other tools cast what they count with.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use flowmeter_engine::{Error, Kind};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::format::{COLUMNS, row};

/// Rows gathered before they are written.
const ROWS: usize = 8192;

/// Writes records as columns.
pub(super) struct Writer<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: Vec<Vec<String>>,
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(COLUMNS.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
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
        self.rows.push(row(json)?);
        if self.rows.len() >= ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let column = |at: usize| -> ArrayRef {
            let mut builder = StringBuilder::new();
            for row in &self.rows {
                match row[at].is_empty() {
                    true => builder.append_null(),
                    false => builder.append_value(&row[at]),
                }
            }
            Arc::new(builder.finish())
        };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), (0..COLUMNS.len()).map(column).collect()).map_err(wrong)?;
        self.rows.clear();
        self.writer.write(&batch).map_err(wrong)
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        self.write()?;
        self.writer.into_inner().map_err(wrong)
    }
}

/// The rows of a file that [`Writer`] wrote.
pub(super) fn read(bytes: Vec<u8>) -> Result<Vec<Vec<String>>, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).and_then(ParquetRecordBatchReaderBuilder::build);
    let mut rows = Vec::new();
    for batch in reader.map_err(wrong)? {
        let batch = batch.map_err(wrong)?;
        let columns: Option<Vec<_>> = batch.columns().iter().map(|column| column.as_string_opt::<i32>()).collect();
        let columns = columns.filter(|columns| columns.len() == COLUMNS.len());
        let columns = columns.ok_or_else(|| Error::new(Kind::Corrupt, "a Parquet file with other columns than records have"))?;
        for at in 0..batch.num_rows() {
            let text =
                |column: &arrow_array::StringArray| if column.is_null(at) { String::new() } else { column.value(at).to_owned() };
            rows.push(columns.iter().map(|column| text(column)).collect());
        }
    }
    Ok(rows)
}
