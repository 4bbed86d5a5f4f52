//! The journal of one machine: a segment log in the data folder, with one shard.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Log, Reader, Recovered, Spot};

use super::{Entries, Journal, Shard, ShardChange, To};
use crate::live::{Found, LogCommand, Tail};
use crate::node::{Board, Clock, Placed, Reply, Submission, Writer, WriterSettings};
use crate::{Error, Kind};

/// How a local journal is opened.
pub struct LocalSettings<'s> {
    /// The folder of the log.
    pub folder: &'s str,
    /// Settings of its segments.
    pub log: log::Settings,
    /// Settings of its writer.
    pub writer: WriterSettings,
    /// Bytes of durable entries that are kept in memory.
    pub tail_bytes: usize,
    /// A position before which all entries were durable: none of these is given out again.
    pub known: u64,
    /// Whether it writes on a thread of its own.
    pub has_thread: bool,
}

/// A journal that this machine writes.
pub struct LocalJournal {
    disk: Arc<dyn Disk>,
    folder: String,
    tail: Arc<Tail>,
    /// None once it is closed.
    writer: RwLock<Option<Writer>>,
    changes: Mutex<Vec<ShardChange>>,
}

impl LocalJournal {
    /// Opens the log, or begins one. Its only shard is granted from the start. `began` is called with
    /// the time of receipt of the last entry before anything is written.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(
        disk: &Arc<dyn Disk>,
        settings: &LocalSettings<'_>,
        clock: &Arc<dyn Clock>,
        began: impl FnOnce(Timestamp),
    ) -> Result<(LocalJournal, Recovered), Error> {
        let (log, recovered) = Log::open_behind(Arc::clone(disk), settings.folder, settings.log, settings.known)?;
        began(Timestamp::from_nanos(log.last_at()));
        let tail = Arc::new(Tail::new(log.next(), settings.tail_bytes));
        let writer = match settings.has_thread {
            true => Writer::start(log, settings.writer, Arc::clone(&tail), Arc::clone(clock))?,
            false => Writer::by_hand(log, settings.writer, Arc::clone(&tail), Arc::clone(clock)),
        };
        let journal = LocalJournal {
            disk: Arc::clone(disk),
            folder: settings.folder.to_owned(),
            tail,
            writer: RwLock::new(Some(writer)),
            changes: Mutex::new(vec![ShardChange::Granted(Shard::FIRST)]),
        };
        Ok((journal, recovered))
    }

    fn with_writer<T>(&self, with: impl FnOnce(&Writer) -> T) -> Option<T> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(with)
    }

    fn must_exist(&self, shard: Shard) -> Result<(), Error> {
        match shard {
            Shard::FIRST => Ok(()),
            Shard(other) => Err(Error::new(Kind::Bug, format!("{}: there is no shard {other}", self.folder))),
        }
    }
}

fn closed() -> Error {
    Error::new(Kind::Unavailable, "the server is stopping")
}

impl Journal for LocalJournal {
    fn put(&self, shard: Shard, submission: Submission) {
        let is_there = self.must_exist(shard);
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        match (is_there, &*writer) {
            (Ok(()), Some(writer)) => writer.put(submission),
            (Ok(()), None) => submission.refuse(closed()),
            (Err(why), _) => submission.refuse(why),
        }
    }

    fn put_and_wait(&self, shard: Shard, submission: Box<dyn FnOnce(Reply) -> Submission + '_>) -> Result<Placed, Error> {
        self.must_exist(shard)?;
        self.with_writer(|writer| writer.put_and_wait(submission)).ok_or_else(closed)?
    }

    fn command(&self, to: To, command: &LogCommand) -> Result<u64, Error> {
        if let To::Shard(shard) = to {
            self.must_exist(shard)?;
        }
        self.with_writer(|writer| writer.command(command)).ok_or_else(closed)?
    }

    fn from(&self, shard: Shard, position: u64, bytes_max: usize, patience: Duration) -> Found {
        debug_assert_eq!(shard, Shard::FIRST);
        self.tail.from(position, bytes_max, patience)
    }

    fn wake(&self, _shard: Shard) {
        self.tail.wake();
    }

    fn read(&self, shard: Shard, from: u64, end: u64) -> Result<Box<dyn Entries>, Error> {
        self.must_exist(shard)?;
        Ok(Box::new(Reader::beside(Arc::clone(&self.disk), &self.folder, from, end)?))
    }

    fn read_at(&self, shard: Shard, spot: Spot, end: u64) -> Result<Box<dyn Entries>, Error> {
        self.must_exist(shard)?;
        Ok(Box::new(Reader::beside_from(Arc::clone(&self.disk), &self.folder, spot, end)?))
    }

    fn first(&self, shard: Shard) -> Result<u64, Error> {
        self.must_exist(shard)?;
        Ok(log::segments_of(&*self.disk, &self.folder)?.first().map_or(0, |(position, _)| *position))
    }

    fn first_since(&self, shard: Shard, before: u64, at: Timestamp) -> Result<u64, Error> {
        self.must_exist(shard)?;
        Ok(log::first_since(&*self.disk, &self.folder, before, at.nanos())?)
    }

    fn end(&self, _shard: Shard) -> u64 {
        self.tail.end()
    }

    fn release(&self, _shard: Shard, before: u64) {
        self.with_writer(|writer| writer.release(before));
    }

    fn failure(&self) -> Option<Error> {
        self.with_writer(Writer::failure).flatten()
    }

    fn bytes(&self) -> u64 {
        self.with_writer(Writer::bytes).unwrap_or(0)
    }

    fn events(&self) -> u64 {
        self.with_writer(Writer::events).unwrap_or(0)
    }

    fn last_at(&self) -> Timestamp {
        self.with_writer(Writer::last_at).unwrap_or(Timestamp::MIN)
    }

    fn watch(&self, board: Arc<Board>) {
        self.with_writer(|writer| writer.watch(board));
    }

    fn unwatch(&self, board: &Arc<Board>) {
        self.with_writer(|writer| writer.unwatch(board));
    }

    fn changes(&self) -> Vec<ShardChange> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn turn(&self) {
        self.with_writer(Writer::turn);
    }

    fn close(&self) {
        let writer = self.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        // Without the lock: a reply that is given meanwhile may use the journal.
        writer.map(Writer::stop);
    }
}
