//! The data of one server: the log and its writer, the catalog, the running pipelines, their
//! sessions.
//!
//! Changes that people make go into the catalog first. Where numbers depend on them, they also go
//! into the log as a command, so they apply from one entry on, after every restart alike. Changes
//! are made one at a time; events do not wait for them.

mod opening;

pub use opening::{Means, OpenTarget};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};

use flowmeter_connectors::Abandon;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::journal::{Entries, Journal, Shard, To};
use flowmeter_engine::live::{LiveSettings, LogCommand};
use flowmeter_engine::node::{Clock, Placed, Reply, Submission, Worker, WorkerSettings};
use flowmeter_engine::outbox::RecordIndex;
use flowmeter_engine::vault::Vault;
use flowmeter_store::catalog::Catalog;
use flowmeter_store::disk::{Disk, Lock};
use flowmeter_store::log::{self, Spot};
use uuid::Uuid;

use crate::corrections::{askings, groups};
use crate::deliveries::delivery;
use crate::events::derived::ParkedLater;
use crate::events::store::EventStore;
use crate::jobs::Jobs;
use crate::meters::index::MeterIndex;
use crate::monitoring::{history, overview, readiness, standing};
use crate::pipelines::{KeptPipeline, stopped};
use crate::sessions::{feeding, finishing, scheduling, telling};
use crate::settings::{SettingChange, Settings};
use crate::tables::reading;

/// The folder of the log of events.
pub const LOG_FOLDER: &str = "log";
/// The file of the catalog.
pub(crate) const CATALOG_FILE: &str = "catalog.redb";
/// Bytes of durable entries kept in memory for pipelines that keep up: a quarter of a second at a
/// million events a second.
pub(crate) const TAIL_BYTES: usize = 64 << 20;
/// Bytes of entries that a pipeline takes at once: enough to keep all threads busy, few enough that
/// a query waits only milliseconds.
pub(crate) const TAKE_BYTES: usize = 8 << 20;
/// Bytes that stay free on the disk for checkpoints and the catalog.
pub(crate) const RESERVE_BYTES: u64 = 256 << 20;

/// The data of one server and its running parts.
pub struct Installation {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipelines: RwLock<BTreeMap<Uuid, Arc<Served>>>,
    /// Pipelines that should run but do not.
    pub(crate) stopped: Mutex<BTreeMap<Uuid, stopped::Stopped>>,
    /// Held during a change of the catalog, so that changes are made one at a time.
    pub(crate) changing: Mutex<()>,
    /// The number of the next entry of the audit.
    pub(crate) audit_next: AtomicU64,
    /// Whether a change is in the log and not in the catalog.
    pub(crate) has_unapplied: AtomicBool,
    /// Tables that are read from their sources.
    pub(crate) reading: reading::Reading,
    /// Held during a change of the meters of the OpenMeter API, each of which takes several
    /// changes.
    pub(crate) changing_openmeter: Mutex<()>,
    /// Maximum of bytes of meters.
    pub(crate) meters_bytes_max: u64,
    /// The time at which each condition that refuses events was first seen.
    pub(crate) conditions_since: Mutex<readiness::Since>,
    /// Cache of all notifications.
    pub(crate) notifications_read: Mutex<Option<Arc<Vec<crate::notifications::Notification>>>>,
    /// The task that writes received events to files.
    pub(crate) event_store: OnceLock<EventStore>,
    /// Held while pipelines are checked.
    pub(crate) looking: Mutex<()>,
    /// Held while a backup reads, so that nothing is removed in the meantime.
    pub(crate) keeping: Mutex<()>,
    /// The lock that keeps other programs from the data directory.
    pub(crate) _lock: Option<Lock>,
    /// The function that opens targets.
    pub(crate) open_target: OpenTarget,
    /// Whether the writer, the pipelines and their targets have threads of their own.
    pub(crate) has_threads: bool,
    /// Whether the machine's clock was not followed at the last check.
    pub(crate) clock_is_wrong: AtomicBool,
    /// The status of the newest session of each pipeline.
    pub(crate) standing: standing::Standing,
    /// Numbers over time, for the dashboard.
    pub history: history::History,
    /// Parked events, grouped by cause.
    pub(crate) parked_groups: groups::ParkedGroups,
    /// Requests that settled parked events and are not in the audit yet.
    pub(crate) askings: askings::Askings,
    /// Jobs over parked events, deliveries and records.
    pub jobs: Jobs,
    /// Settings that differed at starts, oldest first.
    pub(crate) setting_changes: OnceLock<Vec<SettingChange>>,
    /// Compiled versions and counts that the overview reads every second.
    pub(crate) overview: overview::Cache,
    pub(crate) teller: telling::Teller,
    /// When sessions start by themselves.
    pub(crate) schedules: scheduling::Schedules,
    /// The indexes of records, by pipeline: one each, however often the pipeline is loaded.
    pub(crate) record_indexes: Mutex<BTreeMap<Uuid, Arc<RecordIndex>>>,
}

/// A loaded pipeline with its worker.
pub struct Served {
    /// The pipeline as stored in the catalog.
    pub kept: KeptPipeline,
    /// The session that runs it; 0 without one. An idle pipeline takes no events, but its meters
    /// and records can be read.
    pub(crate) session: AtomicU64,
    /// Whether the pipeline makes notes of the events of single meters.
    pub(crate) listens: AtomicBool,
    pub(crate) worker: Worker,
    pub(crate) delivery: Arc<delivery::Delivery>,
    /// The progress of a session that is finishing.
    pub(crate) finishing: Mutex<finishing::Finishing>,
    /// The sources that its session reads.
    pub(crate) feeding: Mutex<Option<Arc<feeding::Feeding>>>,
    /// Number of settlements that are in the audit.
    pub(crate) audited: AtomicU64,
    /// Ends the requests of its operators to services.
    pub(crate) services: Abandon,
    /// Derived events that were parked after they had been made.
    pub(crate) parked_later: ParkedLater,
    /// The index of its meters.
    pub(crate) meters_index: Arc<MeterIndex>,
    /// The index of its records.
    pub(crate) records_index: Arc<RecordIndex>,
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
    pub fn delivery_end(&self) -> u64 {
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
        self.journal.turn();
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
            served.services.ask();
            served.worker.stop();
        }
        self.journal.close();
    }

    /// Asks every target to stop after its current work.
    pub fn end_deliveries(&self) {
        self.served().iter().flat_map(|served| served.delivery.couriers()).for_each(|courier| courier.ask_to_end());
    }

    /// Cancels requests to targets after the time to stop.
    pub fn abandon_deliveries(&self) {
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
    pub fn catalog(&self) -> &dyn Catalog {
        &*self.catalog
    }

    /// Returns the data directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Appends a submission to the log and waits until it is durable.
    pub(crate) fn put_and_wait(&self, submission: impl FnOnce(Reply) -> Submission) -> Result<Placed, Error> {
        self.journal.put_and_wait(Shard::FIRST, Box::new(submission))
    }

    /// Passes events to the writer.
    pub fn put(&self, submission: Submission) {
        self.journal.put(Shard::FIRST, submission);
    }

    /// Appends a command to every shard of the log and waits until it is durable.
    pub(crate) fn command(&self, command: &LogCommand) -> Result<u64, Error> {
        self.journal.command(To::All, command)
    }

    /// Returns the first position of the log, and a reader from there on.
    pub(crate) fn whole_log(&self) -> Result<(u64, Box<dyn Entries>), Error> {
        let first = self.log_first()?;
        Ok((first, self.read_log(first, self.log_end())?))
    }

    /// Returns the first position of the log that still exists.
    pub(crate) fn log_first(&self) -> Result<u64, Error> {
        self.journal.first(Shard::FIRST)
    }

    /// Returns the position after the last durable entry of the log.
    pub(crate) fn log_end(&self) -> u64 {
        self.journal.end(Shard::FIRST)
    }

    /// Returns the error that ended the acceptance of events, if there was one.
    pub fn failure(&self) -> Option<Error> {
        self.journal.failure()
    }

    /// Whether a change that was refused may hold if the program ends now: its commit failed, and
    /// could not be undone yet.
    pub fn is_in_doubt(&self) -> bool {
        self.catalog.is_in_doubt()
    }

    /// Returns the bytes of the log on disk, and the position after its last entry.
    pub fn log_extent(&self) -> (u64, u64) {
        (self.journal.bytes(), self.log_end())
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
    pub fn change_openmeter(&self) -> MutexGuard<'_, ()> {
        self.changing_openmeter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log from one position up to another one that is durable.
    pub fn read_log(&self, from: u64, end: u64) -> Result<Box<dyn Entries>, Error> {
        self.journal.read(Shard::FIRST, from, end)
    }

    /// Reads the log from a place on.
    pub(crate) fn read_log_at(&self, spot: Spot, end: u64) -> Result<Box<dyn Entries>, Error> {
        self.journal.read_at(Shard::FIRST, spot, end)
    }

    /// Removes log segments that no pipeline and no file of events needs and whose retention has
    /// passed.
    pub fn release_log(&self) {
        let Some(retention) = self.settings.log.retention else { return };
        let Some(_free) = self.may_release() else { return };
        // A pipeline that is not loaded at the moment still needs what it has not read.
        if self.stopped().iter().any(|stopped| self.served_of(stopped.pipeline.id).is_none() && self.continues(stopped)) {
            return;
        }
        let served = self.served();
        let before = served.iter().map(|served| served.board().released()).min();
        let (Some(mut before), Ok(applied)) = (before, self.applied()) else { return };
        before = before.min(applied);
        if let Some(events) = self.event_store.get() {
            before = before.min(events.needs(served.iter().map(|served| served.kept.id)));
        }
        let age = i64::try_from(retention.as_nanos()).unwrap_or(i64::MAX);
        let since = self.now().saturating_sub(age);
        // An error is ignored here, since the next check repeats the removal.
        if let Ok(before) = self.journal.first_since(Shard::FIRST, before, since) {
            self.journal.release(Shard::FIRST, before);
        }
    }

    /// Returns the right to remove data; `None` while a backup reads.
    pub(crate) fn may_release(&self) -> Option<MutexGuard<'_, ()>> {
        match self.keeping.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(free)) => Some(free.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn worker_settings(&self) -> WorkerSettings {
        WorkerSettings {
            take_bytes: TAKE_BYTES,
            checkpoint_bytes: self.settings.checkpoint.bytes,
            checkpoint_interval: self.settings.checkpoint.interval,
        }
    }

    pub(crate) fn live_settings(&self) -> LiveSettings {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.settings.threads.map_or(cores, usize::from);
        let partitions = self.settings.partitions.map_or(threads, usize::from);
        LiveSettings {
            engine: flowmeter_engine::Settings { threads, partitions, taps_max: 0 },
            identities_bytes: usize::try_from(self.settings.identities_bytes).unwrap_or(usize::MAX),
            rollups_bytes: self.settings.rollups_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            paced: !self.has_threads,
            keeps_derived: self.settings.event_store.enabled && self.settings.event_store.derived,
            outlet: log::Settings { segment_bytes: self.settings.log.segment_bytes, reserve_bytes: RESERVE_BYTES / 2 },
        }
    }
}
