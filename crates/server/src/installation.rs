//! Everything one server keeps: the log and its writer, the catalog, the pipelines at
//! work, their sessions.
//!
//! What people make and change goes into the catalog first and then, where the numbers
//! depend on it, into the log as a command: so it holds from one entry on, after every
//! restart alike. Changes are made one at a time; events do not wait for them.

mod audit;
pub mod backup;
mod batch;
mod change;
mod closings;
mod corrections;
mod declared;
mod declared_types;
mod deliveries;
mod delivery;
mod event_rows;
mod event_store;
mod explain;
mod finishing;
mod first_key;
pub(crate) mod history;
mod meter_events;
mod meter_memory;
mod meter_types;
mod meters;
mod notifications;
mod opening;
mod overview;
pub(crate) mod parked_groups;
mod pipelines;
mod probing;
mod readiness;
mod records;
mod replay;
mod retention;
mod sessions;
mod standing;
mod stopped;
mod telling;
mod test_data;
mod trace;
mod trial;
mod trial_source;
mod usage;
mod verify;
mod working;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{LiveSettings, Tail};
use flowmeter_engine::node::{Clock, Placed, Reply, Submission, Worker, WorkerSettings, Writer, open_reader};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Catalog, Change, Table, key_of};
use flowmeter_store::disk::{Disk, Lock};
use flowmeter_store::log;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use audit::{AuditEntry, AuditFilter, Who};
pub use corrections::{Correction, CorrectionFilter, CorrectionState};
pub use declared_types::DeclaredMeterType;
pub use deliveries::{DeliveryFilter, DeliveryView, Reconciled};
pub(crate) use deliveries::{TargetGauge, target_gauges, targets as delivery_targets};
pub use first_key::key_offline;
pub use meter_types::KeptMeterType;
pub use meters::{MeterFilter, MeterView};
pub use notifications::{NoticeFilter, Tried};
pub use opening::Means;
pub(crate) use overview::encoded;
pub use pipelines::{KeptPipeline, KeptVersion, document_problem, lines};
pub use readiness::{Condition, Standing};
pub use records::RecordView;
pub use sessions::{KeptSession, SessionEvent, counts};
pub(crate) use standing::PipelineGauge;
pub use stopped::Stopped;
pub use test_data::TestData;
pub use trace::event_shown;
pub use trial::Trial;
pub use trial_source::Given;
pub use usage::Usage;
pub use verify::{Verified, verify};

use crate::problem::{Code, Problem};
use crate::settings::Settings;
use event_store::EventStore;

/// The folder of the log of events.
pub const LOG_FOLDER: &str = "log";
/// The file of the catalog.
const CATALOG_FILE: &str = "catalog.redb";
/// Bytes of durable entries kept in memory for pipelines that keep up: a quarter of a
/// second at a million events a second.
const TAIL_BYTES: usize = 64 << 20;
/// Bytes of entries a pipeline takes in one go: enough to keep all threads busy, few
/// enough that a question waits only milliseconds.
const TAKE_BYTES: usize = 8 << 20;
/// Bytes that stay free on the disk for checkpoints and the catalog.
const RESERVE_BYTES: u64 = 256 << 20;

/// A failure of a request, to be told as a problem.
pub type Refused = Box<Problem>;

/// Everything one server keeps.
pub struct Installation {
    settings: Settings,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    catalog: Arc<Catalog>,
    tail: Arc<Tail>,
    writer: RwLock<Option<Writer>>,
    pipelines: RwLock<BTreeMap<Uuid, Arc<Served>>>,
    /// Pipelines that should run and do not.
    stopped: Mutex<BTreeMap<Uuid, stopped::Stopped>>,
    /// Changes of the catalog are made one at a time.
    changing: Mutex<()>,
    /// Whether a change is in the log and not in the catalog.
    /// The number of the next entry of the audit.
    audit_next: AtomicU64,
    has_unapplied: AtomicBool,
    /// So are changes of the meters of the OpenMeter API, of which each takes several.
    changing_openmeter: Mutex<()>,
    /// Bytes that meters may take.
    meters_bytes_max: u64,
    /// When each condition that refuses events was first seen.
    conditions_since: Mutex<readiness::Since>,
    /// All notifications, once they were read.
    notifications_read: Mutex<Option<Arc<Vec<crate::notifications::Notification>>>>,
    /// Turns what was received into files.
    event_store: OnceLock<EventStore>,
    /// Held while a backup reads: nothing is let go of meanwhile.
    keeping: Mutex<()>,
    /// So that no other program uses the data directory.
    _lock: Option<Lock>,
    /// Whether the writer and the pipelines have threads of their own.
    has_threads: bool,
    /// Whether the machine's clock was not followed when it was looked at last.
    clock_jumped: AtomicBool,
    /// Events are numbered one at a time.
    standing: standing::Standing,
    /// Numbers over time, for the dashboard.
    pub(crate) history: history::History,
    /// Parked events, grouped by cause.
    pub(crate) parked_groups: parked_groups::ParkedGroups,
    /// Compiled versions and counts that the overview reads every second.
    overview: overview::Cache,
    teller: telling::Teller,
}

/// A pipeline at work: its state is loaded, and a worker owns it.
pub struct Served {
    /// What is kept of it.
    pub kept: KeptPipeline,
    /// The session that runs it; 0 when none does, and it rests: nothing is taken, but its
    /// meters and records are at hand.
    session: AtomicU64,
    /// Whether it was told that somebody listens to what happens to single meters.
    listens: AtomicBool,
    worker: Worker,
    delivery: Arc<delivery::Delivery>,
    /// How far a session that is finishing has come.
    finishing: Mutex<finishing::Finishing>,
    /// Settlements that are in the audit.
    audited: AtomicU64,
}

impl Served {
    /// What its worker shows.
    pub fn board(&self) -> &Arc<flowmeter_engine::node::Board> {
        self.worker.board()
    }

    /// The session that runs it; 0 when it rests.
    pub fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    /// The number of the next record to deliver.
    pub(crate) fn delivery_end(&self) -> u64 {
        self.delivery.end()
    }

    /// Its worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl Installation {
    /// Lets the writer and every pipeline take a step, where they have no threads.
    pub fn turn(&self) {
        drop(self.with_writer(|writer| {
            writer.turn();
            Ok(())
        }));
        for served in self.served() {
            served.worker.turn();
        }
    }

    /// Writes what was handed over, makes checkpoints and ends.
    pub fn close(&self) {
        self.teller.end();
        if let Some(events) = self.event_store.get() {
            events.stop();
        }
        let served = std::mem::take(&mut *self.pipelines.write().unwrap_or_else(PoisonError::into_inner));
        let couriers: Vec<_> = served.values().flat_map(|served| served.delivery.couriers()).collect();
        delivery::end(&couriers, self.settings.drain);
        for served in served.into_values() {
            // Whoever still holds it only reads its board.
            if let Ok(served) = Arc::try_unwrap(served) {
                served.worker.stop();
            }
        }
        if let Some(writer) = self.writer.write().unwrap_or_else(PoisonError::into_inner).take() {
            writer.stop();
        }
    }

    /// The server is about to stop: every target ends as soon as it has done what it is
    /// doing.
    pub(crate) fn end_deliveries(&self) {
        self.served().iter().flat_map(|served| served.delivery.couriers()).for_each(|courier| courier.ask_to_end());
    }

    /// The time to stop is over: requests to targets that are under way are given up.
    pub(crate) fn abandon_deliveries(&self) {
        self.served().iter().flat_map(|served| served.delivery.couriers()).for_each(|courier| courier.abandon());
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Reports when the machine's clock jumps, and when it is right again.
    pub(crate) fn look_at_clock(&self) {
        self.clock.now();
        let difference = self.clock.difference();
        let has_jumped = difference.is_some();
        if self.clock_jumped.swap(has_jumped, Ordering::AcqRel) != has_jumped {
            match difference {
                Some(by) => tracing::error!(
                    seconds = by / 1_000_000_000,
                    "the machine's clock jumped and is not followed; set it right, or restart the server to accept it"
                ),
                None => tracing::info!("the machine's clock is right again"),
            }
        }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The data directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Puts something into the log and waits until it is durable.
    fn put_and_wait(&self, submission: impl FnOnce(Reply) -> Submission) -> Result<Placed, Error> {
        self.with_writer(|writer| writer.put_and_wait(submission))
    }

    /// Hands events to the writer.
    pub fn put(&self, submission: Submission) {
        if let Some(writer) = &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            writer.put(submission);
        }
    }

    /// Lets something be done with the writer.
    fn with_writer<T>(&self, with: impl FnOnce(&Writer) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            Some(writer) => with(writer),
            None => Err(Error::new(Kind::Unavailable, "the server is stopping")),
        }
    }

    /// What ended the taking of events for good, if something did.
    pub fn failure(&self) -> Option<Error> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Writer::failure)
    }

    /// Bytes of the log on disk, and the position behind its last entry.
    pub fn log_extent(&self) -> (u64, u64) {
        let bytes = self.writer.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Writer::bytes);
        (bytes, self.tail.end())
    }

    /// The pipelines at work.
    pub fn served(&self) -> Vec<Arc<Served>> {
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The pipelines at work of a namespace.
    pub fn served_in(&self, namespace: &str) -> Vec<Arc<Served>> {
        self.served().into_iter().filter(|served| served.kept.namespace == namespace).collect()
    }

    /// A pipeline at work.
    pub fn served_of(&self, pipeline: Uuid) -> Option<Arc<Served>> {
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).get(&pipeline).cloned()
    }

    /// A pipeline at work that a session runs.
    pub fn running_of(&self, pipeline: Uuid) -> Option<Arc<Served>> {
        self.served_of(pipeline).filter(|served| served.session() != 0)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while meters of the OpenMeter API change.
    pub(crate) fn change_openmeter(&self) -> MutexGuard<'_, ()> {
        self.changing_openmeter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log from one position up to another that is durable.
    pub(crate) fn read_log(&self, from: u64, end: u64) -> Result<log::Reader, Error> {
        open_reader(&self.disk, LOG_FOLDER, from, end)
    }

    /// Lets go of log segments that no pipeline and no file of events needs and whose time
    /// is over.
    pub fn release_log(&self) {
        let Some(retention) = self.settings.log.retention else { return };
        let Some(_free) = self.may_release() else { return };
        let served = self.served();
        let before = served.iter().map(|served| served.board().released()).min();
        let (Some(mut before), Ok(applied)) = (before, self.applied()) else { return };
        before = before.min(applied);
        if let Some(events) = self.event_store.get() {
            before = before.min(events.needs(served.iter().map(|served| served.kept.id)));
        }
        let age = i64::try_from(retention.as_nanos()).unwrap_or(i64::MAX);
        let since = self.now().nanos().saturating_sub(age);
        // What cannot be looked at now is looked at again in a moment.
        if let Ok(before) = log::first_since(&*self.disk, LOG_FOLDER, before, since) {
            drop(self.with_writer(|writer| {
                writer.release(before);
                Ok(())
            }));
        }
    }

    /// Whether something may be let go of: not while a backup reads.
    fn may_release(&self) -> Option<MutexGuard<'_, ()>> {
        match self.keeping.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(free)) => Some(free.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn worker_settings(&self) -> WorkerSettings {
        WorkerSettings {
            take_bytes: TAKE_BYTES,
            checkpoint_bytes: self.settings.checkpoint.bytes,
            checkpoint_interval: self.settings.checkpoint.interval,
        }
    }

    fn live_settings(&self) -> LiveSettings {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.settings.threads.map_or(cores, usize::from);
        let partitions = self.settings.partitions.map_or(threads, usize::from);
        LiveSettings {
            engine: flowmeter_engine::Settings { threads, partitions, taps_max: 0 },
            identities_bytes: usize::try_from(self.settings.identities_bytes).unwrap_or(usize::MAX),
            rollups_bytes: self.settings.rollups_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            paced: !self.has_threads,
            outlet: log::Settings { segment_bytes: self.settings.log.segment_bytes, reserve_bytes: RESERVE_BYTES / 2 },
        }
    }

    /// Opens the log for a worker.
    fn log_reader(&self) -> Box<dyn Fn(u64) -> Result<log::Reader, Error> + Send> {
        let (disk, tail) = (Arc::clone(&self.disk), Arc::clone(&self.tail));
        Box::new(move |from| open_reader(&disk, LOG_FOLDER, from, tail.end()))
    }
}

/// How long a change waits for a pipeline to come to it.
const CHANGE_PATIENCE: Duration = Duration::from_secs(30);

/// A value of the catalog.
fn kept<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|why| Error::new(Kind::Corrupt, format!("the catalog: {why}")))
}

/// A value for the catalog.
fn to_keep(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// `namespace` and a name, as a key that sorts by both.
fn named_key(namespace: &str, name: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], name.as_bytes()].concat()
}

fn put(table: Table, key: Vec<u8>, value: &impl Serialize) -> Change {
    Change::Put(table, key, to_keep(value))
}

/// Two numbers as one key.
fn pair_key(id: Uuid, number: u64) -> Vec<u8> {
    [id.as_bytes(), key_of(number).as_slice()].concat()
}

/// An error of the engine, as a problem for whoever asked.
pub fn problem_of(why: &Error) -> Refused {
    let code = match why.kind {
        Kind::Invalid => Code::Conflict,
        Kind::Full => Code::DiskFull,
        Kind::Unavailable => Code::Overloaded,
        Kind::Corrupt | Kind::Bug => Code::Internal,
    };
    let problem = Problem::new(code, why.to_string());
    Box::new(if matches!(why.kind, Kind::Unavailable | Kind::Full) { problem.retry_after(1) } else { problem })
}

/// A thing that is not there.
pub fn not_found(what: &str, name: &str) -> Refused {
    let problem = Problem::new(Code::NotFound, format!("there is no {what} `{name}`"));
    Box::new(match LISTS.iter().find(|(known, _)| *known == what) {
        Some((_, list)) => problem.remedy(format!("{list} lists what there is; names are case-sensitive.")),
        None => problem,
    })
}

/// Where the things of each kind are listed.
const LISTS: &[(&str, &str)] = &[
    ("delivery", "GET /api/v1/deliveries"),
    ("event", "GET /api/v1/events"),
    ("key", "GET /api/v1/keys"),
    ("meter", "GET /api/v1/meters"),
    ("meter type", "GET /api/v1/meter-types"),
    ("notification", "GET /api/v1/notifications"),
    ("parked event", "GET /api/v1/corrections"),
    ("pipeline", "GET /api/v1/pipelines"),
    ("pipeline at work", "GET /api/v1/sessions?status=RUNNING"),
    ("record", "GET /api/v1/records"),
    ("session", "GET /api/v1/sessions"),
    ("target", "GET /api/v1/deliveries/targets"),
    ("test data", "GET /api/v1/test-data"),
];

/// An instant as everywhere.
pub fn shown(at: Timestamp) -> Value {
    if at == Timestamp::MAX || at == Timestamp::MIN { Value::Null } else { Value::String(at.to_string()) }
}

/// The plan of a version, from the catalog.
fn plan_of(catalog: &Arc<Catalog>, pipeline: Uuid) -> impl Fn(u32) -> Result<Arc<Plan>, Error> + Send + use<> {
    let catalog = Arc::clone(catalog);
    move |version| {
        let bytes = catalog.get(Table::Versions, &pair_key(pipeline, u64::from(version)))?;
        let bytes =
            bytes.ok_or_else(|| Error::new(Kind::Corrupt, format!("version {version} of pipeline {pipeline} is gone")))?;
        let kept: KeptVersion = kept(&bytes)?;
        Ok(Arc::new(kept.compile()?.plan))
    }
}
