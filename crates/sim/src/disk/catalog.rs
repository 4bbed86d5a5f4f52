//! The bytes of the catalog, with random access.

use std::io;

use super::SimDisk;
use crate::random::Random;

/// Bytes with random access: the durable ones, and later writes.
#[derive(Clone, Default)]
pub(super) struct Pages {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Offsets and bytes, or a length, in order.
    unsynced: Vec<Written>,
}

#[derive(Clone)]
enum Written {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Written {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Written::Bytes(at, written) => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
            Written::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl Pages {
    fn write(&mut self, written: Written) {
        written.apply(&mut self.bytes);
        self.unsynced.push(written);
    }

    fn sync(&mut self) {
        for written in self.unsynced.drain(..) {
            written.apply(&mut self.durable);
        }
    }

    /// Applies any subset of the unsynced writes; lengths always, since they come first.
    pub(super) fn lose(&mut self, random: &mut Random) {
        let mut bytes = std::mem::take(&mut self.durable);
        for written in self.unsynced.drain(..) {
            if matches!(written, Written::Length(_)) || random.chance(500) {
                written.apply(&mut bytes);
            }
        }
        self.durable.clone_from(&bytes);
        self.bytes = bytes;
    }
}

/// The catalog's bytes on the same disk, with the same faults.
pub struct CatalogStorage(pub(super) SimDisk);

impl std::fmt::Debug for CatalogStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CatalogStorage")
    }
}

impl CatalogStorage {
    /// Changes the bytes, or returns an error.
    fn change(&self, is_append: bool, change: impl FnOnce(&mut Pages)) -> io::Result<()> {
        let mut state = self.0.state();
        let mut gate = state.gate();
        if gate.is_ok() && is_append && state.faults.full_for > 0 {
            state.faults.full_for -= 1;
            gate = Err((io::ErrorKind::StorageFull.into(), false));
        }
        if !matches!(gate, Err((_, false))) {
            change(&mut state.catalog);
        }
        gate.map_err(|(why, _)| why)
    }
}

impl redb::StorageBackend for CatalogStorage {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.0.state();
        state.gate().map_err(|(why, _)| why)?;
        Ok(state.catalog.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.state();
        state.gate().map_err(|(why, _)| why)?;
        let at = offset as usize;
        match state.catalog.bytes.get(at..at + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(true, |pages| pages.write(Written::Length(len as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(false, Pages::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(false, |pages| pages.write(Written::Bytes(offset as usize, data.to_vec())))
    }
}
