//! Closing: all partitions flush at once, and their records are merged into one order.
//!
//! Each partition gives its records in the order of [`RecordKey`]; the merge takes the
//! least of the heads. Chunks travel through short queues, so memory stays small
//! however many meters close.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

use flowmeter_core::partition::{Command, Effects, Identities, Memory, Meter, Partition, RecordKey};
use flowmeter_core::time::Timestamp;

use crate::Error;
use crate::noted::{Happening, Noted};

/// Bytes of records that travel together.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a record that is small.
const RECORD_BYTES: usize = 512;
/// Chunks a partition may be ahead.
const CHUNKS_AHEAD: usize = 4;

/// Takes records in order.
pub trait RecordSink {
    /// Takes a metered record.
    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error>;
    /// Takes a partial record.
    fn threshold(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error>;
    /// Takes what happened to a meter, where the engine was told to listen.
    fn noted(&mut self, _noted: &Noted) -> Result<(), Error> {
        Ok(())
    }
}

/// How partitions close.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Whether what is open is flushed as well.
    pub(crate) flush_open: bool,
    /// Whether anybody listens to what happens to single meters.
    pub(crate) listens: bool,
    /// When.
    pub(crate) at: Timestamp,
}

/// Lets every partition do a command that closes, and hands its records on in order; then
/// the meters that are gone.
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
                let command = if order.flush_open { Command::Flush } else { Command::Tick };
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

/// Records in the order they were made.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Chunk {
    /// An empty one, in the memory of another if there is one. It holds what travels together
    /// without growing: what it grew out of would be fresh memory, too.
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
    /// Chunks that were read to their end: fresh memory costs more than what is written to it.
    back: SyncSender<Chunk>,
}

impl Queue {
    /// Makes sure there is a next record; says no at the end.
    fn advance(&mut self) -> bool {
        while self.next >= self.chunk.entries.len() {
            match self.receiver.recv() {
                Ok(chunk) => {
                    let read = std::mem::replace(&mut self.chunk, chunk);
                    self.next = 0;
                    // There are enough of them, or nothing more is made.
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

/// Takes the effects of closing.
struct Closing {
    chunk: Chunk,
    sender: SyncSender<Chunk>,
    /// Chunks to be used again.
    spare: Receiver<Chunk>,
    /// The meters that are gone, if anybody listens.
    noted: Option<Vec<Noted>>,
}

impl Closing {
    fn send(&mut self) {
        let full = std::mem::replace(&mut self.chunk, Chunk::again(self.spare.try_recv().ok()));
        // The merge has gone after an error of the sink: what is left has no reader.
        drop(self.sender.send(full));
    }
}

impl Effects for Closing {
    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) {
        let bytes = &mut self.chunk.bytes;
        let user = bytes.len()..bytes.len() + key.user.len();
        bytes.extend_from_slice(key.user);
        let text = bytes.len()..bytes.len() + json.len();
        bytes.extend_from_slice(json);
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
