//! Looking through files whole, for verification: every byte that a checksum covers is read.
//!
//! Each kind of file is looked through beside its reader; here are the words they share.

use crate::Error;

/// A file that was read to its end, or what is wrong with it.
#[derive(Debug)]
pub struct Examined {
    /// Its name in the data directory.
    pub file: String,
    /// Whether it is what was written.
    pub outcome: Result<(), Error>,
}

impl Examined {
    /// Makes one of a file and its outcome.
    pub fn new(file: impl Into<String>, outcome: Result<(), Error>) -> Examined {
        Examined { file: file.into(), outcome }
    }
}
