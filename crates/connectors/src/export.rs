//! Records as files for people and their tools: CSV, XLSX, Parquet and NDJSON.
//!
//! A row has the fields of a record, its pipeline, and the name of its period with its bounds as the
//! clock of its zone shows them. Every number keeps its digits: as text in CSV, as a JSON number in
//! NDJSON, as `decimal(38, 18)` in Parquet, and in XLSX as a number only where a double holds it.

mod formula;
mod rows;
#[cfg(test)]
mod tests;
mod text;
mod xlsx;

use std::io::Write;

use flowmeter_engine::Error;

use crate::targets::columns::{self, Cell, Type};

pub use formula::disarmed;
pub use rows::Labels;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows of delimited fields, RFC 4180.
    Csv,
    /// One sheet of a workbook.
    Xlsx,
    /// Typed columns of an Apache Parquet file.
    Parquet,
    /// One JSON object per line.
    Ndjson,
}

/// How the groups of a record are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// As one column of the record: nested in Parquet, JSON elsewhere.
    Column,
    /// As rows of their own behind the record's row.
    Rows,
}

/// A column: its name and type.
pub(crate) type Column = (&'static str, Type);

/// A file of records that is being written.
pub struct Export {
    columns: Vec<Column>,
    groups: Groups,
    output: Output,
}

enum Output {
    Csv(text::Csv),
    Ndjson(Box<dyn Write + Send>),
    Parquet(columns::Writer<Box<dyn Write + Send>>),
    Xlsx(Box<xlsx::Sheet>),
}

impl Export {
    /// Begins a file.
    ///
    /// # Errors
    /// The sink cannot be written to.
    pub fn new(format: Format, groups: Groups, sink: Box<dyn Write + Send>) -> Result<Export, Error> {
        let columns = rows::columns(groups, format == Format::Parquet);
        let output = match format {
            Format::Csv => Output::Csv(text::Csv::new(sink, &columns)?),
            Format::Ndjson => Output::Ndjson(sink),
            Format::Parquet => Output::Parquet(columns::Writer::new(sink, &columns)?),
            Format::Xlsx => Output::Xlsx(Box::new(xlsx::Sheet::new(sink, &columns)?)),
        };
        Ok(Export { columns, groups, output })
    }

    /// Puts an apostrophe before texts of a CSV file that a spreadsheet would evaluate.
    #[must_use]
    pub fn without_formulas(mut self) -> Export {
        if let Output::Csv(csv) = &mut self.output {
            csv.disarms = true;
        }
        self
    }

    /// Writes a record, and its groups if they are rows. Returns the number of rows.
    ///
    /// # Errors
    /// `Invalid` if the format cannot hold it: the message names the record and the remedy.
    pub fn push(&mut self, json: &[u8], labels: &Labels<'_>) -> Result<usize, Error> {
        let rows = rows::rows(json, labels, &self.columns, self.groups)?;
        for cells in &rows {
            self.row(cells)?;
        }
        Ok(rows.len())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Error> {
        match &mut self.output {
            Output::Csv(csv) => csv.row(&self.columns, cells),
            Output::Ndjson(sink) => text::ndjson(&self.columns, cells, sink),
            Output::Parquet(writer) => writer.push_cells(cells),
            Output::Xlsx(sheet) => sheet.row(&self.columns, cells),
        }
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The sink cannot be written to.
    pub fn finish(self) -> Result<(), Error> {
        let failed = |why: std::io::Error| Error::io("the export", &why);
        match self.output {
            Output::Csv(csv) => csv.finish(),
            Output::Ndjson(mut sink) => sink.flush().map_err(failed),
            Output::Parquet(writer) => writer.finish()?.flush().map_err(failed),
            Output::Xlsx(sheet) => sheet.finish(),
        }
    }
}
