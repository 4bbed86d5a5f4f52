//! Parquet files: the columns a pipeline reads, as JSON objects, one a line.
//!
//! Integers and decimals stay exact; a float column is taken as its shortest decimal
//! text; a time without a zone becomes text without an offset, to be read with a
//! pattern (`time: {field: …, format: "%Y-%m-%dT%H:%M:%S%.f"}`).

use std::fs::File;
use std::sync::Arc;

use arrow_json::LineDelimitedWriter;
use flowmeter_core::event::Block;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::Cutter;
use super::open::Progress;

/// Rows turned into text at once.
const ROWS: usize = 2048;

pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    name: String,
    row: u64,
    bytes_per_row: f64,
    progress: Arc<Progress>,
}

impl Rows {
    pub(super) fn open(path: &str, plan: &Plan, progress: &Arc<Progress>) -> Result<Rows, Error> {
        let file = File::open(path).map_err(|why| Error::io(path, &why))?;
        let bytes = file.metadata().map(|meta| meta.len()).unwrap_or_default();
        let corrupt =
            |why: parquet::errors::ParquetError| Error::new(Kind::Corrupt, format!("{path}: not a Parquet file: {why}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(corrupt)?;
        let rows = builder.metadata().file_metadata().num_rows().max(1);
        let wanted: Vec<&str> = plan.paths.iter().map(|path| &*path.names()[0]).collect();
        // Identity by content needs every column; so does an empty wish, to keep the rows.
        let by_content = plan.sources.iter().any(|s| matches!(s.id_rule, Some((flowmeter_core::pipeline::IdRule::Content, ..))));
        let schema = builder.parquet_schema();
        let roots = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> =
            roots.filter(|(_, field)| by_content || wanted.contains(&field.name().as_str())).map(|(i, _)| i).collect();
        let mask = if roots.is_empty() { ProjectionMask::all() } else { ProjectionMask::roots(schema, roots) };
        let reader = builder.with_projection(mask).with_batch_size(ROWS).build().map_err(corrupt)?;
        Ok(Rows {
            reader,
            name: path.to_owned(),
            row: 1,
            bytes_per_row: bytes as f64 / rows as f64,
            progress: Arc::clone(progress),
        })
    }
}

impl Cutter for Rows {
    fn cut(&mut self, block: &mut Block, _bytes_max: usize) -> Result<bool, Error> {
        let Some(batch) = self.reader.next() else { return Ok(false) };
        let corrupt = |why: &dyn std::fmt::Display| Error::new(Kind::Corrupt, format!("{}: {why}", self.name));
        let batch = batch.map_err(|why| corrupt(&why))?;
        let mut writer = LineDelimitedWriter::new(block.open());
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|why| corrupt(&why))?;
        block.seal();
        block.first_line = self.row;
        self.row += batch.num_rows() as u64;
        self.progress.add((batch.num_rows() as f64 * self.bytes_per_row) as u64);
        Ok(true)
    }
}
