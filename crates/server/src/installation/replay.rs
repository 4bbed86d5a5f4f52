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
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Arrivals, Letter, Live, LogCommand, folder_of};
use flowmeter_store::archive::{self, Filter};
use flowmeter_store::catalog::{Catalog, Table};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{Entry, EntryKind};

use super::event_rows::events_folder;
use super::{KeptPipeline, KeptVersion, LOG_FOLDER, kept, plan_of};

/// Bytes of an entry that is made of rows.
const ENTRY_BYTES: usize = 1 << 20;

/// The source of a replay.
pub(super) struct Replay<'r> {
    pub(super) disk: &'r Arc<dyn Disk>,
    pub(super) pipeline: &'r KeptPipeline,
    pub(super) catalog: &'r Arc<Catalog>,
    /// Number of arrivals in files.
    pub(super) archived: u64,
}

impl Replay<'_> {
    /// Processes everything in files with a new pipeline. Returns the entry of the log to continue
    /// with, and the number of its lines that are in files already.
    pub(super) fn run(&self, live: &mut Live, declared: &[LogCommand], log_end: u64) -> Result<(u64, usize), Error> {
        let mut versions = self.versions(live.version())?.into_iter().peekable();
        for open in declared {
            self.command(live, open, live.clock().nanos())?;
        }
        let mut parked: HashSet<u128, BuildHasherDefault<Fingerprint>> = HashSet::default();
        let mut open: Option<(i64, bool, Vec<u8>)> = None;
        for row in archive::scan(Arc::clone(self.disk), &events_folder(self.pipeline.id), Filter::default())? {
            let row = row?;
            // An event that was parked and came again, corrected, is not deduplicated.
            let name = format!("{:?} {:?}", row.source, row.id);
            let name = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
            let again = row.verdict != "duplicate" && parked.contains(&name);
            if row.verdict == "parked" {
                parked.insert(name);
            }
            let joins = open
                .as_ref()
                .is_some_and(|(at, known, lines)| *at == row.received_at && *known == again && lines.len() < ENTRY_BYTES);
            if !joins && let Some(entry) = open.take() {
                self.events(live, &entry)?;
            }
            if !joins {
                while let Some((_, version)) = versions.next_if(|(made_at, _)| *made_at <= row.received_at) {
                    let adopt = LogCommand::Adopt { pipeline: self.pipeline.id, version, document: None };
                    self.command(live, &adopt, row.received_at)?;
                }
                if live.next_due().is_some_and(|due| due.nanos() <= row.received_at) {
                    self.command(live, &LogCommand::Tick, row.received_at)?;
                }
            }
            let (_, _, lines) = open.get_or_insert_with(|| (row.received_at, again, Vec::new()));
            lines.extend_from_slice(&row.raw);
            lines.push(b'\n');
        }
        if let Some(entry) = open {
            self.events(live, &entry)?;
        }
        let arrivals = Arrivals::open(self.disk, LOG_FOLDER, &folder_of(self.pipeline.id), self.archived, log_end)?;
        Ok(arrivals.entry().map_or((0, 0), |(position, start)| (position, (self.archived - start) as usize)))
    }

    /// Returns the versions after the one that the pipeline began with, and the time of each.
    fn versions(&self, begun: u32) -> Result<Vec<(i64, u32)>, Error> {
        let mut versions = Vec::new();
        for (_, value) in self.catalog.scan(Table::Versions, self.pipeline.id.as_bytes(), None, usize::MAX)? {
            let version: KeptVersion = kept(&value)?;
            let made_at = Timestamp::parse_rfc3339(version.created_at.as_bytes()).unwrap_or_default();
            versions.push((made_at.nanos(), version.version));
        }
        versions.retain(|(_, version)| *version > begun);
        Ok(versions)
    }

    fn command(&self, live: &mut Live, command: &LogCommand, at: i64) -> Result<(), Error> {
        self.take(live, EntryKind::Command, at, command.to_json())
    }

    fn events(&self, live: &mut Live, (at, again, lines): &(i64, bool, Vec<u8>)) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(lines.len() + 64);
        let (namespace, pipeline) = (&self.pipeline.namespace, Some(self.pipeline.id));
        let letter = Letter { namespace, pipeline, again: *again, settles: None, lines };
        letter.write_to(&mut bytes);
        self.take(live, EntryKind::Events, *at, bytes)
    }

    fn take(&self, live: &mut Live, kind: EntryKind, at: i64, bytes: Vec<u8>) -> Result<(), Error> {
        let entry = Entry { kind, at, items: 0, position: live.position(), first_item: 0, bytes };
        live.take(&[Arc::new(entry)], &plan_of(self.catalog, self.pipeline.id))
    }
}
