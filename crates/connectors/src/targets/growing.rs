//! Files of records that grow while a server runs.
//!
//! The accepted records are known by the length of each file, which is stored with the target's
//! position in the log of records. After a crash a file is truncated to the known length, and the
//! same window is written again, so each record is there once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flowmeter_document::TargetFormat;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{self, Named, folder_of};
use super::format::Index;
use super::{all_unavailable, format, place};

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// The known state of the files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    /// The number after the last record that was written in order.
    next: u64,
    /// Valid bytes of each file.
    lengths: BTreeMap<PathBuf, u64>,
}

/// Files of records that grow.
pub struct Growing {
    template: String,
    format: TargetFormat,
    known: Known,
    /// The file that was read back last.
    read: Option<(PathBuf, Index)>,
}

impl Growing {
    /// Creates files named by a template, with their known state.
    ///
    /// # Errors
    /// The format does not allow appending, or the state cannot be read.
    pub fn new(template: &str, format: TargetFormat, memory: &Value) -> Result<Growing, Error> {
        if format == TargetFormat::Parquet {
            let message = format!("{template}: a Parquet file does not grow; put {{window}} into its name, one file a window");
            return Err(Error::new(Kind::Invalid, message));
        }
        let known = if memory.is_null() { Ok(Known::default()) } else { serde_json::from_value(memory.clone()) };
        let known = known.map_err(|why| Error::new(Kind::Corrupt, format!("{template}: what was known of it: {why}")))?;
        Ok(Growing { template: template.to_owned(), format, known, read: None })
    }

    fn write(&mut self, window: Span, records: &[Outgoing<'_>]) -> Result<Vec<Answer>, Error> {
        // Out of order: some of it may already be there.
        let is_repeat = window.first < self.known.next;
        self.look_afresh();
        if !is_repeat {
            self.append(window, records)?;
            return Ok(vec![Answer::Accepted; records.len()]);
        }
        let held = self.look(records)?;
        let missing: Vec<Outgoing<'_>> =
            records.iter().zip(&held).filter(|(_, held)| **held == Held::Missing).map(|(record, _)| *record).collect();
        self.append(window, &missing)?;
        let answer = |held| match held {
            Held::Same | Held::Missing => Answer::Accepted,
            Held::Different(what) => Answer::Refused(format!("the file has it, but not as it was made: {what}")),
        };
        Ok(held.into_iter().map(answer).collect())
    }

    fn append(&mut self, window: Span, records: &[Outgoing<'_>]) -> Result<(), Error> {
        let mut grown = Vec::new();
        for (path, records) in self.by_file(records)? {
            let known = self.known.lengths.get(&path).copied();
            let written = grow(&path, known, self.format, &records)?;
            grown.push((path, written));
        }
        // Only when all files are durable: bytes beyond the known length are removed before a
        // repetition.
        self.known.lengths.extend(grown);
        self.known.next = self.known.next.max(window.until);
        self.read = None;
        Ok(())
    }

    /// Groups records by the file they belong to.
    fn by_file<'r>(&self, records: &'r [Outgoing<'r>]) -> Result<BTreeMap<PathBuf, Cow<'r, [Outgoing<'r>]>>, Error> {
        let mut files: BTreeMap<PathBuf, Cow<'r, [Outgoing<'r>]>> = BTreeMap::new();
        if !self.template.contains('{') {
            if !records.is_empty() {
                files.insert(PathBuf::from(&self.template), Cow::Borrowed(records));
            }
            return Ok(files);
        }
        for record in records {
            files.entry(PathBuf::from(place::fill(&self.template, record)?)).or_default().to_mut().push(*record);
        }
        Ok(files)
    }

    fn look(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let mut held = Vec::with_capacity(records.len());
        for record in records {
            let path = PathBuf::from(place::fill(&self.template, record)?);
            if self.read.as_ref().is_none_or(|(known, _)| *known != path) {
                let bytes = match fs::read(&path) {
                    Ok(bytes) => bytes,
                    Err(why) if why.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                    Err(why) => return Err(Error::io(path.display(), &why)),
                };
                // Bytes beyond the known length are not part of any accepted window.
                let length = self.known.lengths.get(&path).map_or(0, |length| usize::try_from(*length).unwrap_or(usize::MAX));
                let index = format::index(self.format, &bytes[..bytes.len().min(length)])?;
                self.read = Some((path, index));
            }
            let found = self.read.as_ref().and_then(|(_, index)| index.get(&record.names().ok()?.record_id).copied());
            held.push(match found {
                None => Held::Missing,
                Some(digest) if digest == format::digest(self.format, record.json)? => Held::Same,
                Some(_) => Held::Different("other fields under its recordId".to_owned()),
            });
        }
        Ok(held)
    }
}

impl Target for Growing {
    fn probe(&mut self) -> Result<(), Error> {
        if self.template.contains('{') {
            return folder::probe(place::fixed(&self.template));
        }
        folder::probe(&regular(Path::new(&self.template))?.to_string_lossy())
    }

    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.write(window, records).unwrap_or_else(|why| all_unavailable(&why, records.len()))
    }

    fn memory(&self) -> Value {
        serde_json::to_value(&self.known).unwrap_or_default()
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn look_afresh(&mut self) {
        self.read = None;
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        self.look(records)
    }
}

/// Returns the file that a path names, after links.
///
/// # Errors
/// It is a folder, device or pipe: a file that grows is cut to its known length after a crash.
fn regular(path: &Path) -> Result<PathBuf, Error> {
    match folder::named(path)? {
        Named::File(path) => Ok(path),
        Named::Stream => {
            let message = format!("{}: a device or pipe, which cannot keep records; name a file", path.display());
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

/// Appends records durably to a file with `known` valid bytes, `None` if it is new. Returns the
/// number of valid bytes afterwards.
fn grow(path: &Path, known: Option<u64>, format: TargetFormat, records: &[Outgoing<'_>]) -> Result<u64, Error> {
    let at = |why: std::io::Error| Error::io(path.display(), &why);
    let place = regular(path)?;
    let folder = folder_of(&place);
    fs::create_dir_all(folder).map_err(at)?;
    let mut file = OpenOptions::new().append(true).create(true).open(&place).map_err(at)?;
    let length = known.unwrap_or(0);
    // Additional bytes were written by a process that crashed before it stored the length. Missing
    // bytes are lost and must not be filled with zeros.
    if file.metadata().map_err(at)?.len() < length {
        let what =
            format!("shorter than the {length} bytes that were written; put the file back, or let the target have a new name");
        return Err(at(std::io::Error::other(what)));
    }
    file.set_len(length).map_err(at)?;
    let mut chunk = if known.is_none() { format::head(format)? } else { Vec::new() };
    let mut written = length;
    for record in records {
        format::append(format, record.json, &mut chunk)?;
        if chunk.len() >= CHUNK_BYTES {
            file.write_all(&chunk).map_err(at)?;
            written += chunk.len() as u64;
            chunk.clear();
        }
    }
    file.write_all(&chunk).and_then(|()| file.sync_all()).map_err(at)?;
    if known.is_none() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)?;
    }
    Ok(written + chunk.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> String {
        format!(
            r#"{{"id":"a1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterKey":"k","meterMetaData":{{"recordId":"b1f8797b-c827-4483-b6cf-{n:012}"}},"meterTypeName":"t","periodEnd":"2026-02-01","userId":"u"}}"#
        )
    }

    fn send(growing: &mut Growing, numbers: std::ops::Range<u64>) -> Vec<Answer> {
        let texts: Vec<String> = numbers.clone().map(record).collect();
        let records: Vec<Outgoing<'_>> =
            numbers.clone().zip(&texts).map(|(number, text)| Outgoing { number, json: text.as_bytes() }).collect();
        growing.send(Span { first: numbers.start, until: numbers.end }, &records)
    }

    #[test]
    fn a_device_is_refused() {
        let mut growing = Growing::new("/dev/null", TargetFormat::Ndjson, &Value::Null).unwrap();
        assert!(growing.probe().unwrap_err().to_string().contains("a device or pipe"));
        assert!(matches!(send(&mut growing, 0..1)[..], [Answer::Unavailable { .. }]));
    }

    #[test]
    fn a_crash_between_writing_and_telling_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("{periodEnd}.ndjson").to_string_lossy().into_owned();
        let mut growing = Growing::new(&template, TargetFormat::Ndjson, &Value::Null).unwrap();
        assert_eq!(send(&mut growing, 0..1), [Answer::Accepted]);
        let known = growing.memory();
        assert_eq!(send(&mut growing, 1..2), [Answer::Accepted]);
        // The second window was written, but the process crashed before it was acknowledged.
        let mut growing = Growing::new(&template, TargetFormat::Ndjson, &known).unwrap();
        assert_eq!(send(&mut growing, 1..3), [Answer::Accepted, Answer::Accepted]);
        let path = folder.path().join("2026-02-01.ndjson");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        // Out of order, on request: records that are already there are not written again.
        assert_eq!(send(&mut growing, 0..1), [Answer::Accepted]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        // A file that was truncated from outside is reported.
        let short = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned() + "\n";
        fs::write(&path, short).unwrap();
        assert!(matches!(send(&mut growing, 3..4)[..], [Answer::Unavailable { .. }]));
    }
}
