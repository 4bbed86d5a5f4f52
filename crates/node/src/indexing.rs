//! Indexes are kept up in the background, so that a question finds them nearly complete.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_engine::Error;

use crate::background::{self, Yields};
use crate::installation::{Installation, Served};

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(1);
/// Rounds after which files of removed records are removed.
const RELEASE_EVERY: u64 = 60;

/// The thread that keeps the indexes of all pipelines.
pub struct Indexing {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Indexing {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread could be created.
    pub fn start(installation: &Arc<Installation>) -> Result<Indexing, Error> {
        let (end, ended) = channel::<()>();
        let installation = Arc::downgrade(installation);
        let thread = background::spawn("index", Yields::Wholly, move || {
            let mut round = 0;
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) && step(&installation, round) {
                round += 1;
            }
        })?;
        Ok(Indexing { end, thread })
    }

    /// Ends the thread after its present step.
    pub fn stop(self) {
        drop(self.end);
        drop(self.thread.join());
    }
}

/// Keeps up the indexes once. Returns false if the installation was dropped.
fn step(installation: &Weak<Installation>, round: u64) -> bool {
    let Some(installation) = installation.upgrade() else { return false };
    for served in installation.served() {
        if let Err(why) = served.keep_indexes(round) {
            tracing::warn!(pipeline = served.kept.name, "an index is behind, lookups take longer: {why}");
        }
    }
    true
}

impl Served {
    /// Brings the indexes of its meters and records up to date.
    fn keep_indexes(&self, round: u64) -> Result<(), Error> {
        if self.board().failure().is_some() {
            return Ok(());
        }
        self.meters_index.follow(self.worker())?;
        self.records_index.catch_up(self.board().records())?;
        if round.is_multiple_of(RELEASE_EVERY) {
            self.records_index.release()?;
        }
        self.records_index.keep_up()
    }

    /// Returns the approximate bytes of the index of its meters.
    pub fn meter_index_bytes(&self) -> usize {
        self.meters_index.memory_bytes()
    }
}
