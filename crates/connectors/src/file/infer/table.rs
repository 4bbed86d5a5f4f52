//! Rows of delimited text: which delimiter, which row is the header, how numbers are written.

use flowmeter_core::event::Kind;
use flowmeter_core::event::csv::{Dialect, NumberForm};

use super::fields::{Meaning, Seen};
use super::{Guess, SAMPLE_EVENTS};

/// Delimiters that are tried.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Guesses the form of a text of rows.
pub(super) fn guess(text: &str) -> Guess {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE_EVENTS).collect();
    let rows_of = |delimiter: u8| -> Vec<Vec<String>> {
        let dialect = Dialect { delimiter, ..Dialect::default() };
        let fields = |line: &&str| dialect.fields(line.as_bytes()).unwrap_or_default();
        let text = |field: Vec<u8>| String::from_utf8_lossy(&field).trim().to_owned();
        lines.iter().map(|line| fields(line).into_iter().map(text).collect()).collect()
    };
    let score = |delimiter: &u8| {
        let rows = rows_of(*delimiter);
        let width = usual_width(&rows);
        (rows.iter().filter(|row| row.len() == width && width > 1).count(), width)
    };
    let delimiter = DELIMITERS.into_iter().rev().max_by_key(score).unwrap_or(b',');
    let rows = rows_of(delimiter);
    let width = usual_width(&rows);
    let before = rows.iter().position(|row| row.len() == width).unwrap_or_default();
    let Some(header) = rows.get(before) else { return Guess::default() };
    let mut guess = Guess::default();
    if delimiter != b',' {
        let shown = if delimiter == b'\t' { "\"\\t\"".to_owned() } else { format!("'{}'", char::from(delimiter)) };
        guess.options.push(format!("delimiter: {shown}"));
    }
    if before > 0 {
        guess.options.push(format!("skip: {{ before: {before} }}"));
    }
    let is_named = header.iter().all(|name| !name.is_empty() && flowmeter_core::decimal::parse(name.as_bytes()).is_err());
    if !is_named {
        guess.options.push("header: false".to_owned());
    }
    let mut seen = Seen::default();
    for row in rows.iter().skip(before + usize::from(is_named)).filter(|row| row.len() == width) {
        for (column, value) in row.iter().enumerate() {
            let name = if is_named { header[column].replace('.', r"\.") } else { format!("c{}", column + 1) };
            seen.note(&name, value, true);
        }
    }
    guess.fields = seen.fields();
    office_numbers(&rows, before, width, &mut guess);
    guess
}

/// How many fields most rows have.
fn usual_width(rows: &[Vec<String>]) -> usize {
    let count = |width: usize| rows.iter().filter(|row| row.len() == width).count();
    rows.iter().map(Vec::len).max_by_key(|width| (count(*width), *width)).unwrap_or_default()
}

/// Columns of numbers with a comma, as much of Europe writes them.
fn office_numbers(rows: &[Vec<String>], before: usize, width: usize, guess: &mut Guess) {
    let european = NumberForm { decimal: b',', group: Some(b'.'), ..NumberForm::default() };
    let mut found = false;
    for (column, field) in guess.fields.iter_mut().enumerate() {
        let values = rows.iter().skip(before + 1).filter(|row| row.len() == width).map(|row| row[column].as_str());
        let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
        let is_number = |value: &&str| european.read_into(value.as_bytes(), &mut Vec::new()) == Kind::Number;
        let has_comma = values.iter().any(|value| value.contains(','));
        if field.meaning == Meaning::Text && has_comma && values.iter().all(is_number) {
            field.meaning = Meaning::Number;
            found = true;
        }
    }
    if found {
        guess.options.push("numbers: { decimal: ',', group: '.' }".to_owned());
    }
}
