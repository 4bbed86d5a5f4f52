//! Text of one record a line.

use std::io::{ErrorKind, Read};

use flowmeter_core::event::Block;
use flowmeter_engine::Error;

use super::{BLOCK_BYTES, Cutter};

/// Lines of JSON, or the elements of a list that is written over several lines.
pub(super) fn lines_or_list(mut reader: Box<dyn Read + Send>, name: &str) -> Result<Box<dyn Cutter>, Error> {
    let mut head = Vec::new();
    // Standard input may pause: only its first line is waited for.
    let mut byte = [0];
    while head.len() < HEAD_BYTES && !(head.ends_with(b"\n") && head.iter().any(|c| !c.is_ascii_whitespace())) {
        match reader.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(super::open::failed(name, &why)),
        }
        // Anything but a bracket is an object of a line.
        if head.iter().find(|c| !c.is_ascii_whitespace()).is_some_and(|c| *c != b'[') {
            break;
        }
    }
    let line = head.trim_ascii();
    let is_list = line.first() == Some(&b'[') && line.last() != Some(&b']');
    let whole = Box::new(std::io::Cursor::new(head).chain(reader));
    match is_list {
        true => Ok(Box::new(super::json::Elements::read(whole, name, None)?)),
        false => Ok(Box::new(Lines { lists: true, ..Lines::new(whole, name) })),
    }
}

/// Bytes of a first line that are looked at.
const HEAD_BYTES: usize = 1 << 16;

/// Cuts at line ends. Text behind the last one waits for the next block.
pub(super) struct Lines {
    reader: Box<dyn Read + Send>,
    name: String,
    rest: Vec<u8>,
    line: u64,
    ended: bool,
    /// Whether a line that is a list gives its elements.
    lists: bool,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn Read + Send>, name: &str) -> Lines {
        Lines { reader, name: name.to_owned(), rest: Vec::new(), line: 1, ended: false, lists: false }
    }

    /// Reads until the room is full or the input ends; how far it is filled.
    fn fill(&mut self, room: &mut [u8], mut filled: usize) -> Result<usize, Error> {
        while filled < room.len() && !self.ended {
            match self.reader.read(&mut room[filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    filled += read;
                    // Standard input may pause: whole lines are given at once.
                    if filled < room.len() && self.name == "-" && room[..filled].contains(&b'\n') {
                        break;
                    }
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(super::open::failed(&self.name, &why)),
            }
        }
        Ok(filled)
    }

    /// Drops the rest of a line that is longer than any event may be; its beginning is
    /// kept, to be refused.
    fn skip_line(&mut self) -> Result<(), Error> {
        let mut chunk = vec![0; BLOCK_BYTES];
        while !self.ended {
            let filled = self.fill(&mut chunk, 0)?;
            if let Some(end) = memchr::memchr(b'\n', &chunk[..filled]) {
                self.rest.extend_from_slice(&chunk[end..filled]);
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Cutter for Lines {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        let rest = std::mem::take(&mut self.rest);
        let mut capacity = BLOCK_BYTES.max(rest.len() + BLOCK_BYTES / 2);
        let mut filled = rest.len();
        block.room(capacity)[..filled].copy_from_slice(&rest);
        let length = loop {
            filled = self.fill(block.room(capacity), filled)?;
            let end = memchr::memrchr(b'\n', &block.room(capacity)[..filled]);
            match end {
                _ if self.ended => break filled,
                Some(end) => {
                    self.rest.extend_from_slice(&block.room(capacity)[end + 1..filled]);
                    break end + 1;
                }
                None if filled > bytes_max + BLOCK_BYTES => {
                    self.skip_line()?;
                    break filled;
                }
                None => capacity = capacity.max(filled) + BLOCK_BYTES,
            }
        };
        block.seal_at(length);
        block.first_line = self.line;
        block.lists = self.lists;
        self.line += memchr::memchr_iter(b'\n', block.bytes()).count() as u64;
        Ok(length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, bytes_max: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(Box::new(std::io::Cursor::new(text.to_owned().into_bytes())), "f");
        let mut block = Block::default();
        let mut blocks = Vec::new();
        while {
            block.clear();
            lines.cut(&mut block, bytes_max).unwrap()
        } {
            blocks.push((block.first_line, String::from_utf8(block.bytes().to_vec()).unwrap()));
        }
        blocks
    }

    #[test]
    fn blocks_hold_whole_lines_and_lose_nothing() {
        let text: String = (0..60_000).map(|i| format!("{{\"line\":{i},\"pad\":\"{}\"}}\n", "x".repeat(i % 40))).collect();
        let blocks = cut(&text, 1 << 20);
        assert!(blocks.len() > 2);
        assert_eq!(blocks.iter().map(|(_, block)| block.as_str()).collect::<String>(), text);
        for (first_line, block) in &blocks {
            assert!(block.starts_with(&format!("{{\"line\":{},", first_line - 1)));
        }
        assert_eq!(cut("no line end", 100), [(1, "no line end".to_owned())]);
        assert_eq!(cut("", 100), []);
    }

    #[test]
    fn a_line_beyond_all_limits_is_one_record() {
        let text = format!("a\n{}\nb\n", "x".repeat(5 << 20));
        let blocks = cut(&text, 1 << 20);
        let joined: String = blocks.iter().map(|(_, block)| block.as_str()).collect();
        assert_eq!(joined.lines().count(), 3);
        assert!(joined.len() < 3 << 20);
        assert!(joined.ends_with("\nb\n"));
    }
}
