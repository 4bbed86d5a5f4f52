//! What is on disk: the log, checkpoints, identities, the catalog, the event store.
//!
//! The log is the truth. Whatever else lies here can be made again from it, or says how
//! far it has been made: a checkpoint names the position in the log that it stands for.
//!
//! Every file is written through a [`disk::Disk`], so that the simulation can tear
//! writes, lose what was not synced, and fill the disk.

pub mod archive;
pub mod catalog;
pub mod disk;
mod error;
mod examine;
pub mod identities;
pub mod log;
pub mod rollups;

pub use error::{Error, Kind};
pub use examine::Examined;

/// The checksum of everything here: CRC-32C.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of bytes that come behind others.
pub fn checksum_on(before: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(before, bytes)
}
