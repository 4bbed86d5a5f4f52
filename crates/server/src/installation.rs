//! The data of one server: the log and its writer, the catalog, the running pipelines, their
//! sessions.
//!
//! Changes that people make go into the catalog first. Where numbers depend on them, they also go
//! into the log as a command, so they apply from one entry on, after every restart alike. Changes
//! are made one at a time; events do not wait for them.

mod audit;
pub mod backup;
mod change;
mod clock;
mod clock_check;
mod closings;
mod corrections;
mod declared;
mod declared_types;
mod deliveries;
mod delivery;
mod event_rows;
mod event_store;
mod explain;
mod feeding;
mod finishing;
mod first_key;
mod following;
pub(crate) mod history;
mod meter_events;
mod meter_memory;
mod meter_types;
mod meters;
mod notifications;
mod opening;
mod origins;
mod overview;
pub(crate) mod parked_groups;
mod pipelines;
mod probing;
mod readiness;
mod records;
mod replay;
mod retention;
mod scheduling;
mod sessions;
mod standing;
mod stopped;
mod table_reading;
mod tables;
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
pub(crate) use feeding::SourceBoard;
pub use first_key::key_offline;
pub use meter_types::KeptMeterType;
pub use meters::{MeterFilter, MeterView};
pub use notifications::{NoticeFilter, Tried};
pub use opening::{Means, OpenTarget};
pub use origins::{OriginView, origins_csv};
pub(crate) use overview::encoded;
pub use pipelines::{KeptPipeline, KeptVersion, document_problem, lines};
pub use readiness::{Condition, Standing};
pub use records::RecordView;
pub use sessions::{KeptSession, SessionEvent, StartOptions, counts};
pub(crate) use standing::PipelineGauge;
pub use stopped::Stopped;
pub use tables::{KeptContent, KeptTable, TableView};
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
/// Bytes of durable entries kept in memory for pipelines that keep up: a quarter of a second at a
/// million events a second.
const TAIL_BYTES: usize = 64 << 20;
/// Bytes of entries that a pipeline takes at once: enough to keep all threads busy, few enough that
/// a query waits only milliseconds.
const TAKE_BYTES: usize = 8 << 20;
/// Bytes that stay free on the disk for checkpoints and the catalog.
const RESERVE_BYTES: u64 = 256 << 20;

/// A failed request, answered as a problem.
pub type Refused = Box<Problem>;

/// The data of one server and its running parts.
pub struct Installation {
    settings: Settings,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    catalog: Arc<Catalog>,
    tail: Arc<Tail>,
    writer: RwLock<Option<Writer>>,
    pipelines: RwLock<BTreeMap<Uuid, Arc<Served>>>,
    /// Pipelines that should run but do not.
    stopped: Mutex<BTreeMap<Uuid, stopped::Stopped>>,
    /// Held during a change of the catalog, so that changes are made one at a time.
    changing: Mutex<()>,
    /// The number of the next entry of the audit.
    audit_next: AtomicU64,
    /// Whether a change is in the log and not in the catalog.
    has_unapplied: AtomicBool,
    /// Tables that are read from their sources.
    reading: table_reading::Reading,
    /// Held during a change of the meters of the OpenMeter API, each of which takes several
    /// changes.
    changing_openmeter: Mutex<()>,
    /// Maximum of bytes of meters.
    meters_bytes_max: u64,
    /// The time at which each condition that refuses events was first seen.
    conditions_since: Mutex<readiness::Since>,
    /// Cache of all notifications.
    notifications_read: Mutex<Option<Arc<Vec<crate::notifications::Notification>>>>,
    /// The task that writes received events to files.
    event_store: OnceLock<EventStore>,
    /// Held while a backup reads, so that nothing is removed in the meantime.
    keeping: Mutex<()>,
    /// The lock that keeps other programs from the data directory.
    _lock: Option<Lock>,
    /// The function that opens targets.
    open_target: OpenTarget,
    /// Whether the writer, the pipelines and their targets have threads of their own.
    has_threads: bool,
    /// Whether the machine's clock was not followed at the last check.
    clock_is_wrong: AtomicBool,
    /// The status of the newest session of each pipeline.
    standing: standing::Standing,
    /// Numbers over time, for the dashboard.
    pub(crate) history: history::History,
    /// Parked events, grouped by cause.
    pub(crate) parked_groups: parked_groups::ParkedGroups,
    /// Compiled versions and counts that the overview reads every second.
    overview: overview::Cache,
    teller: telling::Teller,
    /// When sessions start by themselves.
    schedules: scheduling::Schedules,
}

/// A loaded pipeline with its worker.
pub struct Served {
    /// The pipeline as stored in the catalog.
    pub kept: KeptPipeline,
    /// The session that runs it; 0 without one. An idle pipeline takes no events, but its meters
    /// and records can be read.
    session: AtomicU64,
    /// Whether the pipeline makes notes of the events of single meters.
    listens: AtomicBool,
    worker: Worker,
    delivery: Arc<delivery::Delivery>,
    /// The progress of a session that is finishing.
    finishing: Mutex<finishing::Finishing>,
    /// The sources that its session reads.
    feeding: Mutex<Option<Arc<feeding::Feeding>>>,
    /// Number of settlements that are in the audit.
    audited: AtomicU64,
}

impl Served {
    /// Returns the board of its worker.
    pub fn board(&self) -> &Arc<flowmeter_engine::node::Board> {
        self.worker.board()
    }

    /// Returns the session that runs it; 0 without one.
    pub fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    /// Returns the number of the next record to deliver.
    pub(crate) fn delivery_end(&self) -> u64 {
        self.delivery.end()
    }

    /// Returns its worker thread.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl Installation {
    /// Runs one step of the writer, of every pipeline and of every target, if they have no threads.
    pub fn turn(&self) {
        drop(self.with_writer(|writer| {
            writer.turn();
            Ok(())
        }));
        for served in self.served() {
            served.worker.turn();
            served.delivery.couriers().iter().for_each(|courier| courier.turn());
        }
    }

    /// Writes pending data, makes checkpoints and stops.
    pub fn close(&self) {
        self.teller.end();
        if let Some(events) = self.event_store.get() {
            events.stop();
        }
        feeding::end(&self.served());
        let served = std::mem::take(&mut *self.pipelines.write().unwrap_or_else(PoisonError::into_inner));
        let couriers: Vec<_> = served.values().flat_map(|served| served.delivery.couriers()).collect();
        delivery::end(&couriers, self.settings.drain);
        for served in served.into_values() {
            served.worker.stop();
        }
        if let Some(writer) = self.writer.write().unwrap_or_else(PoisonError::into_inner).take() {
            writer.stop();
        }
    }

    /// Asks every target to stop after its current work.
    pub(crate) fn end_deliveries(&self) {
        self.served().iter().flat_map(|served| served.delivery.couriers()).for_each(|courier| courier.ask_to_end());
    }

    /// Cancels requests to targets after the time to stop.
    pub(crate) fn abandon_deliveries(&self) {
        self.served().iter().flat_map(|served| served.delivery.couriers()).for_each(|courier| courier.abandon());
    }

    /// Returns the settings with which it was opened.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the time of the wall clock; the present time but for a test clock.
    pub fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Returns the engine's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the catalog database.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the data directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Appends a submission to the log and waits until it is durable.
    fn put_and_wait(&self, submission: impl FnOnce(Reply) -> Submission) -> Result<Placed, Error> {
        self.with_writer(|writer| writer.put_and_wait(submission))
    }

    /// Passes events to the writer.
    pub fn put(&self, submission: Submission) {
        if let Some(writer) = &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            writer.put(submission);
        }
    }

    /// Calls `with` with the writer.
    fn with_writer<T>(&self, with: impl FnOnce(&Writer) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            Some(writer) => with(writer),
            None => Err(Error::new(Kind::Unavailable, "the server is stopping")),
        }
    }

    /// Returns the error that ended the acceptance of events, if there was one.
    pub fn failure(&self) -> Option<Error> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Writer::failure)
    }

    /// Whether a change that was refused may hold if the program ends now: its commit failed, and
    /// could not be undone yet.
    pub fn is_in_doubt(&self) -> bool {
        self.catalog.is_in_doubt()
    }

    /// Returns the bytes of the log on disk, and the position after its last entry.
    pub fn log_extent(&self) -> (u64, u64) {
        let bytes = self.writer.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Writer::bytes);
        (bytes, self.tail.end())
    }

    /// Returns the loaded pipelines.
    pub fn served(&self) -> Vec<Arc<Served>> {
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns the loaded pipelines of a namespace.
    pub fn served_in(&self, namespace: &str) -> Vec<Arc<Served>> {
        self.served().into_iter().filter(|served| served.kept.namespace == namespace).collect()
    }

    /// Returns a loaded pipeline.
    pub fn served_of(&self, pipeline: Uuid) -> Option<Arc<Served>> {
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).get(&pipeline).cloned()
    }

    /// Returns a loaded pipeline that a session runs.
    pub fn running_of(&self, pipeline: Uuid) -> Option<Arc<Served>> {
        self.served_of(pipeline).filter(|served| served.session() != 0)
    }

    /// Locks the meters of the OpenMeter API for a change.
    pub(crate) fn change_openmeter(&self) -> MutexGuard<'_, ()> {
        self.changing_openmeter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log from one position up to another one that is durable.
    pub(crate) fn read_log(&self, from: u64, end: u64) -> Result<log::Reader, Error> {
        open_reader(&self.disk, LOG_FOLDER, from, end)
    }

    /// Removes log segments that no pipeline and no file of events needs and whose retention has
    /// passed.
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
        // An error is ignored here, since the next check repeats the removal.
        if let Ok(before) = log::first_since(&*self.disk, LOG_FOLDER, before, since) {
            drop(self.with_writer(|writer| {
                writer.release(before);
                Ok(())
            }));
        }
    }

    /// Returns the right to remove data; `None` while a backup reads.
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

    /// Returns a function that opens the log for a worker.
    fn log_reader(&self) -> Box<dyn Fn(u64) -> Result<log::Reader, Error> + Send> {
        let (disk, tail) = (Arc::clone(&self.disk), Arc::clone(&self.tail));
        Box::new(move |from| open_reader(&disk, LOG_FOLDER, from, tail.end()))
    }
}

/// Reads a value of the catalog.
fn kept<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|why| Error::new(Kind::Corrupt, format!("the catalog: {why}")))
}

/// Serializes a value for the catalog.
fn to_keep(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Returns `namespace` and a name as a key that sorts by both.
fn named_key(namespace: &str, name: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], name.as_bytes()].concat()
}

fn put(table: Table, key: Vec<u8>, value: &impl Serialize) -> Change {
    Change::Put(table, key, to_keep(value))
}

/// Returns two numbers as one key.
fn pair_key(id: Uuid, number: u64) -> Vec<u8> {
    [id.as_bytes(), key_of(number).as_slice()].concat()
}

/// Returns an error of the engine as a problem for the caller.
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

/// Returns the problem of a missing object.
pub fn not_found(what: &str, name: &str) -> Refused {
    let problem = Problem::new(Code::NotFound, format!("there is no {what} `{name}`"));
    Box::new(match LISTS.iter().find(|(known, _)| *known == what) {
        Some((_, list)) => problem.remedy(format!("{list} lists what there is; names are case-sensitive.")),
        None => problem,
    })
}

/// The endpoints that list the objects of each kind.
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

/// Returns an instant in its JSON form.
pub fn shown(at: Timestamp) -> Value {
    if at == Timestamp::MAX || at == Timestamp::MIN { Value::Null } else { Value::String(at.to_string()) }
}

/// Returns a function that compiles the plan of a version from the catalog.
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
