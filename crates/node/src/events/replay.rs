//! The event store as a log: its rows as entries, with commands inserted where their position is
//! known. It replaces the part that the log no longer has.
//!
//! Exact are the events, their order, their times of receipt and the versions of the pipeline. Not
//! stored anywhere are the exact time of a tick (here: before the first event that was received
//! once something was due) and a flush on demand; meters that people opened and changed are opened
//! at the beginning as they are now.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use flowmeter_core::aggregation::Fingerprint;
use flowmeter_core::session::Status;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Arrivals, Fed, Letter, Live, LogCommand, folder_of, read_origin};
use flowmeter_store::archive::{self, Filter, Row};
use flowmeter_store::catalog::{Catalog, Table};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Entry, EntryKind, Reader};

use crate::events::rows::events_folder;
use crate::installation::LOG_FOLDER;
use crate::pipelines::{KeptPipeline, KeptVersion, plan_of};
use crate::rows::kept;
use crate::sessions::KeptSession;

/// Bytes of an entry that is made of rows.
const ENTRY_BYTES: usize = 1 << 20;

/// Rows that become an entry.
struct Rows {
    at: i64,
    again: bool,
    origin: String,
    lines: Vec<u8>,
    fed: Option<Fed>,
}

impl Rows {
    fn begin(row: &Row, again: bool, live: &Live) -> Rows {
        // The clock of a session that ended with its input is nearly the time of receipt.
        let as_of = live.plan().is_bounded().then(|| Timestamp::from_nanos(row.received_at));
        let (source, _) = read_origin(&row.origin);
        let fed = source.map(|source| Fed { source: source.to_owned(), as_of, ..Fed::default() });
        Rows { at: row.received_at, again, origin: row.origin.clone(), lines: Vec::new(), fed }
    }

    fn add(&mut self, row: &Row) {
        self.lines.extend_from_slice(&row.raw);
        self.lines.push(b'\n');
        if let Some(fed) = &mut self.fed {
            fed.add(&read_origin(&row.origin).1.into(), row.line);
        }
    }
}

/// The source of a replay.
pub(crate) struct Replay<'r> {
    pub(crate) disk: &'r Arc<dyn Disk>,
    pub(crate) pipeline: &'r KeptPipeline,
    pub(crate) catalog: &'r Arc<dyn Catalog>,
    /// Number of arrivals in files.
    pub(crate) archived: u64,
}

impl Replay<'_> {
    /// Processes everything in files with a new pipeline. Returns the entry of the log to continue
    /// with, and the number of its lines that are in files already.
    pub(crate) fn run(&self, live: &mut Live, declared: &[LogCommand], log_end: u64) -> Result<(u64, usize), Error> {
        let mut versions = self.versions(live.version())?.into_iter().peekable();
        for open in declared {
            self.command(live, open, live.clock().nanos())?;
        }
        let mut closings = self.closings()?.into_iter().peekable();
        let mut parked: HashSet<u128, BuildHasherDefault<Fingerprint>> = HashSet::default();
        let mut open: Option<Rows> = None;
        for row in archive::scan(Arc::clone(self.disk), &events_folder(self.pipeline.id), Filter::default())? {
            let row = row?;
            // An event that was parked and came again, corrected, is not deduplicated.
            let name = format!("{:?} {:?}", row.source, row.id);
            let name = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
            let again = row.verdict != "duplicate" && parked.contains(&name);
            if row.verdict == "parked" {
                parked.insert(name);
            }
            let joins = open.as_ref().is_some_and(|open| {
                let is_next = open.at == row.received_at && open.again == again && open.origin == row.origin;
                is_next && open.lines.len() < ENTRY_BYTES
            });
            if !joins && let Some(entry) = open.take() {
                self.events(live, &entry)?;
            }
            if !joins {
                while let Some((_, version)) = versions.next_if(|(made_at, _)| *made_at <= row.received_at) {
                    let KeptVersion { version, state, .. } = version;
                    let adopt = LogCommand::Adopt { pipeline: self.pipeline.id, version, document: None, state };
                    self.command(live, &adopt, row.received_at)?;
                }
                while let Some((_, as_of)) = closings.next_if(|(ended_at, _)| *ended_at <= row.received_at) {
                    let close = LogCommand::Close { pipeline: self.pipeline.id, at: as_of };
                    self.command(live, &close, row.received_at)?;
                }
                if live.next_due().is_some_and(|due| due.nanos() <= row.received_at) {
                    self.command(live, &LogCommand::Tick, row.received_at)?;
                }
            }
            let rows = open.get_or_insert_with(|| Rows::begin(&row, again, live));
            rows.add(&row);
        }
        if let Some(entry) = open {
            self.events(live, &entry)?;
        }
        let first = log::segments_of(&**self.disk, LOG_FOLDER)?.first().map_or(0, |(position, _)| *position);
        let entries = Box::new(Reader::beside(Arc::clone(self.disk), LOG_FOLDER, first, log_end)?);
        let folder = folder_of(self.pipeline.id);
        let arrivals = Arrivals::open(self.disk, (first, entries), &folder, self.archived, log_end)?;
        Ok(arrivals.entry().map_or((0, 0), |(position, start)| (position, (self.archived - start) as usize)))
    }

    /// Returns the versions after the one that the pipeline began with, and the time of each.
    fn versions(&self, begun: u32) -> Result<Vec<(i64, KeptVersion)>, Error> {
        let mut versions = Vec::new();
        for (_, value) in self.catalog.scan(Table::Versions, self.pipeline.id.as_bytes(), None, usize::MAX)? {
            let version: KeptVersion = kept(&value)?;
            let made_at = Timestamp::parse_rfc3339(version.created_at.as_bytes()).unwrap_or_default();
            versions.push((made_at.nanos(), version));
        }
        versions.retain(|(_, version)| version.version > begun);
        Ok(versions)
    }

    fn command(&self, live: &mut Live, command: &LogCommand, at: i64) -> Result<(), Error> {
        self.take(live, EntryKind::Command, at, command.to_json())
    }

    /// Returns the ends of sessions that ended with their input: the time, and the clock of each.
    fn closings(&self) -> Result<Vec<(i64, i64)>, Error> {
        let mut closings = Vec::new();
        for (_, value) in self.catalog.scan(Table::Sessions, b"", None, usize::MAX)? {
            let session: KeptSession = kept(&value)?;
            let is_flushed = session.pipeline_id == self.pipeline.id && session.session_status == Status::Completed;
            if is_flushed && let (Some(ended_at), Some(as_of)) = (session.session_end_time, session.as_of) {
                closings.push((ended_at.nanos(), as_of.nanos()));
            }
        }
        Ok(closings)
    }

    fn events(&self, live: &mut Live, rows: &Rows) -> Result<(), Error> {
        let Rows { at, again, lines, fed, .. } = rows;
        let mut bytes = Vec::with_capacity(lines.len() + 64);
        let letter = Letter {
            pipeline: Some(self.pipeline.id),
            again: *again,
            fed: fed.clone(),
            ..Letter::open(&self.pipeline.namespace, lines)
        };
        letter.write_to(&mut bytes);
        self.take(live, EntryKind::Events, *at, bytes)
    }

    fn take(&self, live: &mut Live, kind: EntryKind, at: i64, bytes: Vec<u8>) -> Result<(), Error> {
        let entry = Entry { kind, at, items: 0, position: live.position(), first_item: 0, bytes };
        live.take(&[Arc::new(entry)], &plan_of(self.catalog, self.pipeline.id))
    }
}
