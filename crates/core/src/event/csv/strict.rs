//! Rows by RFC 4180: where each ends, and what is wrong with its quotes.
//!
//! A quote opens a field only at its beginning and closes it only before a delimiter or a line
//! end. A line that breaks this is a row of its own, which is refused, and the next line begins
//! the next row: no mistake in one line swallows another.

use std::borrow::Cow;

use super::Dialect;

/// Where a row ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowEnd {
    /// Its content ends, and the next row begins.
    At {
        /// Byte behind the last of the row.
        end: usize,
        /// First byte of the next.
        next: usize,
    },
    /// Behind the bytes there are.
    Beyond,
}

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// First byte of its content.
    pub start: usize,
    /// Byte behind the last.
    pub end: usize,
    /// Whether quotes inside are doubled.
    doubled: bool,
}

impl Field {
    /// A field without quotes.
    #[inline]
    pub(super) fn plain(row: &[u8], mut start: usize, mut end: usize, trim: bool) -> Field {
        if trim {
            while start < end && is_blank(row[start]) {
                start += 1;
            }
            while start < end && is_blank(row[end - 1]) {
                end -= 1;
            }
        }
        Field { start, end, doubled: false }
    }

    /// Its text, with single quotes inside.
    pub fn text<'r>(&self, row: &'r [u8], quote: Option<u8>) -> Cow<'r, [u8]> {
        let content = &row[self.start..self.end];
        let (true, Some(quote)) = (self.doubled, quote) else { return Cow::Borrowed(content) };
        let mut text = single_quotes(content, quote).into_owned();
        // The guard of spreadsheets, quoted as a whole: "=""00123""".
        if text.starts_with(&[b'=', quote]) && text.ends_with(&[quote]) && text.len() > 2 {
            text.pop();
            text.drain(..2);
        }
        Cow::Owned(text)
    }
}

/// Returns a text with one quote for each doubled one.
pub(super) fn single_quotes(text: &[u8], quote: u8) -> Cow<'_, [u8]> {
    if memchr::memchr(quote, text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut single = Vec::with_capacity(text.len());
    let mut bytes = text.iter().peekable();
    while let Some(&c) = bytes.next() {
        single.push(c);
        if c == quote {
            bytes.next_if(|next| **next == quote);
        }
    }
    Cow::Owned(single)
}

fn is_blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

fn is_line_end(c: u8) -> bool {
    c == b'\n' || c == b'\r'
}

/// Why a row cannot be read, and in which of its columns, counted from 1.
enum Flaw {
    /// The quotes are wrong.
    Wrong(&'static str, usize),
    /// A field is still open at the end of the bytes.
    Open(usize),
    /// A field spans more lines than allowed.
    TooLong(usize),
}

/// Gives each field of a row.
///
/// # Errors
/// Returns the message if the quotes are wrong: the fault, its column, and the remedy.
pub fn split(dialect: &Dialect, row: &[u8], each: &mut dyn FnMut(Field)) -> Result<(), String> {
    match walk(dialect, row, 0, false, each) {
        Ok((end, _)) if end == row.len() => Ok(()),
        // The source cuts at line ends outside of quotes.
        Ok((end, _)) => Err(format!("a line end at byte {end} of the row")),
        Err(Flaw::Wrong(what, column)) => {
            Err(format!("{what} in column {column}; double a quote inside quotes, or write `quotes: lenient`"))
        }
        Err(Flaw::Open(column) | Flaw::TooLong(column)) => Err(format!(
            "the quote opened in column {column} of this line is never closed; double a quote inside quotes, or write \
             `quotes: none` if quotes are text"
        )),
    }
}

/// Where the row that begins at a byte ends. `columns` is how many fields a row has, if that is
/// known; `is_all` whether nothing comes behind the bytes; `bytes_max` how long a row may be.
pub fn row_end(dialect: &Dialect, bytes: &[u8], from: usize, columns: usize, is_all: bool, bytes_max: usize) -> RowEnd {
    let first = match dialect.quote {
        Some(quote) => memchr::memchr3(b'\n', b'\r', quote, &bytes[from..]),
        None => memchr::memchr2(b'\n', b'\r', &bytes[from..]),
    };
    match first.map(|at| from + at) {
        Some(at) if is_line_end(bytes[at]) => return behind(bytes, at, is_all),
        None if is_all => return RowEnd::At { end: bytes.len(), next: bytes.len() },
        None if bytes.len() - from <= bytes_max => return RowEnd::Beyond,
        None => return line_end(bytes, from, is_all),
        Some(_) => {}
    }
    match walk(dialect, bytes, from, !is_all, &mut |_| {}) {
        Ok((end, fields)) => {
            let spans = bytes[from..end].contains(&b'\n');
            if spans && columns > 0 && (fields != columns || looks_like_rows(dialect, &bytes[from..end], columns)) {
                return line_end(bytes, from, is_all);
            }
            match end == bytes.len() {
                true if is_all => RowEnd::At { end, next: end },
                true => RowEnd::Beyond,
                false => behind(bytes, end, is_all),
            }
        }
        Err(Flaw::Open(_)) if !is_all && bytes.len() - from <= bytes_max => RowEnd::Beyond,
        Err(Flaw::Wrong(..) | Flaw::Open(_) | Flaw::TooLong(_)) => line_end(bytes, from, is_all),
    }
}

/// Whether every line of a row would be a row of its own if quotes were text: then a quote was
/// most likely not closed, and the next row's quote closed it.
fn looks_like_rows(dialect: &Dialect, row: &[u8], columns: usize) -> bool {
    columns > 1 && row.split(|c| *c == b'\n').all(|line| memchr::memchr_iter(dialect.delimiter, line).count() + 1 == columns)
}

/// The end of the line that begins at a byte.
fn line_end(bytes: &[u8], from: usize, is_all: bool) -> RowEnd {
    match memchr::memchr2(b'\n', b'\r', &bytes[from..]) {
        Some(at) => behind(bytes, from + at, is_all),
        None if is_all => RowEnd::At { end: bytes.len(), next: bytes.len() },
        None => RowEnd::Beyond,
    }
}

/// The row that ends before a line end.
fn behind(bytes: &[u8], end: usize, is_all: bool) -> RowEnd {
    match (bytes[end], bytes.get(end + 1)) {
        (b'\r', Some(b'\n')) => RowEnd::At { end, next: end + 2 },
        // Its line feed may be in what is not read yet.
        (b'\r', None) if !is_all => RowEnd::Beyond,
        _ => RowEnd::At { end, next: end + 1 },
    }
}

/// Walks over the fields of a row, to its line end or the end of the bytes. `more` says that there
/// may be more bytes. Gives where it ends and how many fields it has.
fn walk(dialect: &Dialect, bytes: &[u8], from: usize, more: bool, each: &mut dyn FnMut(Field)) -> Result<(usize, usize), Flaw> {
    let quote = dialect.quote;
    let (mut at, mut column) = (from, 1);
    loop {
        let begin = at;
        while dialect.trim && bytes.get(at).is_some_and(|c| is_blank(*c)) {
            at += 1;
        }
        let guard = usize::from(bytes.get(at) == Some(&b'=') && quote.is_some() && bytes.get(at + 1).copied() == quote);
        let field = match quote {
            Some(quote) if bytes.get(at + guard) == Some(&quote) => {
                let start = at + guard + 1;
                let (end, doubled) = closing(dialect, bytes, start, quote, column)?;
                at = end + 1;
                while dialect.trim && bytes.get(at).is_some_and(|c| is_blank(*c)) {
                    at += 1;
                }
                match bytes.get(at) {
                    Some(c) if *c == dialect.delimiter || is_line_end(*c) => {}
                    Some(_) => return Err(Flaw::Wrong("text after the closing quote", column)),
                    // The next byte may be a second quote.
                    None if more => return Err(Flaw::Open(column)),
                    None => {}
                }
                Field { start, end, doubled }
            }
            _ => {
                at = begin;
                while let Some(&c) = bytes.get(at).filter(|c| **c != dialect.delimiter && !is_line_end(**c)) {
                    if Some(c) == quote {
                        return Err(Flaw::Wrong("a quote inside a field without quotes", column));
                    }
                    at += 1;
                }
                Field::plain(bytes, begin, at, dialect.trim)
            }
        };
        each(field);
        match bytes.get(at) {
            Some(c) if *c == dialect.delimiter => at += 1,
            _ => return Ok((at, column)),
        }
        column += 1;
    }
}

/// The quote that closes a field, and whether quotes inside are doubled.
fn closing(dialect: &Dialect, bytes: &[u8], start: usize, quote: u8, column: usize) -> Result<(usize, bool), Flaw> {
    let (mut at, mut lines, mut doubled) = (start, 0, false);
    loop {
        let Some(found) = memchr::memchr2(quote, b'\n', &bytes[at..]) else { return Err(Flaw::Open(column)) };
        at += found;
        if bytes[at] == b'\n' {
            lines += 1;
            if lines >= dialect.quoted_lines_max {
                return Err(Flaw::TooLong(column));
            }
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            doubled = true;
            at += 2;
        } else {
            return Ok((at, doubled));
        }
    }
}
