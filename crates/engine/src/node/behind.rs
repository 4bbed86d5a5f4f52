//! Reading entries that the tail no longer has: a worker that is behind reads them from the disk.
//!
//! A thread reads and decompresses the next batch while the worker applies the one before. Without a
//! thread, the caller reads each batch when it is asked for, as a simulation needs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use flowmeter_store::log::Entry;

use crate::journal::{Entries, Journal, Shard};
use crate::{Error, Kind};

/// Entries that are applied at a time.
pub(super) type Batch = Vec<Arc<Entry>>;

/// Batches that the thread may be ahead, besides the one that it has in hand.
const AHEAD: usize = 1;

/// The entries of a shard from a position up to the end of the journal when reading began.
pub(super) enum Behind {
    /// A thread reads them, ahead of the worker.
    Ahead(Receiver<Result<Batch, Error>>),
    /// They are read when they are asked for.
    Here { entries: Box<dyn Entries>, bytes_max: usize },
}

impl Behind {
    /// Begins to read, in batches of at least `bytes_max` bytes.
    ///
    /// # Errors
    /// The shard cannot be read, or no longer has the position.
    pub(super) fn begin(
        journal: &dyn Journal,
        shard: Shard,
        from: u64,
        bytes_max: usize,
        has_thread: bool,
    ) -> Result<Behind, Error> {
        let mut entries = journal.read(shard, from, journal.end(shard))?;
        if !has_thread {
            return Ok(Behind::Here { entries, bytes_max });
        }
        let (sender, receiver) = sync_channel(AHEAD);
        let read = move || {
            loop {
                let batch = read(&mut *entries, bytes_max);
                let is_last = batch.as_ref().map_or(true, Vec::is_empty);
                // The worker may have ended meanwhile.
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("log reader".to_owned()).spawn(read);
        thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(Behind::Ahead(receiver))
    }

    /// Returns the next batch; an empty one at the end.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub(super) fn next(&mut self) -> Result<Batch, Error> {
        match self {
            Behind::Ahead(batches) => batches.recv().unwrap_or_else(|_| {
                // It ends with an empty batch or an error, and is asked for nothing after that.
                Err(Error::new(Kind::Bug, "the thread that reads the log ended before its last batch"))
            }),
            Behind::Here { entries, bytes_max } => read(&mut **entries, *bytes_max),
        }
    }
}

fn read(entries: &mut dyn Entries, bytes_max: usize) -> Result<Batch, Error> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max
        && let Some(entry) = entries.read()?
    {
        bytes += entry.bytes.len();
        batch.push(Arc::new(entry));
    }
    Ok(batch)
}
