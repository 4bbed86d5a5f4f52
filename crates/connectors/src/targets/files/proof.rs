//! A file that is synced and read back while it is written.
//!
//! Syncing and reading a large file takes seconds. A thread does both for one part after another,
//! so that only the last part is left when the file ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use flowmeter_engine::{Error, Kind};
use xxhash_rust::xxh3::Xxh3;

/// Bytes of a part: large enough that syncing is cheap, small enough that little is left at the end.
const PART_BYTES: u64 = 32 << 20;
/// Bytes that are read back at a time.
const READ_BYTES: usize = 256 << 10;

/// A file that is written from its beginning to its end.
pub(super) struct Proof {
    path: PathBuf,
    file: File,
    /// The part that is being written.
    digest: Xxh3,
    part: u64,
    reader: Option<(Sender<Part>, JoinHandle<io::Result<bool>>)>,
    written: u64,
}

/// A part that was written.
struct Part {
    bytes: u64,
    digest: u128,
}

impl Proof {
    /// Continues an empty file.
    pub(super) fn open(path: &Path) -> Result<Proof, Error> {
        let file = OpenOptions::new().append(true).open(path).map_err(|why| Error::io(path.display(), &why))?;
        Ok(Proof { path: path.to_owned(), file, digest: Xxh3::new(), part: 0, reader: None, written: 0 })
    }

    /// Returns the number of bytes written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|why| self.failed(&why))?;
        self.digest.update(bytes);
        self.part += bytes.len() as u64;
        self.written += bytes.len() as u64;
        if self.part >= PART_BYTES { self.end_part() } else { Ok(()) }
    }

    /// Syncs the file. Returns whether it holds what was written.
    pub(super) fn finish(&mut self) -> Result<bool, Error> {
        let read = match self.reader.is_some() {
            true => {
                self.end_part()?;
                let Some((parts, thread)) = self.reader.take() else { return Ok(false) };
                drop(parts);
                let fallen = |_| Err(io::Error::other("the thread that reads it back failed"));
                thread.join().unwrap_or_else(fallen)
            }
            // A small file needs no thread.
            false => {
                let part = Part { bytes: self.part, digest: self.digest.digest128() };
                File::open(&self.path).and_then(|mut file| check(&mut file, &part))
            }
        };
        let holds = read.map_err(|why| self.failed(&why))?;
        self.file.sync_all().map_err(|why| self.failed(&why))?;
        let length = self.file.metadata().map_err(|why| self.failed(&why))?.len();
        Ok(holds && length == self.written)
    }

    fn end_part(&mut self) -> Result<(), Error> {
        if self.reader.is_none() {
            self.reader = Some(self.start().map_err(|why| self.failed(&why))?);
        }
        let part = Part { bytes: self.part, digest: self.digest.digest128() };
        (self.part, self.digest) = (0, Xxh3::new());
        // A reader that ended has an error, which `finish` returns.
        if let Some((parts, _)) = &self.reader {
            drop(parts.send(part));
        }
        Ok(())
    }

    fn start(&self) -> io::Result<(Sender<Part>, JoinHandle<io::Result<bool>>)> {
        let file = File::open(&self.path)?;
        let (sender, parts) = channel();
        let thread = Builder::new().name("reads back".to_owned()).spawn(move || check_all(file, &parts))?;
        Ok((sender, thread))
    }

    fn failed(&self, why: &io::Error) -> Error {
        match why.kind() {
            io::ErrorKind::UnexpectedEof => Error::new(Kind::Corrupt, format!("{}: became shorter", self.path.display())),
            _ => Error::io(self.path.display(), why),
        }
    }
}

/// Syncs and reads back the parts of a file. Returns whether they are as written.
fn check_all(mut file: File, parts: &Receiver<Part>) -> io::Result<bool> {
    let mut holds = true;
    for part in parts {
        file.sync_data()?;
        holds &= check(&mut file, &part)?;
    }
    Ok(holds)
}

fn check(file: &mut File, part: &Part) -> io::Result<bool> {
    let (mut digest, mut left, mut chunk) = (Xxh3::new(), part.bytes, vec![0; READ_BYTES]);
    while left > 0 {
        let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut chunk[..wanted])?;
        digest.update(&chunk[..wanted]);
        left -= wanted as u64;
    }
    Ok(digest.digest128() == part.digest)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;

    #[test]
    fn a_file_of_several_parts_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let megabyte = vec![b'x'; 1 << 20];
        for megabytes in [0, 1, 32, 33, 70] {
            File::create(&path).unwrap();
            let mut proof = Proof::open(&path).unwrap();
            (0..megabytes).for_each(|_| proof.write(&megabyte).unwrap());
            assert!(proof.finish().unwrap());
            assert_eq!(proof.written(), megabytes << 20);
        }
    }

    #[test]
    fn other_bytes_are_found_in_every_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let megabyte = vec![b'x'; 1 << 20];
        for (before, at) in [(31, 0), (31, 30 << 20), (40, 33 << 20), (40, (40 << 20) - 1)] {
            File::create(&path).unwrap();
            let mut proof = Proof::open(&path).unwrap();
            (0..before).for_each(|_| proof.write(&megabyte).unwrap());
            // The part with this byte is not complete yet.
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(b"y")).unwrap();
            (before..41).for_each(|_| proof.write(&megabyte).unwrap());
            assert!(!proof.finish().unwrap(), "{at}");
        }
    }
}
