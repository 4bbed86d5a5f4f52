//! A disk that fails once, at any chosen operation.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::disk::{Claims, Disk, File, LocalDisk};

/// A disk of which one operation fails, once.
pub(super) struct Flaky {
    pub(super) disk: LocalDisk,
    /// Number of operations before the failure.
    pub(super) fuse: Fuse,
}

pub(super) type Fuse = Arc<AtomicI64>;

fn burn(fuse: &Fuse) -> io::Result<()> {
    match fuse.fetch_sub(1, Ordering::Relaxed) {
        0 => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

impl Disk for Flaky {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        burn(&self.fuse)?;
        Ok(Box::new(FlakyFile { file: self.disk.create(name)?, fuse: Arc::clone(&self.fuse) }))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        burn(&self.fuse)?;
        self.disk.open(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        burn(&self.fuse)?;
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        burn(&self.fuse)?;
        self.disk.remove(name)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        burn(&self.fuse)?;
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn claims(&self) -> Claims {
        self.disk.claims()
    }
}

struct FlakyFile {
    file: Box<dyn File>,
    fuse: Fuse,
}

impl File for FlakyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(why) = burn(&self.fuse) {
            // Half of it was written.
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(why);
        }
        self.file.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        burn(&self.fuse)?;
        self.file.sync()
    }
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(bytes, at)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}
