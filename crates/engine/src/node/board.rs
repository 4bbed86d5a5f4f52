//! The published status of a pipeline: progress and counts from its worker for other threads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;

use super::known::Shown;
use crate::live::Live;
use crate::{Error, Totals};

/// The published status of a pipeline. Readers never wait for the worker.
pub struct Board {
    /// The earliest instant at which a period closes; nanoseconds.
    due: AtomicI64,
    position: AtomicU64,
    released: AtomicU64,
    meters: AtomicU64,
    records: AtomicU64,
    notes: AtomicU64,
    settled: AtomicU64,
    identities_bytes: AtomicU64,
    meter_bytes: AtomicU64,
    /// Recent growth of meters for each entry of the log, in bytes, times 1024.
    growth: AtomicU64,
    paused: AtomicBool,
    totals: Mutex<Totals>,
    pub(super) shown: Mutex<Shown>,
    failure: Mutex<Option<Error>>,
}

impl Board {
    pub(super) fn new() -> Board {
        Board {
            due: AtomicI64::new(i64::MAX),
            position: AtomicU64::new(0),
            released: AtomicU64::new(0),
            meters: AtomicU64::new(0),
            records: AtomicU64::new(0),
            notes: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            identities_bytes: AtomicU64::new(0),
            meter_bytes: AtomicU64::new(0),
            growth: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            totals: Mutex::default(),
            shown: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// Returns the earliest instant at which a period closes, in nanoseconds; `i64::MAX` if none
    /// does.
    pub fn due(&self) -> i64 {
        self.due.load(Ordering::Acquire)
    }

    /// Returns the position of the next entry that the pipeline applies.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Returns whether the pipeline is paused: then waiting for its progress is useless.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Returns the position before which the pipeline no longer needs entries.
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Returns the number of meters.
    pub fn meters(&self) -> u64 {
        self.meters.load(Ordering::Relaxed)
    }

    /// Returns the number of readable records.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Acquire)
    }

    /// Returns the number of readable notes: events of single meters, thresholds.
    pub fn notes(&self) -> u64 {
        self.notes.load(Ordering::Acquire)
    }

    /// Returns the number of readable settlements of parked events.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// Returns the bytes of identities in memory.
    pub fn identities_bytes(&self) -> u64 {
        self.identities_bytes.load(Ordering::Relaxed)
    }

    /// Returns the approximate bytes of meters in memory.
    pub fn meter_bytes(&self) -> u64 {
        self.meter_bytes.load(Ordering::Relaxed)
    }

    /// Estimates the bytes of meters once every entry before a position is counted, assuming that
    /// waiting entries bring as much as recent ones did.
    pub fn meter_bytes_at(&self, position: u64) -> u64 {
        let waiting = position.saturating_sub(self.position());
        let growth = u128::from(self.growth.load(Ordering::Relaxed));
        let coming = (u128::from(waiting) * growth) >> 10;
        self.meter_bytes().saturating_add(u64::try_from(coming).unwrap_or(u64::MAX))
    }

    /// Returns the totals of the pipeline so far.
    pub fn totals(&self) -> Totals {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of events by verdict.
    pub fn tally(&self) -> Tally {
        self.totals().tally
    }

    /// Returns the error that ended the worker, if one did.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    pub(super) fn release(&self, before: u64) {
        self.released.store(before, Ordering::Release);
    }

    pub(super) fn show_identities(&self, bytes: usize) {
        self.identities_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn show_weight(&self, (bytes, growth): (u64, u64)) {
        self.meter_bytes.store(bytes, Ordering::Relaxed);
        self.growth.store(growth, Ordering::Relaxed);
    }

    /// Publishes everything that a round may have changed.
    pub(super) fn show(&self, live: &Live) {
        self.meters.store(live.meter_count() as u64, Ordering::Relaxed);
        self.records.store(live.outlet().records().written(), Ordering::Release);
        self.notes.store(live.outlet().notes().written(), Ordering::Release);
        self.settled.store(live.outlet().settled().written(), Ordering::Release);
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = live.totals();
        self.show_progress(live.position(), live.next_due().unwrap_or(Timestamp::MAX));
    }

    /// Publishes the pipeline's progress. `due` is stored first, so that a thread that reads the
    /// position also reads the next due instant of this position or a later one.
    pub(super) fn show_progress(&self, position: u64, due: Timestamp) {
        let due = if due == Timestamp::MAX { i64::MAX } else { due.nanos() };
        self.due.store(due, Ordering::Release);
        self.position.store(position, Ordering::Release);
    }

    /// Publishes the error that ended the worker: nothing more falls due.
    pub(super) fn fail(&self, why: Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.due.store(i64::MAX, Ordering::Release);
    }
}
