//! State as bytes and back: the content of checkpoints.
//!
//! Numbers are little-endian, counts and lengths are variable (LEB128). An image contains no index
//! of a plan: it names meter types, processors and fields, so that it remains readable after the
//! pipeline has a new version.

use crate::time::Timestamp;

/// The reason why bytes cannot be read as an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// The image ends too early or contains an impossible value.
    #[error("the image is damaged at byte {0}")]
    Damaged(usize),
    /// The image names a part that the plan does not have.
    #[error("the pipeline has no {0} any more, but there are meters of it")]
    Unknown(String),
    /// The image has state of an operator that now keeps state of another form.
    #[error("operator `{0}` has state of another form: it is gone, or its kind, key, time, window, fields or schedule changed")]
    State(String),
    /// A newer version of this program wrote the image.
    #[error("format {0} of the image is newer than this program")]
    Format(u8),
}

/// Appends the parts of an image.
#[derive(Debug, Default)]
pub struct Pen {
    /// The bytes written so far.
    pub bytes: Vec<u8>,
}

impl Pen {
    /// Writes one byte as it is.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Writes a count, or a number that is mostly small.
    pub fn count(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    /// Writes bytes with their length.
    pub fn text(&mut self, text: &[u8]) {
        self.count(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    /// Writes an instant, in nanoseconds.
    pub fn time(&mut self, at: Timestamp) {
        self.bytes.extend_from_slice(&at.nanos().to_le_bytes());
    }

    /// Writes a number of 128 bits.
    pub fn wide(&mut self, n: u128) {
        self.bytes.extend_from_slice(&n.to_le_bytes());
    }
}

/// Reads the parts of an image.
#[derive(Clone, Copy, Debug)]
pub struct Glass<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The result of reading an image.
pub type Seen<T> = Result<T, BadImage>;

impl<'a> Glass<'a> {
    /// Begins to read an image.
    pub fn new(bytes: &'a [u8]) -> Glass<'a> {
        Glass { bytes, at: 0 }
    }

    /// Reports damage at this place.
    pub fn damaged<T>(&self) -> Seen<T> {
        Err(BadImage::Damaged(self.at))
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Returns all bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    fn take(&mut self, length: usize) -> Seen<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.damaged(),
        }
    }

    fn chunk<const N: usize>(&mut self) -> Seen<[u8; N]> {
        let mut chunk = [0; N];
        chunk.copy_from_slice(self.take(N)?);
        Ok(chunk)
    }

    /// Reads one byte as it is.
    pub fn byte(&mut self) -> Seen<u8> {
        Ok(self.chunk::<1>()?[0])
    }

    /// Reads a count of variable length.
    pub fn count(&mut self) -> Seen<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        self.damaged()
    }

    /// Reads a number of elements of which each takes at least one byte. A number above the bytes
    /// that are left is damage, so it cannot make the reader allocate that much memory.
    pub fn length(&mut self) -> Seen<usize> {
        let n = self.count()?;
        match usize::try_from(n) {
            Ok(n) if n <= self.bytes.len() - self.at => Ok(n),
            _ => self.damaged(),
        }
    }

    /// Reads bytes with their length.
    pub fn text(&mut self) -> Seen<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Reads a text in UTF-8.
    pub fn string(&mut self) -> Seen<String> {
        match std::str::from_utf8(self.text()?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => self.damaged(),
        }
    }

    /// Reads an instant, in nanoseconds.
    pub fn time(&mut self) -> Seen<Timestamp> {
        Ok(Timestamp::from_nanos(i64::from_le_bytes(self.chunk()?)))
    }

    /// Reads a number of 128 bits.
    pub fn wide(&mut self) -> Seen<u128> {
        Ok(u128::from_le_bytes(self.chunk()?))
    }
}
