//! Files of records, of one run.
//!
//! A file is written next to its destination and moved there when complete (write, fsync, rename,
//! fsync of the folder), so a reader sees all of it or the previous file. Its name is made of the
//! records' own fields: a repeated run writes the same file again, so a repeat is harmless. The
//! target confirms by reading the files back: the only file of a run while it is written, many
//! files at the end.
//!
//! A link is followed. A device or pipe is written in place; it is not read back.

mod proof;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flowmeter_document::TargetFormat;
use flowmeter_engine::outbox::{Answer, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use proof::Proof;
use xxhash_rust::xxh3::Xxh3;

use super::folder::{self, Named, beside, folder_of};
use super::place::{self, WINDOW, window_name};
use super::{all_unavailable, columns, format};

/// Bytes collected for a file before they are written. Files are opened to append and closed again,
/// so their number is not limited by the system's bound on open files.
const BUFFER_BYTES: usize = 256 << 10;

/// Files of records, named by a template.
pub struct Files {
    template: String,
    format: TargetFormat,
    files: BTreeMap<PathBuf, Pending>,
}

/// A file that is being written.
struct Pending {
    ink: Ink,
    /// The path until it is complete, and the one that it gets then; of a device or pipe none.
    place: Option<(PathBuf, PathBuf)>,
    digest: Xxh3,
    bytes: u64,
    is_in_place: bool,
}

/// The way in which a file is written.
enum Ink {
    /// Lines of the only file.
    Proved { lines: Vec<u8>, proof: Box<Proof>, holds: bool },
    /// Lines that wait to be written to one of many files.
    Lines(Vec<u8>),
    /// Lines of a device or pipe, which stays open.
    Stream(Vec<u8>, File),
    /// Columns; these need their file to stay open.
    Columns(Option<Box<columns::Writer<File>>>),
}

impl Files {
    /// Creates files named by a template. One without placeholders is created even without records,
    /// so that an empty result is visible.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(template: &str, format: TargetFormat) -> Result<Files, Error> {
        // A run is one window.
        let template = template.replace(WINDOW, &window_name(0));
        let mut files = Files { template, format, files: BTreeMap::new() };
        if !files.template.contains('{') {
            files.pending(&files.template.clone())?;
        }
        Ok(files)
    }

    fn pending(&mut self, path: &str) -> Result<&mut Pending, Error> {
        let path = Path::new(path);
        if !self.files.contains_key(path) {
            let (file, place) = create(path)?;
            let ink = match (self.format, &place) {
                (TargetFormat::Parquet, _) => Ink::Columns(Some(Box::new(columns::Writer::of_records(file)?))),
                (format, None) => Ink::Stream(format::head(format)?, file),
                (format, Some(_)) if self.template.contains('{') => Ink::Lines(format::head(format)?),
                (format, Some((beside, _))) => {
                    Ink::Proved { lines: format::head(format)?, proof: Box::new(Proof::open(beside)?), holds: false }
                }
            };
            let pending = Pending { ink, place, digest: Xxh3::new(), bytes: 0, is_in_place: false };
            self.files.insert(path.to_path_buf(), pending);
        }
        match self.files.get_mut(path) {
            Some(pending) => Ok(pending),
            None => Err(Error::new(Kind::Bug, "a file that was just added is gone")),
        }
    }

    fn take(&mut self, records: &[Outgoing<'_>]) -> Result<(), Error> {
        let format = self.format;
        if !self.template.contains('{') {
            let path = self.template.clone();
            let pending = self.pending(&path)?;
            return records.iter().try_for_each(|record| pending.append(Path::new(&path), format, record));
        }
        for record in records {
            let path = place::fill(&self.template, record)?;
            self.pending(&path)?.append(Path::new(&path), format, record)?;
        }
        Ok(())
    }
}

/// Creates the file beside its place; opens a device or pipe as it is.
fn create(path: &Path) -> Result<(File, Option<(PathBuf, PathBuf)>), Error> {
    let at = |what: &Path, why: &io::Error| Error::io(what.display(), why);
    match folder::named(path)? {
        Named::Stream => {
            let file = OpenOptions::new().append(true).open(path).map_err(|why| at(path, &why))?;
            Ok((file, None))
        }
        Named::File(path) => {
            let folder = folder_of(&path);
            fs::create_dir_all(folder).map_err(|why| at(folder, &why))?;
            let beside = beside(&path);
            let file = File::create(&beside).map_err(|why| at(&beside, &why))?;
            Ok((file, Some((beside, path))))
        }
    }
}

impl Pending {
    fn append(&mut self, path: &Path, format: TargetFormat, record: &Outgoing<'_>) -> Result<(), Error> {
        match &mut self.ink {
            Ink::Proved { lines: buffer, .. } | Ink::Lines(buffer) | Ink::Stream(buffer, _) => {
                format::append(format, record.json, buffer)?;
                if buffer.len() >= BUFFER_BYTES { self.write(path) } else { Ok(()) }
            }
            Ink::Columns(Some(writer)) => writer.push(record.json),
            Ink::Columns(None) => Err(Error::new(Kind::Bug, "a record for a file that is whole")),
        }
    }

    fn write(&mut self, path: &Path) -> Result<(), Error> {
        let at = |why: io::Error| Error::io(path.display(), &why);
        let buffer = match &mut self.ink {
            Ink::Proved { lines, proof, .. } => {
                proof.write(lines)?;
                lines.clear();
                return Ok(());
            }
            Ink::Stream(lines, stream) => {
                stream.write_all(lines).and_then(|()| stream.flush()).map_err(at)?;
                lines.clear();
                return Ok(());
            }
            Ink::Lines(buffer) => buffer,
            Ink::Columns(_) => return Ok(()),
        };
        let beside = self.place.as_ref().map_or(path, |(beside, _)| beside);
        let mut file = OpenOptions::new().append(true).open(beside).map_err(at)?;
        file.write_all(buffer).map_err(at)?;
        self.digest.update(buffer);
        self.bytes += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    fn seal(&mut self, path: &Path) -> Result<(), Error> {
        self.write(path)?;
        let at = |why: io::Error| Error::io(path.display(), &why);
        let finished = match &mut self.ink {
            Ink::Columns(writer) => writer.take().map(|writer| writer.finish()).transpose()?.is_some(),
            Ink::Proved { .. } | Ink::Lines(_) | Ink::Stream(..) => false,
        };
        let Some((beside, place)) = &self.place else { return Ok(()) };
        if finished {
            (self.digest, self.bytes) = digest_of(beside).map_err(at)?;
        }
        match &mut self.ink {
            Ink::Proved { proof, holds, .. } => *holds = proof.finish()?,
            Ink::Lines(_) | Ink::Columns(_) | Ink::Stream(..) => {
                OpenOptions::new().append(true).open(beside).and_then(|file| file.sync_all()).map_err(at)?;
            }
        }
        fs::rename(beside, place).map_err(at)?;
        self.is_in_place = true;
        File::open(folder_of(place)).and_then(|folder| folder.sync_all()).map_err(at)
    }

    fn confirm(&self, path: &Path) -> Result<(), Error> {
        let at = |why: io::Error| Error::io(path.display(), &why);
        if self.place.is_none() {
            return Ok(());
        }
        let holds = match &self.ink {
            // It was read back while it was written.
            Ink::Proved { proof, holds, .. } => *holds && fs::metadata(path).map_err(at)?.len() == proof.written(),
            Ink::Lines(_) | Ink::Columns(_) | Ink::Stream(..) => {
                let (digest, bytes) = digest_of(path).map_err(at)?;
                bytes == self.bytes && digest.digest128() == self.digest.digest128()
            }
        };
        if !holds {
            let message = format!("{}: holds other bytes than were written; run again", path.display());
            return Err(Error::new(Kind::Corrupt, message));
        }
        Ok(())
    }
}

/// Returns the digest of a file and its length.
fn digest_of(path: &Path) -> io::Result<(Xxh3, u64)> {
    let mut file = File::open(path)?;
    let (mut digest, mut bytes, mut chunk) = (Xxh3::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((digest, bytes));
        }
        digest.update(&chunk[..read]);
        bytes += read as u64;
    }
}

impl Target for Files {
    fn probe(&mut self) -> Result<(), Error> {
        if self.template.contains('{') {
            return folder::probe(place::fixed(&self.template));
        }
        match folder::named(Path::new(&self.template))? {
            Named::Stream => Ok(()),
            Named::File(path) => folder::probe(&path.to_string_lossy()),
        }
    }

    fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        match self.take(records) {
            Ok(()) => vec![Answer::Accepted; records.len()],
            Err(why) => all_unavailable(&why, records.len()),
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        self.files.iter_mut().try_for_each(|(path, pending)| pending.seal(path))
    }

    fn confirm(&mut self) -> Result<(), Error> {
        self.files.iter().try_for_each(|(path, pending)| pending.confirm(path))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for pending in self.files.values().filter(|pending| !pending.is_in_place) {
            // Nothing refers to a file that was not sealed; failing to remove it is harmless.
            if let Some((beside, _)) = &pending.place {
                drop(fs::remove_file(beside));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_confirms_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        let open = || Files::new(path.to_str().unwrap(), TargetFormat::Ndjson).unwrap();
        drop(open());
        assert!(!path.exists());
        let mut files = open();
        files.seal().unwrap();
        files.confirm().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::write(&path, "tampered").unwrap();
        assert!(files.confirm().is_err());
        drop(files);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_followed_and_a_device_stays() {
        use std::os::unix::fs::{FileTypeExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let (real, dangling) = (folder.path().join("real.ndjson"), folder.path().join("new.ndjson"));
        fs::write(&real, "before").unwrap();
        for (label, to) in [("a file", &real), ("nothing yet", &dangling)] {
            let link = folder.path().join(format!("link to {label}"));
            symlink(to.file_name().unwrap(), &link).unwrap();
            let mut files = Files::new(link.to_str().unwrap(), TargetFormat::Ndjson).unwrap();
            files.probe().unwrap();
            files.seal().unwrap();
            files.confirm().unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{label}");
            assert_eq!(fs::read(to).unwrap(), b"", "{label}");
        }
        for format in [TargetFormat::Ndjson, TargetFormat::Csv, TargetFormat::Parquet] {
            let mut files = Files::new("/dev/null", format).unwrap();
            files.probe().unwrap();
            files.seal().unwrap();
            files.confirm().unwrap();
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        }
        let why = Files::new(folder.path().to_str().unwrap(), TargetFormat::Ndjson).err().unwrap();
        assert!(why.kind == Kind::Invalid && why.to_string().contains("a folder"), "{why}");
    }
}
