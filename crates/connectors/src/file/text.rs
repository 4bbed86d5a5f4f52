//! Text of any encoding as UTF-8, without its byte order mark.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16LE};
use flowmeter_core::event::UNDECODABLE;
use flowmeter_engine::{Error, Kind};

/// Bytes that are decoded at once.
const CHUNK: usize = 64 << 10;

/// Reads a text as UTF-8. Marks are recognised, and skipped, whatever the encoding.
///
/// # Errors
/// The encoding has no such name, or the text is UTF-16 and nothing says so.
pub(super) fn in_utf8(mut raw: Box<dyn Read + Send>, path: &str, encoding: Option<&str>) -> Result<Box<dyn Read + Send>, Error> {
    let declared = encoding.map(|name| named(name).ok_or_else(|| unknown(path, name))).transpose()?;
    let mut head = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut head).map_err(|why| super::open::failed(path, &why))?;
    let (marked, length) = Encoding::for_bom(&head).map_or((None, 0), |(found, length)| (Some(found), length));
    if marked.is_none() && declared.is_none() && looks_like_utf16(&head) {
        let encoding = if head[0] == 0 { "utf-16be" } else { "utf-16le" };
        let message = format!("{path}: the text is UTF-16 and has no byte order mark; write `encoding: {encoding}`");
        return Err(Error::new(Kind::Invalid, message));
    }
    head.drain(..length);
    let whole = io::Cursor::new(head).chain(raw);
    // A mark is certain; a declaration may be of the other files.
    let used = marked.or(declared).unwrap_or(UTF_8);
    if used == UTF_8 {
        return Ok(Box::new(whole));
    }
    Ok(Box::new(Decoded {
        raw: whole,
        decoder: used.new_decoder_without_bom_handling(),
        ready: Vec::new(),
        given: 0,
        ended: false,
    }))
}

/// An encoding by its name; Latin-1 is what the web takes for it, Windows-1252.
fn named(name: &str) -> Option<&'static Encoding> {
    match name {
        "utf-16" => Some(UTF_16LE),
        name => Encoding::for_label(name.as_bytes()),
    }
}

fn unknown(path: &str, name: &str) -> Error {
    let message = format!(
        "{path}: unknown encoding `{name}`; write utf-8, utf-16le, utf-16be, latin1, windows-1252, shift_jis or another of the web"
    );
    Error::new(Kind::Invalid, message)
}

/// Whether every second byte is 0, as of Latin letters in UTF-16.
fn looks_like_utf16(head: &[u8]) -> bool {
    matches!(head, [a, 0, b, 0] if *a != 0 && *b != 0) || matches!(head, [0, a, 0, b] if *a != 0 && *b != 0)
}

/// Text that is decoded on the way.
struct Decoded<R> {
    raw: R,
    decoder: Decoder,
    ready: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Decoded<R> {
    fn more(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let read = self.raw.read(&mut chunk)?;
        self.ended = read == 0;
        let mut rest = &chunk[..read];
        self.ready.clear();
        self.given = 0;
        loop {
            let needed = self.decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(CHUNK);
            let from = self.ready.len();
            self.ready.resize(from + needed, 0);
            let (result, used, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut self.ready[from..], self.ended);
            self.ready.truncate(from + written);
            let wrong = match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => None,
                DecoderResult::Malformed(length, behind) => {
                    let at = used.checked_sub(usize::from(length) + usize::from(behind));
                    Some(at.and_then(|at| rest.get(at)).copied().unwrap_or(b'?'))
                }
            };
            if let Some(byte) = wrong {
                self.ready.extend_from_slice(&UNDECODABLE);
                self.ready.push(byte);
            }
            rest = &rest[used..];
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() && !self.ended {
            self.more()?;
        }
        let count = buffer.len().min(self.ready.len() - self.given);
        buffer[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Option<&str>) -> Result<Vec<u8>, String> {
        let raw = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut text = Vec::new();
        in_utf8(raw, "f", encoding).map_err(|why| why.to_string())?.read_to_end(&mut text).map_err(|why| why.to_string())?;
        Ok(text)
    }

    #[test]
    fn encodings_and_marks() {
        let utf16: Vec<u8> = "Zoë,1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe][..], &utf16].concat();
        let big: Vec<u8> = [0xfe, 0xff].into_iter().chain("Zoë,1\n".encode_utf16().flat_map(u16::to_be_bytes)).collect();
        for (label, bytes, encoding, expected) in [
            ("plain", b"abc".as_slice(), None, "abc".as_bytes()),
            ("empty", b"", None, b""),
            ("a mark", b"\xef\xbb\xbf{}", None, b"{}"),
            ("only a mark", b"\xef\xbb\xbf", None, b""),
            ("UTF-16 with a mark", &marked, None, "Zoë,1\n".as_bytes()),
            ("UTF-16 of the other order", &big, None, "Zoë,1\n".as_bytes()),
            ("UTF-16 that is declared", &utf16, Some("utf-16le"), "Zoë,1\n".as_bytes()),
            ("Latin-1", b"Zo\xeb", Some("latin1"), "Zoë".as_bytes()),
            ("the euro of Windows", b"\x80", Some("windows-1252"), "€".as_bytes()),
            ("Shift JIS", b"\x83\x65", Some("shift_jis"), "テ".as_bytes()),
            ("a mark against the declaration", b"\xef\xbb\xbfZo\xc3\xab", Some("latin1"), "Zoë".as_bytes()),
            ("a byte that is no character", b"a\xffb", Some("shift_jis"), b"a\xff\xfe\xffb"),
        ] {
            assert_eq!(read(bytes, encoding).as_deref(), Ok(expected), "{label}");
        }
        assert!(read(&utf16, None).unwrap_err().contains("encoding: utf-16le"));
        assert!(read(b"a", Some("klingon")).unwrap_err().contains("unknown encoding"));
    }
}
