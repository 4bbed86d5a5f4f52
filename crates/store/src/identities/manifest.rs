//! A manifest: which runs together are the identities of a partition.
//!
//! It is small and goes into the checkpoint whose position in the log it belongs to:
//! the runs then hold what was admitted up to there, and nothing else counts.

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
    /// How many manifests came before it.
    pub(super) generation: u64,
    /// The number of the next run.
    pub(super) next: u64,
    pub(super) horizon: Timestamp,
    pub(super) runs: Vec<Outline>,
}

impl Manifest {
    /// The manifest of a partition that has no identities yet.
    pub fn empty(partition: u32) -> Manifest {
        Manifest { partition, generation: 0, next: 0, horizon: Timestamp::MIN, runs: Vec::new() }
    }

    /// The partition whose identities these are.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How many identities there are in all.
    pub fn count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.count))
    }

    /// The files it names, without their folder.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.runs.iter().map(|run| file_name(self.partition, run.number))
    }

    /// Appends it to bytes, which [`Manifest::read`] then takes by themselves.
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

    /// Reads exactly what [`Manifest::write_to`] appended.
    pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
        let corrupt = || Error::corrupt("a manifest of identities", "is not what was written");
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(corrupt)?;
        let (body, sum) = bytes.split_last_chunk().ok_or_else(corrupt)?;
        if body.len() < HEAD_BYTES || crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(corrupt());
        }
        let format = rest.first_chunk().map(|four| u32::from_le_bytes(*four)).ok_or_else(corrupt)?;
        if format != FORMAT {
            let message = format!("format {format} of manifests of identities is not known here");
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
