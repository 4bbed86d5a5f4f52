//! Writes a pipeline for files without a description: a guess, as a document to correct.
//!
//! Guesses come from the first rows: most values of a field decide what it is, and names and values
//! together decide what it is for. They are written with their evidence, as comments. The document
//! always compiles; whether it means what its reader wants is for the reader to say.

mod choose;
mod fields;
mod fixed;
mod meaning;
mod names;
mod table;
mod write;

use std::io::Read;
use std::sync::Arc;

use fields::Field;
use flowmeter_core::event::json::Document;
use flowmeter_core::source::Format;
use flowmeter_core::suggest::nearest;
use flowmeter_engine::{Error, Kind};
use meaning::Meaning;

use super::open;

/// Bytes of a file that are examined.
const SAMPLE_BYTES: u64 = 1 << 20;
/// Events that are examined.
const SAMPLE_EVENTS: usize = 1_000;

/// The likely form of a file: options of the source, and its fields.
#[derive(Debug)]
struct Guess {
    /// The options as written in the source.
    options: Vec<String>,
    fields: Vec<Field>,
    /// Events of the sample, and how many of them equal another one.
    events: (usize, usize),
    /// Rows above the header.
    preamble: Vec<Vec<String>>,
    delimiter: u8,
    /// Whether the file has lines of fixed width.
    fixed: bool,
    /// The name of the first column, where a line of names is an event that a filter must drop.
    not: Option<String>,
    /// Whether all values are text, so that numbers are read from text.
    is_rows: bool,
}

impl Default for Guess {
    fn default() -> Guess {
        Guess {
            options: Vec::new(),
            fields: Vec::new(),
            events: (0, 0),
            preamble: Vec::new(),
            delimiter: b',',
            fixed: false,
            not: None,
            is_rows: true,
        }
    }
}

/// Returns a pipeline document for files.
///
/// # Errors
/// A file cannot be read, or has no content to infer from.
pub fn infer(paths: &[String]) -> Result<String, Error> {
    let Some(first) = paths.first() else {
        return Err(Error::new(Kind::Invalid, "name a file to look at"));
    };
    let guess = guess(first)?;
    for other in &paths[1..] {
        let beside = self::guess(other)?;
        if let Some(missing) = guess.fields.iter().find(|field| !beside.fields.iter().any(|known| known.path == field.path)) {
            let near = nearest(&missing.path, beside.fields.iter().map(|field| field.path.as_str()));
            let near = near.map_or(String::new(), |near| format!("; nearest: `{near}`"));
            let message = format!("{other}: has no `{}`, which {first} has{near}; these are files of two sources", missing.path);
            return Err(Error::new(Kind::Invalid, message));
        }
    }
    Ok(write::document(paths, &guess))
}

fn guess(path: &str) -> Result<Guess, Error> {
    let format = Format::of_file(path);
    if matches!(format, Format::Parquet | Format::Avro | Format::Xlsx) {
        let message =
            format!("{path}: such a file names its columns itself; write their names in a pipeline, and `flowmeter test` it");
        return Err(Error::new(Kind::Invalid, message));
    }
    let (text, encoding, whole) = sample(path)?;
    let nothing = || Error::new(Kind::Invalid, format!("{path}: nothing in it to go by"));
    let first = text.trim_start().chars().next().ok_or_else(nothing)?;
    let mut guess = match (format, first) {
        (_, '{' | '[') if !of_json(&text, format).fields.is_empty() => of_json(&text, format),
        (Format::AccessLog, _) => of_log(),
        _ => of_lines(&text, whole).ok_or_else(nothing)?,
    };
    if guess.fields.iter().all(|field| field.meaning == Meaning::Other) {
        return Err(nothing());
    }
    let is_named = guess.options.iter().any(|option| option.starts_with("format:"));
    if format == Format::Ndjson && guess.is_rows && !is_named {
        guess.options.insert(0, "format: csv".to_owned());
    }
    if let Some(encoding) = encoding {
        guess.options.insert(0, format!("encoding: {encoding}"));
    }
    Ok(guess)
}

/// Reads the beginning of a file: its text, the encoding if it is not UTF-8, and whether that is
/// the whole file.
fn sample(path: &str) -> Result<(String, Option<&'static str>, bool), Error> {
    let read = |encoding: Option<&str>| {
        let reader = open::open(path, "auto", encoding, &Arc::default())?;
        let mut bytes = Vec::new();
        reader.take(SAMPLE_BYTES).read_to_end(&mut bytes).map_err(|why| open::failed(path, &why))?;
        Ok::<_, Error>(bytes)
    };
    let bytes = read(None)?;
    let whole = (bytes.len() as u64) < SAMPLE_BYTES;
    // The sample may end within a character.
    let is_utf8 = std::str::from_utf8(&bytes).map_or_else(|why| why.error_len().is_none(), |_| true);
    let (bytes, encoding) =
        if is_utf8 || path == "-" { (bytes, None) } else { (read(Some("windows-1252"))?, Some("windows-1252")) };
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if !whole && let Some(end) = text.rfind('\n') {
        text.truncate(end + 1);
    }
    Ok((text, encoding, whole))
}

/// Rows between delimiters, lines of fixed width, or values of one column. A name in a line of fixed
/// width may have a comma.
fn of_lines(text: &str, whole: bool) -> Option<Guess> {
    let table = table::guess(text, whole, 2).or_else(|| fixed::guess(text));
    table.or_else(|| table::guess(text, whole, 1)).or_else(|| one_column(text))
}

fn of_json(text: &str, format: Format) -> Guess {
    let document = Document::new(text.as_bytes().to_vec());
    let mut seen = fields::Seen::default();
    let (mut at, mut events, mut spans_lines) = (0, 0, false);
    while let Some(c) = document.bytes().get(at).filter(|_| events < SAMPLE_EVENTS) {
        if c.is_ascii_whitespace() || matches!(c, b'[' | b',' | b']') {
            at += 1;
            continue;
        }
        let Some(end) = document.value_end(at) else {
            // A damaged line costs itself.
            let Some(next) = document.bytes()[at..].iter().position(|c| *c == b'\n') else { break };
            at += next;
            continue;
        };
        let whole = &document.bytes()[at..end];
        if let Ok(event) = serde_json::from_slice(whole) {
            seen.note_json(&event, &String::from_utf8_lossy(whole));
            spans_lines |= whole.contains(&b'\n');
            events += 1;
        }
        at = end;
    }
    // Objects of several lines are no NDJSON; other names of files need a format.
    let options = match format {
        Format::Json => Vec::new(),
        _ if spans_lines => vec!["format: json".to_owned()],
        Format::Ndjson => Vec::new(),
        _ => vec!["format: ndjson".to_owned()],
    };
    Guess { options, fields: seen.fields(b','), events: seen.events(), is_rows: false, ..Guess::default() }
}

fn of_log() -> Guess {
    let fields = vec![
        Field::known("client", Meaning::Text),
        Field::known("time", Meaning::Time(String::new())),
        Field::known("path", Meaning::Text),
        Field::known("status", Meaning::Number(None)),
        Field::known("bytes", Meaning::Number(None)),
    ];
    Guess { options: vec!["format: access_log".to_owned()], fields, ..Guess::default() }
}

/// A list of values, one a line, below its name.
fn one_column(text: &str) -> Option<Guess> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(SAMPLE_EVENTS);
    let name = lines.next()?;
    let mut seen = fields::Seen::default();
    for line in lines {
        seen.begin(line);
        seen.note(&fields::escaped(name), line, true);
    }
    Some(Guess { fields: seen.fields(b','), events: seen.events(), ..Guess::default() })
}
