//! Parquet and Avro files: the columns a pipeline reads, as JSON objects, one a line.
//!
//! [`cells`] says how each type is written. The objects stay in the block, so that a
//! parked event can be shown, corrected and explained as any other.

mod cells;
#[cfg(test)]
mod tests;
mod text;
mod times;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use flowmeter_core::event::{Block, Path};
use flowmeter_core::pipeline::IdRule;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::open::Progress;
use super::{BLOCK_BYTES, Cutter};
use cells::{Cells, append_object};

/// Bytes of the mark between the blocks of an Avro file.
const SYNC_BYTES: usize = 16;

/// Rows decoded at once.
const ROWS: usize = 2048;

pub(super) struct Rows {
    reader: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    name: String,
    /// The rows that were decoded, and how many of them were taken.
    batch: Option<(RecordBatch, usize)>,
    row: u64,
    bytes_per_row: f64,
    /// The names of the file's columns.
    names: Vec<Box<str>>,
    progress: Arc<Progress>,
}

impl Rows {
    /// Opens a file for a source of a plan.
    pub(super) fn open(path: &str, plan: &Plan, source: usize, progress: &Arc<Progress>) -> Result<Rows, Error> {
        let file = File::open(path).map_err(|why| Error::io(path, &why))?;
        let bytes = file.metadata().map(|meta| meta.len()).unwrap_or_default();
        let corrupt = |why: ParquetError| Error::new(Kind::Corrupt, format!("{path}: not a Parquet file: {why}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(corrupt)?;
        let rows = builder.metadata().file_metadata().num_rows().max(1);
        let schema = Arc::clone(builder.schema());
        let roots = checked(path, &schema, plan, source)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let names = names_of(&schema);
        let reader = builder.with_projection(mask).with_batch_size(ROWS).build().map_err(corrupt)?;
        Ok(Rows {
            reader: Box::new(reader),
            name: path.to_owned(),
            batch: None,
            row: 1,
            bytes_per_row: bytes as f64 / rows as f64,
            names,
            progress: Arc::clone(progress),
        })
    }

    /// Opens an Avro object container file for a source of a plan. Its columns are read as those of a
    /// Parquet file are.
    pub(super) fn open_avro(path: &str, plan: &Plan, source: usize, progress: &Arc<Progress>) -> Result<Rows, Error> {
        let mut file = File::open(path).map_err(|why| Error::io(path, &why))?;
        let bytes = file.metadata().map(|meta| meta.len()).unwrap_or_default();
        let mut end = [0; SYNC_BYTES];
        let read = file.seek(SeekFrom::End(-(SYNC_BYTES as i64))).and_then(|_| file.read_exact(&mut end));
        read.and_then(|()| file.rewind()).map_err(|why| Error::io(path, &why))?;
        let corrupt = |why: ArrowError| Error::new(Kind::Corrupt, format!("{path}: not an Avro file: {why}"));
        let reader =
            arrow_avro::reader::ReaderBuilder::new().with_batch_size(ROWS).build(BufReader::new(file)).map_err(corrupt)?;
        // Every block ends with the mark of the file, and so does the file.
        if reader.avro_header().sync() != end {
            return Err(Error::new(Kind::Corrupt, format!("{path}: the file is cut short after {bytes} bytes")));
        }
        let schema = reader.schema();
        let roots = checked(path, &schema, plan, source)?;
        // Nothing says how many rows there are: all bytes count with the first.
        progress.add(bytes);
        Ok(Rows {
            reader: Box::new(reader.map(move |batch| batch.and_then(|batch| batch.project(&roots)))),
            name: path.to_owned(),
            batch: None,
            row: 1,
            bytes_per_row: 0.0,
            names: names_of(&schema),
            progress: Arc::clone(progress),
        })
    }

    /// The names of the file's columns.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.names.clone()
    }

    /// Decodes rows until there are some that were not taken; says no at the end.
    fn more(&mut self) -> Result<bool, Error> {
        while self.batch.as_ref().is_none_or(|(batch, taken)| *taken >= batch.num_rows()) {
            let Some(batch) = self.reader.next() else { return Ok(false) };
            let corrupt = |why| Error::new(Kind::Corrupt, format!("{}: {why}", self.name));
            self.batch = Some((batch.map_err(corrupt)?, 0));
        }
        Ok(true)
    }
}

/// The columns to read, once the pipeline's names and the columns' types are checked.
fn checked(path: &str, schema: &Schema, plan: &Plan, source: usize) -> Result<Vec<usize>, Error> {
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let has = |path: &Path| columns.iter().any(|name| path.is_named(name)) || times::column(schema, path).is_some();
    let named = plan.check_columns(source, &columns, &has);
    named.map_err(|why| Error::new(Kind::Invalid, format!("{path}: {why}")))?;
    let roots = wanted(schema, plan);
    check(path, schema, &roots)?;
    times::check(path, schema, plan, source)?;
    Ok(roots)
}

fn names_of(schema: &Schema) -> Vec<Box<str>> {
    schema.fields().iter().map(|field| Box::from(field.name().as_str())).collect()
}

/// The columns to read: those the pipeline names. Identity by content needs every one.
fn wanted(schema: &Schema, plan: &Plan) -> Vec<usize> {
    let by_content = plan.sources.iter().any(|source| matches!(source.id_rule, Some((IdRule::Content, ..))));
    let is_named = |name: &str| plan.paths.iter().any(|path| &*path.names()[0] == name || path.is_named(name));
    let roots = schema.fields().iter().enumerate();
    roots.filter(|(_, field)| by_content || is_named(field.name())).map(|(at, _)| at).collect()
}

fn check(path: &str, schema: &Schema, roots: &[usize]) -> Result<(), Error> {
    for field in roots.iter().map(|at| schema.field(*at)) {
        cells::check(field).map_err(|kind| {
            let message = format!("{path}: the column `{}` is of type {kind}, which cannot be read", field.name());
            Error::new(Kind::Invalid, format!("{message}; write the file with another type, or do not name the column"))
        })?;
    }
    Ok(())
}

impl Cutter for Rows {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        if !self.more()? {
            return Ok(false);
        }
        let Some((batch, taken)) = &mut self.batch else { return Ok(false) };
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let member =
            |(field, column): (&Arc<arrow_schema::Field>, _)| Ok((cells::name(field), Cells::new(field, AsRef::as_ref(column))?));
        let members: Result<Vec<(Vec<u8>, Cells<'_>)>, String> = columns.map(member).collect();
        let members = members.map_err(|kind| Error::new(Kind::Invalid, format!("{}: {kind} cannot be read", self.name)))?;
        let (out, first) = (block.open(), *taken);
        while *taken < batch.num_rows() && out.len() < BLOCK_BYTES {
            let start = out.len();
            append_object(&members, *taken, out);
            // Its beginning is enough to refuse an event that is too long.
            out.truncate(start + bytes_max + 1);
            out.push(b'\n');
            *taken += 1;
        }
        let rows = (*taken - first) as u64;
        block.seal();
        block.first_line = self.row;
        self.row += rows;
        self.progress.add((rows as f64 * self.bytes_per_row) as u64);
        Ok(true)
    }
}
