//! Closing: all partitions flush at once, and their records are merged into one order.
//!
//! Each partition returns its records in the order of [`RecordKey`]; the merge takes the least of
//! the heads. Chunks travel through short queues, so memory stays small however many meters close.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

use flowmeter_core::partition::{Command, Effects, Identities, Memory, Meter, Partition, RecordKey};
use flowmeter_core::record::Record;
use flowmeter_core::time::Timestamp;

use crate::Error;
use crate::noted::{Happening, Noted};

/// Bytes of records that are sent together.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a small record.
const RECORD_BYTES: usize = 512;
/// Chunks a partition may be ahead.
const CHUNKS_AHEAD: usize = 4;

/// Receives records in order.
pub trait RecordSink {
    /// Receives a metered record.
    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error>;
    /// Receives a partial record.
    fn threshold(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error>;
    /// Receives an event of a meter, if the engine listens to them.
    fn noted(&mut self, _noted: &Noted) -> Result<(), Error> {
        Ok(())
    }
}

/// The options of closing partitions.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// The periods that are closed.
    pub(crate) extent: Extent,
    /// Whether a reader has subscribed to the events of single meters.
    pub(crate) listens: bool,
    /// The instant of closing.
    pub(crate) at: Timestamp,
}

/// The periods that are closed at once.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    /// The periods that ended.
    Due,
    /// Corrections of flushed periods.
    Revisions,
    /// The open periods too.
    Open,
}

/// Applies a closing command to every partition and passes the records on in order, followed by the
/// meters that are gone.
pub(crate) fn close<I: Identities + Send>(
    partitions: Vec<&mut Partition<Memory, I>>,
    order: Order,
    sink: &mut dyn RecordSink,
) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let (mut queues, mut closings) = (Vec::new(), Vec::new());
        for partition in partitions {
            let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
            let (back, spare) = sync_channel(CHUNKS_AHEAD);
            queues.push(Queue { receiver, chunk: Chunk::default(), next: 0, back });
            closings.push(scope.spawn(move || {
                let noted = order.listens.then(Vec::new);
                let mut closing = Closing { chunk: Chunk::again(None), sender, spare, noted };
                let command = match order.extent {
                    Extent::Due => Command::Tick,
                    Extent::Revisions => Command::Revise,
                    Extent::Open => Command::Flush,
                };
                partition.apply(command, order.at, &mut closing);
                closing.send();
                closing.noted.unwrap_or_default()
            }));
        }
        merge(queues, sink)?;
        let joined = |closing: ScopedJoinHandle<'_, Vec<Noted>>| closing.join().unwrap_or_else(|why| resume_unwind(why));
        let mut gone: Vec<Noted> = closings.into_iter().flat_map(joined).collect();
        gone.sort();
        gone.iter().try_for_each(|noted| sink.noted(noted))
    })
}

fn merge(mut queues: Vec<Queue>, sink: &mut dyn RecordSink) -> Result<(), Error> {
    queues.retain_mut(Queue::advance);
    while !queues.is_empty() {
        let mut least = 0;
        for other in 1..queues.len() {
            if queues[other].key() < queues[least].key() {
                least = other;
            }
        }
        let queue = &mut queues[least];
        sink.record(queue.key(), queue.json())?;
        queue.next += 1;
        if !queue.advance() {
            queues.remove(least);
        }
    }
    Ok(())
}

/// Records in the order in which they were made.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Chunk {
    /// Returns an empty chunk, in the memory of another one if possible. It has room for the usual
    /// amount without growing, since every growth would allocate new memory, too.
    fn again(spare: Option<Chunk>) -> Chunk {
        let new = || Chunk {
            bytes: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4),
            entries: Vec::with_capacity(CHUNK_BYTES / RECORD_BYTES),
        };
        let mut chunk = spare.unwrap_or_else(new);
        chunk.bytes.clear();
        chunk.entries.clear();
        chunk
    }
}

struct Entry {
    key: RecordKey<'static>,
    user: Range<usize>,
    json: Range<usize>,
}

struct Queue {
    receiver: Receiver<Chunk>,
    chunk: Chunk,
    next: usize,
    /// Chunks that were read completely: new memory costs more than writing to it.
    back: SyncSender<Chunk>,
}

impl Queue {
    /// Advances to the next record; returns false at the end.
    fn advance(&mut self) -> bool {
        while self.next >= self.chunk.entries.len() {
            match self.receiver.recv() {
                Ok(chunk) => {
                    let read = std::mem::replace(&mut self.chunk, chunk);
                    self.next = 0;
                    // There are enough spare chunks, or nothing more is made.
                    if read.bytes.capacity() > 0 {
                        drop(self.back.try_send(read));
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn key(&self) -> RecordKey<'_> {
        let entry = &self.chunk.entries[self.next];
        RecordKey { user: &self.chunk.bytes[entry.user.clone()], ..entry.key }
    }

    fn json(&self) -> &[u8] {
        &self.chunk.bytes[self.chunk.entries[self.next].json.clone()]
    }
}

/// Receives the effects of closing.
struct Closing {
    chunk: Chunk,
    sender: SyncSender<Chunk>,
    /// Chunks whose memory is reused.
    spare: Receiver<Chunk>,
    /// The meters that are gone, if a reader has subscribed.
    noted: Option<Vec<Noted>>,
}

impl Closing {
    fn send(&mut self) {
        let full = std::mem::replace(&mut self.chunk, Chunk::again(self.spare.try_recv().ok()));
        // The merge has ended after an error of the sink: the remaining records have no reader.
        drop(self.sender.send(full));
    }
}

impl Effects for Closing {
    fn record(&mut self, key: RecordKey<'_>, record: &Record<'_>) {
        let bytes = &mut self.chunk.bytes;
        let user = bytes.len()..bytes.len() + key.user.len();
        bytes.extend_from_slice(key.user);
        let start = bytes.len();
        record.write_to(bytes);
        let text = start..bytes.len();
        self.chunk.entries.push(Entry { key: RecordKey { user: b"", ..key }, user, json: text });
        if bytes.len() >= CHUNK_BYTES {
            self.send();
        }
    }

    fn deleted(&mut self, meter: &Meter) {
        if let Some(noted) = &mut self.noted {
            noted.push(Noted::of(Happening::Deleted, meter));
        }
    }
}
