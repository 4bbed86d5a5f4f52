//! The disk as the store sees it: few operations, each with a stated promise.
//!
//! Names are relative to the data directory and use `/`. Appended bytes are durable only after
//! [`File::sync`]. New, changed and removed names are durable only after [`Disk::sync_folder`]. The
//! simulated disk loses everything else in a crash.

mod claims;
mod local;
mod lock;
mod overlay;

use std::io;

pub use claims::{Claim, Claims};
pub use local::LocalDisk;
pub use lock::Lock;
pub use overlay::Overlay;

/// The operations on a data directory.
pub trait Disk: Send + Sync {
    /// Creates a file, or empties an existing one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Opens an existing file for reading and appending.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Returns the sorted names of the files in a folder, without the folder. A missing folder is
    /// empty.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Renames a file atomically, and replaces a file of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Renames a file within a folder, durably. If no descriptor is free, it fails before anything
    /// changes.
    fn rename_durably(&self, from: &str, to: &str, folder: &str) -> io::Result<()> {
        self.rename(from, to)?;
        self.sync_folder(folder)
    }
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Creates a folder and its parents, durably.
    fn create_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Returns the bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Returns the names that have an owner in this program.
    fn claims(&self) -> Claims;
}

/// An open file, to be read and appended to.
pub trait File: Send + Sync {
    /// Appends bytes. After an error, any part of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes appended bytes durable. After an error it is unknown which ones are.
    fn sync(&mut self) -> io::Result<()>;
    /// Reads at an offset. Reads fewer bytes than requested only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Truncates the file to a length, durably.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Reads a whole file.
pub fn read_all(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a whole file durably and atomically.
pub fn write_whole(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (fresh, whole) = (format!("{folder}/{name}.new"), format!("{folder}/{name}"));
    let mut file = disk.create(&fresh)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&fresh, &whole)?;
    disk.sync_folder(folder)
}
