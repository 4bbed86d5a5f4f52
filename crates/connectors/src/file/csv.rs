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
            if (found && (at < self.buffer.len() || self.ended)) || (self.ended && at > start) || at - start > bytes_max {
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
