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

/// Bytes that are read at once for a checksum.
const PIECE_BYTES: u64 = 256 << 10;

#[derive(Clone)]
pub(super) struct Input {
    file: Arc<dyn File>,
    path: Arc<str>,
    length: u64,
    fault: Arc<OnceLock<Error>>,
}

impl Input {
    pub(super) fn open(disk: &dyn Disk, path: &str) -> io::Result<Input> {
        let file: Arc<dyn File> = Arc::from(disk.open(path)?);
        let length = file.len()?;
        Ok(Input { file, path: path.into(), length, fault: Arc::default() })
    }

    /// Returns the cause of the reader's error: the disk, or the content of the file.
    pub(super) fn cause(&self, why: impl std::fmt::Display) -> Error {
        self.fault.get().cloned().unwrap_or_else(|| Error::corrupt(&self.path, why))
    }

    /// Returns the CRC-32C of a range of bytes.
    pub(super) fn checksum(&self, from: u64, to: u64) -> Result<u32, Error> {
        let (mut sum, mut at) = (0, from);
        while at < to {
            let piece = usize::try_from((to - at).min(PIECE_BYTES)).unwrap_or_default();
            let bytes = self.get_bytes(at, piece).map_err(|why| self.cause(why))?;
            sum = crc32c::crc32c_append(sum, &bytes);
            at += bytes.len() as u64;
        }
        Ok(sum)
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
        let read = self.input.read(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
