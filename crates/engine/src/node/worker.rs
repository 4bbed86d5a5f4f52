//! A worker: the thread that owns a pipeline at work.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_core::aggregation::Fingerprint;
use flowmeter_core::partition::{METER_INDEX_BYTES, Meter};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::Reader;

use super::known::{Known, Shown};
use crate::live::{Found, JudgedBlock, Live, Tail};
use crate::{Error, Kind, Totals};

/// What a worker shows to others.
pub struct Board {
    due: AtomicI64,
    position: AtomicU64,
    released: AtomicU64,
    meters: AtomicU64,
    records: AtomicU64,
    notes: AtomicU64,
    identities_bytes: AtomicU64,
    meter_bytes: AtomicU64,
    /// Bytes of meters that an entry of the log has brought lately, times 1024.
    growth: AtomicU64,
    paused: AtomicBool,
    totals: Mutex<Totals>,
    pub(super) shown: Mutex<Shown>,
    failure: Mutex<Option<Error>>,
}

impl Board {
    fn new() -> Board {
        Board {
            due: AtomicI64::new(i64::MAX),
            position: AtomicU64::new(0),
            released: AtomicU64::new(0),
            meters: AtomicU64::new(0),
            records: AtomicU64::new(0),
            notes: AtomicU64::new(0),
            identities_bytes: AtomicU64::new(0),
            meter_bytes: AtomicU64::new(0),
            growth: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            totals: Mutex::default(),
            shown: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// The earliest instant at which a period is due to be flushed, in nanoseconds;
    /// `i64::MAX`: none.
    pub fn due(&self) -> i64 {
        self.due.load(Ordering::Acquire)
    }

    /// The next entry of the log the pipeline takes.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Whether it stands still: then it takes nothing, however long one waits.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Entries before this one are no longer needed by the pipeline.
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// How many meters there are.
    pub fn meters(&self) -> u64 {
        self.meters.load(Ordering::Relaxed)
    }

    /// Records that can be read.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Acquire)
    }

    /// Notes that can be read: what happened to single meters, thresholds.
    pub fn notes(&self) -> u64 {
        self.notes.load(Ordering::Acquire)
    }

    /// Bytes of identities in memory.
    pub fn identities_bytes(&self) -> u64 {
        self.identities_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of meters in memory, about.
    pub fn meter_bytes(&self) -> u64 {
        self.meter_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of meters in memory once everything before a position is counted: what waits is
    /// taken to bring as much as the same lately did.
    pub fn meter_bytes_at(&self, position: u64) -> u64 {
        let waiting = position.saturating_sub(self.position());
        let coming = (u128::from(waiting) * u128::from(self.growth.load(Ordering::Relaxed))) >> 10;
        self.meter_bytes().saturating_add(u64::try_from(coming).unwrap_or(u64::MAX))
    }

    /// What the pipeline has done so far.
    pub fn totals(&self) -> Totals {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events by verdict.
    pub fn tally(&self) -> Tally {
        self.totals().tally
    }

    /// What ended it, if something did.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Bytes of entries that are taken at once.
    pub take_bytes: usize,
    /// Bytes of entries after which a checkpoint is made.
    pub checkpoint_bytes: u64,
    /// Time after which one is made, if anything happened.
    pub checkpoint_interval: Duration,
}

/// The verdicts of an entry's events.
pub type Judgement = Box<dyn FnOnce(Result<Vec<Verdict>, Error>) + Send>;

/// What follows after entries were taken.
pub type After = Box<dyn FnMut(&mut Live) -> Result<(), Error> + Send>;

type Question = Box<dyn FnOnce(&mut Live) + Send>;

enum Message {
    Ask(Question),
    /// Wants the verdicts of an entry.
    Judge(u64, Judgement),
    Pause(bool),
    Stop,
}

/// The thread that owns a pipeline at work.
pub struct Worker {
    messages: Sender<Message>,
    thread: Option<JoinHandle<Option<Live>>>,
    board: Arc<Board>,
    tail: Arc<Tail>,
}

/// What a worker needs of its surroundings.
pub struct Surroundings {
    /// The end of the log.
    pub tail: Arc<Tail>,
    /// Opens the log from a position on.
    pub reader: Box<dyn Fn(u64) -> Result<Reader, Error> + Send>,
    /// Plans of versions.
    pub plan_of: Box<dyn Fn(u32) -> Result<Arc<Plan>, Error> + Send>,
    /// Called after entries were taken: targets and others may look what is new.
    pub after: After,
    /// Whether something is under way that a checkpoint should leave the machine to.
    pub is_pressed: Box<dyn Fn() -> bool + Send>,
    /// For measuring how long it is since the last checkpoint.
    pub clock: Arc<dyn super::Clock>,
}

impl Worker {
    /// Starts work.
    pub fn start(live: Live, settings: WorkerSettings, around: Surroundings, paused: bool) -> Result<Worker, Error> {
        let (messages, inbox) = channel();
        let board = Arc::new(Board::new());
        board.paused.store(paused, Ordering::Release);
        let tail = Arc::clone(&around.tail);
        let now = around.clock.now();
        let mut working = Working {
            known: Known::of(&live, tail.end()),
            live,
            settings,
            around,
            inbox,
            board: Arc::clone(&board),
            paused,
            taken_bytes: 0,
            checkpoint_at: now,
            checkpoint_took: 0,
            checkpoint_waits: None,
            weighed: Weighed::default(),
            waiting: HashMap::default(),
            stop: false,
        };
        working.weighed = Weighed::of(&working.live);
        working.show();
        let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || working.run());
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(Worker { messages, thread: Some(thread), board, tail })
    }

    /// What it shows.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Asks something between two rounds and waits for the answer.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Live) -> T + Send + 'static) -> Result<T, Error> {
        let (sender, receiver) = channel();
        self.send(Message::Ask(Box::new(move |live| drop(sender.send(question(live))))))?;
        receiver.recv().map_err(|_| self.ended())
    }

    /// Asks for the verdicts of an entry, before the entry is in the log or shortly after.
    pub fn judge(&self, position: u64, judgement: Judgement) {
        if let Err(unsent) = self.messages.send(Message::Judge(position, judgement))
            && let Message::Judge(_, judgement) = unsent.0
        {
            judgement(Err(self.ended()));
        }
        self.tail.wake();
    }

    /// Stands still, or goes on. Its position and state are kept. When this returns, it
    /// does.
    pub fn pause(&self, paused: bool) -> Result<(), Error> {
        self.send(Message::Pause(paused))?;
        self.ask(|_| ())
    }

    /// Waits until it has taken everything before a position.
    ///
    /// # Errors
    /// It failed, it ended, or it stands still, so that it would not come there.
    pub fn wait_for(&self, position: u64) -> Result<(), Error> {
        while self.board.position() < position {
            if self.board.is_paused() {
                return Err(Error::new(Kind::Invalid, "the pipeline is paused; resume its session first"));
            }
            self.ask(|_| ())?;
            if let Some(why) = self.board.failure() {
                return Err(why);
            }
        }
        Ok(())
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        self.messages.send(message).map_err(|_| self.ended())?;
        self.tail.wake();
        Ok(())
    }

    fn ended(&self) -> Error {
        self.board.failure().unwrap_or_else(|| Error::new(Kind::Unavailable, "the pipeline is not at work"))
    }

    /// Makes a last checkpoint and ends; gives the pipeline back, unless it failed.
    pub fn stop(mut self) -> Option<Live> {
        drop(self.send(Message::Stop));
        self.thread.take().and_then(|thread| thread.join().ok()).flatten()
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
    taken_bytes: u64,
    checkpoint_at: Timestamp,
    /// Nanoseconds that the last one took.
    checkpoint_took: i128,
    /// Since when one is due that leaves the machine to others.
    checkpoint_waits: Option<Timestamp>,
    weighed: Weighed,
    waiting: HashMap<u64, Judgement, BuildHasherDefault<Fingerprint>>,
    stop: bool,
}

/// What the meters took when they were last looked at, one by one; from then on their number
/// is gone by.
#[derive(Clone, Copy, Default)]
struct Weighed {
    bytes: usize,
    meters: usize,
    position: u64,
}

/// Bytes of a meter that holds nothing yet.
const METER_BYTES: usize = size_of::<Option<Meter>>() + METER_INDEX_BYTES;

impl Weighed {
    fn of(live: &Live) -> Weighed {
        Weighed { bytes: live.meter_bytes(), meters: live.meter_count(), position: live.position() }
    }

    /// What they take by now, and what an entry has brought since, times 1024.
    fn now(&self, live: &Live) -> (u64, u64) {
        let each = METER_BYTES.max(self.bytes / self.meters.max(1));
        let grown = live.meter_count().saturating_sub(self.meters) * each;
        let entries = live.position().saturating_sub(self.position).max(1);
        ((self.bytes + grown) as u64, ((grown as u64) << 10) / entries)
    }
}

/// A checkpoint may take one of so many parts of the time, and one.
const CHECKPOINT_SHARE: i128 = 5;

/// How long it waits for entries before it looks around again.
const PATIENCE: Duration = Duration::from_millis(100);
/// Verdicts of blocks that went through before somebody asked: a sender asks at once.
const JUDGED_KEPT: usize = 64;

impl Working {
    fn run(mut self) -> Option<Live> {
        let mut recent: Vec<(u64, Vec<Verdict>)> = Vec::new();
        while !self.stop {
            match self.step(&mut recent) {
                Ok(()) => {}
                Err(why) => {
                    for (_, judgement) in self.waiting.drain() {
                        judgement(Err(why.clone()));
                    }
                    *self.board.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                    self.board.due.store(i64::MAX, Ordering::Release);
                    return None;
                }
            }
        }
        match self.live.checkpoint() {
            Ok(released) => {
                self.board.released.store(released, Ordering::Release);
                Some(self.live)
            }
            Err(_) => None,
        }
    }

    fn step(&mut self, recent: &mut Vec<(u64, Vec<Verdict>)>) -> Result<(), Error> {
        self.listen(recent);
        if self.stop {
            return Ok(());
        }
        if self.paused {
            // Only messages are looked at; the tail wakes for those.
            let _ = self.around.tail.from(u64::MAX, 0, PATIENCE);
            return self.upkeep();
        }
        match self.around.tail.from(self.live.position(), self.settings.take_bytes, PATIENCE) {
            Found::Entries(entries) => self.take(&entries)?,
            Found::Behind(until) => self.catch_up(until)?,
            Found::Nothing => return self.upkeep(),
        }
        self.judge(recent);
        (self.around.after)(&mut self.live)?;
        self.show();
        self.upkeep()
    }

    fn take(&mut self, entries: &[Arc<flowmeter_store::log::Entry>]) -> Result<(), Error> {
        self.taken_bytes += entries.iter().map(|entry| entry.bytes.len() as u64).sum::<u64>();
        self.live.take(entries, &self.around.plan_of)
    }

    /// Reads from the disk what the tail does not hold, a bounded amount at a time.
    fn catch_up(&mut self, until: u64) -> Result<(), Error> {
        let mut reader = (self.around.reader)(self.live.position())?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        while reader.position() < until
            && bytes < self.settings.take_bytes
            && let Some(entry) = reader.read()?
        {
            bytes += entry.bytes.len();
            entries.push(Arc::new(entry));
        }
        self.take(&entries)
    }

    fn listen(&mut self, recent: &[(u64, Vec<Verdict>)]) {
        loop {
            match self.inbox.try_recv() {
                Ok(Message::Ask(question)) => question(&mut self.live),
                Ok(Message::Judge(position, judgement)) => match recent.iter().find(|(known, _)| *known == position) {
                    Some((_, verdicts)) => judgement(Ok(verdicts.clone())),
                    // Taken long ago, or none of its events were this pipeline's.
                    None if position < self.live.position() => judgement(Ok(Vec::new())),
                    None => drop(self.waiting.insert(position, judgement)),
                },
                Ok(Message::Pause(paused)) => {
                    self.paused = paused;
                    self.board.paused.store(paused, Ordering::Release);
                }
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => self.stop = true,
                Err(TryRecvError::Empty) => return,
            }
            if self.stop {
                return;
            }
        }
    }

    /// Tells verdicts to who waits for them, and keeps the last for who asks late.
    fn judge(&mut self, recent: &mut Vec<(u64, Vec<Verdict>)>) {
        for JudgedBlock { position, verdicts, .. } in self.live.take_judged() {
            match recent.last_mut() {
                Some((known, all)) if *known == position => all.extend(verdicts),
                _ => recent.push((position, verdicts)),
            }
        }
        for (position, verdicts) in recent.iter() {
            if let Some(judgement) = self.waiting.remove(position) {
                judgement(Ok(verdicts.clone()));
            }
        }
        let taken = self.live.position();
        for (_, judgement) in self.waiting.extract_if(|position, _| *position < taken) {
            judgement(Ok(Vec::new()));
        }
        recent.drain(..recent.len().saturating_sub(JUDGED_KEPT));
    }

    fn upkeep(&mut self) -> Result<(), Error> {
        if self.taken_bytes == 0 {
            return Ok(());
        }
        let now = self.around.clock.now();
        let since = now.since(self.checkpoint_at);
        let interval = self.settings.checkpoint_interval.as_nanos() as i128;
        let waited = since >= interval;
        // Of many meters a checkpoint takes seconds: counting shall have most of the time.
        let is_rested = since >= self.checkpoint_took.saturating_mul(CHECKPOINT_SHARE);
        let is_due = is_rested && (waited || self.taken_bytes >= self.settings.checkpoint_bytes);
        if !is_due {
            return Ok(());
        }
        // One that waits for others is made all the same when the next would be due.
        let waits_since = *self.checkpoint_waits.get_or_insert(now);
        if !self.is_pressed(now) || now.since(waits_since) >= interval {
            let released = self.live.checkpoint()?;
            self.checkpoint_took = self.around.clock.now().since(now);
            self.known.saved(&self.live, now);
            self.known.show(&self.live, &self.board);
            self.board.released.store(released, Ordering::Release);
            self.board.identities_bytes.store(self.live.identities_bytes() as u64, Ordering::Relaxed);
            (self.taken_bytes, self.checkpoint_at, self.checkpoint_waits) = (0, self.around.clock.now(), None);
            self.weighed = Weighed::of(&self.live);
            self.show_weight();
        }
        Ok(())
    }

    /// Whether a checkpoint would be in the way: of records that are being delivered, or of
    /// meters that close before it is done.
    fn is_pressed(&self, now: Timestamp) -> bool {
        let closes_meanwhile = self.live.next_due().is_some_and(|due| due.since(now) <= self.checkpoint_took);
        closes_meanwhile || (self.around.is_pressed)()
    }

    fn show_weight(&self) {
        let (bytes, growth) = self.weighed.now(&self.live);
        self.board.meter_bytes.store(bytes, Ordering::Relaxed);
        self.board.growth.store(growth, Ordering::Relaxed);
    }

    fn show(&mut self) {
        let due = self.live.next_due().map_or(i64::MAX, Timestamp::nanos);
        self.board.due.store(due, Ordering::Release);
        self.board.meters.store(self.live.meter_count() as u64, Ordering::Relaxed);
        self.show_weight();
        self.board.records.store(self.live.outlet().records().written(), Ordering::Release);
        self.board.notes.store(self.live.outlet().notes().written(), Ordering::Release);
        *self.board.totals.lock().unwrap_or_else(PoisonError::into_inner) = self.live.totals();
        self.known.show(&self.live, &self.board);
        self.board.position.store(self.live.position(), Ordering::Release);
    }
}

/// Opens the log in a folder to read it from a position on, beside whoever writes it.
pub fn open_reader(disk: &Arc<dyn Disk>, folder: &str, from: u64, end: u64) -> Result<Reader, Error> {
    Ok(Reader::beside(Arc::clone(disk), folder, from, end)?)
}
