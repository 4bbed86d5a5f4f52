//! A JSON document: objects one after the other, or arrays of them.

use std::io::Read;

use flowmeter_core::event::{Block, Path, json};
use flowmeter_engine::{Error, Kind};

use super::{BLOCK_BYTES, Cutter};

/// Bytes of a document, which is read whole. Larger inputs belong into NDJSON.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

/// Cuts a document at its elements. Text that is no JSON ends the document: from there
/// on no beginning of an element can be found, so the rest is one unreadable record.
pub(super) struct Elements {
    text: json::Document,
    at: usize,
    line: u64,
    in_array: bool,
    /// Where in each document the list of events is.
    items: Option<Path>,
    /// Where the document ends whose list is read.
    document_end: usize,
    /// The line of the element before, and the number of elements on that line before it.
    last: Option<(u64, u32)>,
    name: String,
}

impl Elements {
    pub(super) fn read(reader: Box<dyn Read + Send>, name: &str, items: Option<&Path>) -> Result<Elements, Error> {
        let mut text = Vec::new();
        reader.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(|why| Error::io(name, &why))?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            let message = format!(
                "{name}: a JSON document of more than {DOCUMENT_BYTES_MAX} bytes; write one object a line (format: ndjson)"
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        let (text, items) = (json::Document::new(text), items.cloned());
        Ok(Elements { text, at: 0, line: 1, in_array: false, items, document_end: 0, last: None, name: name.to_owned() })
    }

    /// Where the list of events of a document is: behind its bracket, up to its end.
    fn list_in(&self, start: usize, end: usize) -> Result<Option<(usize, usize)>, Error> {
        let Some(items) = &self.items else { return Ok(None) };
        let list = self.text.find(start, items.names()).filter(|at| self.text.bytes().get(*at) == Some(&b'['));
        match list.and_then(|at| Some((at + 1, self.text.value_end(at)?))) {
            Some((from, to)) if to <= end => Ok(Some((from, to))),
            _ => {
                let (name, line) = (&self.name, self.line);
                let message = format!("{name}:{line}: the document has no list at `{items}`; correct `items` of the source");
                Err(Error::new(Kind::Invalid, message))
            }
        }
    }

    /// The next element, or what is left of a document that is broken.
    fn next(&mut self) -> Result<Option<(usize, usize)>, Error> {
        loop {
            loop {
                self.skip_blanks();
                match self.text.bytes().get(self.at) {
                    None => return Ok(None),
                    Some(b'[') if !self.in_array && self.items.is_none() => self.in_array = true,
                    Some(b']') if self.in_array => self.leave_list(),
                    Some(b',') if self.in_array => {}
                    Some(_) => break,
                }
                self.at += 1;
            }
            let start = self.at;
            let end = self.text.value_end(start).unwrap_or(self.text.bytes().len());
            if !self.in_array
                && let Some((from, _)) = self.list_in(start, end)?
            {
                self.document_end = end;
                self.in_array = true;
                self.go_to(from);
                continue;
            }
            self.at = end;
            return Ok(Some((start, end)));
        }
    }

    /// Behind the list of events what follows it in its document is skipped.
    fn leave_list(&mut self) {
        self.in_array = false;
        if self.items.is_some() {
            self.go_to(self.document_end.saturating_sub(1));
        }
    }

    /// Moves to a place, and counts its line.
    fn go_to(&mut self, place: usize) {
        let lines = self.text.bytes().get(self.at..place).map_or(0, |passed| memchr::memchr_iter(b'\n', passed).count());
        self.line += lines as u64;
        self.at = self.at.max(place);
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
            let Some((start, end)) = self.next()? else { break };
            let line = (self.line - block.first_line) as u32;
            let index = match self.last {
                Some((last, index)) if last == self.line => index + 1,
                _ => 0,
            };
            self.last = Some((self.line, index));
            if block.ends.is_empty() {
                block.first_index = index;
            }
            let element = &self.text.bytes()[start..end];
            self.line += memchr::memchr_iter(b'\n', element).count() as u64;
            // An element that is far too large will be refused; its beginning is enough for that.
            let kept = &element[..element.len().min(bytes_max + 1)];
            block.open_more().extend_from_slice(kept);
            written += kept.len();
            block.ends.push((written as u32, line));
        }
        block.seal();
        Ok(!block.ends.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, items: Option<&str>) -> Result<Vec<(u64, String)>, String> {
        let reader = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let items = items.map(|path| Path::parse(path).unwrap());
        let mut elements = Elements::read(reader, "f.json", items.as_ref()).map_err(|why| why.to_string())?;
        let (mut block, mut found) = (Block::default(), Vec::new());
        loop {
            block.clear();
            if !elements.cut(&mut block, 1000).map_err(|why| why.to_string())? {
                return Ok(found);
            }
            let mut start = 0;
            for &(end, line) in &block.ends {
                let text = String::from_utf8(block.bytes()[start..end as usize].to_vec()).unwrap();
                found.push((block.first_line + u64::from(line), text));
                start = end as usize;
            }
        }
    }

    #[test]
    fn documents_lists_and_wrappers() {
        let one = |line: u64, text: &str| (line, text.to_owned());
        for (label, text, items, expected) in [
            ("objects", "{\"a\":1}\n{\"a\":2}", None, vec![one(1, "{\"a\":1}"), one(2, "{\"a\":2}")]),
            ("a list", "[\n{\"a\":1},\n{\"a\":2}\n]", None, vec![one(2, "{\"a\":1}"), one(3, "{\"a\":2}")]),
            (
                "a wrapper",
                "{\"next\": null,\n \"data\": {\"records\": [{\"a\":1},\n{\"a\":2}], \"n\": 2}}",
                Some("data.records"),
                vec![one(2, "{\"a\":1}"), one(3, "{\"a\":2}")],
            ),
            (
                "wrappers line by line",
                "{\"r\":[{\"a\":1}],\"x\":[1]}\n{\"r\":[]}\n{\"r\":[{\"a\":2}]}\n",
                Some("r"),
                vec![one(1, "{\"a\":1}"), one(3, "{\"a\":2}")],
            ),
        ] {
            assert_eq!(events(text, items), Ok(expected), "{label}");
        }
        let why = events("{\"data\":{\"rows\":[]}}", Some("data.records")).unwrap_err();
        assert!(why.contains("f.json:1") && why.contains("`data.records`"), "{why}");
    }
}
