//! Delimited rows.

use std::io::Read;

use csv_core::ReadRecordResult;
use flowmeter_core::event::Block;
use flowmeter_core::event::csv::{Dialect, Fields};
use flowmeter_core::pipeline::SourcePlan;
use flowmeter_engine::{Error, Kind};

use super::{BLOCK_BYTES, Cutter};

/// Cuts at row ends, which may lie behind line ends in quotes.
pub(super) struct Rows {
    reader: Box<dyn Read + Send>,
    name: String,
    dialect: Dialect,
    parser: csv_core::Reader,
    /// What has been read: consumed up to `at`.
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    ended: bool,
}

impl Rows {
    /// Opens a file; its columns are its first row, or those of the pipeline.
    pub(super) fn open(reader: Box<dyn Read + Send>, path: &str, spec: &SourcePlan) -> Result<(Rows, Vec<Box<str>>), Error> {
        let mut rows = Rows {
            reader,
            name: path.to_owned(),
            dialect: spec.dialect,
            parser: spec.dialect.reader(),
            buffer: Vec::new(),
            at: 0,
            line: 1,
            ended: false,
        };
        rows.skip_mark()?;
        let given: Vec<Box<str>> = spec.columns.iter().map(|name| name.as_str().into()).collect();
        let first = if spec.header { rows.take_header()? } else { rows.count_first(given.len())? };
        let columns = if given.is_empty() { first } else { given };
        let mut seen = columns.clone();
        seen.sort();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("{path}: two columns are named `{}`; give them names with `columns`", pair[0]);
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok((rows, columns))
    }

    /// A byte order mark is no part of the first name.
    fn skip_mark(&mut self) -> Result<(), Error> {
        self.more()?;
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        Ok(())
    }

    fn take_header(&mut self) -> Result<Vec<Box<str>>, Error> {
        let Some((start, end, _)) = self.next_row(usize::MAX)? else { return Ok(Vec::new()) };
        let mut fields = Fields::default();
        fields.read(&mut self.parser, &self.buffer[start..end]);
        let name = |i| String::from_utf8_lossy(fields.get(i)).trim().into();
        Ok((0..fields.len()).map(name).collect())
    }

    /// Without a header and names, columns are c1, c2 …: as many as the first row has.
    fn count_first(&mut self, given: usize) -> Result<Vec<Box<str>>, Error> {
        if given > 0 {
            return Ok(Vec::new());
        }
        let mut fields = Fields::default();
        if let Some((start, end, line)) = self.next_row(usize::MAX)? {
            fields.read(&mut self.parser, &self.buffer[start..end]);
            // It is a row like any other: it will be read again.
            (self.at, self.line) = (start, line);
        }
        Ok((1..=fields.len()).map(|i| format!("c{i}").into()).collect())
    }

    /// Reads on behind what is in the buffer; says no at the end.
    fn more(&mut self) -> Result<bool, Error> {
        let from = self.buffer.len();
        self.buffer.resize(from + BLOCK_BYTES, 0);
        let mut filled = from;
        while filled < self.buffer.len() {
            match self.reader.read(&mut self.buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => filled += read,
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(why) => return Err(Error::io(&self.name, &why)),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled > from)
    }

    /// The next row in the buffer: start, end and line. A row longer than `bytes_max`
    /// (an open quote runs to the end of the file) is cut off there.
    fn next_row(&mut self, bytes_max: usize) -> Result<Option<(usize, usize, u64)>, Error> {
        loop {
            self.skip_blank_lines();
            self.parser.reset();
            let (mut field_bytes, mut ends) = ([0; 4096], [0; 256]);
            let mut at = self.at;
            let found = loop {
                let (result, read, _, _) = self.parser.read_record(&self.buffer[at..], &mut field_bytes, &mut ends);
                at += read;
                match result {
                    ReadRecordResult::Record => break true,
                    ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
                    ReadRecordResult::InputEmpty | ReadRecordResult::End => break false,
                }
            };
            let (start, line) = (self.at, self.line);
            let whole = (found && (at < self.buffer.len() || self.ended)) || (self.ended && at > start);
            if !whole && at - start > bytes_max {
                at = self.line_end(start, at)?;
            }
            if whole || at - start > bytes_max {
                self.line += memchr::memchr_iter(b'\n', &self.buffer[start..at]).count() as u64;
                self.at = at;
                let is_comment = self.dialect.comment.is_some_and(|comment| self.buffer[start] == comment);
                if is_comment {
                    // csv-core reads past a comment to the next row: cut the comment off.
                    let end = memchr::memchr(b'\n', &self.buffer[start..at]).map_or(at, |end| start + end + 1);
                    self.at = end;
                    self.line = line + 1;
                    continue;
                }
                return Ok(Some((start, at, line)));
            }
            if self.ended {
                return Ok(None);
            }
            self.compact();
            self.more()?;
        }
    }

    /// Where a row that is too long is cut: behind the last line end it runs over, or
    /// else behind the next. What follows begins a line, never in the middle of one.
    fn line_end(&mut self, start: usize, read: usize) -> Result<usize, Error> {
        if let Some(end) = memchr::memrchr(b'\n', &self.buffer[start..read]) {
            return Ok(start + end + 1);
        }
        let mut from = read;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[from..]) {
                return Ok(from + end + 1);
            }
            // Its beginning is enough to refuse it: the rest need not be held.
            self.buffer.truncate(read);
            from = read;
            if !self.more()? {
                return Ok(read);
            }
        }
    }

    fn skip_blank_lines(&mut self) {
        while let Some(c @ (b'\n' | b'\r')) = self.buffer.get(self.at) {
            self.line += u64::from(*c == b'\n');
            self.at += 1;
        }
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.at);
        self.at = 0;
    }
}

impl Cutter for Rows {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        block.open();
        let mut written = 0;
        block.first_line = self.line;
        while written < BLOCK_BYTES {
            let Some((start, end, line)) = self.next_row(bytes_max + 1)? else { break };
            let row = &self.buffer[start..end];
            let row = row.strip_suffix(b"\n").unwrap_or(row);
            let row = row.strip_suffix(b"\r").unwrap_or(row);
            block.open_more().extend_from_slice(row);
            written += row.len();
            block.ends.push((written as u32, (line - block.first_line) as u32));
        }
        block.seal();
        Ok(!block.ends.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowmeter_core::pipeline::Pipeline;

    fn rows(text: &str, bytes_max: usize) -> Vec<(u64, String)> {
        let document = "pipeline: p\nsource: {file: {path: x.csv}}\ndedupe: off\noperators: [{meter: {key: 00000000-0000-4000-8000-000000000001, rules: [{}]}}]\nmeterTypes: [{name: m}]\n";
        let plan = Pipeline::read(document).unwrap().plan;
        let reader = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let (mut rows, _) = Rows::open(reader, "x.csv", &plan.sources[0]).unwrap();
        let mut block = Block::default();
        let mut found = Vec::new();
        while {
            block.clear();
            rows.cut(&mut block, bytes_max).unwrap()
        } {
            let mut start = 0;
            for &(end, line) in &block.ends {
                let row = String::from_utf8(block.bytes()[start..end as usize].to_vec()).unwrap();
                found.push((block.first_line + u64::from(line), row));
                start = end as usize;
            }
        }
        found
    }

    #[test]
    fn rows_end_where_they_end_quotes_and_all() {
        let found = rows("a,b\n1,\"x\ny\"\r\n\n2,z", 1000);
        assert_eq!(found, [(2, "1,\"x\ny\"".to_owned()), (5, "2,z".to_owned())]);
    }

    #[test]
    fn a_quote_that_never_ends_costs_whole_lines_and_no_half_row() {
        let rest: String = (0..40_000).map(|i| format!("user-{i:05},{i}\n")).collect();
        let found = rows(&format!("user,value\nbad,\"oops\n{rest}"), 1000);
        let (refused, read): (Vec<_>, Vec<_>) = found.iter().partition(|(_, row)| row.len() > 1000);
        assert!(!refused.is_empty());
        assert!(!read.is_empty());
        assert!(read.iter().all(|(_, row)| row.len() >= 12 && row.starts_with("user-")), "a row begins in the middle of a line");
    }

    #[test]
    fn one_line_beyond_all_limits_is_one_row() {
        let found = rows(&format!("a\n{}\nlast\n", "x".repeat(1 << 20)), 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], (3, "last".to_owned()));
    }
}
