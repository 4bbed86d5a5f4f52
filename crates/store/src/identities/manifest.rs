//! A manifest: the list of runs that together are the identities of a partition.
//!
//! It is small and part of a checkpoint: the runs have everything that was admitted up to the
//! checkpoint's position in the log. Other runs are ignored.

use flowmeter_core::time::Timestamp;

use super::page::{long, word};
use super::run::{Outline, file_name};
use crate::{Error, Kind};

/// The first bytes of a manifest.
const MAGIC: [u8; 8] = *b"FLOWIDS\0";
/// The version of the format.
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 44;
const RUN_BYTES: usize = 36;

/// The runs of a partition at a point of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub(super) partition: u32,
    /// Number of earlier manifests.
    pub(super) generation: u64,
    pub(super) next: u64,
    pub(super) horizon: Timestamp,
    pub(super) runs: Vec<Outline>,
}

impl Manifest {
    /// Returns the manifest of a partition without identities.
    pub fn empty(partition: u32) -> Manifest {
        Manifest { partition, generation: 0, next: 0, horizon: Timestamp::MIN, runs: Vec::new() }
    }

    /// Returns the partition of these identities.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Returns the number of identities.
    pub fn count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.count))
    }

    /// Returns the names of its files, without their folder.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.runs.iter().map(|run| file_name(self.partition, run.number))
    }

    /// Appends the manifest to bytes, for [`Manifest::read`].
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.horizon.nanos().to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        for run in &self.runs {
            out.extend_from_slice(&run.number.to_le_bytes());
            out.extend_from_slice(&run.count.to_le_bytes());
            out.extend_from_slice(&run.min_at.nanos().to_le_bytes());
            out.extend_from_slice(&run.max_at.nanos().to_le_bytes());
            out.extend_from_slice(&run.sum.to_le_bytes());
        }
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// Reads exactly the bytes that [`Manifest::write_to`] appended.
    pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
        let corrupt = || Error::corrupt("a manifest of identities", "is not what was written");
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(corrupt)?;
        let (body, sum) = bytes.split_last_chunk().ok_or_else(corrupt)?;
        if body.len() < HEAD_BYTES || crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(corrupt());
        }
        let format = rest.first_chunk().map(|four| u32::from_le_bytes(*four)).ok_or_else(corrupt)?;
        if format != FORMAT {
            let message = format!("format {format} of manifests of identities is unknown to this program");
            return Err(Error::new(Kind::Format, message));
        }
        let (head, runs) = body.split_at(HEAD_BYTES);
        if runs.len() != word(head, 40) as usize * RUN_BYTES {
            return Err(corrupt());
        }
        let time = |bytes: &[u8], at| Timestamp::from_nanos(long(bytes, at).cast_signed());
        let outline = |run: &[u8]| Outline {
            number: long(run, 0),
            count: long(run, 8),
            min_at: time(run, 16),
            max_at: time(run, 24),
            sum: word(run, 32),
        };
        Ok(Manifest {
            partition: word(head, 12),
            generation: long(head, 16),
            next: long(head, 24),
            horizon: time(head, 32),
            runs: runs.chunks_exact(RUN_BYTES).map(outline).collect(),
        })
    }
}
