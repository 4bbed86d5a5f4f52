//! A finished file in the form that the Parquet reader needs.
//!
//! The reader turns every error into text. The error of the disk is kept here, so that a failing
//! disk is not reported as a corrupt file.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::Error;
use crate::disk::{Disk, File};

/// Bytes of a piece, which has a checksum: small enough that a page is read with little else.
pub(super) const PIECE_BYTES: u64 = 64 << 10;
/// Bytes that are read at once for a checksum.
const READ_BYTES: u64 = 256 << 10;

#[derive(Clone)]
pub(super) struct Input {
    file: Arc<dyn File>,
    path: Arc<str>,
    length: u64,
    fault: Arc<OnceLock<Error>>,
    /// The checksums with which everything that is read is compared, if there are any.
    pieces: Option<Arc<Pieces>>,
}

/// Checksums of the pieces of a file's beginning.
pub(super) struct Pieces {
    sums: Vec<u32>,
    end: u64,
}

impl Pieces {
    /// Reads the checksums of the bytes up to `end`: eight digits each.
    pub(super) fn read(text: &str, end: u64) -> Option<Pieces> {
        let digits = text.as_bytes().chunks(8).map(|digits| std::str::from_utf8(digits).ok());
        let sums = digits.map(|digits| u32::from_str_radix(digits?, 16).ok()).collect::<Option<Vec<u32>>>()?;
        (sums.len() as u64 == end.div_ceil(PIECE_BYTES)).then_some(Pieces { sums, end })
    }
}

impl Input {
    pub(super) fn open(disk: &dyn Disk, path: &str) -> io::Result<Input> {
        let file: Arc<dyn File> = Arc::from(disk.open(path)?);
        let length = file.len()?;
        Ok(Input { file, path: path.into(), length, fault: Arc::default(), pieces: None })
    }

    /// Returns the same file, of which only the beginning is read: what these checksums cover.
    pub(super) fn checked(&self, pieces: &Arc<Pieces>) -> Input {
        Input { length: pieces.end, pieces: Some(Arc::clone(pieces)), ..self.clone() }
    }

    /// Returns the cause of the reader's error: the disk, or the content of the file.
    pub(super) fn cause(&self, why: impl std::fmt::Display) -> Error {
        self.fault.get().cloned().unwrap_or_else(|| Error::corrupt(&self.path, why))
    }

    /// Returns the CRC-32C of a range of bytes.
    pub(super) fn checksum(&self, from: u64, to: u64) -> Result<u32, Error> {
        let (mut sum, mut at) = (0, from);
        while at < to {
            let piece = usize::try_from((to - at).min(READ_BYTES)).unwrap_or_default();
            let bytes = self.get_bytes(at, piece).map_err(|why| self.cause(why))?;
            sum = crc32c::crc32c_append(sum, &bytes);
            at += bytes.len() as u64;
        }
        Ok(sum)
    }

    /// Reads the pieces around a range and compares their checksums.
    fn get_checked(&self, pieces: &Pieces, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let first = start / PIECE_BYTES;
        let until = (start + length as u64).next_multiple_of(PIECE_BYTES).min(pieces.end);
        let unchecked = Input { pieces: None, ..self.clone() };
        let bytes = unchecked.get_bytes(first * PIECE_BYTES, usize::try_from(until - first * PIECE_BYTES)?)?;
        for (piece, number) in bytes.chunks(PIECE_BYTES as usize).zip(first..) {
            let sum = usize::try_from(number).ok().and_then(|number| pieces.sums.get(number));
            if sum != Some(&crc32c::crc32c(piece)) {
                let at = number * PIECE_BYTES;
                return Err(ParquetError::General(format!("the bytes from {at} are not what was written")));
            }
        }
        let skip = usize::try_from(start - first * PIECE_BYTES)?;
        Ok(bytes.slice(skip..skip + length))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(bytes, at).inspect_err(|why| {
            let _ = self.fault.set(Error::io(&self.path, why));
        })
    }
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Input {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(Cursor { input: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Checked before memory is allocated: a corrupt length may be anything.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.length)));
        }
        if let Some(pieces) = &self.pieces {
            return self.get_checked(pieces, start, length);
        }
        let mut bytes = vec![0; length];
        let read = self.read(&mut bytes, start)?;
        match read == length {
            true => Ok(bytes.into()),
            false => Err(ParquetError::EOF(format!("{read} instead of {length} bytes at {start}"))),
        }
    }
}

/// Reads sequentially from a position.
pub(super) struct Cursor {
    input: Input,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.input.pieces.is_some() {
            let length = bytes.len().min(usize::try_from(self.input.length.saturating_sub(self.at)).unwrap_or(usize::MAX));
            let read = self.input.get_bytes(self.at, length).map_err(io::Error::other)?;
            bytes[..length].copy_from_slice(&read);
            self.at += length as u64;
            return Ok(length);
        }
        let read = self.input.read(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
