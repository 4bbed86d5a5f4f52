//! gzip files: members one after the other, as gzip(1) reads them.
//!
//! A byte order mark at the start of each member is skipped, as files that were packed one by one
//! and joined have them. Zeros behind the last member are padding; other bytes are ignored, and a
//! warning says so.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use flate2::bufread::GzDecoder;

use super::open::Progress;

/// The unpacked bytes of all members of a file.
pub(super) struct Members<R> {
    state: State<R>,
    name: String,
    progress: Arc<Progress>,
    /// Bytes that were read to look for a mark and are still to be given.
    head: Vec<u8>,
}

enum State<R> {
    /// Before a member, or behind the last.
    Between(R),
    /// Whether nothing of the member was read yet.
    Within(Box<GzDecoder<R>>, bool),
    Done,
}

const MARK: &[u8; 3] = b"\xef\xbb\xbf";

impl<R: BufRead> Members<R> {
    pub(super) fn new(packed: R, name: &str, progress: &Arc<Progress>) -> Members<R> {
        // The first member is there whatever its bytes are: a wrong one is an error when read.
        let state = State::Within(Box::new(GzDecoder::new(packed)), true);
        Members { state, name: name.to_owned(), progress: Arc::clone(progress), head: Vec::new() }
    }

    /// Goes to the next member; says no behind the last.
    fn next_member(&mut self, mut packed: R) -> io::Result<bool> {
        loop {
            let bytes = packed.fill_buf()?;
            let zeros = bytes.iter().take_while(|c| **c == 0).count();
            if zeros > 0 {
                packed.consume(zeros);
                continue;
            }
            match bytes {
                [] => return Ok(false),
                [0x1f] | [0x1f, 0x8b, ..] => {
                    self.state = State::Within(Box::new(GzDecoder::new(packed)), true);
                    return Ok(true);
                }
                _ => {
                    self.progress.warn(format!("{}: bytes behind the end of the gzip data were ignored", self.name));
                    return Ok(false);
                }
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.head.is_empty() {
                let count = self.head.len().min(buffer.len());
                buffer[..count].copy_from_slice(&self.head[..count]);
                self.head.drain(..count);
                return Ok(count);
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(0),
                State::Between(packed) => {
                    if !self.next_member(packed)? {
                        return Ok(0);
                    }
                }
                State::Within(mut member, true) => {
                    let mut head = Vec::new();
                    member.by_ref().take(MARK.len() as u64).read_to_end(&mut head)?;
                    self.head = if head == MARK { Vec::new() } else { head };
                    self.state = State::Within(member, false);
                }
                State::Within(mut member, false) => {
                    let read = member.read(buffer)?;
                    if read > 0 {
                        self.state = State::Within(member, false);
                        return Ok(read);
                    }
                    self.state = State::Between(member.into_inner());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> (io::Result<String>, usize) {
        let progress = Arc::<Progress>::default();
        let mut text = String::new();
        let read = Members::new(io::Cursor::new(bytes), "f.gz", &progress).read_to_string(&mut text);
        (read.map(|_| text), progress.warnings().len())
    }

    #[test]
    fn members_marks_padding_and_other_bytes() {
        let a = packed(b"\xef\xbb\xbfa\n");
        let b = packed(b"\xef\xbb\xbfb\n");
        let empty = packed(b"");
        for (label, bytes, expected, warnings) in [
            ("one", a.clone(), "a\n", 0),
            ("two with marks", [a.clone(), b.clone()].concat(), "a\nb\n", 0),
            ("an empty one between", [a.clone(), empty.clone(), b.clone()].concat(), "a\nb\n", 0),
            ("padding", [a.clone(), vec![0; 70_000]].concat(), "a\n", 0),
            ("other bytes", [a.clone(), b"garbage".to_vec()].concat(), "a\n", 1),
            ("empty", empty, "", 0),
        ] {
            let (text, warned) = unpack(&bytes);
            assert_eq!(text.unwrap(), expected, "{label}");
            assert_eq!(warned, warnings, "{label}");
        }
        assert!(unpack(&a[..a.len() - 5]).0.is_err());
        assert!(unpack(b"\x1f\x8bno").0.is_err());
    }
}
