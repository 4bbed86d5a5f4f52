//! A JSON document: objects one after the other, or arrays of them.

use std::io::Read;

use flowmeter_core::event::{Block, Path, json};
use flowmeter_engine::{Error, Kind};

use super::{BLOCK_BYTES, Cutter};

/// Bytes of a document, which is read whole. Larger inputs belong into NDJSON.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

/// Cuts a document at its elements. Text that is no JSON ends the document: from there
/// on no beginning of an element can be found, so the rest is one unreadable record.
///
/// A file that ends within an element or a list is cut short, and nothing of it may count.
pub(super) struct Elements {
    text: json::Document,
    at: usize,
    line: u64,
    in_array: bool,
    /// Where in each document the list of events is.
    items: Option<Path>,
    /// The line on which the list begins that is read.
    list_line: u64,
    /// Where the document ends whose list is read.
    document_end: usize,
    /// The line of the element before, and the number of elements on that line before it.
    last: Option<(u64, u32)>,
    name: String,
}

impl Elements {
    pub(super) fn read(reader: Box<dyn Read + Send>, name: &str, items: Option<&Path>) -> Result<Elements, Error> {
        let mut text = Vec::new();
        reader.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(|why| super::open::failed(name, &why))?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            let message = format!(
                "{name}: a JSON document of more than {DOCUMENT_BYTES_MAX} bytes; write one object a line (format: ndjson)"
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        let (text, items) = (json::Document::new(text), items.cloned());
        Ok(Elements {
            text,
            at: 0,
            line: 1,
            in_array: false,
            items,
            list_line: 1,
            document_end: 0,
            last: None,
            name: name.to_owned(),
        })
    }

    /// Where the list of events of a document is: behind its bracket, up to its end.
    fn list_in(&self, start: usize, items: &Path) -> Result<usize, Error> {
        let list = self.text.find(start, items.names()).filter(|at| self.text.bytes().get(*at) == Some(&b'['));
        list.map(|at| at + 1).ok_or_else(|| {
            self.refused(self.line, &format!("the document has no list at `{items}`; correct `items` of the source"))
        })
    }

    /// Returns the error of a file of which nothing may count.
    fn refused(&self, line: u64, why: &str) -> Error {
        Error::new(Kind::Invalid, format!("{}:{line}: {why}", self.name))
    }

    /// Returns the error of a file that ends too early.
    fn cut_short(&self, line: u64, what: &str) -> Error {
        self.refused(line, &format!("the file is cut short: {what}; nothing of it counts. Get the whole file"))
    }

    /// The next element, or what is left of a document that is broken.
    fn next(&mut self) -> Result<Option<(usize, usize)>, Error> {
        loop {
            loop {
                self.skip_blanks();
                match self.text.bytes().get(self.at) {
                    None if self.in_array => {
                        let what = format!("it ends in line {} within the list that begins in this one", self.line);
                        return Err(self.cut_short(self.list_line, &what));
                    }
                    None => return Ok(None),
                    Some(b'[') if !self.in_array && self.items.is_none() => (self.in_array, self.list_line) = (true, self.line),
                    Some(b']') if self.in_array => self.leave_list(),
                    Some(b',') if self.in_array => {}
                    Some(_) => break,
                }
                self.at += 1;
            }
            let start = self.at;
            let end = match self.text.value_end(start) {
                Some(end) => end,
                None => {
                    let end = self.broken_at(start)?;
                    // Nothing is left of the list.
                    self.in_array = false;
                    end
                }
            };
            if !self.in_array
                && let Some(items) = &self.items
            {
                let from = self.list_in(start, items)?;
                self.document_end = end;
                self.in_array = true;
                self.go_to(from);
                self.list_line = self.line;
                continue;
            }
            self.at = end;
            return Ok(Some((start, end)));
        }
    }

    /// Returns the end of a value that is no JSON: all that is left is one record.
    ///
    /// # Errors
    /// The file ends within the value, or the value is a document of whose list nothing is known.
    fn broken_at(&self, start: usize) -> Result<usize, Error> {
        let rest = &self.text.bytes()[start..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
        match values.next() {
            Some(Err(why)) if why.is_eof() => {
                let what = if self.in_array || self.items.is_none() { "element" } else { "document" };
                Err(self.cut_short(self.line, &format!("it ends within the {what} that begins in this line")))
            }
            Some(Err(why)) if self.items.is_some() => {
                let line = self.line + (why.line() as u64).saturating_sub(1);
                Err(self.refused(line, &format!("the document is not valid JSON (column {}); correct the file", why.column())))
            }
            _ => Ok(self.text.bytes().len()),
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

    #[test]
    fn a_file_that_is_cut_short_is_refused_with_the_place() {
        for (label, text, items, expected) in [
            (
                "a list without its end",
                "[{\"a\":1},\n{\"a\":2}\n",
                None,
                "f.json:1: the file is cut short: it ends in line 3 within",
            ),
            ("behind a comma", "\n[{\"a\":1},", None, "f.json:2: the file is cut short"),
            ("an empty list", "[", None, "f.json:1: the file is cut short"),
            ("within an element", "[{\"a\":1},\n{\"a\":", None, "f.json:2: the file is cut short: it ends within the element"),
            ("within a word", "{\"a\":1}\n{\"a\":tru", None, "f.json:2: the file is cut short"),
            ("within a text", "{\"a\":\"x", None, "f.json:1: the file is cut short"),
            (
                "behind the list",
                "{\"r\":[{\"a\":1}],\n\"n\":",
                Some("r"),
                "f.json:1: the file is cut short: it ends within the document",
            ),
            ("within the list", "{\"r\":[{\"a\":1},\n{\"a\"", Some("r"), "f.json:1: the file is cut short"),
            ("a second document", "{\"r\":[{\"a\":1}]}\n{\"r\":[", Some("r"), "f.json:2: the file is cut short"),
            ("no JSON behind the list", "{\"r\":[{\"a\":1}],\nno}", Some("r"), "f.json:2: the document is not valid JSON"),
        ] {
            let why = events(text, items).unwrap_err();
            assert!(why.starts_with(expected), "{label}: {why}");
        }
        // Text that is no JSON within a file is a record that cannot be read.
        let rest = events("[{\"a\":1},\n{a},{\"a\":3}]", None).unwrap();
        assert_eq!(rest, [(1, "{\"a\":1}".to_owned()), (2, "{a},{\"a\":3}]".to_owned())]);
    }
}
