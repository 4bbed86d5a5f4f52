//! Workbooks of spreadsheets: a sheet as rows of delimited text.
//!
//! A cell becomes the text that a CSV file would have: a number with the digits of the workbook, a
//! date as `2026-01-31 13:37:00`, a duration as `27:00:01`. From there on a sheet is read as CSV.

use std::io::Cursor;

use calamine::{Data, Reader, Xlsx};
use flowmeter_core::source::SourcePlan;
use flowmeter_engine::{Error, Kind};

use super::csv::Rows;

/// Opens a sheet: the one that is named, or the first.
pub(super) fn open(path: &str, spec: &SourcePlan) -> Result<(Rows, Vec<Box<str>>), Error> {
    let bytes = std::fs::read(path).map_err(|why| Error::io(path, &why))?;
    let broken = |why: &dyn std::fmt::Display| Error::new(Kind::Corrupt, format!("{path}: not an XLSX workbook: {why}"));
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(|why| broken(&why))?;
    let names = workbook.sheet_names();
    let name = match &spec.sheet {
        None => names.first().cloned().ok_or_else(|| broken(&"it has no sheet"))?,
        Some(name) if names.contains(name) => name.clone(),
        Some(name) => {
            let message = format!("{path}: no sheet `{name}`; it has {}", names.join(", "));
            return Err(Error::new(Kind::Invalid, message));
        }
    };
    let sheet = workbook.worksheet_range(&name).map_err(|why| broken(&why))?;
    let mut text = Vec::new();
    // A line is a row of the sheet, so that messages name the row.
    let above = sheet.start().map_or(0, |(row, _)| row as usize);
    text.resize(above, b'\n');
    for row in sheet.rows() {
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                text.push(b',');
            }
            write_cell(cell, &mut text);
        }
        text.push(b'\n');
    }
    let dialect = spec.sheet_dialect();
    Rows::open(Box::new(Cursor::new(text)), path, &SourcePlan { dialect, ..spec.clone() })
}

/// Appends the text of a cell, in quotes where it needs them.
fn write_cell(cell: &Data, out: &mut Vec<u8>) {
    let text = match cell {
        Data::Empty => return,
        Data::Int(n) => n.to_string(),
        // The shortest text of the double is the number that the sheet shows.
        Data::Float(n) => n.to_string(),
        Data::Bool(truth) => truth.to_string(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::DateTime(at) if at.is_duration() => {
            let millis = (at.as_f64() * 86_400_000.0).round() as i64;
            let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
            let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
            format!("{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        Data::DateTime(at) => {
            let (year, month, day, hour, minute, second, millis) = at.to_ymd_hms_milli();
            let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}")
        }
        Data::Error(error) => error.to_string(),
    };
    if !text.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_the_text_of_a_table() {
        use calamine::{ExcelDateTime, ExcelDateTimeType};
        let at = |days, of| Data::DateTime(ExcelDateTime::new(days, of, false));
        for (cell, expected) in [
            (Data::Empty, ""),
            (Data::Int(-7), "-7"),
            (Data::Float(1_234.5), "1234.5"),
            (Data::Float(5.0), "5"),
            (Data::Float(0.1), "0.1"),
            (Data::Bool(true), "true"),
            (Data::String("a,\"b\"".to_owned()), "\"a,\"\"b\"\"\""),
            (at(46_053.5, ExcelDateTimeType::DateTime), "2026-01-31 12:00:00"),
            (at(1.125_011_574_1, ExcelDateTimeType::TimeDelta), "27:00:01"),
        ] {
            let mut out = Vec::new();
            write_cell(&cell, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{cell:?}");
        }
    }
}
