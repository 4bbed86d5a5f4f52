//! A JSON document: objects one after the other, or arrays of them.

use std::io::Read;

use flowmeter_core::event::{Block, json};
use flowmeter_engine::{Error, Kind};

use super::{BLOCK_BYTES, Cutter};

/// Bytes of a document, which is read whole. Larger inputs belong into NDJSON.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

/// Cuts a document at its elements. Text that is no JSON ends the document: from there
/// on nobody can tell where an element begins, so the rest is one unreadable record.
pub(super) struct Elements {
    text: json::Document,
    at: usize,
    line: u64,
    in_array: bool,
}

impl Elements {
    pub(super) fn read(reader: Box<dyn Read + Send>, name: &str) -> Result<Elements, Error> {
        let mut text = Vec::new();
        reader.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(|why| Error::io(name, &why))?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            let message = format!(
                "{name}: a JSON document of more than {DOCUMENT_BYTES_MAX} bytes; write one object a line (format: ndjson)"
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(Elements { text: json::Document::new(text), at: 0, line: 1, in_array: false })
    }

    /// The next element, or what is left of a document that is broken.
    fn next(&mut self) -> Option<(usize, usize)> {
        loop {
            self.skip_blanks();
            match self.text.bytes().get(self.at)? {
                b'[' if !self.in_array => self.in_array = true,
                b']' if self.in_array => self.in_array = false,
                b',' if self.in_array => {}
                _ => break,
            }
            self.at += 1;
        }
        let start = self.at;
        self.at = self.text.value_end(start).unwrap_or(self.text.bytes().len());
        Some((start, self.at))
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.text.bytes().get(self.at).filter(|c| c.is_ascii_whitespace()) {
            self.line += u64::from(*c == b'\n');
            self.at += 1;
        }
    }
}

impl Cutter for Elements {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        block.open();
        let mut written = 0;
        block.first_line = self.line;
        while written < BLOCK_BYTES {
            let Some((start, end)) = self.next() else { break };
            let line = (self.line - block.first_line) as u32;
            let element = &self.text.bytes()[start..end];
            self.line += memchr::memchr_iter(b'\n', element).count() as u64;
            // What is far too large will be refused; its beginning is enough for that.
            let kept = &element[..element.len().min(bytes_max + 1)];
            block.open_more().extend_from_slice(kept);
            written += kept.len();
            block.ends.push((written as u32, line));
        }
        block.seal();
        Ok(!block.ends.is_empty())
    }
}
