//! Rows as a sheet of a workbook.
//!
//! A cell of a workbook is a double or text. A double holds every number of 15 significant digits;
//! a number with more of them becomes text, so that no digit is lost.

use std::io::Write;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use rust_xlsxwriter::{ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError};

use super::Column;
use super::text::text;
use crate::targets::columns::{Cell, Type};

/// Rows that a sheet can have, with the row of names.
const ROWS_MAX: u32 = 1_048_576;
/// Characters that a cell can have.
const CELL_CHARS_MAX: usize = 32_767;
/// Significant digits that every double holds.
const DIGITS_MAX: usize = 15;
/// The width of most columns, in characters.
const WIDTH: u16 = 20;
const NANOS_PER_MICRO: i64 = 1_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A workbook with one sheet, `records`.
pub(super) struct Sheet {
    workbook: Workbook,
    sink: Box<dyn Write + Send>,
    rows: u32,
    time: Format,
    right: Format,
}

fn wrong(why: &XlsxError) -> Error {
    Error::new(Kind::Unavailable, format!("XLSX: {why}"))
}

impl Sheet {
    pub(super) fn new(sink: Box<dyn Write + Send>, columns: &[Column]) -> Result<Sheet, Error> {
        let mut workbook = Workbook::new();
        let bold = Format::new().set_bold();
        let sheet = workbook.add_worksheet();
        let mut begin = || {
            sheet.set_name("records")?.set_freeze_panes(1, 0)?;
            for (at, (name, _)) in (0..).zip(columns) {
                sheet.set_column_width(at, WIDTH)?;
                sheet.write_string_with_format(0, at, *name, &bold)?;
            }
            Ok::<_, XlsxError>(())
        };
        begin().map_err(|why| wrong(&why))?;
        let time = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss");
        let right = Format::new().set_align(FormatAlign::Right);
        Ok(Sheet { workbook, sink, rows: 1, time, right })
    }

    pub(super) fn row(&mut self, columns: &[Column], cells: &[Cell]) -> Result<(), Error> {
        if self.rows >= ROWS_MAX {
            let message = format!(
                "a sheet holds {ROWS_MAX} rows and there are more; write CSV, Parquet or NDJSON, or fewer records (one pipeline, meter type or day)"
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        let (row, time, right) = (self.rows, &self.time, &self.right);
        let sheet = self.workbook.worksheet_from_index(0).map_err(|why| wrong(&why))?;
        for (at, ((name, column), cell)) in (0..).zip(columns.iter().zip(cells)) {
            let text = text(*column, cell);
            if text.chars().count() > CELL_CHARS_MAX {
                return Err(too_long(name, columns, cells));
            }
            let written = match (column, cell) {
                (_, Cell::Null) => Ok(()),
                (Type::Number | Type::Small | Type::Count, _) => match exact(&text) {
                    Some(number) => sheet.write_number(row, at, number).map(drop),
                    None => sheet.write_string_with_format(row, at, text, right).map(drop),
                },
                (Type::Flag, _) => sheet.write_boolean(row, at, text == "true").map(drop),
                (Type::Local, Cell::Time(micros)) => local(sheet, (row, at), *micros, text, time),
                (Type::Text | Type::Json | Type::Time | Type::Local | Type::Groups, _) => {
                    sheet.write_string(row, at, text).map(drop)
                }
            };
            written.map_err(|why| wrong(&why))?;
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        let bytes = self.workbook.save_to_buffer().map_err(|why| wrong(&why))?;
        self.sink.write_all(&bytes).and_then(|()| self.sink.flush()).map_err(|why| Error::io("the export", &why))
    }
}

/// Returns a number that a double holds with every digit.
fn exact(text: &str) -> Option<f64> {
    let digits = text.chars().filter(char::is_ascii_digit).collect::<String>();
    let digits = digits.trim_start_matches('0');
    let digits = if text.contains('.') { digits } else { digits.trim_end_matches('0') };
    (digits.len() <= DIGITS_MAX).then(|| text.parse().ok()).flatten()
}

/// Writes a local time as a date of the workbook; one before 1900 as text.
fn local(sheet: &mut Worksheet, (row, at): (u32, u16), micros: i64, text: String, time: &Format) -> Result<(), XlsxError> {
    let seconds = Timestamp::from_nanos(micros.saturating_mul(NANOS_PER_MICRO)).nanos().div_euclid(NANOS_PER_SECOND);
    match ExcelDateTime::from_timestamp(seconds) {
        Ok(date) => sheet.write_datetime_with_format(row, at, &date, time).map(drop),
        Err(_) => sheet.write_string(row, at, text).map(drop),
    }
}

fn too_long(name: &str, columns: &[Column], cells: &[Cell]) -> Error {
    let place = columns.iter().position(|(name, _)| *name == "recordId");
    let record = place.map(|at| cells[at].text()).unwrap_or_default();
    let advice =
        if name == "groups" { "write groups as rows, or CSV, Parquet or NDJSON" } else { "write CSV, Parquet or NDJSON" };
    let message = format!("record {record}: `{name}` has more than the {CELL_CHARS_MAX} characters that a cell holds; {advice}");
    Error::new(Kind::Invalid, message)
}

#[test]
fn only_numbers_that_a_double_holds_are_numbers() {
    for text in ["0", "12.5", "-0.000000000000000001", "123456789012345", "99999999999999000000", "0.00000123456789012345"] {
        assert!(exact(text).is_some(), "{text}");
    }
    for text in ["1234567890123456", "0.1234567890123456", "12345678901234567890.1", "9007199254740993"] {
        assert_eq!(exact(text), None, "{text}");
    }
}
