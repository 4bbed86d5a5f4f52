//! A disk that fails once, at a chosen operation, and counts the bytes that are read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use crate::disk::{Claims, Disk, File};

/// The number of operations before the failing one; below 0 it has failed.
struct Fuse(AtomicI64);

impl Fuse {
    fn unset() -> Fuse {
        Fuse(AtomicI64::new(i64::MAX))
    }

    fn burn(&self, kind: io::ErrorKind) -> io::Result<()> {
        match self.0.fetch_sub(1, SeqCst) {
            0 => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

pub(super) struct FailingDisk {
    disk: Arc<dyn Disk>,
    state: Arc<State>,
}

struct State {
    writes: Fuse,
    reads: Fuse,
    read_bytes: AtomicU64,
}

impl FailingDisk {
    pub(super) fn new(disk: Arc<dyn Disk>) -> FailingDisk {
        let state = State { writes: Fuse::unset(), reads: Fuse::unset(), read_bytes: AtomicU64::new(0) };
        FailingDisk { disk, state: Arc::new(state) }
    }

    /// Fails the write, sync, rename or removal after this many.
    pub(super) fn fail_at(&self, operation: i64) {
        self.state.writes.0.store(operation, SeqCst);
    }

    /// Fails the read after this many.
    pub(super) fn fail_read_at(&self, operation: i64) {
        self.state.reads.0.store(operation, SeqCst);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state.writes.0.load(SeqCst) < 0
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.state.read_bytes.load(SeqCst)
    }

    fn write(&self) -> io::Result<()> {
        self.state.writes.burn(io::ErrorKind::Other)
    }
}

impl Disk for FailingDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.write()?;
        Ok(Box::new(FailingFile { file: self.disk.create(name)?, state: Arc::clone(&self.state) }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(FailingFile { file: self.disk.open(name)?, state: Arc::clone(&self.state) }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.write()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.write()?;
        self.disk.remove(name)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.write()?;
        self.disk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.write()?;
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn claims(&self) -> Claims {
        self.disk.claims()
    }
}

struct FailingFile {
    file: Box<dyn File>,
    state: Arc<State>,
}

impl File for FailingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(why) = self.state.writes.burn(io::ErrorKind::StorageFull) {
            // Half of the bytes are written, as on a full disk.
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(why);
        }
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state.writes.burn(io::ErrorKind::Other)?;
        self.file.sync()
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.state.reads.burn(io::ErrorKind::Other)?;
        self.state.read_bytes.fetch_add(bytes.len() as u64, SeqCst);
        self.file.read_at(bytes, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.state.writes.burn(io::ErrorKind::Other)?;
        self.file.truncate(length)
    }
}
