//! JSON events to rows: one pass that checks the whole text and notes the requested fields.
//!
//! The scanner accepts what serde_json accepts (a test and a fuzz target compare them), with two
//! decisions made explicit: the last of repeated names counts, and a lone surrogate is refused
//! everywhere. It is fast because events of one producer look alike. For every object it remembers
//! the names by position, with their blanks and punctuation, and compares those bytes before it
//! looks anything up.

mod parts;
mod projection;
mod scan;
#[cfg(test)]
mod tests;

pub use parts::{Member, Tree, leaf_of};
pub use projection::Projection;
pub(crate) use scan::DEPTH_MAX;
pub use scan::Scanner;

use super::batch::Batch;

impl Scanner {
    /// Fills the batch with the events of its block, one JSON object per record.
    pub fn decode(&mut self, projection: &Projection, batch: &mut Batch, event_bytes_max: usize) {
        batch.reset(projection.width());
        let valid_utf8 = simdutf8::basic::from_utf8(batch.block.bytes()).is_ok();
        let records = batch.cut();
        for record in records.iter().copied() {
            let is_read = self.decode_one(projection, batch, record, valid_utf8, event_bytes_max);
            if !is_read {
                self.decode_list(projection, batch, record, valid_utf8, event_bytes_max);
            }
        }
        batch.keep_cut(records);
    }

    /// Reads a record that is an object. Returns false, and notes nothing, for a valid list.
    #[inline]
    fn decode_one(
        &mut self,
        projection: &Projection,
        batch: &mut Batch,
        record: super::batch::Record,
        valid_utf8: bool,
        event_bytes_max: usize,
    ) -> bool {
        let (start, end) = (record.start as usize, record.end as usize);
        let row = batch.push(record);
        let outcome = if end - start > event_bytes_max {
            Err(format!("the event has {} bytes; the limit is {event_bytes_max}", end - start))
        } else if !valid_utf8 && simdutf8::basic::from_utf8(&row.bytes[start..end]).is_err() {
            Err(super::not_utf8(&row.bytes[start..end]))
        } else {
            let scanned = self.event(projection, row.bytes, start, end, row.slots);
            // The place of an error may depend on the remembered names; the message must not.
            let told = scanned.or_else(|_| Scanner::new().event(projection, row.bytes, start, end, row.slots));
            told.map_err(|flaw| format!("not a JSON object: {}", flaw.describe(row.bytes, start, end)))
        };
        if let Err(detail) = outcome {
            if batch.block.lists && is_list(&batch.block.padded()[start..end]) {
                batch.unpush();
                return false;
            }
            let unread = super::unread::read(&batch.block.padded()[start..end]);
            if let Some((_, offset)) = &unread {
                batch.begin_last_at(start + offset);
            }
            batch.refuse(unread.map_or(detail, |(reason, _)| reason));
        }
        true
    }

    /// Reads a line that is a list, of which each element is an event.
    #[cold]
    fn decode_list(
        &mut self,
        projection: &Projection,
        batch: &mut Batch,
        record: super::batch::Record,
        valid_utf8: bool,
        event_bytes_max: usize,
    ) {
        for (start, end) in elements(batch.block.padded(), record.start as usize, record.end as usize) {
            let element = super::batch::Record { start: start as u32, end: end as u32, line: record.line };
            if !self.decode_one(projection, batch, element, valid_utf8, event_bytes_max) {
                batch.push(element);
                batch.refuse("a list inside a list; an event is an object".to_owned());
            }
        }
    }
}

/// Whether a text is a valid list of JSON values.
#[cold]
fn is_list(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.first() == Some(&b'[') && {
        let document = Document::new(text.to_vec());
        document.value_end(0) == Some(text.len())
    }
}

/// Appends a JSON text without its line breaks. Returns false, and appends nothing, if a text in it has
/// a line break, or it has a zero byte anywhere: JSON allows neither.
pub fn write_on_one_line(text: &[u8], out: &mut Vec<u8>) -> bool {
    if memchr::memchr3(b'\n', b'\r', super::unread::MARK, text).is_none() {
        out.extend_from_slice(text);
        return true;
    }
    let from = out.len();
    let (mut is_text, mut is_escaped) = (false, false);
    for &byte in text {
        if byte == super::unread::MARK || (byte == b'\n' && is_text) {
            out.truncate(from);
            return false;
        }
        out.push(if matches!(byte, b'\n' | b'\r') && !is_text { b' ' } else { byte });
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ => {}
        }
    }
    true
}

/// Returns the text of each element of a list; `None` for a text that is no valid list.
pub fn list_elements(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !is_list(text) {
        return None;
    }
    let document = Document::new(text.to_vec());
    Some(document.elements()?.into_iter().map(<[u8]>::to_vec).collect())
}

/// Returns the start and end of each element of a valid list.
fn elements(padded: &[u8], start: usize, end: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        match padded[at] {
            c if c.is_ascii_whitespace() || (c == b'[' && found.is_empty() && at == first_of(padded, start)) || c == b',' => {
                at += 1;
            }
            b']' => break,
            _ => {
                let Ok(behind) = scan::skip_blanks_and_value(padded, at) else { break };
                found.push((at, behind));
                at = behind;
            }
        }
    }
    found
}

/// Returns the position of the first byte that is not a blank.
fn first_of(padded: &[u8], start: usize) -> usize {
    start + padded[start..].iter().take_while(|c| c.is_ascii_whitespace()).count()
}

/// A text of JSON values, for sources that split a document into events.
#[derive(Clone, Debug)]
pub struct Document {
    padded: Vec<u8>,
    length: usize,
}

impl Document {
    /// Makes a document of a text.
    pub fn new(mut text: Vec<u8>) -> Document {
        let length = text.len();
        text.resize(length + super::batch::PADDING, 0);
        Document { padded: text, length }
    }

    /// Returns the text without its padding.
    pub fn bytes(&self) -> &[u8] {
        &self.padded[..self.length]
    }

    /// Follows a path of names from the object at `from` and returns the start of the value.
    pub fn find(&self, from: usize, names: &[Box<str>]) -> Option<usize> {
        let Some((name, rest)) = names.split_first() else { return Some(from) };
        let bytes = self.bytes();
        let blanks = |at: usize| at + bytes[at..].iter().take_while(|c| c.is_ascii_whitespace()).count();
        let mut at = blanks(from);
        if bytes.get(at) != Some(&b'{') {
            return None;
        }
        loop {
            at = blanks(at + 1);
            if bytes.get(at) != Some(&b'"') {
                return None;
            }
            let end = self.value_end(at)?;
            let is_name = super::unescape(&bytes[at + 1..end - 1]) == name.as_bytes();
            let colon = blanks(end);
            let value = blanks(colon + 1);
            if is_name {
                return self.find(value, rest);
            }
            at = blanks(self.value_end(value)?);
            if bytes.get(at) != Some(&b',') {
                return None;
            }
        }
    }

    /// Returns the end of the value at `from`, blanks before it included; `None` without a valid
    /// value.
    pub fn value_end(&self, from: usize) -> Option<usize> {
        scan::skip_blanks_and_value(&self.padded, from).ok().filter(|end| *end <= self.length)
    }
}
