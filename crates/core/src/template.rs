//! Templates: a record to any JSON, form or text that a target requires.
//!
//! A template is a document in which texts hold expressions between `{{` and `}}`. A text that is
//! one expression and nothing else becomes the expression's value, with its type. In any other
//! text, the text of the value replaces the expression. Expressions are compiled with the document,
//! so errors are found when it is saved, and numbers stay exact.

use crate::event::json::{Projection, Scanner};
use crate::event::{Batch, Kind, Leaf, Path, quote_into};
use crate::expression::{Fields, Program};

/// A template, parsed and compiled.
#[derive(Clone, Debug)]
pub struct Template {
    paths: Vec<Path>,
    root: Piece,
}

/// A part of a template. Its expressions read the fields of the [`Fields`] it was compiled with.
#[derive(Clone, Debug)]
pub enum Piece {
    /// An object; its members are in the order in which they were written.
    Object(Vec<(String, Piece)>),
    /// A list of pieces.
    List(Vec<Piece>),
    /// Text with values in it.
    Text(Vec<Part>),
    /// The value of an expression.
    Value(Program),
    /// JSON as it was written.
    Fixed(String),
}

/// A part of a text.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text as it was written.
    Text(String),
    /// The text of a value.
    Value(Program),
}

impl Piece {
    /// Compiles a text that may hold expressions.
    ///
    /// # Errors
    /// An expression is invalid; the message is for people.
    pub fn of_text(text: &str, fields: &mut dyn Fields) -> Result<Piece, String> {
        let parts = parts(text, fields)?;
        Ok(match <[Part; 1]>::try_from(parts) {
            Ok([Part::Value(program)]) => Piece::Value(program),
            Ok([Part::Text(text)]) => Piece::Text(vec![Part::Text(text)]),
            Err(parts) => Piece::Text(parts),
        })
    }

    /// Replaces the texts between expressions.
    ///
    /// # Errors
    /// That of `map`.
    pub fn map_texts<E>(&mut self, map: &dyn Fn(&str) -> Result<String, E>) -> Result<(), E> {
        match self {
            Piece::Object(members) => members.iter_mut().try_for_each(|(_, piece)| piece.map_texts(map)),
            Piece::List(items) => items.iter_mut().try_for_each(|piece| piece.map_texts(map)),
            Piece::Text(parts) => parts.iter_mut().try_for_each(|part| match part {
                Part::Text(text) => {
                    *text = map(text)?;
                    Ok(())
                }
                Part::Value(_) => Ok(()),
            }),
            Piece::Value(_) | Piece::Fixed(_) => Ok(()),
        }
    }

    /// Appends the piece of an event, as JSON.
    ///
    /// # Errors
    /// An expression has no value for this event; the message is for people.
    pub fn json(&self, batch: &Batch, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Piece::Object(members) => {
                out.push(b'{');
                for (i, (name, piece)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    quote_into(name.as_bytes(), out);
                    out.push(b':');
                    piece.json(batch, row, out).map_err(|why| format!("{name}: {why}"))?;
                }
                out.push(b'}');
            }
            Piece::List(items) => {
                out.push(b'[');
                for (i, piece) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    piece.json(batch, row, out)?;
                }
                out.push(b']');
            }
            Piece::Text(parts) => {
                let mut text = Vec::new();
                write_text(parts, batch, row, &<[u8]>::to_vec, &mut text)?;
                quote_into(&text, out);
            }
            Piece::Value(program) => {
                let (kind, bytes) = program.evaluate(batch, row)?.into_field()?;
                Leaf { kind, bytes: &bytes }.write_json(out);
            }
            Piece::Fixed(json) => out.extend_from_slice(json.as_bytes()),
        }
        Ok(())
    }

    /// Returns the piece of an event, as text: a value as its own text, anything else as JSON.
    /// `encode` is applied to each value.
    ///
    /// # Errors
    /// As for [`Piece::json`].
    pub fn text(&self, batch: &Batch, row: usize, encode: &dyn Fn(&[u8]) -> Vec<u8>) -> Result<String, String> {
        let mut out = Vec::new();
        match self {
            Piece::Text(parts) => write_text(parts, batch, row, encode, &mut out)?,
            Piece::Value(program) => out = encode(&text_of(program, batch, row)?),
            other => other.json(batch, row, &mut out)?,
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

/// Compiles pieces, and records the fields that they read.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    paths: Vec<Path>,
}

impl Fields for Draft {
    fn slot(&mut self, path: &Path) -> u16 {
        let at = self.paths.iter().position(|known| known == path).unwrap_or_else(|| {
            self.paths.push(path.clone());
            self.paths.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }
}

impl Draft {
    /// Compiles a text that may hold expressions.
    ///
    /// # Errors
    /// As for [`Piece::of_text`].
    pub fn text(&mut self, text: &str) -> Result<Piece, String> {
        Piece::of_text(text, self)
    }

    /// Makes the template of a piece.
    pub fn finish(self, root: Piece) -> Template {
        Template { paths: self.paths, root }
    }

    /// Returns the fields that were read.
    pub fn into_paths(self) -> Vec<Path> {
        self.paths
    }
}

fn parts(text: &str, fields: &mut dyn Fields) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let close = rest[open..].find("}}").ok_or("`{{` without `}}`")? + open;
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        parts.push(Part::Value(compiled(&rest[open + 2..close], fields)?));
        rest = &rest[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Compiles an expression.
///
/// # Errors
/// The expression and what is wrong with it.
pub fn compiled(expression: &str, fields: &mut dyn Fields) -> Result<Program, String> {
    let expression = expression.trim();
    Program::compile(expression, fields).map_err(|why| format!("`{expression}`: {why}"))
}

/// The characters that are encoded in an address: all but letters, digits and the other unreserved
/// characters of RFC 3986.
const RESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a value as a part of an address.
pub fn percent_encoded(value: &[u8]) -> String {
    percent_encoding::percent_encode(value, RESERVED).to_string()
}

/// Reads the fields of single records; its memory is reused from one record to the next.
#[derive(Debug)]
pub struct Reader {
    scanner: Scanner,
    projection: Projection,
    batch: Batch,
}

impl Reader {
    /// Creates a reader of fields.
    pub fn new(paths: &[Path]) -> Reader {
        Reader { scanner: Scanner::new(), projection: Projection::new(paths), batch: Batch::default() }
    }

    /// Returns a batch with the record in its first row.
    ///
    /// # Errors
    /// The text is not one record; the message is for people.
    pub fn read(&mut self, record: &[u8]) -> Result<&Batch, String> {
        self.batch.block.clear();
        self.batch.block.open().extend_from_slice(record);
        self.batch.block.seal();
        self.scanner.decode(&self.projection, &mut self.batch, usize::MAX);
        match self.batch.faults.first() {
            Some(fault) => Err(fault.detail.clone()),
            None if self.batch.len() == 1 => Ok(&self.batch),
            None => Err("not one record".to_owned()),
        }
    }
}

/// Fills a template with records.
#[derive(Debug)]
pub struct Filler {
    reader: Reader,
    root: Piece,
}

impl Filler {
    /// Creates a filler of a template.
    pub fn new(template: Template) -> Filler {
        Filler { reader: Reader::new(&template.paths), root: template.root }
    }

    /// Appends the filled template of a record, as JSON.
    ///
    /// # Errors
    /// An expression has no value for this record; the message is for people.
    pub fn json(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.root.json(self.reader.read(record)?, 0, out)
    }

    /// Returns the filled template of a record, as the fields of a form. Members of an object
    /// within another are written `outer[inner]`, elements of a list `name[0]`.
    ///
    /// # Errors
    /// As for [`Filler::json`].
    pub fn form(&mut self, record: &[u8]) -> Result<Vec<(String, String)>, String> {
        let mut fields = Vec::new();
        write_form(&self.root, "", self.reader.read(record)?, &mut fields)?;
        Ok(fields)
    }

    /// Returns the filled template of a record, as text; see [`Piece::text`].
    ///
    /// # Errors
    /// As for [`Filler::json`].
    pub fn text(&mut self, record: &[u8], encode: &dyn Fn(&[u8]) -> Vec<u8>) -> Result<String, String> {
        self.root.text(self.reader.read(record)?, 0, encode)
    }
}

fn write_text(
    parts: &[Part],
    batch: &Batch,
    row: usize,
    encode: &dyn Fn(&[u8]) -> Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Value(program) => out.extend_from_slice(&encode(&text_of(program, batch, row)?)),
        }
    }
    Ok(())
}

/// Returns the text of a value: empty for null, text unchanged, anything else as JSON.
fn text_of(program: &Program, batch: &Batch, row: usize) -> Result<Vec<u8>, String> {
    let (kind, bytes) = program.evaluate(batch, row)?.into_field()?;
    Ok(match kind {
        Kind::Missing | Kind::Null => Vec::new(),
        _ => bytes.into_owned(),
    })
}

fn write_form(piece: &Piece, name: &str, batch: &Batch, fields: &mut Vec<(String, String)>) -> Result<(), String> {
    let within = |inner: &str| if name.is_empty() { inner.to_owned() } else { format!("{name}[{inner}]") };
    match piece {
        Piece::Object(members) => {
            members.iter().try_for_each(|(inner, piece)| write_form(piece, &within(inner), batch, fields))?;
        }
        Piece::List(items) => {
            for (i, piece) in items.iter().enumerate() {
                write_form(piece, &within(&i.to_string()), batch, fields)?;
            }
        }
        scalar => {
            let mut text = Vec::new();
            match scalar {
                Piece::Text(parts) => write_text(parts, batch, 0, &<[u8]>::to_vec, &mut text)?,
                Piece::Value(program) => text = text_of(program, batch, 0).map_err(|why| format!("{name}: {why}"))?,
                other => other.json(batch, 0, &mut text)?,
            }
            fields.push((name.to_owned(), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = br#"{"carryLast":{"region":"eu"},"groups":[{"key":"a:1","value":0.10}],"meterMetaData":{"recordId":"r1","revision":0},"periodEnd":"2026-02-01T00:00:00.000Z","userId":"a \"b\"/c","value":12345678901234567890.123456789012345678}"#;

    fn filler(text: &str) -> Filler {
        let mut draft = Draft::default();
        let piece = draft.text(text).unwrap();
        Filler::new(draft.finish(piece))
    }

    #[test]
    fn texts_become_values() {
        let cases = [
            ("{{value}}", "12345678901234567890.123456789012345678"),
            ("{{userId}}", r#""a \"b\"/c""#),
            ("u-{{userId}}-{{meterMetaData.revision}}", r#""u-a \"b\"/c-0""#),
            ("{{groups}}", r#"[{"key":"a:1","value":0.10}]"#),
            ("{{carryLast.region}}", r#""eu""#),
            ("{{has(meterMetaData.delta) ? meterMetaData.delta : value}}", "12345678901234567890.123456789012345678"),
            ("{{customFields.none}}", "null"),
            ("plain", r#""plain""#),
            ("{{timestamp(periodEnd) - duration('1s')}}", r#""2026-01-31T23:59:59.000Z""#),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            filler(text).json(RECORD, &mut out).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn objects_become_forms() {
        let mut draft = Draft::default();
        let payload = Piece::Object(vec![
            ("value".to_owned(), draft.text("{{round(value, 2)}}").unwrap()),
            ("who".to_owned(), draft.text("{{userId}}").unwrap()),
        ]);
        let root = Piece::Object(vec![
            ("event_name".to_owned(), draft.text("tokens").unwrap()),
            ("payload".to_owned(), payload),
            ("list".to_owned(), Piece::List(vec![Piece::Fixed("1".to_owned())])),
        ]);
        let fields = Filler::new(draft.finish(root)).form(RECORD).unwrap();
        let expected = [
            ("event_name", "tokens"),
            ("payload[value]", "12345678901234567890.12"),
            ("payload[who]", "a \"b\"/c"),
            ("list[0]", "1"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn flaws_are_found_when_it_is_written() {
        for bad in ["{{", "{{userId", "{{)}}", "{{nosuch(1)}}"] {
            assert!(Draft::default().text(bad).is_err(), "{bad}");
        }
        assert!(filler("{{value / 7}}").json(RECORD, &mut Vec::new()).is_err());
    }

    #[test]
    fn values_in_addresses_are_encoded() {
        let filled =
            filler("https://x/{{carryLast.region}}/{{userId}}").text(RECORD, &|value| percent_encoded(value).into_bytes());
        assert_eq!(filled.unwrap(), "https://x/eu/a%20%22b%22%2Fc");
    }
}
