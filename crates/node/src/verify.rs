//! Verification: every file is read whole (`files`), every row of the catalog as its type
//! (`rows`). Then everything is counted again from the log, and from the event store where the
//! log no longer reaches back, by an empty engine, and compared with what is
//! stored, meter by meter and record by record.
//!
//! Nothing in the data directory changes: what opening it mends or adds goes to a scratch
//! folder (`Overlay`).

mod files;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use flowmeter_core::aggregation::Aggregation;
use flowmeter_core::partition::{Birth, Meter};
use flowmeter_engine::live::{Beginning, Home, Live, LiveSettings, LogCommand, folder_of, items, record_item};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive;
use flowmeter_store::catalog::{Catalog, LocalCatalog, Table};
use flowmeter_store::disk::{Disk, LocalDisk, Overlay};
use flowmeter_store::log::{self, Entry, EntryKind, Log};
use serde_json::Value;

use crate::backup;
use crate::events::replay::Replay;
use crate::events::rows::events_folder;
use crate::installation::{CATALOG_FILE, LOG_FOLDER};
use crate::pipelines::{KeptPipeline, plan_of};
use crate::rows::kept;
use crate::sessions::KeptSession;

/// Bytes of entries that are processed at once.
const TAKE_BYTES: usize = 8 << 20;
/// Maximum of reported differences of a pipeline.
const TOLD_MAX: usize = 100;

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of verified pipelines.
    pub pipelines: u64,
    /// Number of recounted events.
    pub events: u64,
    /// Number of compared meters.
    pub meters: u64,
    /// Number of compared records.
    pub records: u64,
    /// Number of verified files.
    pub files: u64,
    /// Differences, damage and unread files, in sentences.
    pub differences: Vec<String>,
}

/// Bytes of identities that the recount remembers in memory; more spill to the scratch folder.
const IDENTITIES_BYTES: usize = 256 << 20;

/// Verifies a data directory that is not in use, on `threads` threads. `scratch` is an empty
/// folder.
pub fn verify(data: &Path, scratch: &Path, threads: usize) -> Result<Verified, Error> {
    let settings = LiveSettings {
        // Rollups serve queries only; meters and records are verified.
        rollups_bytes: None,
        engine: flowmeter_engine::Settings { threads, partitions: threads, taps_max: 0 },
        identities_bytes: IDENTITIES_BYTES,
        paced: true,
        keeps_derived: false,
        outlet: log::Settings { reserve_bytes: 0, ..log::Settings::default() },
    };
    let _lock = backup::lock_of(data)?;
    let at = |path: &Path| LocalDisk::new(path).map_err(|why| Error::io(path.display(), &why));
    let copy = scratch.join(CATALOG_FILE);
    std::fs::copy(data.join(CATALOG_FILE), &copy).map_err(|why| Error::io(copy.display(), &why))?;
    let mut verified = Verified::default();
    let catalog: Arc<dyn Catalog> = match open_whole(&copy) {
        Ok(catalog) => Arc::new(catalog),
        Err(why) => {
            verified.differences.push(format!("{CATALOG_FILE}: {why}"));
            verified.differences.push("nothing else was read: the catalog says what there is".to_owned());
            return Ok(verified);
        }
    };
    verified.differences.extend(rows::examine(&*catalog)?);
    let mut folders = 0..;
    let mut new_scratch = || {
        let folder = at(&scratch.join(format!("files-{}", folders.next().unwrap_or(0_u64))))?;
        Ok(Arc::new(folder) as Arc<dyn Disk>)
    };
    let files = files::examine(data, &*catalog, &mut new_scratch)?;
    verified.files = files.read.len() as u64 + 1;
    verified.differences.extend(files.wrong);
    let pipelines = catalog.scan(Table::Pipelines, b"", None, usize::MAX)?;
    let below: Arc<dyn Disk> = Arc::new(at(data)?);
    for (number, (_, value)) in pipelines.iter().enumerate() {
        // A row that cannot be read as a pipeline was reported above.
        let Ok(pipeline) = kept::<KeptPipeline>(value) else { continue };
        if below.list(&format!("{}/checkpoints", folder_of(pipeline.id))).map_or(true, |names| names.is_empty()) {
            continue;
        }
        let place = |what: &str| at(&scratch.join(format!("{number}-{what}")));
        let over: Arc<dyn Disk> = Arc::new(Overlay::new(Arc::clone(&below), Arc::new(place("stored")?)));
        let fresh: Arc<dyn Disk> = Arc::new(place("fresh")?);
        let verifying = Verifying { catalog: Arc::clone(&catalog), over, pipeline, settings };
        if let Err(why) = verifying.run(&fresh, &mut verified) {
            let name = &verifying.pipeline.name;
            verified.differences.push(format!("{name}: not counted again: {why}"));
        }
    }
    Ok(verified)
}

/// Opens a copy of the catalog and reads all of it.
fn open_whole(copy: &Path) -> Result<LocalCatalog, Error> {
    let mut catalog = LocalCatalog::open(copy)?;
    catalog.check()?;
    Ok(catalog)
}

struct Verifying {
    catalog: Arc<dyn Catalog>,
    over: Arc<dyn Disk>,
    pipeline: KeptPipeline,
    settings: LiveSettings,
}

impl Verifying {
    fn run(&self, fresh: &Arc<dyn Disk>, verified: &mut Verified) -> Result<(), Error> {
        let log_settings = log::Settings { reserve_bytes: 0, ..log::Settings::default() };
        let (log, _) = Log::open(Arc::clone(&self.over), LOG_FOLDER, log_settings)?;
        flowmeter_engine::live::copy_contents(&*self.over, &**fresh)?;
        let plan_of = plan_of(&self.catalog, self.pipeline.id);
        let beginning = self.beginning()?;
        let folder = folder_of(self.pipeline.id);
        flowmeter_engine::live::copy_answers(&*self.over, &**fresh, &folder)?;
        let mut stored = Live::open(Home::local(&self.over, &folder), &beginning, &plan_of, self.settings)?;
        let end = stored.position().max(log.next());
        take(&mut stored, &log, end, 0, &plan_of)?;
        let (mut again, exact) = if log.first() <= beginning.position {
            let mut again = Live::open(Home::local(fresh, &folder), &beginning, &plan_of, self.settings)?;
            take(&mut again, &log, end, 0, &plan_of)?;
            (again, true)
        } else {
            (self.recount_files(fresh, &beginning, &stored, &log, end)?, false)
        };
        stored.commit()?;
        again.commit()?;
        verified.pipelines += 1;
        verified.events += again.tally().received;
        let mut told = Told { name: &self.pipeline.name, all: &mut verified.differences, left: TOLD_MAX };
        if stored.tally() != again.tally() {
            told.tell(format!("events by verdict: stored {:?}, counted again {:?}", stored.tally(), again.tally()));
        }
        verified.meters += compare_meters(&stored, &again, &mut told);
        verified.records += match exact {
            true => compare_records(&stored, &again, &mut told)?,
            false => compare_values(&stored, &again, &mut told)?,
        };
        Ok(())
    }

    /// Returns the start of the pipeline's first session.
    fn beginning(&self) -> Result<Beginning, Error> {
        for (_, value) in self.catalog.scan(Table::Sessions, b"", None, usize::MAX)? {
            let session: KeptSession = kept(&value)?;
            if session.pipeline_id == self.pipeline.id {
                let at = session.session_start_time;
                let namespace = session.namespace.clone();
                return Ok(Beginning { namespace, version: session.version, position: session.position, at });
            }
        }
        let message = format!("`{}` has a state, but no session ever ran it", self.pipeline.name);
        Err(Error::new(Kind::Corrupt, message))
    }

    /// Recounts from the event store, and from the log after it.
    fn recount_files(
        &self,
        fresh: &Arc<dyn Disk>,
        beginning: &Beginning,
        stored: &Live,
        log: &Log,
        end: u64,
    ) -> Result<Live, Error> {
        let archived = archive::extent(&*self.over, &events_folder(self.pipeline.id))?.unwrap_or(0);
        let replay = Replay { disk: &self.over, pipeline: &self.pipeline, catalog: &self.catalog, archived };
        let from = Beginning { position: 0, ..beginning.clone() };
        let plan_of = plan_of(&self.catalog, self.pipeline.id);
        let mut again = Live::open(Home::local(fresh, &folder_of(self.pipeline.id)), &from, &plan_of, self.settings)?;
        let declared = declared(stored);
        let (position, skip) = replay.run(&mut again, &declared, log.next())?;
        take_from(&mut again, log, position.max(log.first()), skip, end, &plan_of)?;
        Ok(again)
    }
}

/// Returns commands for the meters that were not opened by events.
fn declared(live: &Live) -> Vec<LogCommand> {
    let plan = live.plan();
    let wanted = live.meters().map(|(_, meter)| meter).filter(|meter| meter.birth == Birth::Declared);
    let open = wanted.map(|meter| {
        let meter = crate::meters::declared_name(live, meter);
        LogCommand::Open { pipeline: plan.id, meter }
    });
    open.collect()
}

type PlanOf<'p> = dyn Fn(u32) -> Result<Arc<flowmeter_core::plan::Plan>, Error> + 'p;

/// Processes the log up to its end with a pipeline.
fn take(live: &mut Live, log: &Log, end: u64, skip: usize, plan_of: &PlanOf<'_>) -> Result<(), Error> {
    take_from(live, log, live.position(), skip, end, plan_of)
}

/// Processes the log from a position that may differ from the one the pipeline expects: entries get
/// the expected positions. The first `skip` lines of the first entry are left out.
fn take_from(live: &mut Live, log: &Log, from: u64, skip: usize, end: u64, plan_of: &PlanOf<'_>) -> Result<(), Error> {
    if from >= end {
        return Ok(());
    }
    let mut reader = log.reader(from)?;
    let (mut entries, mut bytes, mut skip) = (Vec::new(), 0, skip);
    loop {
        let entry = reader.read()?;
        let last = entry.is_none();
        if let Some(mut entry) = entry {
            entry.position = live.position() + entries.len() as u64;
            let lines = std::mem::take(&mut skip);
            if lines > 0 && entry.kind == EntryKind::Events {
                entry = without(&entry, lines)?;
            }
            bytes += entry.bytes.len();
            entries.push(Arc::new(entry));
        }
        if bytes >= TAKE_BYTES || last {
            live.take(&entries, plan_of)?;
            entries.clear();
            bytes = 0;
        }
        if last {
            return Ok(());
        }
    }
}

/// Returns an entry of events without its first lines.
fn without(entry: &Entry, lines: usize) -> Result<Entry, Error> {
    let letter = flowmeter_engine::live::Letter::read(&entry.bytes)?;
    let at = memchr::memchr_iter(b'\n', letter.lines).nth(lines.saturating_sub(1)).map_or(letter.lines.len(), |at| at + 1);
    let mut bytes = Vec::new();
    flowmeter_engine::live::Letter { lines: &letter.lines[at..], ..letter }.write_to(&mut bytes);
    Ok(Entry { bytes, ..entry.clone() })
}

/// Reports differences, up to a maximal number.
struct Told<'t> {
    name: &'t str,
    all: &'t mut Vec<String>,
    left: usize,
}

impl Told<'_> {
    fn tell(&mut self, what: impl std::fmt::Display) {
        match self.left {
            0 => return,
            1 => self.all.push(format!("{}: and more", self.name)),
            _ => self.all.push(format!("{}: {what}", self.name)),
        }
        self.left -= 1;
    }
}

/// Returns the meters in a form for comparison: the record so far, and every period with data.
fn meters_of(live: &Live) -> BTreeMap<(Vec<u8>, uuid::Uuid, uuid::Uuid), String> {
    let (plan, clock) = (live.plan(), live.clock());
    let shown = live.meters().map(|(partition, meter)| {
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let key = (meter.user.to_vec(), kind.id, plan.processors[usize::from(meter.processor)].key);
        let mut json = Vec::new();
        partition.show(meter, clock, &mut json);
        let record = String::from_utf8_lossy(&json).into_owned();
        (key, format!("{record} holds {}", periods(meter, kind.aggregation)))
    });
    shown.collect()
}

fn periods(meter: &Meter, aggregation: Aggregation) -> String {
    let one = |held: &flowmeter_core::partition::OpenPeriod| {
        let value = held.amount.total.value(aggregation, held.period);
        format!("[{} {} events {value:?}]", held.period.start, held.events)
    };
    meter.periods.iter().map(one).collect()
}

fn compare_meters(stored: &Live, again: &Live, told: &mut Told<'_>) -> u64 {
    let (stored, mut again) = (meters_of(stored), meters_of(again));
    let count = stored.len() as u64;
    for (key, known) in stored {
        let (user, _, _) = &key;
        let user = String::from_utf8_lossy(user).into_owned();
        match again.remove(&key) {
            Some(other) if other == known => {}
            Some(other) => told.tell(format!("meter of {user}: stored {known}; counted again {other}")),
            None => told.tell(format!("meter of {user}: stored {known}; counted again there is none")),
        }
    }
    for ((user, _, _), other) in again {
        let user = String::from_utf8_lossy(&user).into_owned();
        told.tell(format!("meter of {user}: stored there is none; counted again {other}"));
    }
    count
}

/// Compares records by number: every byte must be equal.
fn compare_records(stored: &Live, again: &Live, told: &mut Told<'_>) -> Result<u64, Error> {
    let (mine, theirs) = (stored.outlet().records(), again.outlet().records());
    if mine.written() != theirs.written() {
        told.tell(format!("records: stored {}, counted again {}", mine.written(), theirs.written()));
    }
    let from = mine.first().max(theirs.first());
    let mut others = numbered(theirs, from)?;
    let mut count = 0;
    each(mine, from, |number, json| {
        count += 1;
        match others.next()? {
            Some((_, other)) if other == json => {}
            Some((_, other)) => told.tell(format!("record {number}: stored {}; counted again {}", brief(json), brief(&other))),
            None => told.tell(format!("record {number}: stored {}; counted again there is none", brief(json))),
        }
        Ok(())
    })?;
    Ok(count)
}

/// Compares records by id: value and number of events must be equal.
fn compare_values(stored: &Live, again: &Live, told: &mut Told<'_>) -> Result<u64, Error> {
    let mut known = BTreeMap::new();
    let mine = stored.outlet().records();
    each(mine, mine.first(), |_, json| {
        known.insert(id_of(json), brief(json));
        Ok(())
    })?;
    let count = known.len() as u64;
    let theirs = again.outlet().records();
    each(theirs, theirs.first(), |_, json| {
        match known.remove(&id_of(json)) {
            Some(record) if record == brief(json) => {}
            Some(record) => told.tell(format!("a record: stored {record}; counted again {}", brief(json))),
            None => told.tell(format!("a record: stored there is none; counted again {}", brief(json))),
        }
        Ok(())
    })?;
    known.into_values().for_each(|record| told.tell(format!("a record: stored {record}; counted again there is none")));
    Ok(count)
}

fn id_of(json: &[u8]) -> String {
    let record: Value = serde_json::from_slice(json.get(1..).unwrap_or_default()).unwrap_or_default();
    let threshold = record.get("threshold").cloned().unwrap_or_default();
    format!("{} {threshold}", record["meterMetaData"]["recordId"])
}

/// Returns the main fields of a record for a message.
fn brief(item: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Brief<'a> {
        user_id: String,
        meter_type_name: String,
        period_start: String,
        #[serde(borrow)]
        value: &'a serde_json::value::RawValue,
        meter_meta_data: Meta,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        record_id: String,
        #[serde(default)]
        event_count: u64,
    }
    match record_item(item).and_then(|record| serde_json::from_slice::<Brief<'_>>(record.json).ok()) {
        Some(one) => format!(
            "{} of {} {} {}: {} of {} events",
            one.meter_meta_data.record_id,
            one.user_id,
            one.meter_type_name,
            one.period_start,
            one.value,
            one.meter_meta_data.event_count
        ),
        None => "what is no record".to_owned(),
    }
}

type Stream = flowmeter_engine::live::Stream;

fn each(stream: &Stream, from: u64, mut take: impl FnMut(u64, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut numbered = numbered(stream, from)?;
    while let Some((number, item)) = numbered.next()? {
        take(number, &item)?;
    }
    Ok(())
}

fn numbered(stream: &Stream, from: u64) -> Result<Numbered, Error> {
    let reader = (from < stream.written()).then(|| stream.reader(from)).transpose()?;
    Ok(Numbered { reader, waiting: Vec::new().into_iter(), from })
}

type Item = (u64, Vec<u8>);

/// The items of a stream with their numbers.
struct Numbered {
    reader: Option<log::Reader>,
    waiting: std::vec::IntoIter<Item>,
    from: u64,
}

impl Numbered {
    fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            if let Some(item) = self.waiting.next() {
                return Ok(Some(item));
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let Some(entry) = reader.read()? else { return Ok(None) };
            let wanted = items(&entry).filter(|(number, _)| *number >= self.from);
            self.waiting = wanted.map(|(number, item)| (number, item.to_vec())).collect::<Vec<_>>().into_iter();
        }
    }
}
