//! The sources of a session at work: threads that read files, objects, rows and services, and give
//! their events to the log.
//!
//! The log has what a source has taken, in the entries of its events. So a thread keeps nothing: after a
//! restart or an error it waits until the pipeline has applied the log, asks it what was taken, and
//! opens the source there. Two sessions of a pipeline never read at the same time: a thread waits until
//! those of the session before have ended.
//!
//! Sources that end are read one after the other, as in a run, and then the session finishes. Where
//! one source waits for more, each has a thread of its own.

mod board;
mod pipelines;
mod submitting;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flowmeter_connectors::Abandon;
use flowmeter_connectors::sources::{self, Step, Surroundings};
use flowmeter_core::plan::Plan;
use flowmeter_core::session::{Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Table, key_of};
use serde_json::{Value, json};

pub use board::SourceBoard;
use submitting::{Submitting, UnderWay};

use crate::background::{self, Yields, wait_until};
use crate::installation::{Installation, Served};
use crate::notifications::vocabulary::{SOURCE_FAILED, SOURCE_RECOVERED};
use crate::rows::kept;
use crate::sessions::KeptSession;
use crate::spans;

/// The first pause before a source that failed is read again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// Interval at which a thread that waits checks whether it may continue.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the end of the server waits for threads that read.
const END_GRACE: Duration = Duration::from_secs(5);

/// The sources of one session.
pub(crate) struct Feeding {
    /// The state of each source, in the order of the document.
    boards: Vec<Arc<SourceBoard>>,
    abandon: Abandon,
    stops: AtomicBool,
    /// Number of threads that have not ended.
    threads: AtomicUsize,
    stopped: (Mutex<()>, Condvar),
}

impl Feeding {
    /// Whether its threads should end.
    fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stops.store(true, Ordering::Release);
        self.abandon.ask();
        let _held = self.stopped.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.1.notify_all();
    }

    /// Waits for some time, or until the threads should end.
    fn rest(&self, how_long: Duration) {
        let held = self.stopped.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stops() {
            drop(self.stopped.1.wait_timeout(held, how_long));
        }
    }

    fn have_ended(&self) -> bool {
        self.threads.load(Ordering::Acquire) == 0
    }
}

/// Counts a thread until it ends, however it ends.
struct Running(Arc<Feeding>);

impl Running {
    fn of(feeding: &Arc<Feeding>) -> Running {
        feeding.threads.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(feeding))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Served {
    /// Returns the state of the sources that the session reads.
    pub fn sources(&self) -> Vec<Arc<SourceBoard>> {
        let feeding = self.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        feeding.as_ref().map(|feeding| feeding.boards.clone()).unwrap_or_default()
    }

    /// Stops reading. Threads end soon; the next session waits for them.
    pub(crate) fn stop_feeding(&self) {
        if let Some(feeding) = &*self.feeding.lock().unwrap_or_else(PoisonError::into_inner) {
            feeding.stop();
        }
    }
}

/// Stops the sources of pipelines and waits until their threads have ended.
pub(crate) fn end(served: &[Arc<Served>]) {
    served.iter().for_each(|served| served.stop_feeding());
    let have_ended = |served: &Arc<Served>| {
        let feeding = served.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        feeding.as_ref().is_none_or(|feeding| feeding.have_ended())
    };
    if !wait_until(END_GRACE, || served.iter().all(have_ended)) {
        tracing::warn!("a source does not answer; its thread is left behind");
    }
}

impl Installation {
    /// Starts reading the sources of a session.
    pub(crate) fn start_feeding(self: &Arc<Self>, served: &Arc<Served>, session: &KeptSession, plan: &Plan) -> Result<(), Error> {
        let plan = &with_options(plan, session);
        let sources: Vec<usize> = (0..plan.sources.len()).filter(|source| !plan.sources[*source].is_http()).collect();
        if sources.is_empty() || !self.has_threads {
            return Ok(());
        }
        let board = |source: &usize| Arc::new(SourceBoard::new(&plan.sources[*source]));
        let groups: Vec<Vec<usize>> = match plan.is_bounded() {
            true => vec![sources.clone()],
            false => sources.iter().map(|source| vec![*source]).collect(),
        };
        let feeding = Arc::new(Feeding {
            boards: sources.iter().map(board).collect(),
            abandon: Abandon::default(),
            stops: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            stopped: Default::default(),
        });
        let before = served.feeding.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&feeding));
        if let Some(before) = &before {
            before.stop();
        }
        let plan = Arc::new(Plan { id: served.kept.id, ..plan.clone() });
        for group in groups {
            let (installation, served, feeding) = (Arc::clone(self), Arc::clone(served), Arc::clone(&feeding));
            let (session, plan, before) = (session.clone(), Arc::clone(&plan), before.clone());
            let first = sources.iter().position(|source| *source == group[0]).unwrap_or_default();
            let boards = feeding.boards[first..first + group.len()].to_vec();
            let running = Running::of(&feeding);
            background::spawn("source", Yields::Somewhat, move || {
                let _running = running;
                let feeder = Feeder { installation, served, session, plan, feeding: Arc::clone(&feeding) };
                while before.as_ref().is_some_and(|before| !before.have_ended()) && !feeding.stops() {
                    feeding.rest(LOOK_EVERY);
                }
                let span = spans::session(&feeder.session.session_id, &feeder.session.pipeline);
                span.in_scope(|| feeder.run(&group, &boards));
                feeder.trace(&span);
            })?;
        }
        Ok(())
    }

    /// Ends a session whose input is exhausted: its records are delivered. Returns false while it is
    /// paused.
    fn finish_fed(self: &Arc<Self>, served: &Arc<Served>, number: u64) -> Result<bool, Error> {
        {
            let _change = self.change()?;
            let Some(mut session) = self.fed_session(number)? else { return Ok(true) };
            if session.session_status == Status::Paused {
                return Ok(false);
            }
            let plan = crate::pipelines::plan_of(&self.catalog, served.kept.id)(session.version)?;
            if let Err(why) = self.check_errors(&session, served, &plan) {
                return self.fail_session(&mut session, served, &plan, &why).map(|()| true);
            }
            self.step(&mut session, &plan, Trigger::Finish, Vec::new())?;
        }
        self.finish_soon(served).map(|()| true)
    }

    /// Fails a session whose source can never be read.
    fn fail_fed(self: &Arc<Self>, served: &Arc<Served>, number: u64, why: &Error) -> Result<(), Error> {
        let _change = self.change()?;
        let Some(mut session) = self.fed_session(number)? else { return Ok(()) };
        let plan = crate::pipelines::plan_of(&self.catalog, served.kept.id)(session.version)?;
        self.fail_session(&mut session, served, &plan, why)
    }

    fn fail_session(
        self: &Arc<Self>,
        session: &mut KeptSession,
        served: &Arc<Served>,
        plan: &Plan,
        why: &Error,
    ) -> Result<(), Error> {
        session.error = Some(why.to_string());
        session.counts = self.counts_of(session, plan, &served.board().totals());
        self.step(session, plan, Trigger::Fail, Vec::new())?;
        tracing::error!(session = session.session_id, "the session failed: {why}");
        served.finish_anew();
        self.rest(served)
    }

    /// Returns a session if it takes its input.
    fn fed_session(&self, number: u64) -> Result<Option<KeptSession>, Error> {
        let bytes = self.catalog.get(Table::Sessions, &key_of(number))?;
        let session: Option<KeptSession> = bytes.map(|bytes| kept(&bytes)).transpose()?;
        Ok(session.filter(|session| matches!(session.session_status, Status::Running | Status::Paused)))
    }
}

/// Reads the sources of one thread.
struct Feeder {
    installation: Arc<Installation>,
    served: Arc<Served>,
    session: KeptSession,
    plan: Arc<Plan>,
    feeding: Arc<Feeding>,
}

/// The way in which reading a source ended.
enum Ended {
    /// There is nothing more.
    Exhausted,
    /// The session ended, or the server stops.
    Stopped,
}

impl Feeder {
    fn run(&self, sources: &[usize], boards: &[Arc<SourceBoard>]) {
        let mut failed = 0;
        for (source, board) in sources.iter().zip(boards) {
            match self.insist(*source, board) {
                Ok(Ended::Exhausted) => failed += board.behind().failed,
                Ok(Ended::Stopped) => return,
                Err(why) => {
                    board.fail(&why, self.installation.now());
                    return self.report(self.installation.fail_fed(&self.served, self.session.number, &why));
                }
            }
        }
        if self.plan.is_bounded() {
            self.end(failed);
        }
    }

    /// Ends a session whose input is exhausted. One that is paused ends once it is resumed.
    fn end(&self, failed: u64) {
        let number = self.session.number;
        let ended = loop {
            if self.feeding.stops() {
                return;
            }
            if self.served.board().is_paused() {
                self.feeding.rest(LOOK_EVERY);
                continue;
            }
            let ended = match failed {
                0 => self.installation.finish_fed(&self.served, number),
                _ => self.installation.fail_fed(&self.served, number, &self.incomplete(failed)).map(|()| true),
            };
            match ended {
                Ok(false) => self.feeding.rest(LOOK_EVERY),
                ended => break ended.map(drop),
            }
        };
        self.report(ended);
    }

    fn incomplete(&self, failed: u64) -> Error {
        let message = format!(
            "{failed} of its files or objects cannot be read: see /api/v1/sessions/{}/origins?state=failed. The others are \
             taken, and nothing is flushed; replace or skip those, and run again",
            self.session.session_id
        );
        Error::new(Kind::Invalid, message)
    }

    /// Writes the status of a session that ended with its input to its span.
    fn trace(&self, span: &tracing::Span) {
        let bytes = self.installation.catalog.get(Table::Sessions, &key_of(self.session.number));
        let session = bytes.ok().flatten().and_then(|bytes| kept::<KeptSession>(&bytes).ok());
        let Some(session) = session.filter(|session| session.session_status.is_final()) else { return };
        span.record("flowmeter.status", session.session_status.name());
        if session.error.is_some() {
            spans::failed(span);
        }
    }

    fn report(&self, ended: Result<(), Error>) {
        if let Err(why) = ended {
            tracing::error!(session = self.session.session_id, "the end of the session: {why}");
        }
    }

    /// Reads a source; again, with growing pauses, while it cannot be read.
    fn insist(&self, source: usize, board: &SourceBoard) -> Result<Ended, Error> {
        let mut pause = PAUSE_FIRST;
        loop {
            if self.feeding.stops() {
                return Ok(Ended::Stopped);
            }
            if self.served.board().is_paused() {
                self.feeding.rest(LOOK_EVERY);
                continue;
            }
            let given = board.events();
            match self.read(source, board) {
                Ok(ended) => return Ok(ended),
                Err(_) if self.feeding.stops() => return Ok(Ended::Stopped),
                // A pipeline that is paused answers nothing.
                Err(_) if self.served.board().is_paused() => {}
                Err(why) if matches!(why.kind, Kind::Unavailable | Kind::Full) => {
                    if board.fail(&why, self.installation.now()) {
                        tracing::warn!(
                            session = self.session.session_id,
                            source = board.id(),
                            "the source cannot be read: {why}"
                        );
                        self.tell(SOURCE_FAILED, board, Some(&why));
                    }
                    // Progress in between means that it was not the same failure.
                    pause = if board.events() > given { PAUSE_FIRST } else { pause };
                    self.feeding.rest(pause);
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
                Err(why) => {
                    self.tell(SOURCE_FAILED, board, Some(&why));
                    return Err(Error::new(why.kind, format!("source `{}`: {why}", board.id())));
                }
            }
        }
    }

    /// Opens a source behind what was taken and reads it to its end.
    fn read(&self, source: usize, board: &SourceBoard) -> Result<Ended, Error> {
        let installation = &self.installation;
        // Entries of earlier threads must be applied, so that nothing is taken twice.
        self.served.worker.wait_for(installation.log_end())?;
        let id = board.id().to_owned();
        let taken = self.served.worker.ask(move |live| live.taken(&id))?;
        let as_of = self.session.clock(&self.plan);
        let (clock, under_way) = (Arc::clone(installation.clock()), UnderWay::default());
        let given = under_way.clone();
        let around = Surroundings {
            plan: Arc::clone(&self.plan),
            source,
            session: self.session.number,
            as_of,
            taken,
            abandon: self.feeding.abandon.clone(),
            spool: installation.settings().data.join("spool"),
            wall: Arc::new(move || time_of(clock.wall())),
            durable: Arc::new(move || given.wait()),
        };
        let reading = match around.plan.sources[source].kind.reads_from() {
            Some(_) => Some(pipelines::open(installation, &self.session.namespace, around)?),
            None => sources::open(around)?,
        };
        let Some(mut reading) = reading else { return Ok(Ended::Exhausted) };
        let mut submitting = Submitting::new(installation, self.served.kept.id, &self.session.namespace, under_way);
        loop {
            if self.feeding.stops() {
                return Ok(Ended::Stopped);
            }
            if self.served.board().is_paused() {
                submitting.wait_for_all()?;
                self.feeding.rest(LOOK_EVERY);
                continue;
            }
            if !installation.meters_may_grow()? {
                self.feeding.rest(LOOK_EVERY);
                continue;
            }
            let step = reading.next()?;
            board.show(reading.behind());
            match step {
                Step::Taken(batch) => {
                    board.add(batch.fed.events(), batch.lines.len() as u64, installation.now());
                    submitting.put(batch)?;
                    reading.gave()?;
                }
                Step::Wait(how_long) => {
                    submitting.wait_for_all()?;
                    reading.settle()?;
                    self.recover(board);
                    self.feeding.rest(how_long);
                    continue;
                }
                Step::End => {
                    submitting.wait_for_all()?;
                    reading.settle()?;
                    board.end();
                    self.recover(board);
                    return Ok(Ended::Exhausted);
                }
            }
            self.recover(board);
        }
    }

    fn recover(&self, board: &SourceBoard) {
        if board.recover() {
            tracing::info!(session = self.session.session_id, source = board.id(), "the source can be read again");
            self.tell(SOURCE_RECOVERED, board, None);
        }
    }

    fn tell(&self, event: &str, board: &SourceBoard, why: Option<&Error>) {
        let payload = json!({"source": board.id(), "error": why.map(ToString::to_string)});
        if let Err(why) = self.installation.tell(&self.session, event, &payload) {
            tracing::error!(session = self.session.session_id, "the event of a source was not written: {why}");
        }
    }
}

/// Returns the plan with the options that a session sets for its sources. They were checked when it
/// started; a newer version of the document may lack a source.
fn with_options(plan: &Plan, session: &KeptSession) -> Plan {
    let mut plan = plan.clone();
    for source in &mut plan.sources {
        let given = session.sources.get(&source.id).and_then(Value::as_object);
        if let Some(changed) = given.and_then(|given| source.with(given).ok()) {
            *source = changed;
        }
    }
    plan
}

fn time_of(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at.nanos().max(0).unsigned_abs())
}
