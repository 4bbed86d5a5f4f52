//! The lock of a data directory: one program at a time.
//!
//! It is a lock of the operating system on a file, so it is released however the program ends. The
//! file remains and means nothing by itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::{Error, Kind};

/// The locked file; it is empty.
const LOCK_FILE: &str = "LOCK";

/// The exclusive use of a data directory while the value lives.
#[derive(Debug)]
pub struct Lock {
    /// Closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Name of the locked file.
    pub const FILE: &'static str = LOCK_FILE;

    /// Locks an existing directory.
    ///
    /// # Errors
    /// `Invalid` if another program has locked it.
    pub fn take(data: &Path) -> Result<Lock, Error> {
        let path = data.join(LOCK_FILE);
        let at = |why: &std::io::Error| Error::io(path.display(), why);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|why| at(&why))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{} is in use by another flowmeter; stop it first, or use the running server (flowmeter backup --url makes a backup of it)",
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
