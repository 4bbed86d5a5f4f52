//! The journal: the log of received events and commands, as everything above the store sees it.
//!
//! A journal has shards, each with an order of its own: a place is a shard and a position in it.
//! Positions grow and may have gaps. One machine has one shard and writes it itself
//! ([`LocalJournal`]); other journals may grant shards and take them back while a server runs.

mod local;
mod shard;

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_store::log::{Entry, Reader, Spot};

pub use local::{LocalJournal, LocalSettings};
pub use shard::{Place, Shard, ShardChange, To};

use crate::Error;
use crate::live::{Found, LogCommand};
use crate::node::{Board, Placed, Reply, Submission};

/// A log with shards.
pub trait Journal: Send + Sync {
    /// Queues a submission for a shard. Its reply is called when it is durable.
    fn put(&self, shard: Shard, submission: Submission);

    /// Appends a submission and waits until it is durable.
    ///
    /// # Errors
    /// It could not be written, or the journal is closed.
    fn put_and_wait(&self, shard: Shard, submission: Box<dyn FnOnce(Reply) -> Submission + '_>) -> Result<Placed, Error>;

    /// Appends a command and waits until it is durable everywhere it belongs. Returns the position
    /// in the first of these shards.
    ///
    /// # Errors
    /// It could not be written, or the journal is closed.
    fn command(&self, to: To, command: &LogCommand) -> Result<u64, Error>;

    /// Returns durable entries of a shard from a position on, up to a number of bytes. Waits up to
    /// `patience` if there are none.
    fn from(&self, shard: Shard, position: u64, bytes_max: usize, patience: Duration) -> Found;

    /// Ends the waiting of all readers.
    fn wake(&self, shard: Shard);

    /// Returns a reader of durable entries from one position up to another.
    ///
    /// # Errors
    /// The shard cannot be read, or no longer has the position.
    fn read(&self, shard: Shard, from: u64, end: u64) -> Result<Box<dyn Entries>, Error>;

    /// Reads entries from a place on, like [`Journal::read`].
    ///
    /// # Errors
    /// The shard cannot be read, or no longer has the place.
    fn read_at(&self, shard: Shard, spot: Spot, end: u64) -> Result<Box<dyn Entries>, Error>;

    /// Returns the first position that still exists.
    ///
    /// # Errors
    /// The shard cannot be read.
    fn first(&self, shard: Shard) -> Result<u64, Error>;

    /// Returns the first position, at most `before`, from which on all entries received at an
    /// instant or later are found.
    ///
    /// # Errors
    /// The shard cannot be read.
    fn first_since(&self, shard: Shard, before: u64, at: Timestamp) -> Result<u64, Error>;

    /// Returns the position after the last durable entry.
    fn end(&self, shard: Shard) -> u64;

    /// Allows the removal of entries before a position.
    fn release(&self, shard: Shard, before: u64);

    /// Returns the permanent failure, if there is one: then nothing more is accepted.
    fn failure(&self) -> Option<Error>;

    /// Returns the bytes that the journal takes, as far as it is known.
    fn bytes(&self) -> u64;

    /// Returns the number of events that became durable, removed ones included.
    fn events(&self) -> u64;

    /// Returns the time of receipt of the newest entry; the earliest time if there is none.
    fn last_at(&self) -> Timestamp;

    /// Watches a pipeline's board, to tick when something is due.
    fn watch(&self, board: Arc<Board>);

    /// Stops watching a pipeline's board.
    fn unwatch(&self, board: &Arc<Board>);

    /// Returns the changes of granted shards since the last call.
    fn changes(&self) -> Vec<ShardChange>;

    /// Writes what is pending and a due tick, where no thread does so.
    fn turn(&self);

    /// Writes what is pending and closes.
    fn close(&self);
}

/// A reader of entries, in the order of their positions.
pub trait Entries: Send {
    /// Reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// The entry cannot be read.
    fn read(&mut self) -> Result<Option<Entry>, Error>;

    /// Returns the position of the next entry.
    fn position(&self) -> u64;

    /// Skips entries before a position.
    ///
    /// # Errors
    /// An entry cannot be read.
    fn skip_to(&mut self, position: u64) -> Result<(), Error>;

    /// Moves the end to a position that is known to be durable by now.
    ///
    /// # Errors
    /// The shard cannot be read.
    fn follow(&mut self, end: u64) -> Result<(), Error>;

    /// Returns the place of the entry that was read last, if there are places.
    fn last_spot(&self) -> Option<Spot>;
}

impl Entries for Reader {
    fn read(&mut self) -> Result<Option<Entry>, Error> {
        Ok(Reader::read(self)?)
    }

    fn position(&self) -> u64 {
        Reader::position(self)
    }

    fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        Ok(Reader::skip_to(self, position)?)
    }

    fn follow(&mut self, end: u64) -> Result<(), Error> {
        Ok(Reader::follow(self, end)?)
    }

    fn last_spot(&self) -> Option<Spot> {
        Reader::last_spot(self)
    }
}
