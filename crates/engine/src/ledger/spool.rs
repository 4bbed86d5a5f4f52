//! A spool: the records of a run, until every target has them.
//!
//! NDJSON. A file gets its name once it is complete; the checkpoint decides whether its run is
//! complete.

use std::sync::Arc;

use flowmeter_core::partition::RecordKey;
use flowmeter_store::disk::{Disk, File};

use super::{Owed, Take, at};
use crate::{Error, Kind, RecordSink};

/// Bytes written at a time.
const CHUNK_BYTES: usize = 1 << 20;
const RECORDS: &str = ".records.ndjson";
const THRESHOLDS: &str = ".thresholds.ndjson";

/// A spool under construction.
pub(super) struct Spool {
    disk: Arc<dyn Disk>,
    folder: String,
    records: Lines,
    thresholds: Lines,
}

struct Lines {
    name: String,
    file: Box<dyn File>,
    bytes: Vec<u8>,
}

impl Spool {
    pub(super) fn create(disk: Arc<dyn Disk>, folder: &str, run: u64) -> Result<Spool, Error> {
        let create = |kind: &str| {
            let name = format!("{folder}/{run:020}{kind}");
            let file = disk.create(&format!("{name}.new")).map_err(|why| at(&name, &why))?;
            Ok::<_, Error>(Lines { name, file, bytes: Vec::with_capacity(CHUNK_BYTES) })
        };
        Ok(Spool { records: create(RECORDS)?, thresholds: create(THRESHOLDS)?, folder: folder.to_owned(), disk })
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let Spool { disk, folder, records, thresholds } = self;
        for mut lines in [records, thresholds] {
            lines.write()?;
            lines.file.sync().map_err(|why| at(&lines.name, &why))?;
            disk.rename(&format!("{}.new", lines.name), &lines.name).map_err(|why| at(&lines.name, &why))?;
        }
        disk.sync_folder(&folder).map_err(|why| at(&folder, &why))
    }
}

impl RecordSink for Spool {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.line(json)
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.thresholds.line(json)
    }
}

impl Lines {
    fn line(&mut self, json: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(json);
        self.bytes.push(b'\n');
        if self.bytes.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.append(&self.bytes).map_err(|why| at(&self.name, &why))?;
        self.bytes.clear();
        Ok(())
    }
}

/// Reads the records of a run.
pub(super) fn read(disk: &dyn Disk, folder: &str, run: u64, in_doubt: Option<i64>, take: &mut Take<'_>) -> Result<(), Error> {
    for (kind, is_threshold) in [(RECORDS, false), (THRESHOLDS, true)] {
        let name = format!("{folder}/{run:020}{kind}");
        let file = disk.open(&name).map_err(|why| at(&name, &why))?;
        let (mut bytes, mut read, mut chunk) = (Vec::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let count = file.read_at(&mut chunk, read).map_err(|why| at(&name, &why))?;
            if count == 0 {
                break;
            }
            read += count as u64;
            bytes.extend_from_slice(&chunk[..count]);
            let mut done = 0;
            for end in memchr::memchr_iter(b'\n', &bytes) {
                take(Owed { is_threshold, in_doubt, json: &bytes[done..end] })?;
                done = end + 1;
            }
            bytes.drain(..done);
        }
        if !bytes.is_empty() {
            return Err(Error::new(Kind::Corrupt, format!("{name}: its last line is broken off")));
        }
    }
    Ok(())
}

/// Removes the spools of some runs, complete ones and others.
pub(super) fn remove(disk: &dyn Disk, folder: &str, which: impl Fn(u64) -> bool) -> Result<(), Error> {
    let names = disk.list(folder).map_err(|why| at(folder, &why))?;
    for name in names.iter().filter(|name| run_of(name).is_some_and(&which)) {
        disk.remove(&format!("{folder}/{name}")).map_err(|why| at(name, &why))?;
    }
    disk.sync_folder(folder).map_err(|why| at(folder, &why))
}

fn run_of(name: &str) -> Option<u64> {
    let name = name.strip_suffix(".new").unwrap_or(name);
    name.strip_suffix(RECORDS).or_else(|| name.strip_suffix(THRESHOLDS))?.parse().ok()
}
