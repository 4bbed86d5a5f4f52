//! Files of records that grow while a server runs.
//!
//! What was accepted is known by the length of each file, which the caller keeps with its
//! own place in the stream of records. After a crash a file is cut back to the length that
//! is known, and what comes next is written again: each record is there once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flowmeter_core::pipeline::TargetFormat;
use flowmeter_engine::{Error, Kind};
use serde_json::Value;

use super::{files, format};

/// Files of records that grow.
pub struct Growing {
    template: String,
    format: TargetFormat,
    /// Bytes of each file that are known to be right.
    lengths: BTreeMap<PathBuf, u64>,
    pending: BTreeMap<PathBuf, Vec<u8>>,
}

impl Growing {
    /// Files named by a template, with the lengths that are known.
    pub fn new(template: &str, format: TargetFormat, lengths: BTreeMap<PathBuf, u64>) -> Growing {
        Growing { template: template.to_owned(), format, lengths, pending: BTreeMap::new() }
    }

    /// Takes a record; it is in its file after [`Growing::accept`].
    pub fn push(&mut self, json: &[u8]) -> Result<(), Error> {
        let path = match self.template.contains('{') {
            true => PathBuf::from(fill(&self.template, json)?),
            false => PathBuf::from(&self.template),
        };
        let known = self.lengths.contains_key(&path);
        let pending = match self.pending.entry(path) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let head = if known { Vec::new() } else { format::head(self.format)? };
                free.insert(head)
            }
        };
        format::append(self.format, json, pending)
    }

    /// Writes what was pushed, durably, and tells the lengths that are right from now on.
    pub fn accept(&mut self) -> Result<&BTreeMap<PathBuf, u64>, Error> {
        for (path, bytes) in &self.pending {
            let length = self.lengths.get(path).copied().unwrap_or(0);
            grow(path, length, bytes).map_err(|why| Error::io(path.display(), &why))?;
        }
        for (path, bytes) in std::mem::take(&mut self.pending) {
            *self.lengths.entry(path).or_default() += bytes.len() as u64;
        }
        Ok(&self.lengths)
    }

    /// Forgets what was pushed and not accepted.
    pub fn take_back(&mut self) {
        self.pending.clear();
    }

    /// Looks whether every file has the bytes it should.
    pub fn confirm(&self) -> Result<(), Error> {
        for (path, length) in &self.lengths {
            let found = fs::metadata(path).map_err(|why| Error::io(path.display(), &why))?.len();
            if found != *length {
                let message = format!("{}: {found} bytes, where {length} were written", path.display());
                return Err(Error::new(Kind::Corrupt, message));
            }
        }
        Ok(())
    }
}

fn grow(path: &Path, length: u64, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    // More than is known was written by a process that did not live to tell.
    file.set_len(length)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// The template with the record's own fields in it.
fn fill(template: &str, json: &[u8]) -> Result<String, Error> {
    let record: Value =
        serde_json::from_slice(json).map_err(|why| Error::new(Kind::Bug, format!("a record is not JSON: {why}")))?;
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("never");
    let names = [
        ("{periodStart}", "periodStart"),
        ("{periodEnd}", "periodEnd"),
        ("{meterType}", "meterTypeName"),
        ("{meterKey}", "meterKey"),
        ("{userId}", "userId"),
    ];
    Ok(names.iter().fold(template.to_owned(), |path, (place, name)| path.replace(place, &files::safe(text(name)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_between_writing_and_telling_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("{periodEnd}.ndjson").to_string_lossy().into_owned();
        let record = |n: u32| format!("{{\"periodEnd\":\"2026-02-01\",\"n\":{n}}}").into_bytes();
        let mut growing = Growing::new(&template, TargetFormat::Ndjson, BTreeMap::new());
        growing.push(&record(1)).unwrap();
        let known = growing.accept().unwrap().clone();
        growing.push(&record(2)).unwrap();
        growing.accept().unwrap();
        // The second was written, but nobody was told.
        let mut growing = Growing::new(&template, TargetFormat::Ndjson, known);
        assert!(growing.confirm().is_err());
        growing.push(&record(2)).unwrap();
        growing.push(&record(3)).unwrap();
        growing.accept().unwrap();
        growing.confirm().unwrap();
        let text = fs::read_to_string(folder.path().join("2026-02-01.ndjson")).unwrap();
        assert_eq!(text.lines().count(), 3);
    }
}
