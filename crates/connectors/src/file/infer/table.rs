//! Rows of delimited text: the delimiter, the header, and the rows around them that are no events.

use flowmeter_core::decimal;
use flowmeter_core::event::csv::Dialect;

use super::fields::{Field, Seen, escaped};
use super::meaning::Meaning;
use super::{Guess, SAMPLE_EVENTS};

/// Delimiters that are tried.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Rows in which the header is looked for, and rows at the end that may be a footer.
const AROUND: usize = 20;

/// Words with which a row of totals begins.
const TOTALS: [&str; 8] = ["total", "totals", "sum", "grand total", "summe", "gesamt", "end of report", "end of file"];

/// Words of types in a row below the header.
const TYPES: [&str; 8] = ["text", "string", "varchar", "char", "number", "integer", "float", "double"];

/// The cells of a row, without the blanks around them.
type Row = Vec<String>;

/// Rows and their delimiter.
struct Rows {
    delimiter: u8,
    rows: Vec<Row>,
    /// How many cells most rows have.
    width: usize,
    /// Whether a cell has blanks around it.
    blanks: bool,
}

/// Guesses the form of a text of rows; `whole` says that the text is the whole file. Returns `None`
/// if no delimiter makes as many columns in at least so many thirds of the rows.
pub(super) fn guess(text: &str, whole: bool, thirds: usize) -> Option<Guess> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let sample = &lines[..lines.len().min(SAMPLE_EVENTS)];
    let table = DELIMITERS.into_iter().rev().map(|delimiter| rows(sample, delimiter)).max_by_key(Rows::score)?;
    if table.width < 2 || table.fitting() * 3 < table.rows.len() * thirds {
        return None;
    }
    let mut guess = Guess::default();
    let (before, header) = header(&table);
    let body = before + usize::from(header);
    guess.preamble = table.rows[..before].to_vec();
    guess.delimiter = table.delimiter;
    let units = units(&table, body);
    if table.delimiter != b',' {
        let shown = if table.delimiter == b'\t' { "\"\\t\"".to_owned() } else { format!("'{}'", char::from(table.delimiter)) };
        guess.options.push(format!("delimiter: {shown}"));
    }
    if before > 0 {
        guess.options.push(format!("skip: {{ before: {before} }}"));
    }
    if !header {
        guess.options.push("header: false".to_owned());
    }
    if units {
        guess.options.push("units: true".to_owned());
    }
    let footer = if whole && lines.len() == sample.len() { footer(&table, body + usize::from(units)) } else { 0 };
    if footer > 0 {
        guess.options.push(format!("footer: {footer}"));
    }
    if table.blanks {
        guess.options.push("trim: true".to_owned());
    }
    let names = header.then(|| table.rows[before].as_slice());
    let events = &table.rows[body + usize::from(units)..table.rows.len() - footer];
    let (fields, events) = read(events, names, table.width, table.delimiter);
    (guess.fields, guess.events) = (fields, events);
    Some(guess)
}

fn rows(lines: &[&str], delimiter: u8) -> Rows {
    let dialect = Dialect { delimiter, ..Dialect::default() };
    let mut blanks = false;
    let mut cells = |line: &&str| -> Row {
        let fields = dialect.fields(line.as_bytes()).unwrap_or_default();
        let text = |field: Vec<u8>| {
            let text = String::from_utf8_lossy(&field).into_owned();
            let trimmed = text.trim_matches([' ', '\t']);
            blanks |= trimmed.len() < text.len();
            trimmed.to_owned()
        };
        fields.into_iter().map(text).collect()
    };
    let rows: Vec<Row> = lines.iter().map(&mut cells).collect();
    let count = |width: usize| rows.iter().filter(|row| row.len() == width).count();
    let width = rows.iter().map(Vec::len).max_by_key(|width| (count(*width), *width)).unwrap_or_default();
    Rows { delimiter, rows, width, blanks }
}

impl Rows {
    fn fitting(&self) -> usize {
        self.rows.iter().filter(|row| row.len() == self.width).count()
    }

    fn score(&self) -> (usize, usize) {
        if self.width > 1 { (self.fitting(), self.width) } else { (0, 0) }
    }
}

/// Returns the fields of rows, and how many events they are and how many of those equal another.
fn read(rows: &[Row], names: Option<&[String]>, width: usize, delimiter: u8) -> (Vec<Field>, (usize, usize)) {
    let mut seen = Seen::default();
    for row in rows.iter().filter(|row| row.len() == width && row.iter().any(|cell| !cell.is_empty())) {
        seen.begin(&row.join("\u{1f}"));
        for (column, value) in row.iter().enumerate() {
            match names.map(|names| names[column].as_str()) {
                // A column without a name cannot be read.
                Some("") => {}
                Some(name) => seen.note(&escaped(name), value, true),
                None => seen.note(&format!("c{}", column + 1), value, true),
            }
        }
    }
    (seen.fields(delimiter), seen.events())
}

/// Whether a cell holds data that no name of a column looks like.
fn is_data(cell: &str) -> bool {
    let meaning =
        |cell: &str| super::meaning::Reading::of(&[cell.to_owned()], true, &super::names::Words::default(), b',').meaning;
    decimal::parse(cell.as_bytes()).is_ok() || !matches!(meaning(cell), Meaning::Text | Meaning::Other)
}

/// Returns the row that names the columns, and whether there is one. Rows above it may be padded
/// with delimiters: a name for every column makes the header.
fn header(table: &Rows) -> (usize, bool) {
    let width = table.width;
    let first = table.rows.iter().position(|row| row.len() == width).unwrap_or_default();
    let names = |row: &Row| row.iter().filter(|cell| !cell.is_empty()).count();
    let is_header =
        |row: &Row, names_min: usize| row.len() == width && names(row) >= names_min && !row.iter().any(|cell| is_data(cell));
    for names_min in [width, width.saturating_sub(1).max(2)] {
        for (at, row) in table.rows.iter().enumerate().skip(first).take(AROUND) {
            if is_header(row, names_min) {
                return (at, true);
            }
            // Data: there is no header below it.
            let is_full = names(row) == width || (names(row) > 2 && names(row) * 2 > width);
            if row.len() == width && is_full && row.iter().any(|cell| is_data(cell)) {
                break;
            }
        }
    }
    (first, false)
}

/// Whether the first row of the body names units or types: no column of numbers or times fits it.
fn units(table: &Rows, body: usize) -> bool {
    let Some(row) = table.rows.get(body).filter(|row| row.len() == table.width) else { return false };
    let rest = table.rows.get(body + 1..).unwrap_or_default();
    let (fields, _) = read(rest, None, table.width, table.delimiter);
    let mut is_unit = false;
    for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let of_column = fields.iter().find(|field| field.path == format!("c{}", column + 1));
        let is_text = of_column.is_none_or(|field| matches!(field.meaning, Meaning::Text | Meaning::Other));
        let is_named = cell.starts_with(['(', '[', '-']) || TYPES.contains(&cell.to_lowercase().as_str());
        match is_text {
            true if !is_named => return false,
            false if is_data(cell) || cell.starts_with(['#', '?']) => return false,
            _ => is_unit |= !is_text,
        }
    }
    is_unit
        && !["n/a", "na", "null", "nan", "none", "missing", "error"]
            .iter()
            .any(|none| row.iter().any(|cell| cell.to_lowercase() == *none))
}

/// Returns how many rows at the end are totals or remarks.
fn footer(table: &Rows, body: usize) -> usize {
    let is_footer = |row: &&Row| {
        let cells: Vec<&String> = row.iter().filter(|cell| !cell.is_empty()).collect();
        let first = cells.first().map(|cell| cell.to_lowercase()).unwrap_or_default();
        let is_total =
            TOTALS.iter().any(|total| first.strip_prefix(total).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)));
        // A user may be called so: a row of totals has empty cells.
        (is_total && cells.len() < table.width) || (cells.len() == 1 && table.width > 2)
    };
    let rows = table.rows.get(body..).unwrap_or_default();
    rows.iter().rev().take(AROUND).take_while(is_footer).count()
}
