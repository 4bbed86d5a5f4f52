//! Durable data: the log, checkpoints, identities, the catalog, the event store.
//!
//! The log is the truth. Everything else can be made again from it, or says up to where it was
//! made: a checkpoint has the position in the log up to which it counted.
//!
//! Every file is written through a [`disk::Disk`], so that the simulation can tear writes, lose
//! unsynced data, and fill the disk.

#![allow(missing_docs)] // documentation says what names and types do not

pub mod archive;
pub mod catalog;
pub mod disk;
mod error;
mod examine;
pub mod identities;
pub mod index;
pub mod log;
pub mod rollups;

pub use error::{Error, Kind};
pub use examine::Examined;

/// Returns the checksum of all formats of this crate, CRC-32C.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Continues a checksum over further bytes.
pub fn checksum_on(before: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(before, bytes)
}
