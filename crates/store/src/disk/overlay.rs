//! A read-only directory with all writes redirected to another one, so that code which opens and
//! repairs a data directory can run on it without changing a byte.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Claims, Disk, File};

/// A directory below that never changes, and one above that receives all writes.
pub struct Overlay {
    below: Arc<dyn Disk>,
    above: Arc<dyn Disk>,
    /// Files of the directory below that were removed.
    gone: Mutex<BTreeSet<String>>,
}

/// Bytes copied at a time when a file is written to for the first time.
const CHUNK_BYTES: usize = 1 << 20;

impl Overlay {
    /// Combines two directories; `above` must be empty.
    pub fn new(below: Arc<dyn Disk>, above: Arc<dyn Disk>) -> Overlay {
        Overlay { below, above, gone: Mutex::default() }
    }

    fn gone(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, name: &str) -> io::Result<()> {
        name.rsplit_once('/').map_or(Ok(()), |(folder, _)| self.above.create_folder(folder))
    }

    /// Copies a file to the directory above, unless it is there.
    fn raise(&self, name: &str) -> io::Result<()> {
        if self.above.open(name).is_ok() {
            return Ok(());
        }
        let below = self.below.open(name)?;
        self.make_room(name)?;
        copy(&*below, &mut *self.above.create(name)?)
    }
}

fn copy(from: &dyn File, to: &mut dyn File) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut chunk, at)?;
        if read == 0 {
            return Ok(());
        }
        to.append(&chunk[..read])?;
        at += read as u64;
    }
}

impl Disk for Overlay {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.make_room(name)?;
        let file = self.above.create(name)?;
        self.gone().insert(name.to_owned());
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        if let Ok(own) = self.above.open(name) {
            return Ok(own);
        }
        if self.gone().contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = self.below.open(name)?;
        Ok(Box::new(Reading { below, own: None, above: Arc::clone(&self.above), name: name.to_owned() }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let gone = self.gone();
        let mut names: BTreeSet<String> = self.below.list(folder)?.into_iter().collect();
        names.retain(|name| !gone.contains(&format!("{folder}/{name}")));
        names.extend(self.above.list(folder)?);
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.raise(from)?;
        self.make_room(to)?;
        self.above.rename(from, to)?;
        self.gone().extend([from.to_owned(), to.to_owned()]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let here = self.above.remove(name);
        match self.gone().insert(name.to_owned()) && self.below.open(name).is_ok() {
            true => Ok(()),
            false => here,
        }
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.above.create_folder(folder)
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        // The directory above need not survive a crash.
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.above.free_bytes()
    }

    fn claims(&self) -> Claims {
        self.above.claims()
    }
}

/// A file below, until the first write to it.
struct Reading {
    below: Box<dyn File>,
    own: Option<Box<dyn File>>,
    above: Arc<dyn Disk>,
    name: String,
}

impl Reading {
    fn own(&mut self) -> io::Result<&mut Box<dyn File>> {
        if self.own.is_none() {
            if let Some((folder, _)) = self.name.rsplit_once('/') {
                self.above.create_folder(folder)?;
            }
            let mut own = self.above.create(&self.name)?;
            copy(&*self.below, &mut *own)?;
            self.own = Some(own);
        }
        self.own.as_mut().ok_or_else(|| io::Error::other("no copy"))
    }

    fn seen(&self) -> &dyn File {
        self.own.as_deref().unwrap_or(&*self.below)
    }
}

impl File for Reading {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.own()?.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.seen().read_at(bytes, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.seen().len()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.own()?.truncate(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalDisk, read_all, write_whole};
    use super::*;

    #[test]
    fn the_directory_below_never_changes_and_writes_are_visible() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [below, above] = folders.each_ref().map(|folder| Arc::new(LocalDisk::new(folder.path()).unwrap()) as Arc<dyn Disk>);
        below.create_folder("f").unwrap();
        for name in ["kept", "grown", "gone", "moved"] {
            write_whole(&*below, "f", name, name.as_bytes()).unwrap();
        }
        let over = Overlay::new(Arc::clone(&below), above);
        over.open("f/grown").unwrap().append(b" and more").unwrap();
        over.remove("f/gone").unwrap();
        over.rename("f/moved", "f/there").unwrap();
        write_whole(&over, "f", "new", b"new").unwrap();
        assert_eq!(over.list("f").unwrap(), ["grown", "kept", "new", "there"]);
        assert_eq!(read_all(&over, "f/grown").unwrap(), b"grown and more");
        assert_eq!(read_all(&over, "f/there").unwrap(), b"moved");
        assert!(over.open("f/gone").is_err() && over.remove("f/gone").is_err());
        assert_eq!(below.list("f").unwrap(), ["gone", "grown", "kept", "moved"]);
        assert_eq!(read_all(&*below, "f/grown").unwrap(), b"grown");
    }
}
