//! The lock of a data directory: one program at a time.
//!
//! It is the operating system's lock on a file, so it goes with the program that holds it,
//! however that ends; the file that stays behind says nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::{Error, Kind};

/// Its file. Nothing is in it.
const LOCK_FILE: &str = "LOCK";

/// A data directory that nobody else uses, for as long as this is held.
#[derive(Debug)]
pub struct Lock {
    /// Closed, it is unlocked.
    _file: File,
}

impl Lock {
    /// The name of its file.
    pub const FILE: &'static str = LOCK_FILE;

    /// Takes the lock of a directory that exists.
    ///
    /// # Errors
    /// `Invalid` when another program has it.
    pub fn take(data: &Path) -> Result<Lock, Error> {
        let path = data.join(LOCK_FILE);
        let at = |why: &std::io::Error| Error::io(path.display(), why);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|why| at(&why))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{} is in use by another flowmeter; stop it first, or ask it over HTTP (flowmeter backup --url does)",
                    data.display()
                );
                Err(Error::new(Kind::Invalid, message))
            }
            Err(TryLockError::Error(why)) => Err(at(&why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        assert_eq!(Lock::take(folder.path()).unwrap_err().kind, Kind::Invalid);
        drop(first);
        Lock::take(folder.path()).unwrap();
    }
}
