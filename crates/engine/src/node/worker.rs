//! A worker: the thread that owns a running pipeline.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_core::aggregation::Fingerprint;
use flowmeter_core::partition::{METER_INDEX_BYTES, Meter};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;

use super::Board;
use super::behind::Behind;
use super::known::Known;
use crate::journal::{Journal, Shard};
use crate::live::{Found, JudgedBlock, Live};
use crate::{Error, Kind};

/// Settings of a worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Bytes of entries that are applied at a time.
    pub take_bytes: usize,
    /// Bytes of entries after which a checkpoint is made.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is made, if anything happened.
    pub checkpoint_interval: Duration,
}

/// Called with the verdicts of an entry's events.
pub type Judgement = Box<dyn FnOnce(Result<Vec<Verdict>, Error>) + Send>;

/// Called after entries were applied.
pub type After = Box<dyn FnMut(&mut Live) -> Result<(), Error> + Send>;

type Question = Box<dyn FnOnce(&mut Live) + Send>;

enum Message {
    Ask(Question),
    /// Requests the verdicts of an entry.
    Judge(u64, Judgement),
    Pause(bool),
    Stop,
}

/// The owner of a running pipeline, on a thread of its own or, in the simulation, on the caller's.
pub struct Worker {
    messages: Sender<Message>,
    driver: Driver,
    board: Arc<Board>,
    journal: Arc<dyn Journal>,
    shard: Shard,
}

/// The source of a worker's steps.
enum Driver {
    /// A thread of its own.
    Thread(Mutex<Option<JoinHandle<Option<Live>>>>),
    /// Calls of [`Worker::turn`] and of functions that wait for the worker.
    Caller(Mutex<Option<Box<Working>>>),
}

/// The dependencies of a worker.
pub struct Surroundings {
    /// The journal with its events.
    pub journal: Arc<dyn Journal>,
    /// The shard that it reads.
    pub shard: Shard,
    /// Returns the plan of a version.
    pub plan_of: Box<dyn Fn(u32) -> Result<Arc<Plan>, Error> + Send>,
    /// Called after entries were applied, to wake targets and other readers.
    pub after: After,
    /// Returns whether work is in progress that a checkpoint should not disturb.
    pub is_pressed: Box<dyn Fn() -> bool + Send>,
    /// Measures the time since the last checkpoint.
    pub clock: Arc<dyn super::Clock>,
}

impl Worker {
    /// Starts a worker with a thread.
    pub fn start(live: Live, settings: WorkerSettings, around: Surroundings, paused: bool) -> Result<Worker, Error> {
        let (mut worker, working) = Worker::new(live, settings, around, paused);
        let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || working.run());
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        worker.driver = Driver::Thread(Mutex::new(Some(thread)));
        Ok(worker)
    }

    /// Creates a worker without a thread: it takes a step when [`Worker::turn`] is called, or when
    /// a caller waits for it. So the caller decides the order of events.
    pub fn by_hand(live: Live, settings: WorkerSettings, around: Surroundings, paused: bool) -> Worker {
        let (mut worker, working) = Worker::new(live, settings, around, paused);
        worker.driver = Driver::Caller(Mutex::new(Some(Box::new(working))));
        worker
    }

    fn new(live: Live, settings: WorkerSettings, around: Surroundings, paused: bool) -> (Worker, Working) {
        let (messages, inbox) = channel();
        let board = Arc::new(Board::new());
        board.pause(paused);
        let (journal, shard) = (Arc::clone(&around.journal), around.shard);
        let working = Working::new(live, settings, around, inbox, Arc::clone(&board), paused);
        (Worker { messages, driver: Driver::Thread(Mutex::default()), board, journal, shard }, working)
    }

    /// Takes one step, if the worker has no thread. Returns whether the pipeline made progress.
    pub fn turn(&self) -> bool {
        let Driver::Caller(working) = &self.driver else { return false };
        let mut slot = working.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(working) = slot.as_mut() else { return false };
        let before = working.live.position();
        if let Err(why) = working.step(Duration::ZERO) {
            working.fail(why);
            *slot = None;
            return false;
        }
        working.live.position() > before
    }

    /// Returns the published status.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Calls a function with the pipeline between two rounds, and waits for its result.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Live) -> T + Send + 'static) -> Result<T, Error> {
        let (sender, receiver) = channel();
        self.send(Message::Ask(Box::new(move |live| drop(sender.send(question(live))))))?;
        receiver.recv().map_err(|_| self.ended())
    }

    /// Requests the verdicts of an entry, before the entry is in the log or shortly after.
    pub fn judge(&self, position: u64, judgement: Judgement) {
        if let Err(unsent) = self.messages.send(Message::Judge(position, judgement))
            && let Message::Judge(_, judgement) = unsent.0
        {
            judgement(Err(self.ended()));
        }
        self.journal.wake(self.shard);
    }

    /// Pauses or resumes the pipeline, and waits until this is done. Position and state stay.
    pub fn pause(&self, paused: bool) -> Result<(), Error> {
        self.send(Message::Pause(paused))?;
        self.ask(|_| ())
    }

    /// Waits until the pipeline has applied every entry before a position.
    ///
    /// # Errors
    /// The pipeline failed, ended or is paused, so that it would never get there.
    pub fn wait_for(&self, position: u64) -> Result<(), Error> {
        while self.board.position() < position {
            if self.board.is_paused() {
                let why = "the pipeline is paused; resume its session first";
                return Err(Error::new(Kind::Invalid, why));
            }
            let has_thread = matches!(self.driver, Driver::Thread(_));
            let has_moved = self.turn();
            self.ask(|_| ())?;
            if let Some(why) = self.board.failure() {
                return Err(why);
            }
            if !has_thread && !has_moved {
                let why = format!("entry {position} is awaited and not in the log");
                return Err(Error::new(Kind::Bug, why));
            }
        }
        Ok(())
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        self.messages.send(message).map_err(|_| self.ended())?;
        match &self.driver {
            Driver::Thread(_) => self.journal.wake(self.shard),
            Driver::Caller(working) => {
                let mut working = working.lock().unwrap_or_else(PoisonError::into_inner);
                working.as_mut().ok_or_else(|| self.ended())?.listen();
            }
        }
        Ok(())
    }

    fn ended(&self) -> Error {
        let gone = || Error::new(Kind::Unavailable, "the pipeline is not loaded");
        self.board.failure().unwrap_or_else(gone)
    }

    /// Makes a last checkpoint and ends. Returns the pipeline, unless it failed. When this returns,
    /// nothing more is written, even if others have a reference to the worker.
    pub fn stop(&self) -> Option<Live> {
        drop(self.send(Message::Stop));
        match &self.driver {
            Driver::Thread(thread) => {
                // The lock is held until the thread has ended: a second caller waits for that too.
                let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
                thread.take().and_then(|thread| thread.join().ok()).flatten()
            }
            Driver::Caller(working) => {
                let working = working.lock().unwrap_or_else(PoisonError::into_inner).take();
                working?.end()
            }
        }
    }
}

struct Working {
    live: Live,
    known: Known,
    settings: WorkerSettings,
    around: Surroundings,
    inbox: Receiver<Message>,
    board: Arc<Board>,
    paused: bool,
    /// Whether it runs on a thread of its own, and may start others.
    has_thread: bool,
    /// The reader of entries that the tail no longer has, while there are some.
    behind: Option<Behind>,
    taken_bytes: u64,
    checkpoint_at: Timestamp,
    /// Duration of the last checkpoint, in nanoseconds.
    checkpoint_took: i128,
    /// Time since when a checkpoint is due and waits for other work.
    checkpoint_waits: Option<Timestamp>,
    meter_bytes: MeterBytes,
    /// Verdicts of the newest entries, for requests that come late.
    recent: Vec<(u64, Vec<Verdict>)>,
    /// Requests that wait for the verdicts of an entry.
    waiting: HashMap<u64, Vec<Judgement>, BuildHasherDefault<Fingerprint>>,
    stop: bool,
}

/// The exact bytes of meters at the last visit; since then they are estimated from the number of
/// meters.
#[derive(Clone, Copy, Default)]
struct MeterBytes {
    bytes: usize,
    meters: usize,
    position: u64,
}

/// Bytes of an empty meter.
const METER_BYTES: usize = size_of::<Option<Meter>>() + METER_INDEX_BYTES;

impl MeterBytes {
    fn of(live: &Live) -> MeterBytes {
        MeterBytes { bytes: live.meter_bytes(), meters: live.meter_count(), position: live.position() }
    }

    /// Returns the estimated bytes now, and the growth for each entry since, times 1024.
    fn now(&self, live: &Live) -> (u64, u64) {
        let each = METER_BYTES.max(self.bytes / self.meters.max(1));
        let grown = live.meter_count().saturating_sub(self.meters) * each;
        let entries = live.position().saturating_sub(self.position).max(1);
        ((self.bytes + grown) as u64, ((grown as u64) << 10) / entries)
    }
}

/// A checkpoint may take one part of this many parts of the time, plus one.
const CHECKPOINT_SHARE: i128 = 5;

/// The longest wait for entries before the worker checks everything else.
const PATIENCE: Duration = Duration::from_millis(100);
/// Number of verdicts kept for requests that come after counting; a sender asks at once.
const JUDGED_KEPT: usize = 64;

impl Working {
    fn new(
        live: Live,
        settings: WorkerSettings,
        around: Surroundings,
        inbox: Receiver<Message>,
        board: Arc<Board>,
        paused: bool,
    ) -> Working {
        let now = around.clock.now();
        let mut working = Working {
            known: Known::of(&live, around.journal.end(around.shard)),
            meter_bytes: MeterBytes::of(&live),
            live,
            settings,
            around,
            inbox,
            board,
            paused,
            has_thread: false,
            behind: None,
            taken_bytes: 0,
            checkpoint_at: now,
            checkpoint_took: 0,
            checkpoint_waits: None,
            recent: Vec::new(),
            waiting: HashMap::default(),
            stop: false,
        };
        working.show();
        working
    }

    fn run(mut self) -> Option<Live> {
        self.has_thread = true;
        while !self.stop {
            if let Err(why) = self.step(PATIENCE) {
                self.fail(why);
                return None;
            }
        }
        self.end()
    }

    /// Makes a last checkpoint and returns the pipeline.
    fn end(mut self) -> Option<Live> {
        let released = self.live.checkpoint().ok()?;
        self.board.release(released);
        Some(self.live)
    }

    /// Stops applying entries and answers all waiting requests with the error.
    fn fail(&mut self, why: Error) {
        for judgement in self.waiting.drain().flat_map(|(_, judgements)| judgements) {
            judgement(Err(why.clone()));
        }
        self.board.fail(why);
    }

    /// Answers messages and applies the next entries; waits up to `patience` for some.
    fn step(&mut self, patience: Duration) -> Result<(), Error> {
        self.listen();
        // A query may have met a disk error.
        if let Some(why) = self.live.outlet().failure() {
            return Err(why.clone());
        }
        if self.stop {
            return Ok(());
        }
        if self.paused {
            // Only messages matter now; they wake the tail.
            let _ = self.around.journal.from(self.around.shard, u64::MAX, 0, patience);
            return self.upkeep();
        }
        if !self.catch_up()? {
            match self.around.journal.from(self.around.shard, self.live.position(), self.settings.take_bytes, patience) {
                Found::Entries(entries) => self.take(&entries)?,
                Found::Behind => {
                    let Surroundings { journal, shard, .. } = &self.around;
                    let (from, bytes) = (self.live.position(), self.settings.take_bytes);
                    self.behind = Some(Behind::begin(&**journal, *shard, from, bytes, self.has_thread)?);
                    self.catch_up()?;
                }
                Found::Nothing => return self.upkeep(),
            }
        }
        self.judge();
        (self.around.after)(&mut self.live)?;
        self.show();
        self.upkeep()
    }

    fn take(&mut self, entries: &[Arc<flowmeter_store::log::Entry>]) -> Result<(), Error> {
        self.taken_bytes += entries.iter().map(|entry| entry.bytes.len() as u64).sum::<u64>();
        self.live.take(entries, &self.around.plan_of)
    }

    /// Applies the next entries that are read from the disk, if any are. Returns whether it did.
    fn catch_up(&mut self) -> Result<bool, Error> {
        let Some(behind) = &mut self.behind else { return Ok(false) };
        let entries = behind.next()?;
        if entries.is_empty() {
            self.behind = None;
            return Ok(false);
        }
        self.take(&entries)?;
        Ok(true)
    }

    fn listen(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(Message::Ask(question)) => question(&mut self.live),
                Ok(Message::Judge(position, judgement)) => self.judge_later(position, judgement),
                Ok(Message::Pause(paused)) => {
                    self.paused = paused;
                    self.board.pause(paused);
                }
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => self.stop = true,
                Err(TryRecvError::Empty) => return,
            }
            if self.stop {
                return;
            }
        }
    }

    /// Answers with the verdicts of an entry, at once or as soon as they are known.
    fn judge_later(&mut self, position: u64, judgement: Judgement) {
        match self.recent.iter().find(|(known, _)| *known == position) {
            Some((_, verdicts)) => judgement(Ok(verdicts.clone())),
            // Applied long ago, or none of its events were for this pipeline.
            None if position < self.live.position() => judgement(Ok(Vec::new())),
            // Several requests may share an entry.
            None => self.waiting.entry(position).or_default().push(judgement),
        }
    }

    /// Answers requests that wait for verdicts, and keeps the newest verdicts for later requests.
    fn judge(&mut self) {
        for JudgedBlock { position, verdicts, .. } in self.live.take_judged() {
            match self.recent.last_mut() {
                Some((known, all)) if *known == position => all.extend(verdicts),
                _ => self.recent.push((position, verdicts)),
            }
        }
        for (position, verdicts) in &self.recent {
            for judgement in self.waiting.remove(position).unwrap_or_default() {
                judgement(Ok(verdicts.clone()));
            }
        }
        let taken = self.live.position();
        for (_, judgements) in self.waiting.extract_if(|position, _| *position < taken) {
            judgements.into_iter().for_each(|judgement| judgement(Ok(Vec::new())));
        }
        self.recent.drain(..self.recent.len().saturating_sub(JUDGED_KEPT));
    }

    fn upkeep(&mut self) -> Result<(), Error> {
        if self.taken_bytes == 0 {
            return Ok(());
        }
        let now = self.around.clock.now();
        let since = now.since(self.checkpoint_at);
        let interval = self.settings.checkpoint_interval.as_nanos() as i128;
        let waited = since >= interval;
        // With many meters a checkpoint takes seconds: counting gets most of the time.
        let is_rested = since >= self.checkpoint_took.saturating_mul(CHECKPOINT_SHARE);
        let is_due = is_rested && (waited || self.taken_bytes >= self.settings.checkpoint_bytes);
        if !is_due {
            return Ok(());
        }
        // A checkpoint that waits for other work is made anyway when the next one would be due.
        let waits_since = *self.checkpoint_waits.get_or_insert(now);
        if !self.is_pressed(now) || now.since(waits_since) >= interval {
            let released = self.live.checkpoint()?;
            self.checkpoint_took = self.around.clock.now().since(now);
            self.known.saved(&self.live, now);
            self.known.show(&self.live, &self.board);
            self.board.release(released);
            self.board.show_identities(self.live.identities_bytes());
            (self.taken_bytes, self.checkpoint_at, self.checkpoint_waits) = (0, self.around.clock.now(), None);
            self.meter_bytes = MeterBytes::of(&self.live);
            self.board.show_weight(self.meter_bytes.now(&self.live));
        }
        Ok(())
    }

    /// Returns whether a checkpoint would disturb the delivery of records, or meters that close
    /// before it is done.
    fn is_pressed(&self, now: Timestamp) -> bool {
        let closes_meanwhile = self.live.next_due().is_some_and(|due| due.since(now) <= self.checkpoint_took);
        closes_meanwhile || (self.around.is_pressed)()
    }

    fn show(&mut self) {
        self.board.show_weight(self.meter_bytes.now(&self.live));
        self.known.show(&self.live, &self.board);
        self.board.show(&self.live);
    }
}
