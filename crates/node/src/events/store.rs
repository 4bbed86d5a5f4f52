//! The event store at work: a thread that writes the events that pipelines received to files.
//!
//! It has no state of its own. The names of the files define what is in them; the thread continues
//! after that, from the log and the verdicts, so a crash needs no special handling. It lags on
//! purpose: counting has priority, and events that are not in files yet are found in the log
//! (`event_rows`). The log is not removed before its events are in files.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{Arrivals, folder_of};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive::{Archive, Settings};
use uuid::Uuid;

use crate::events::rows::{Attributes, Values, events_folder};
use crate::events::unfiled::{Unfiled, user_paths};
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;

/// Bytes of entries that are written between two pauses.
const BATCH_BYTES: usize = 4 << 20;
/// A pause while there is more to do: a few times as long as a batch takes on the measured cores, so
/// that a third of a core is used.
const REST: Duration = Duration::from_millis(40);
/// A pause while events wait to be counted, so that about a twentieth of a core is used. Events that
/// are not in files are found in the log, so this work can wait; counting cannot.
const YIELD: Duration = Duration::from_millis(400);
/// Entries of the log that a pipeline may still have to count without being behind.
const BEHIND_MIN: u64 = 4;
/// A pause when there is nothing more to do: events that are not read yet are searched one by one.
const SOON: Duration = Duration::from_millis(200);
/// A pause when there was nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes of log that it may lag behind; beyond that it does not pause.
const LAG_BYTES_MAX: u64 = 2 << 30;
/// A file is finished when its first event has waited for this long, in nanoseconds: a quiet
/// pipeline has some thousand files a year.
const FINISH_AFTER: i128 = 3_600_000_000_000;
/// Retention is applied once in this many rounds.
const RETAIN_EVERY: u64 = 600;

/// The thread, and its shared state.
pub(crate) struct EventStore {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: Mutex<bool>,
    bell: Condvar,
    /// The first entry of the log that is needed for files, by pipeline.
    needs: Mutex<BTreeMap<Uuid, u64>>,
    /// Number of events that are in files or were deleted, by pipeline.
    filed: Mutex<BTreeMap<Uuid, u64>>,
    /// The events that are in no file, by pipeline.
    unfiled: Mutex<BTreeMap<Uuid, Arc<Unfiled>>>,
}

impl Shared {
    fn needs(&self) -> MutexGuard<'_, BTreeMap<Uuid, u64>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filed(&self) -> MutexGuard<'_, BTreeMap<Uuid, u64>> {
        self.filed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfiled(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Unfiled>>> {
        self.unfiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread should end.
    fn stops(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses; returns whether to stop.
    fn rest(&self, how_long: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(stop, how_long, |stop| !*stop).unwrap_or_else(PoisonError::into_inner);
        *waited.0
    }
}

impl EventStore {
    /// Starts the thread that writes files.
    pub(crate) fn start(installation: Weak<Installation>) -> Result<EventStore, Error> {
        let shared = Arc::new(Shared::default());
        let mut writing = Writing { shared: Arc::clone(&shared), installation, open: BTreeMap::new(), rounds: 0 };
        let thread = std::thread::Builder::new().name("event-store".to_owned()).spawn(move || writing.run());
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(EventStore { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Finishes the files and ends the thread.
    pub(crate) fn stop(&self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(thread.join());
        }
    }

    /// Returns the number of events of a pipeline that are in files, once that was determined.
    pub(crate) fn filed(&self, pipeline: Uuid) -> Option<u64> {
        self.shared.filed().get(&pipeline).copied()
    }

    /// Returns the events of a pipeline that are in no file.
    pub(crate) fn unfiled(&self, pipeline: Uuid) -> Option<Arc<Unfiled>> {
        self.shared.unfiled().get(&pipeline).cloned()
    }

    /// Returns the first entry of the log that is needed for files of these pipelines.
    pub(crate) fn needs(&self, pipelines: impl Iterator<Item = Uuid>) -> u64 {
        let needs = self.shared.needs();
        let known = needs.values().copied().min().unwrap_or(u64::MAX);
        // For a pipeline that was not examined yet, the whole log is needed.
        pipelines.map(|pipeline| needs.get(&pipeline).copied().unwrap_or(0)).min().unwrap_or(u64::MAX).min(known)
    }
}

struct Writing {
    shared: Arc<Shared>,
    installation: Weak<Installation>,
    open: BTreeMap<Uuid, Filing>,
    rounds: u64,
}

impl Writing {
    fn run(&mut self) {
        loop {
            let Some(installation) = self.installation.upgrade() else { return };
            let done = self.round(&installation);
            let hurry = done == Done::Some && self.lags(&installation);
            let rest = match done {
                Done::Some if is_counting_behind(&installation) => YIELD,
                Done::Some => REST,
                Done::All => SOON,
                Done::Nothing => IDLE,
            };
            drop(installation);
            if !hurry && self.shared.rest(rest) {
                break;
            }
        }
        // Other programs read the files when this one has ended.
        for filing in self.open.values_mut() {
            if let Err(why) = filing.archive.finish() {
                tracing::warn!("the event store: {why}");
            }
        }
    }

    /// Writes a batch of each pipeline.
    fn round(&mut self, installation: &Arc<Installation>) -> Done {
        self.rounds += 1;
        let pipelines = installation.all_pipelines().unwrap_or_default();
        let mut done = Done::Nothing;
        for pipeline in pipelines.iter() {
            match self.file(installation, pipeline) {
                Ok(one) => done = done.max(one),
                Err(why) => {
                    // When it is opened again, it continues after the events in files.
                    self.open.remove(&pipeline.id);
                    self.shared.unfiled().remove(&pipeline.id);
                    tracing::warn!(pipeline = pipeline.name, "the event store: {why}; it tries again");
                }
            }
        }
        done
    }

    fn file(&mut self, installation: &Arc<Installation>, pipeline: &KeptPipeline) -> Result<Done, Error> {
        let served = installation.served_of(pipeline.id);
        let released = served.as_ref().map_or(u64::MAX, |served| served.board().released());
        let filing = match self.open.entry(pipeline.id) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let filing = place.insert(Filing::open(installation, pipeline)?);
                self.shared.unfiled().insert(pipeline.id, Arc::clone(&filing.unfiled));
                filing
            }
        };
        if filing.pipeline.version != pipeline.version {
            filing.take_version(installation, pipeline)?;
        }
        let now = installation.now();
        let done = filing.step(installation.log_end(), now, served.is_some())?;
        let need = if done != Done::Some && filing.is_durable() { released.max(filing.need()) } else { filing.need() };
        let before = self.shared.needs().insert(pipeline.id, need);
        self.shared.filed().insert(pipeline.id, filing.archive.next_durable().unwrap_or(0));
        if let Some(_free) = installation.may_release()
            && before != Some(need)
            && let Some(served) = &served
        {
            let arrival = filing.entries.front().map_or(0, |(arrival, _)| *arrival);
            served.worker().ask(move |live| live.release_verdicts(arrival))??;
        }
        if self.rounds % RETAIN_EVERY == 1
            && let Some(_free) = installation.may_release()
            && let Some(served) = &served
        {
            if let Some(before) = answers_before(installation, now) {
                served.worker().ask(move |live| live.release_answers(before))??;
            }
            let kept = &installation.settings().event_store;
            let (before, bytes_max) = (kept.retention_age.map(|age| instant_before(now, age)), kept.retention_bytes);
            served.worker().ask(move |live| live.release_derived(before, bytes_max))??;
        }
        if done == Done::Nothing
            && let Err(why) = filing.index_one(&self.shared)
        {
            tracing::warn!(pipeline = pipeline.name, "the event store: an index of events cannot be made: {why}");
        }
        if self.rounds % RETAIN_EVERY == 1
            && let Some(_free) = installation.may_release()
        {
            filing.archive.retain(now.nanos())?;
        }
        Ok(done)
    }

    fn lags(&self, installation: &Installation) -> bool {
        let needed = self.shared.needs().values().copied().min().unwrap_or(u64::MAX);
        let (bytes, end) = installation.log_extent();
        let Ok(first) = installation.log_first() else { return false };
        let part = |entries: u64| u128::from(bytes) * u128::from(entries) / u128::from((end - first.min(end)).max(1));
        part(end.saturating_sub(needed)) > u128::from(LAG_BYTES_MAX)
    }
}

/// How much of what there was has been read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    /// There was nothing to read.
    Nothing,
    /// Everything that there was has been read.
    All,
    /// There are more events to read.
    Some,
}

/// The files of one pipeline that are being written.
struct Filing {
    pipeline: KeptPipeline,
    archive: Archive,
    arrivals: Arrivals,
    attributes: Attributes,
    /// The same further values, of single events.
    values: Values,
    /// The events that are in no file, for searches.
    unfiled: Arc<Unfiled>,
    /// Entries whose events are not all durable in files, and the first arrival of each; also the
    /// previous entry.
    entries: VecDeque<(u64, u64)>,
    /// The time at which the first event of the unfinished file was added.
    begun_at: Option<Timestamp>,
}

impl Filing {
    fn open(installation: &Installation, pipeline: &KeptPipeline) -> Result<Filing, Error> {
        let wanted = &installation.settings().event_store;
        let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let settings = Settings {
            retention_age: wanted.retention_age.map(nanos),
            retention_bytes: wanted.retention_bytes,
            ..Settings::default()
        };
        let disk = installation.disk();
        let mut archive = Archive::open(Arc::clone(disk), &events_folder(pipeline.id), settings)?;
        let folder = folder_of(pipeline.id);
        let first = Arrivals::first(disk, &folder)?;
        if archive.next_durable().is_none_or(|next| next < first) {
            archive.skip_to(first)?;
        }
        let from = archive.next_durable().unwrap_or(0);
        let arrivals = Arrivals::open(disk, installation.whole_log()?, &folder, from, installation.log_end())?;
        let entries = arrivals.entry().map(|(position, arrival)| (arrival, position)).into_iter().collect();
        let unfiled = Arc::new(Unfiled::new(archive.recent()));
        let (attributes, values) = (Attributes::new(&[]), Values::new(&[]));
        let pipeline = pipeline.clone();
        let mut filing = Filing { pipeline, archive, arrivals, attributes, values, unfiled, entries, begun_at: None };
        let pipeline = filing.pipeline.clone();
        filing.take_version(installation, &pipeline)?;
        Ok(filing)
    }

    /// Indexes events by the users of a version of the pipeline from now on.
    fn take_version(&mut self, installation: &Installation, pipeline: &KeptPipeline) -> Result<(), Error> {
        // Events are found by their subjects all the same where a document cannot be read.
        let plan = crate::pipelines::plan_of(&installation.catalog, pipeline.id)(pipeline.version);
        let paths = plan.map(|plan| user_paths(&plan)).unwrap_or_default();
        let names: Vec<String> = paths.iter().map(|path| path.as_str().to_owned()).collect();
        self.archive.index_by(&names)?;
        (self.attributes, self.values) = (Attributes::new(&paths), Values::new(&paths));
        self.pipeline = pipeline.clone();
        Ok(())
    }

    /// Makes the indexes of a file that an earlier version wrote, or that was restored from a backup.
    fn index_one(&mut self, shared: &Shared) -> Result<(), Error> {
        let Filing { archive, values, .. } = self;
        archive.index_one(&mut |row| values.of(&row.raw), &|| !shared.stops())?;
        Ok(())
    }

    /// Writes received events, up to a batch.
    fn step(&mut self, end: u64, now: Timestamp, at_work: bool) -> Result<Done, Error> {
        self.arrivals.follow(end)?;
        let (mut bytes, mut done) = (0, Done::Nothing);
        while let Some(arrived) = self.arrivals.read(at_work)? {
            bytes += arrived.entry.bytes.len();
            if self.entries.back().is_none_or(|(_, position)| *position != arrived.entry.position) {
                self.entries.push_back((arrived.first, arrived.entry.position));
            }
            self.unfiled.note(&self.arrivals, &arrived);
            let Filing { archive, attributes, pipeline, .. } = self;
            // Events that the log no longer had are missing for good.
            archive.skip_to(arrived.first)?;
            let appended = attributes.rows(pipeline, &arrived, &mut |event, values| {
                archive.append_with(event, values)?;
                Ok(ControlFlow::Continue(()))
            });
            appended.map(drop)?;
            self.begun_at.get_or_insert(now);
            done = Done::All;
            if bytes >= BATCH_BYTES {
                done = Done::Some;
                break;
            }
        }
        self.archive.publish();
        if self.begun_at.is_some_and(|begun| now.since(begun) >= FINISH_AFTER) {
            self.archive.finish()?;
        }
        if self.is_durable() {
            self.begun_at = None;
        }
        let durable = self.archive.next_durable().unwrap_or(0);
        while self.entries.get(1).is_some_and(|(arrival, _)| *arrival <= durable) {
            self.entries.pop_front();
        }
        self.unfiled.release(durable);
        Ok(done)
    }

    /// Whether everything that was appended is in finished files.
    fn is_durable(&self) -> bool {
        self.archive.next() == self.archive.next_durable()
    }

    /// Returns the first entry of the log that is needed.
    fn need(&self) -> u64 {
        self.entries.front().map_or(0, |(_, position)| *position)
    }
}

/// Returns whether events in the log wait to be counted.
fn is_counting_behind(installation: &Installation) -> bool {
    let end = installation.log_end();
    let behind = |pipeline: &KeptPipeline| {
        let served = installation.served_of(pipeline.id);
        served.is_some_and(|served| {
            let board = served.board();
            !board.is_paused() && board.failure().is_none() && board.position() + BEHIND_MIN < end
        })
    };
    installation.all_pipelines().is_ok_and(|pipelines| pipelines.iter().any(behind))
}

/// Returns the instant before which no event needs its answers: neither the log nor the event store
/// has one that is older.
fn answers_before(installation: &Installation, now: Timestamp) -> Option<Timestamp> {
    let settings = installation.settings();
    let longest = settings.log.retention?.max(settings.event_store.retention_age?);
    Some(instant_before(now, longest))
}

fn instant_before(now: Timestamp, age: Duration) -> Timestamp {
    now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}
