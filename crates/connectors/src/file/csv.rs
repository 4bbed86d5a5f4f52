//! Delimited rows.

use std::collections::VecDeque;
use std::io::Read;

use csv_core::ReadRecordResult;
use flowmeter_core::event::Block;
use flowmeter_core::event::csv::Dialect;
use flowmeter_core::event::csv::strict::{RowEnd, row_end};
use flowmeter_core::source::SourcePlan;
use flowmeter_engine::{Error, Kind};

use super::{BLOCK_BYTES, Cutter};

/// Bytes of the rows before the first event: headers of reports are short.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Cuts at row ends, which may lie behind line ends in quotes.
pub(super) struct Rows {
    reader: Box<dyn Read + Send>,
    name: String,
    dialect: Dialect,
    /// The parser for lenient quotes.
    parser: csv_core::Reader,
    /// Fields of a row, once they are known.
    width: usize,
    /// Bytes read from the file, consumed up to `at`.
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    ended: bool,
    /// Rows at the end that are no events, and those that may be among them: line and bytes.
    footer: usize,
    held: VecDeque<(u64, Vec<u8>)>,
}

impl Rows {
    /// Opens a file; its columns are its header, or those of the pipeline.
    pub(super) fn open(reader: Box<dyn Read + Send>, path: &str, spec: &SourcePlan) -> Result<(Rows, Vec<Box<str>>), Error> {
        let mut rows = Rows {
            reader,
            name: path.to_owned(),
            dialect: spec.dialect,
            parser: spec.dialect.reader(),
            width: 0,
            buffer: Vec::new(),
            at: 0,
            line: 1,
            ended: false,
            footer: spec.footer,
            held: VecDeque::new(),
        };
        let given: Vec<Box<str>> = spec.columns.iter().map(|name| name.as_str().into()).collect();
        rows.skip(spec.skip.0 + spec.header.saturating_sub(1))?;
        let first = if spec.header > 0 { rows.take_header()? } else { Vec::new() };
        rows.skip(spec.skip.1)?;
        let columns = match (given.is_empty(), spec.header) {
            (false, _) => given,
            (true, 0) => rows.count_first()?,
            (true, _) => first,
        };
        let mut seen = columns.clone();
        seen.sort();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("{path}: two columns are named `{}`; give them names with `columns`", pair[0]);
            return Err(Error::new(Kind::Invalid, message));
        }
        rows.width = columns.len();
        Ok((rows, columns))
    }

    /// Skips rows that are no events.
    fn skip(&mut self, rows: usize) -> Result<(), Error> {
        for _ in 0..rows {
            if self.next_row(HEAD_BYTES_MAX)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn take_header(&mut self) -> Result<Vec<Box<str>>, Error> {
        let Some((start, end, line)) = self.next_row(HEAD_BYTES_MAX)? else { return Ok(Vec::new()) };
        let fields = self.dialect.fields(&self.buffer[start..end]);
        let fields = fields.map_err(|why| Error::new(Kind::Invalid, format!("{}:{line}: the header: {why}", self.name)))?;
        let name = |field: &Vec<u8>| match std::str::from_utf8(field) {
            Ok(name) => Ok(name.trim().into()),
            Err(_) => {
                let message =
                    format!("{}:{line}: the header is not UTF-8; say how the file is written with `encoding:`", self.name);
                Err(Error::new(Kind::Invalid, message))
            }
        };
        fields.iter().map(name).collect()
    }

    /// Without a header and names, columns are c1, c2 …: as many as the first row has.
    fn count_first(&mut self) -> Result<Vec<Box<str>>, Error> {
        let Some((start, end, line)) = self.next_row(HEAD_BYTES_MAX)? else { return Ok(Vec::new()) };
        // A row like any other: it will be read again.
        let count = self.dialect.fields(&self.buffer[start..end]).map_or(1, |fields| fields.len());
        (self.at, self.line) = (start, line);
        Ok((1..=count).map(|i| format!("c{i}").into()).collect())
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
                Err(why) => return Err(super::open::failed(&self.name, &why)),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled > from)
    }

    /// The next row in the buffer: start, end and line. A row longer than `bytes_max` is cut at a
    /// line end behind it.
    fn next_row(&mut self, bytes_max: usize) -> Result<Option<(usize, usize, u64)>, Error> {
        if self.buffer.is_empty() && !self.ended {
            self.more()?;
        }
        if self.dialect.lenient {
            return self.next_lenient(bytes_max);
        }
        loop {
            let (start, line) = (self.at, self.line);
            if start == self.buffer.len() && self.ended {
                return Ok(None);
            }
            match row_end(&self.dialect, &self.buffer, start, self.width, self.ended, bytes_max) {
                RowEnd::At { end, next } => {
                    self.at = next;
                    // Rows of one line are nearly all there are.
                    let passed = &self.buffer[start..next];
                    self.line += match memchr::memchr(b'\n', passed) {
                        Some(first) if first + 1 == passed.len() => 1,
                        Some(_) => memchr::memchr_iter(b'\n', passed).count() as u64,
                        None => u64::from(passed.ends_with(b"\r")),
                    };
                    let row = &self.buffer[start..end];
                    let is_comment = self.dialect.comment.is_some() && row.first().copied() == self.dialect.comment;
                    if !is_comment && !self.is_blank(row) {
                        return Ok(Some((start, end, line)));
                    }
                }
                RowEnd::Beyond if self.buffer.len() - start > bytes_max => {
                    let end = self.line_end(start, self.buffer.len())?;
                    self.line += memchr::memchr_iter(b'\n', &self.buffer[start..end]).count() as u64;
                    self.at = end;
                    return Ok(Some((start, end, line)));
                }
                RowEnd::Beyond => {
                    self.compact();
                    self.more()?;
                }
            }
        }
    }

    /// Whether a row has nothing but delimiters and blanks: then it is none.
    fn is_blank(&self, row: &[u8]) -> bool {
        let is_nothing = |c: &u8| *c == self.dialect.delimiter || c.is_ascii_whitespace();
        row.first().is_none_or(is_nothing) && row.iter().all(is_nothing)
    }

    /// As [`Rows::next_row`], without the rows of the footer.
    fn next_event(&mut self, bytes_max: usize) -> Result<Option<(u64, Vec<u8>)>, Error> {
        while self.held.len() <= self.footer {
            let Some((start, end, line)) = self.next_row(bytes_max)? else { return Ok(None) };
            self.held.push_back((line, self.buffer[start..end].to_vec()));
        }
        Ok(self.held.pop_front())
    }

    /// The next row by lenient quotes: start, end and line. A row longer than `bytes_max`
    /// (an open quote runs to the end of the file) is cut off there.
    fn next_lenient(&mut self, bytes_max: usize) -> Result<Option<(usize, usize, u64)>, Error> {
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
    /// else behind the next. The rest begins a line, never in the middle of one.
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
        block.first_line = self.held.front().map_or(self.line, |(line, _)| *line);
        while written < BLOCK_BYTES {
            let line = if self.footer > 0 {
                let Some((line, row)) = self.next_event(bytes_max + 1)? else { break };
                block.open_more().extend_from_slice(&row);
                written += row.len();
                line
            } else {
                let Some((start, end, line)) = self.next_row(bytes_max + 1)? else { break };
                let row = &self.buffer[start..end];
                let row = row.strip_suffix(b"\n").unwrap_or(row);
                let row = row.strip_suffix(b"\r").unwrap_or(row);
                block.open_more().extend_from_slice(row);
                written += row.len();
                line
            };
            block.ends.push((written as u32, (line - block.first_line) as u32));
        }
        block.seal();
        Ok(!block.ends.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowmeter_document::Pipeline;

    fn rows(text: &str, bytes_max: usize) -> Vec<(u64, String)> {
        rows_of("compression: none", text, bytes_max).1
    }

    fn rows_of(file: &str, text: &str, bytes_max: usize) -> (Vec<String>, Vec<(u64, String)>) {
        let document = "pipeline: p\nsource: {file: {path: x.csv, FILE}}\ndedupe: off\noperators: [{meter: {key: 00000000-0000-4000-8000-000000000001, rules: [{}]}}]\nmeterTypes: [{name: m}]\n";
        let plan = Pipeline::read(&document.replace("FILE", file)).unwrap().plan;
        let reader = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let (mut rows, columns) = Rows::open(reader, "x.csv", &plan.sources[0]).unwrap();
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
        (columns.iter().map(ToString::to_string).collect(), found)
    }

    #[test]
    fn rows_end_where_they_end_quotes_and_all() {
        let found = rows("a,b\n1,\"x\ny\"\r\n\n2,z", 1000);
        assert_eq!(found, [(2, "1,\"x\ny\"".to_owned()), (5, "2,z".to_owned())]);
    }

    #[test]
    fn a_quote_that_never_ends_costs_its_own_line() {
        let rest: String = (0..40_000).map(|i| format!("user-{i:05},{i}\n")).collect();
        let found = rows(&format!("user,value\nbad,\"oops\n{rest}"), 1000);
        assert_eq!(found.len(), 40_001);
        assert_eq!(found[0], (2, "bad,\"oops".to_owned()));
        assert!(found[1..].iter().enumerate().all(|(i, row)| *row == (i as u64 + 3, format!("user-{i:05},{i}"))));
    }

    #[test]
    fn reports_have_rows_around_their_table() {
        let text = "Usage report\nfrom \"January\"\n\nuser;value\n(text);(pieces)\na;1\n;\nb;2\nTotal;3\nPage 1\n";
        let file = "skip: {before: 2}, units: true, footer: 2, delimiter: ';'";
        let (columns, found) = rows_of(file, text, 1000);
        assert_eq!(columns, ["user", "value"]);
        assert_eq!(found, [(6, "a;1".to_owned()), (8, "b;2".to_owned())]);
        let (columns, found) = rows_of("header: 3, footer: 0, delimiter: ';'", text, 1000);
        assert_eq!(columns, ["user", "value"]);
        assert_eq!(found.len(), 5);
        assert_eq!(rows_of("header: false, quotes: lenient", "a,\"b\"x\n", 1000).0, ["c1", "c2"]);
    }

    #[test]
    fn one_line_beyond_all_limits_is_one_row() {
        let found = rows(&format!("a\n{}\nlast\n", "x".repeat(1 << 20)), 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], (3, "last".to_owned()));
    }
}
