//! Rows as text: CSV and NDJSON.

use std::io::Write;

use flowmeter_engine::{Error, Kind};

use super::{Column, disarmed};
use crate::targets::columns::{Cell, Type};

/// A CSV file that is being written.
pub(super) struct Csv {
    writer: csv::Writer<Box<dyn Write + Send>>,
    /// Whether texts must not be formulas.
    pub(super) disarms: bool,
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("the export cannot be written: {why}"))
}

impl Csv {
    pub(super) fn new(sink: Box<dyn Write + Send>, columns: &[Column]) -> Result<Csv, Error> {
        let mut writer = csv::Writer::from_writer(sink);
        writer.write_record(columns.iter().map(|(name, _)| name)).map_err(failed)?;
        Ok(Csv { writer, disarms: false })
    }

    pub(super) fn row(&mut self, columns: &[Column], cells: &[Cell]) -> Result<(), Error> {
        let disarms = self.disarms;
        let fields = columns.iter().zip(cells).map(|((_, column), cell)| match (disarms, text(*column, cell)) {
            (true, text) => disarmed(&text).into_owned(),
            (false, text) => text,
        });
        self.writer.write_record(fields).map_err(failed)
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.writer.flush().map_err(failed)
    }
}

/// Returns a value as text. A local time has no zone; UTC has its `Z`.
pub(super) fn text(column: Type, cell: &Cell) -> String {
    let text = cell.text();
    match column {
        Type::Local => text.trim_end_matches('Z').trim_end_matches(".000").to_owned(),
        Type::Text | Type::Json | Type::Time | Type::Number | Type::Small | Type::Count | Type::Flag | Type::Groups => text,
    }
}

/// Writes a row as a line of JSON, with its fields in the order of the columns.
pub(super) fn ndjson(columns: &[Column], cells: &[Cell], sink: &mut Box<dyn Write + Send>) -> Result<(), Error> {
    let mut line = String::new();
    for ((name, column), cell) in columns.iter().zip(cells) {
        line.push(if line.is_empty() { '{' } else { ',' });
        let text = text(*column, cell);
        let value = match (column, cell) {
            (_, Cell::Null) => "null".to_owned(),
            (Type::Text | Type::Time | Type::Local, _) => serde_json::Value::from(text).to_string(),
            (Type::Json | Type::Number | Type::Small | Type::Count | Type::Flag | Type::Groups, _) => text,
        };
        line.push_str(&format!("\"{name}\":{value}"));
    }
    line.push_str("}\n");
    sink.write_all(line.as_bytes()).map_err(failed)
}
