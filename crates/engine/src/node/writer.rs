//! The writer: appends submissions to the log, many at a time, and replies when they are durable.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_core::mutant::{self, Mutant};
use flowmeter_core::time::Timestamp;
use flowmeter_store::log::{Encoded, Entry, EntryKind, Log};

use super::{Board, Clock, Ticker};
use crate::live::{LogCommand, Tail};
use crate::{Error, Kind};

/// Settings of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// Maximum bytes of one commit.
    pub bytes: usize,
    /// How long the first submission waits for others; during a commit the next ones gather anyway.
    pub delay_max: Duration,
}

/// The place of submitted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The entry of the log.
    pub position: u64,
    /// The index of the submission's first event in the entry.
    pub first: u32,
}

/// Called once the submission is durable, or with the error.
pub type Reply = Box<dyn FnOnce(Result<Placed, Error>) + Send>;

/// Something to append to the log.
pub struct Submission {
    kind: EntryKind,
    /// Bytes of the head; submissions with the same head may share an entry.
    head: usize,
    bytes: Vec<u8>,
    items: u32,
    /// Whether it needs an entry of its own.
    alone: bool,
    /// Encoded by the sender, if that is worth it.
    encoded: Option<Encoded>,
    reply: Reply,
}

/// Larger bodies are compressed by the thread that brings them, of which there are always several;
/// smaller ones are combined and compressed together.
const ENCODE_MIN: usize = 16 << 10;

impl Submission {
    /// Makes a submission of events: the head of their letter and the lines, one JSON object each.
    pub fn events(head: usize, letter: Vec<u8>, items: u32, clock: &dyn Clock, reply: Reply) -> Submission {
        let ready = letter.len() >= ENCODE_MIN;
        let encoded = ready.then(|| Encoded::new(EntryKind::Events, clock.now().nanos(), items, &letter));
        Submission { kind: EntryKind::Events, head, bytes: letter, items, alone: false, encoded, reply }
    }

    /// Answers that it was not accepted.
    pub fn refuse(self, why: Error) {
        (self.reply)(Err(why));
    }

    /// Gives the submission an entry of its own.
    pub fn alone(self) -> Submission {
        Submission { alone: true, ..self }
    }

    /// Makes a submission of a command.
    pub fn command(command: &LogCommand, reply: Reply) -> Submission {
        let bytes = command.to_json();
        let (kind, head) = (EntryKind::Command, bytes.len());
        Submission { kind, head, bytes, items: 0, alone: true, encoded: None, reply }
    }

    /// Returns whether it may share an entry: small bodies of events may.
    fn may_join(&self) -> bool {
        self.kind == EntryKind::Events && self.encoded.is_none() && !self.alone
    }

    fn joins(&self, head: &[u8]) -> bool {
        self.may_join() && self.bytes[..self.head] == *head
    }
}

enum Message {
    Put(Submission),
    Stop,
}

/// The only appender of the log, on a thread of its own or, in the simulation, on the caller's.
pub struct Writer {
    messages: Sender<Message>,
    driver: Driver,
    shared: Arc<Shared>,
}

/// The source of the writer's steps.
enum Driver {
    /// A thread of its own.
    Thread(Option<JoinHandle<Log>>),
    /// Calls of [`Writer::turn`] and of functions that wait for an answer.
    Caller(Mutex<Option<Box<Writing>>>),
}

struct Shared {
    tail: Arc<Tail>,
    boards: Mutex<Vec<Arc<Board>>>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    bytes: AtomicU64,
    events: AtomicU64,
    release: AtomicU64,
    /// The time of receipt of the newest entry, in nanoseconds.
    last_at: AtomicI64,
}

impl Writer {
    /// Starts a thread that writes to a log.
    pub fn start(log: Log, settings: WriterSettings, tail: Arc<Tail>, clock: Arc<dyn Clock>) -> Result<Writer, Error> {
        let (mut writer, mut writing) = Writer::new(log, settings, tail, clock);
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            while !writing.step(PATIENCE) {}
            writing.log
        });
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        writer.driver = Driver::Thread(Some(thread));
        Ok(writer)
    }

    /// Creates a writer without a thread: it writes when [`Writer::turn`] is called, or when a
    /// caller waits for an answer. So the caller decides the order of events.
    pub fn by_hand(log: Log, settings: WriterSettings, tail: Arc<Tail>, clock: Arc<dyn Clock>) -> Writer {
        let (mut writer, writing) = Writer::new(log, settings, tail, clock);
        writer.driver = Driver::Caller(Mutex::new(Some(Box::new(writing))));
        writer
    }

    fn new(log: Log, settings: WriterSettings, tail: Arc<Tail>, clock: Arc<dyn Clock>) -> (Writer, Writing) {
        let (messages, inbox) = channel();
        let shared = Arc::new(Shared {
            tail,
            boards: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            bytes: AtomicU64::new(log.bytes()),
            events: AtomicU64::new(log.durable_items()),
            release: AtomicU64::new(0),
            last_at: AtomicI64::new(log.last_at()),
        });
        let (gathered, ticker) = (Vec::new(), Ticker::default());
        let writing = Writing { log, settings, clock, shared: Arc::clone(&shared), inbox, gathered, ticker };
        (Writer { messages, driver: Driver::Thread(None), shared }, writing)
    }

    /// Writes pending submissions and a due tick, if the writer has no thread.
    pub fn turn(&self) {
        let Driver::Caller(writing) = &self.driver else { return };
        let mut writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writing) = writing.as_mut() {
            writing.step(Duration::ZERO);
        }
    }

    /// Queues a submission; its reply is called on the writer's thread.
    pub fn put(&self, submission: Submission) {
        if let Err(unsent) = self.messages.send(Message::Put(submission))
            && let Message::Put(submission) = unsent.0
        {
            (submission.reply)(Err(Error::new(Kind::Unavailable, "the server is stopping")));
        }
    }

    /// Appends a command and waits until it is durable.
    pub fn command(&self, command: &LogCommand) -> Result<u64, Error> {
        Ok(self.put_and_wait(|reply| Submission::command(command, reply))?.position)
    }

    /// Appends a submission and waits until it is durable.
    pub fn put_and_wait(&self, submission: impl FnOnce(Reply) -> Submission) -> Result<Placed, Error> {
        let (sender, receiver) = channel();
        self.put(submission(Box::new(move |placed| drop(sender.send(placed)))));
        self.turn();
        receiver.recv().map_err(|_| Error::new(Kind::Unavailable, "the server is stopping"))?
    }

    /// Watches a pipeline's board, to tick when something is due.
    pub fn watch(&self, board: Arc<Board>) {
        self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner).push(board);
    }

    /// Stops watching a pipeline's board.
    pub fn unwatch(&self, board: &Arc<Board>) {
        self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| !Arc::ptr_eq(known, board));
    }

    /// Returns the permanent failure, if there is one: then no submission is accepted.
    pub fn failure(&self) -> Option<Error> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return None;
        }
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the bytes of the log on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of events that became durable in the log, deleted ones included.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Returns the time of receipt of the newest entry; the earliest time if the log has none. No
    /// later entry has an earlier one.
    pub fn last_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.shared.last_at.load(Ordering::Relaxed))
    }

    /// Allows the deletion of segments before a position.
    pub fn release(&self, before: u64) {
        self.shared.release.fetch_max(before, Ordering::AcqRel);
    }

    /// Writes pending submissions and ends. Returns the log.
    pub fn stop(mut self) -> Option<Log> {
        drop(self.messages.send(Message::Stop));
        match &mut self.driver {
            Driver::Thread(thread) => thread.take().and_then(|thread| thread.join().ok()),
            Driver::Caller(writing) => {
                let mut writing = writing.get_mut().unwrap_or_else(PoisonError::into_inner).take()?;
                while !writing.step(Duration::ZERO) {}
                Some(writing.log)
            }
        }
    }
}

struct Writing {
    log: Log,
    settings: WriterSettings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    gathered: Vec<Submission>,
    ticker: Ticker,
}

/// How long the writer sleeps without submissions, which is also the maximum delay of a tick.
const PATIENCE: Duration = Duration::from_millis(200);

impl Writing {
    /// Gathers requests for up to `patience`, writes them, and ticks if that is due. Returns
    /// whether the writer was asked to stop.
    fn step(&mut self, patience: Duration) -> bool {
        let mut gathered = std::mem::take(&mut self.gathered);
        let stop = self.gather(&mut gathered, patience);
        let tick = self.is_tick_due();
        if tick {
            gathered.push(Submission::command(&LogCommand::Tick, Box::new(|_| {})));
        }
        if !gathered.is_empty() {
            let written = self.write(&mut gathered);
            // A tick that could not be written is due again.
            if let (true, Some(last)) = (tick, written) {
                self.ticker.ticked(last);
            }
        }
        self.gathered = gathered;
        self.let_go();
        stop
    }

    /// Waits for a submission, then takes all pending ones. Returns whether to stop.
    fn gather(&mut self, gathered: &mut Vec<Submission>, mut patience: Duration) -> bool {
        let mut bytes = 0;
        loop {
            match self.inbox.recv_timeout(patience) {
                Ok(Message::Put(submission)) => {
                    bytes += submission.bytes.len();
                    gathered.push(submission);
                    patience = patience.min(self.settings.delay_max);
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            if bytes >= self.settings.bytes {
                return false;
            }
        }
    }

    fn is_tick_due(&self) -> bool {
        // With a test clock, ticks come on demand.
        if self.clock.as_test().is_some() {
            return false;
        }
        let boards = self.shared.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let last_at = self.shared.last_at.load(Ordering::Relaxed);
        if mutant::is_put_back(Mutant::NoTickForThePast) && boards.iter().any(|board| board.due() < last_at) {
            return false;
        }
        self.ticker.is_due(self.clock.now(), boards.iter())
    }

    /// Writes the gathered submissions in order. Returns the last position if all of them are
    /// durable.
    fn write(&mut self, gathered: &mut Vec<Submission>) -> Option<u64> {
        // No entry is earlier than one that is in the log already.
        let at = self.clock.now().nanos().max(self.shared.last_at.load(Ordering::Relaxed));
        self.shared.last_at.store(at, Ordering::Relaxed);
        let mut entries = Vec::new();
        let mut replies: Vec<(Reply, u32, usize)> = Vec::new();
        let mut appended = Ok(());
        let mut submissions = std::mem::take(gathered).into_iter().peekable();
        while let Some(first) = submissions.next() {
            let is_joined = first.may_join();
            let Submission { kind, head, mut bytes, mut items, encoded, reply, .. } = first;
            let place = entries.len();
            replies.push((reply, 0, place));
            while is_joined && let Some(next) = submissions.next_if(|next| next.joins(&bytes[..head])) {
                replies.push((next.reply, items, place));
                bytes.extend_from_slice(&next.bytes[next.head..]);
                items += next.items;
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
                positions.last().copied()
            }
            Err(why) => {
                let left = submissions.map(|submission| submission.reply);
                for reply in replies.into_iter().map(|(reply, ..)| reply).chain(left) {
                    reply(Err(why.clone().into()));
                }
                None
            }
        }
    }

    fn let_go(&mut self) {
        let before = self.shared.release.load(Ordering::Acquire);
        if before > self.log.first() {
            // Segments that cannot be removed now are tried again; they do no harm.
            drop(self.log.release(before));
        }
    }
}
