//! Results of reading files whole, for verification: every byte under a checksum is read.
//!
//! Each kind of file is examined beside its reader; this module has the shared types.

use crate::Error;

/// A file that was read to its end, or the damage in it.
#[derive(Debug)]
pub struct Examined {
    /// The name in the data directory.
    pub file: String,
    /// Whether the content is what was written.
    pub outcome: Result<(), Error>,
}

impl Examined {
    pub fn new(file: impl Into<String>, outcome: Result<(), Error>) -> Examined {
        Examined { file: file.into(), outcome }
    }
}
