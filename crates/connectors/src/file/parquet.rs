//! Parquet files: the columns a pipeline reads, as JSON objects, one a line.
//!
//! [`typed::value`] says how each type is written. The objects stay in the block, so that a parked event
//! can be shown, corrected and explained as any other.

mod arrow;
mod field;
mod kind;
mod leaf;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::Arc;

use flowmeter_core::event::{Block, Path};
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind};
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use super::open::Progress;
use super::{BLOCK_BYTES, Cutter, typed};
use field::{Builder, Field};
use leaf::Leaf;

/// Rows decoded at once.
const ROWS: usize = 2048;

pub(super) struct Rows {
    reader: SerializedFileReader<File>,
    /// Columns of the file, those that are not read among them.
    leaves: Vec<Leaf>,
    /// The fields to read, with their names as JSON.
    fields: Vec<(Vec<u8>, Field)>,
    name: String,
    next_group: usize,
    /// Rows of the group that were not decoded.
    undecoded: usize,
    /// Rows that were decoded and not taken.
    decoded: usize,
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
        let corrupt = |why: ParquetError| Error::new(Kind::Invalid, format!("{path}: not a Parquet file: {why}"));
        let reader = SerializedFileReader::new(file).map_err(corrupt)?;
        let footer = reader.metadata().file_metadata();
        let rows = footer.num_rows().max(1);
        let entries = footer.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let schema = entries.iter().find(|entry| entry.key == arrow::KEY).and_then(|entry| entry.value.as_deref());
        let mut durations = schema.map(arrow::durations).unwrap_or_default();
        if durations.len() != footer.schema_descr().num_columns() {
            durations.clear();
        }
        let mut builder = Builder::new(&durations);
        let roots = footer.schema().get_fields().iter().map(|field| (field.name().to_owned(), builder.root(field)));
        let roots: Vec<(String, Result<Field, String>)> = roots.collect();
        let leaves = builder.leaves;
        let columns: Vec<&str> = roots.iter().map(|(name, _)| name.as_str()).collect();
        let kind = |path: &Path| {
            let (first, rest) = path.names().split_first()?;
            let (_, field) = roots.iter().find(|(name, _)| **name == **first)?;
            field.as_ref().ok()?.at(rest)?.kind(&leaves)
        };
        typed::check(path, &columns, &kind, plan, source)?;
        let names = columns.iter().map(|name| Box::from(*name)).collect();
        let mut fields = Vec::new();
        for (name, field) in roots.into_iter().filter(|(name, _)| typed::is_wanted(name, plan)) {
            fields.push(field.map_err(|kind| typed::unreadable(path, &name, &kind))?);
        }
        Ok(Rows {
            leaves,
            fields: fields.into_iter().map(|field| (typed::key(&field.name), field)).collect(),
            name: path.to_owned(),
            next_group: 0,
            undecoded: 0,
            decoded: 0,
            row: 1,
            bytes_per_row: bytes as f64 / rows as f64,
            names,
            progress: Arc::clone(progress),
            reader,
        })
    }

    /// Returns the names of the file's columns.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.names.clone()
    }

    /// Decodes rows until there are some that were not taken; says no at the end.
    fn more(&mut self) -> Result<bool, Error> {
        while self.decoded == 0 {
            let decoded = if self.undecoded > 0 { self.decode().map(|()| true) } else { self.begin_group() };
            let corrupt = |why| Error::new(Kind::Invalid, format!("{}: {why}", self.name));
            if !decoded.map_err(corrupt)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins the next row group; returns `false` at the end.
    fn begin_group(&mut self) -> Result<bool, ParquetError> {
        if self.next_group == self.reader.num_row_groups() {
            return Ok(false);
        }
        let group = self.reader.get_row_group(self.next_group)?;
        self.next_group += 1;
        self.undecoded = usize::try_from(group.metadata().num_rows())?;
        for (_, field) in &self.fields {
            for leaf in field.leaves() {
                self.leaves[leaf].begin(group.get_column_reader(leaf)?);
            }
        }
        Ok(true)
    }

    fn decode(&mut self) -> Result<(), ParquetError> {
        let rows = self.undecoded.min(ROWS);
        for (_, field) in &self.fields {
            self.leaves[field.leaves()].iter_mut().try_for_each(|leaf| leaf.read(rows))?;
        }
        self.undecoded -= rows;
        self.decoded = rows;
        Ok(())
    }
}

/// Appends an object of the fields' values of the next row.
fn append_object(fields: &[(Vec<u8>, Field)], leaves: &mut [Leaf], out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (key, field)) in fields.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        field.append(leaves, out);
    }
    out.push(b'}');
}

impl Cutter for Rows {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        if !self.more()? {
            return Ok(false);
        }
        let (out, decoded) = (block.open(), self.decoded);
        while self.decoded > 0 && out.len() < BLOCK_BYTES {
            let start = out.len();
            append_object(&self.fields, &mut self.leaves, out);
            // Its beginning is enough to refuse an event that is too long.
            out.truncate(start + bytes_max + 1);
            out.push(b'\n');
            self.decoded -= 1;
        }
        let rows = (decoded - self.decoded) as u64;
        block.seal();
        block.first_line = self.row;
        self.row += rows;
        self.progress.add((rows as f64 * self.bytes_per_row) as u64);
        Ok(true)
    }
}
