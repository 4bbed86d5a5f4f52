//! Files of records.
//!
//! A file is written beside its place and put there whole (write, fsync, rename, fsync
//! of the folder), so a reader sees all of it or what was there before. Its name is
//! made of the records' own fields: the same run again writes the same file again,
//! which makes a repeat harmless. It confirms by reading back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flowmeter_core::pipeline::TargetFormat;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Delivery, Error, Kind, Target};
use xxhash_rust::xxh3::Xxh3;

use super::format;

/// Bytes gathered for a file before they are written. Files are opened to append and
/// closed again, so their number is not bounded by the system's.
const BUFFER_BYTES: usize = 256 << 10;

/// Files of records, by the names their records give.
pub struct Files {
    template: String,
    format: TargetFormat,
    files: BTreeMap<PathBuf, Pending>,
}

/// A file under way.
struct Pending {
    buffer: Vec<u8>,
    /// Where it is written until it is whole.
    beside: PathBuf,
    digest: Xxh3,
    bytes: u64,
    accepted: bool,
}

impl Files {
    /// Files named by a template. One without placeholders is made even if there are no
    /// records: an empty answer is an answer.
    pub fn new(template: &str, format: TargetFormat) -> Result<Files, Error> {
        let mut files = Files { template: template.to_owned(), format, files: BTreeMap::new() };
        if !template.contains('{') {
            files.pending(Path::new(template))?;
        }
        Ok(files)
    }

    fn pending(&mut self, path: &Path) -> Result<&mut Pending, Error> {
        if !self.files.contains_key(path) {
            let mut pending =
                Pending { buffer: Vec::new(), beside: beside(path), digest: Xxh3::new(), bytes: 0, accepted: false };
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder).map_err(|why| Error::io(folder.display(), &why))?;
            }
            File::create(&pending.beside).map_err(|why| Error::io(pending.beside.display(), &why))?;
            pending.buffer = format::head(self.format)?;
            self.files.insert(path.to_path_buf(), pending);
        }
        match self.files.get_mut(path) {
            Some(pending) => Ok(pending),
            None => Err(Error::new(Kind::Bug, "a file that was just added is gone")),
        }
    }
}

/// A name beside the file, of this process alone.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

impl Pending {
    fn write(&mut self) -> Result<(), Error> {
        let at = |why: std::io::Error| Error::io(self.beside.display(), &why);
        let mut file = OpenOptions::new().append(true).open(&self.beside).map_err(at)?;
        file.write_all(&self.buffer).map_err(at)?;
        self.digest.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn accept(&mut self, path: &Path) -> Result<(), Error> {
        self.write()?;
        let at = |why: std::io::Error| Error::io(path.display(), &why);
        let file = OpenOptions::new().append(true).open(&self.beside).map_err(at)?;
        file.sync_all().map_err(at)?;
        fs::rename(&self.beside, path).map_err(at)?;
        self.accepted = true;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)
    }

    fn confirm(&self, path: &Path) -> Result<(), Error> {
        let at = |why: std::io::Error| Error::io(path.display(), &why);
        let mut file = File::open(path).map_err(at)?;
        let mut digest = Xxh3::new();
        let mut bytes = 0;
        let mut chunk = vec![0; BUFFER_BYTES];
        loop {
            let read = file.read(&mut chunk).map_err(at)?;
            if read == 0 {
                break;
            }
            digest.update(&chunk[..read]);
            bytes += read as u64;
        }
        if bytes != self.bytes || digest.digest128() != self.digest.digest128() {
            let message = format!("{}: holds other bytes than were written; run again", path.display());
            return Err(Error::new(Kind::Corrupt, message));
        }
        Ok(())
    }
}

impl Target for Files {
    fn push(&mut self, delivery: &Delivery<'_>) -> Result<(), Error> {
        let path = match self.template.contains('{') {
            true => fill(&self.template, delivery),
            false => self.template.clone(),
        };
        let format = self.format;
        let pending = self.pending(Path::new(&path))?;
        format::append(format, delivery.json, &mut pending.buffer)?;
        if pending.buffer.len() >= BUFFER_BYTES { pending.write() } else { Ok(()) }
    }

    fn accept(&mut self) -> Result<(), Error> {
        self.files.iter_mut().try_for_each(|(path, pending)| pending.accept(path))
    }

    fn confirm(&mut self) -> Result<(), Error> {
        self.files.iter().try_for_each(|(path, pending)| pending.confirm(path))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for pending in self.files.values().filter(|pending| !pending.accepted) {
            // Nothing refers to what was not accepted; failing to remove it harms nobody.
            drop(fs::remove_file(&pending.beside));
        }
    }
}

/// The template with the record's own fields in it.
fn fill(template: &str, delivery: &Delivery<'_>) -> String {
    let key = &delivery.key;
    let time = |at: Timestamp| if at == Timestamp::MAX || at == Timestamp::MIN { "never".to_owned() } else { at.to_string() };
    let kind = &delivery.plan.meter_types[usize::from(key.meter_type)];
    let meter_key = delivery.plan.processors[usize::from(key.processor)].key.to_string();
    [
        ("{periodStart}", time(key.period.start)),
        ("{periodEnd}", time(key.period.end)),
        ("{meterType}", kind.name.clone()),
        ("{meterKey}", meter_key),
        ("{userId}", String::from_utf8_lossy(key.user).into_owned()),
    ]
    .iter()
    .fold(template.to_owned(), |path, (name, value)| path.replace(name, &safe(value)))
}

/// A value as a part of a file name: whatever could lead elsewhere is written as %XX.
pub(super) fn safe(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (i, byte) in value.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_@+,=: ".contains(&byte) || (byte == b'.' && i > 0);
        match plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_the_folder() {
        assert_eq!(safe("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(safe("user0@example.com"), "user0@example.com");
        assert_eq!(safe("blå"), "bl%C3%A5");
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_confirms_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        let mut files = Files::new(path.to_str().unwrap(), TargetFormat::Ndjson).unwrap();
        drop(Files::new(path.to_str().unwrap(), TargetFormat::Ndjson).unwrap());
        assert!(!path.exists());
        files = {
            drop(files);
            Files::new(path.to_str().unwrap(), TargetFormat::Ndjson).unwrap()
        };
        files.accept().unwrap();
        files.confirm().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::write(&path, "tampered").unwrap();
        assert!(files.confirm().is_err());
        drop(files);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
