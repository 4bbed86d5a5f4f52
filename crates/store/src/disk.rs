//! The disk as the store sees it: few operations, each with a stated promise.
//!
//! Names are relative to the data directory and use `/`. What was appended is durable
//! only after [`File::sync`]; a new name, a new place or a removal is durable only after
//! [`Disk::sync_folder`]. The simulation's disk forgets everything else in a crash.

mod local;
mod lock;
mod overlay;

use std::io;

pub use local::LocalDisk;
pub use lock::Lock;
pub use overlay::Overlay;

/// A data directory.
pub trait Disk: Send + Sync {
    /// A new file; an old one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// A file that exists, to read and to append to.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// The names of the files in a folder, without the folder, sorted. A folder that is
    /// not there has none.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Gives a file another name; a file that has it is replaced. All or nothing.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives a file another name in the same folder, durably. Without a descriptor to do it
    /// with, the file keeps its name: that is known before anything changes.
    fn rename_durably(&self, from: &str, to: &str, folder: &str) -> io::Result<()> {
        self.rename(from, to)?;
        self.sync_folder(folder)
    }
    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes a folder and those above it, durably.
    fn create_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Writes behind the last byte. After an error some of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. After an error nobody knows what is.
    fn sync(&mut self) -> io::Result<()>;
    /// Reads from a place; fewer bytes than asked for only at the end.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Whether it is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts it off behind so many bytes, durably.
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

/// Writes a whole file so that it is there entirely or not at all, durably.
pub fn write_whole(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (fresh, whole) = (format!("{folder}/{name}.new"), format!("{folder}/{name}"));
    let mut file = disk.create(&fresh)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&fresh, &whole)?;
    disk.sync_folder(folder)
}
