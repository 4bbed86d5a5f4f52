//! The writer: puts what comes in into the log, many at once, and tells when it is durable.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_store::log::{Encoded, Entry, EntryKind, Log};

use super::{Board, Clock};
use crate::live::{LogCommand, Tail};
use crate::{Error, Kind};

/// When the writer commits.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// Bytes that are committed together at most.
    pub bytes: usize,
    /// How long the first of them waits for others; while a commit is under way the next
    /// gather anyway.
    pub delay_max: Duration,
}

/// Where events were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The entry of the log.
    pub position: u64,
    /// Which event of it is the first of the submission.
    pub first: u32,
}

/// Told once what was submitted is durable, or why it is not.
pub type Reply = Box<dyn FnOnce(Result<Placed, Error>) + Send>;

/// Something to be put into the log.
pub struct Submission {
    kind: EntryKind,
    /// Bytes of the head; submissions with the same head may share an entry.
    head: usize,
    bytes: Vec<u8>,
    items: u32,
    /// Made ready by the sender, where that is worth it.
    encoded: Option<Encoded>,
    reply: Reply,
}

/// Bodies of this size are compressed by the thread that brings them, all the time there
/// are several; smaller ones are put together and compressed as one.
const ENCODE_MIN: usize = 16 << 10;

impl Submission {
    /// Events: the head of their letter and the lines, one JSON object each.
    pub fn events(head: usize, letter: Vec<u8>, items: u32, clock: &dyn Clock, reply: Reply) -> Submission {
        let ready = letter.len() >= ENCODE_MIN;
        let encoded = ready.then(|| Encoded::new(EntryKind::Events, clock.now().nanos(), items, &letter));
        Submission { kind: EntryKind::Events, head, bytes: letter, items, encoded, reply }
    }

    /// A command.
    pub fn command(command: &LogCommand, reply: Reply) -> Submission {
        let bytes = command.to_json();
        Submission { kind: EntryKind::Command, head: bytes.len(), bytes, items: 0, encoded: None, reply }
    }

    fn joins(&self, other: &Submission) -> bool {
        let small = |one: &Submission| one.kind == EntryKind::Events && one.encoded.is_none();
        small(self) && small(other) && self.bytes[..self.head] == other.bytes[..other.head]
    }
}

enum Message {
    Put(Submission),
    Stop,
}

/// The thread that writes.
pub struct Writer {
    messages: Sender<Message>,
    thread: Option<JoinHandle<Log>>,
    shared: Arc<Shared>,
}

struct Shared {
    tail: Arc<Tail>,
    boards: Mutex<Vec<Arc<Board>>>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    bytes: AtomicU64,
    events: AtomicU64,
    release: AtomicU64,
}

impl Writer {
    /// Starts writing to a log.
    pub fn start(log: Log, settings: WriterSettings, tail: Arc<Tail>, clock: Arc<dyn Clock>) -> Result<Writer, Error> {
        let (messages, inbox) = channel();
        let shared = Arc::new(Shared {
            tail,
            boards: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            bytes: AtomicU64::new(log.bytes()),
            events: AtomicU64::new(log.durable_items()),
            release: AtomicU64::new(0),
        });
        let mut writing = Writing { log, settings, clock, shared: Arc::clone(&shared), inbox, last_at: 0, ticked_at: i64::MIN };
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            writing.run();
            writing.log
        });
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(Writer { messages, thread: Some(thread), shared })
    }

    /// Hands something over; its reply is called from the writer's thread.
    pub fn put(&self, submission: Submission) {
        if let Err(unsent) = self.messages.send(Message::Put(submission))
            && let Message::Put(submission) = unsent.0
        {
            (submission.reply)(Err(Error::new(Kind::Unavailable, "the server is stopping")));
        }
    }

    /// Puts a command into the log and waits until it is durable.
    pub fn command(&self, command: &LogCommand) -> Result<u64, Error> {
        let (sender, receiver) = channel();
        let reply: Reply = Box::new(move |placed| drop(sender.send(placed)));
        self.put(Submission::command(command, reply));
        let placed = receiver.recv().map_err(|_| Error::new(Kind::Unavailable, "the server is stopping"))?;
        Ok(placed?.position)
    }

    /// Lets the writer look at a pipeline's board, so that it ticks when something is due.
    pub fn watch(&self, board: Arc<Board>) {
        self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner).push(board);
    }

    /// Lets go of a pipeline's board.
    pub fn unwatch(&self, board: &Arc<Board>) {
        self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| !Arc::ptr_eq(known, board));
    }

    /// What went wrong for good, if something did: then nothing more is taken.
    pub fn failure(&self) -> Option<Error> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return None;
        }
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the log on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Events that are durable in the log, those let go of included.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Says that segments before a position are no longer needed.
    pub fn release(&self, before: u64) {
        self.shared.release.fetch_max(before, Ordering::AcqRel);
    }

    /// Writes what has been handed over and ends; gives the log back.
    pub fn stop(mut self) -> Option<Log> {
        drop(self.messages.send(Message::Stop));
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

struct Writing {
    log: Log,
    settings: WriterSettings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    last_at: i64,
    ticked_at: i64,
}

/// How long the writer sleeps when nothing comes: how late a tick may be.
const PATIENCE: Duration = Duration::from_millis(200);

impl Writing {
    fn run(&mut self) {
        let mut gathered = Vec::new();
        loop {
            let stop = self.gather(&mut gathered);
            if let Some(tick) = self.tick() {
                gathered.push(tick);
            }
            if !gathered.is_empty() {
                self.write(&mut gathered);
            }
            self.let_go();
            if stop {
                return;
            }
        }
    }

    /// Waits for something, then takes what else is there. Says whether to stop.
    fn gather(&mut self, gathered: &mut Vec<Submission>) -> bool {
        let mut bytes = 0;
        let mut patience = PATIENCE;
        loop {
            match self.inbox.recv_timeout(patience) {
                Ok(Message::Put(submission)) => {
                    bytes += submission.bytes.len();
                    gathered.push(submission);
                    patience = self.settings.delay_max;
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            if bytes >= self.settings.bytes {
                return false;
            }
        }
    }

    /// A tick, if something fell due that none has told of.
    fn tick(&mut self) -> Option<Submission> {
        let now = self.clock.now().nanos();
        let boards = self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let due = boards.iter().map(|board| board.due()).min()?;
        if due > now || due <= self.ticked_at {
            return None;
        }
        self.ticked_at = now;
        Some(Submission::command(&LogCommand::Tick, Box::new(|_| {})))
    }

    fn write(&mut self, gathered: &mut Vec<Submission>) {
        // No instant lies before one that is in the log already.
        let at = self.clock.now().nanos().max(self.last_at);
        self.last_at = at;
        let mut entries = Vec::new();
        let mut replies: Vec<(Reply, u32, usize)> = Vec::new();
        let mut appended = Ok(());
        let mut submissions = std::mem::take(gathered).into_iter().peekable();
        while let Some(first) = submissions.next() {
            let Submission { kind, head, mut bytes, mut items, encoded, reply } = first;
            let place = entries.len();
            replies.push((reply, 0, place));
            let probe =
                Submission { kind, head, bytes: bytes[..head].to_vec(), items: 0, encoded: None, reply: Box::new(|_| {}) };
            if encoded.is_none() {
                while let Some(next) = submissions.next_if(|next| probe.joins(next)) {
                    replies.push((next.reply, items, place));
                    bytes.extend_from_slice(&next.bytes[next.head..]);
                    items += next.items;
                }
            }
            let encoded = encoded.unwrap_or_else(|| Encoded::new(kind, at, items, &bytes));
            let at = encoded.at();
            match self.log.append(&encoded) {
                Ok(position) => {
                    entries.push(Arc::new(Entry { kind, at, items, position, first_item: 0, bytes }));
                }
                Err(why) => {
                    appended = Err(why);
                    break;
                }
            }
        }
        let outcome = appended.and_then(|()| self.log.commit());
        self.shared.bytes.store(self.log.bytes(), Ordering::Relaxed);
        self.shared.events.store(self.log.durable_items(), Ordering::Relaxed);
        if self.log.poison().is_some() {
            *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = self.log.poison().cloned().map(Error::from);
            self.shared.failed.store(true, Ordering::Release);
        }
        match outcome {
            Ok(_) => {
                let positions: Vec<u64> = entries.iter().map(|entry| entry.position).collect();
                self.shared.tail.push(entries);
                for (reply, first, place) in replies {
                    reply(Ok(Placed { position: positions[place], first }));
                }
            }
            Err(why) => {
                let left = submissions.map(|submission| submission.reply);
                for reply in replies.into_iter().map(|(reply, ..)| reply).chain(left) {
                    reply(Err(why.clone().into()));
                }
            }
        }
    }

    fn let_go(&mut self) {
        let before = self.shared.release.load(Ordering::Acquire);
        if before > self.log.first() {
            // What cannot be removed now is tried again; it does no harm.
            drop(self.log.release(before));
        }
    }
}
