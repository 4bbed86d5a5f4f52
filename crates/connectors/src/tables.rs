//! Tables whose rows are outside of the document: read whole, checked, and given to an engine.

mod asked;

use std::sync::Arc;

use flowmeter_core::event::csv::{ColumnType, Columns};
use flowmeter_core::event::{Batch, Kind as LeafKind, csv};
use flowmeter_core::limits::EVENT_BYTES_MAX;
use flowmeter_core::partition::Identities;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::{Format, SourcePlan};
use flowmeter_core::table::{Content, Refused, Row, Table, TableOrigin};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Engine, Error, Kind};
use serde_json::{Map, Value};

use crate::file;

/// Reads every table of a plan whose rows are outside of the document, and gives it to the engine.
///
/// # Errors
/// The rows cannot be read, or are refused: the message names place, line and key.
pub fn load<I: Identities + Send + Sync>(plan: &Plan, engine: &mut Engine<I>, now: Timestamp) -> Result<(), Error> {
    for (at, table) in plan.tables.iter().enumerate() {
        match read(table, now)? {
            Some(content) => engine.set_table(at, Some(Arc::new(content))),
            None => check_put(table)?,
        }
    }
    Ok(())
}

/// A table that rows are put into has none in a run over files.
fn check_put(table: &Table) -> Result<(), Error> {
    match table.origin {
        TableOrigin::Put => {
            let name = &table.name;
            let message =
                format!("the table `{name}` has no rows; give it `rows`, a `file`, `http` or `postgres` in the document");
            Err(Error::new(Kind::Invalid, message))
        }
        TableOrigin::Document(_) | TableOrigin::File(_) | TableOrigin::Http(_) | TableOrigin::Postgres(_) => Ok(()),
    }
}

/// Reads the content of a table from its source; none if it has no source. `now`: the time of the
/// wall clock.
///
/// # Errors
/// As [`load`].
pub fn read(table: &Table, now: Timestamp) -> Result<Option<Content>, Error> {
    if !table.origin.is_read() {
        return Ok(None);
    }
    let (rows, place) = (read_rows(table, now)?, place(&table.origin));
    let refused = |why: Refused| Error::new(Kind::Invalid, format!("table `{}`: {place}: {why}", table.name));
    Content::new(table, rows).map(Some).map_err(refused)
}

/// Names the source of a table for people, without what may be secret.
fn place(origin: &TableOrigin) -> String {
    match origin {
        TableOrigin::File(source) => source.paths.join(", "),
        TableOrigin::Http(http) => crate::service::shown_address(&http.service.url),
        TableOrigin::Postgres(_) => "the query".to_owned(),
        TableOrigin::Document(_) | TableOrigin::Put => String::new(),
    }
}

/// Reads the rows of a table from its source; none if it has no source. `now`: the time of the wall
/// clock.
///
/// # Errors
/// The source cannot be read.
pub fn read_rows(table: &Table, now: Timestamp) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    match &table.origin {
        TableOrigin::File(source) => {
            for path in &source.paths {
                for path in file::find(&crate::expand(path)?)? {
                    read_file(&path, source, table.rows_max, &mut rows)?;
                }
            }
        }
        TableOrigin::Http(http) => rows = asked::http(table, http, now)?,
        TableOrigin::Postgres(postgres) => rows = asked::postgres(table, postgres)?,
        TableOrigin::Document(_) | TableOrigin::Put => {}
    }
    Ok(rows)
}

/// Reads rows that were sent: delimited text with a header, or one JSON object a line. A text has
/// the types of JSON only where it is JSON. Of more rows than `rows_max`, one too many is returned,
/// which is enough to refuse them.
///
/// # Errors
/// The delimited text cannot be read.
pub fn sent_rows(bytes: &[u8], is_delimited: bool, rows_max: usize) -> Result<Vec<Row>, String> {
    if !is_delimited {
        let mut batch = Batch::default();
        batch.block.open().extend_from_slice(bytes);
        batch.block.seal();
        batch.block.first_line = 1;
        return Ok(objects(&batch, rows_max.saturating_add(1)));
    }
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let names = reader.headers().map_err(|why| why.to_string())?.clone();
    let row = |record: Result<::csv::StringRecord, ::csv::Error>| {
        let record = match record {
            Ok(record) => record,
            Err(why) => return Row { line: why.position().map_or(0, ::csv::Position::line), columns: Err(why.to_string()) },
        };
        let line = record.position().map_or(0, ::csv::Position::line);
        if record.len() != names.len() {
            let fields = if record.len() == 1 { "1 field".to_owned() } else { format!("{} fields", record.len()) };
            let why = format!("{fields} where the header has {}", names.len());
            return Row { line, columns: Err(why) };
        }
        let filled = names.iter().zip(&record).filter(|(_, field)| !field.is_empty());
        Row { line, columns: Ok(filled.map(|(name, field)| (name.to_owned(), Value::from(field))).collect()) }
    };
    Ok(reader.records().take(rows_max.saturating_add(1)).map(row).collect())
}

fn read_file(path: &str, source: &SourcePlan, rows_max: usize, rows: &mut Vec<Row>) -> Result<(), Error> {
    let format = source.format.unwrap_or_else(|| Format::of_file(path));
    let (mut cutter, columns) = file::open_table(path, format, source)?;
    let targets = |columns: &[Box<str>]| {
        let of = |(at, name): (usize, &str)| {
            let of_type = source.types.iter().find(|(column, _)| **column == *name);
            Some((at as u16, of_type.map_or(ColumnType::Text, |(_, of)| *of)))
        };
        let targets = columns.iter().map(AsRef::as_ref).enumerate().map(of).collect();
        Columns { targets, copies: Vec::new(), width: columns.len() }
    };
    let mut batch = Batch::default();
    loop {
        batch.block.clear();
        // One row more than there may be is enough to refuse the content.
        if rows.len() > rows_max || !cutter.cut(&mut batch.block, EVENT_BYTES_MAX)? {
            return Ok(());
        }
        match &columns {
            Some(names) => {
                csv::decode(&source.dialect, &targets(names), &mut batch, EVENT_BYTES_MAX);
                rows.extend((0..batch.len()).map(|row| delimited(&batch, row, names)));
            }
            None => rows.extend(objects(&batch, usize::MAX)),
        }
    }
}

/// A row of delimited text.
fn delimited(batch: &Batch, row: usize, names: &[Box<str>]) -> Row {
    if let Some(fault) = batch.faults.iter().find(|fault| fault.event as usize == row) {
        return Row { line: batch.line(row), columns: Err(fault.detail.clone()) };
    }
    let mut columns = Map::new();
    for (slot, name) in (0..).zip(names) {
        let leaf = batch.leaf(row, slot);
        let mut json = Vec::new();
        leaf.write_json(&mut json);
        // An empty field of delimited text is no value.
        if leaf.kind != LeafKind::Missing && !leaf.bytes.is_empty() {
            columns.insert(name.to_string(), serde_json::from_slice(&json).unwrap_or_default());
        }
    }
    Row { line: batch.line(row), columns: Ok(columns) }
}

/// Rows that are JSON objects; at most so many.
fn objects(batch: &Batch, most: usize) -> Vec<Row> {
    let records = batch.records_as_cut();
    let one = |(line, text): (u32, &[u8])| Row {
        line: batch.block.first_line + u64::from(line),
        columns: match serde_json::from_slice(text) {
            Ok(Value::Object(columns)) => Ok(columns),
            Ok(_) => Err("not a JSON object; write one object a line".to_owned()),
            Err(why) => Err(format!("not a JSON object: {why}")),
        },
    };
    records.into_iter().take(most).map(one).collect()
}
