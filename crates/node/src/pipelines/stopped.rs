//! Pipelines that should run but stopped: the cause, and how they resume.
//!
//! A disk that is full or does not answer stops a pipeline, not its session: the server loads the
//! pipeline again from its newest checkpoint, with growing pauses, until this succeeds. Damaged
//! files and faults of the program fail the session. In both cases the server is not ready until
//! the pipeline runs again, and readiness names the pipeline and the cause.

use std::sync::{Arc, MutexGuard, PoisonError};

use flowmeter_core::mutant::{self, Mutant};
use flowmeter_core::plan::Plan;
use flowmeter_core::session::{RunType, Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::node::Board;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Table, key_of};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::pipelines::{KeptPipeline, plan_of};
use crate::refusal::{Refusal, RefusalKind, Refused};
use crate::rows::kept;
use crate::sessions::{KeptSession, SessionFilter};

/// The first pause before a pipeline is loaded again, and the longest; nanoseconds.
const PAUSE_FIRST: i64 = 1_000_000_000;
const PAUSE_LONGEST: i64 = 30_000_000_000;
/// Seconds after which a request for a pipeline that is not loaded may be sent again.
const RETRY_AFTER_S: u64 = 5;

/// A pipeline that should run but stopped.
#[derive(Clone)]
pub struct Stopped {
    /// The pipeline that stopped.
    pub pipeline: KeptPipeline,
    /// The number of its session.
    pub session: u64,
    /// The error that stopped it.
    pub why: Error,
    /// The time of the stop.
    pub since: Timestamp,
    /// Whether its session has failed; otherwise it is loaded again.
    pub has_failed: bool,
    /// Whether its meters and records can be read in the meantime.
    pub is_readable: bool,
    /// Its last progress and counts.
    pub board: Option<Arc<Board>>,
    next_try: Timestamp,
    pause: i64,
}

impl Stopped {
    fn new(pipeline: &KeptPipeline, session: u64, why: Error, now: Timestamp) -> Stopped {
        Stopped {
            pipeline: pipeline.clone(),
            session,
            why,
            since: now,
            has_failed: false,
            is_readable: false,
            board: None,
            next_try: now.saturating_add(PAUSE_FIRST),
            pause: PAUSE_FIRST,
        }
    }

    /// Returns pipeline, state and cause in a sentence.
    pub fn sentence(&self) -> String {
        let what = if self.has_failed { "failed" } else { "stopped and will be loaded again" };
        format!("pipeline `{}` {what}: {}", self.pipeline.name, self.why)
    }
}

/// Whether a later attempt to load the pipeline may succeed.
fn may_heal(why: &Error) -> bool {
    match why.kind {
        Kind::Full | Kind::Unavailable => true,
        Kind::Invalid | Kind::Corrupt | Kind::Bug => false,
    }
}

impl Installation {
    fn stopped_ones(&self) -> MutexGuard<'_, std::collections::BTreeMap<Uuid, Stopped>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pipelines that should run but stopped.
    pub fn stopped(&self) -> Vec<Stopped> {
        self.stopped_ones().values().cloned().collect()
    }

    /// Checks that the pipelines of a namespace are loaded; with `name`, only that one.
    ///
    /// # Errors
    /// One is not loaded; the error names it and the cause.
    pub fn all_loaded(&self, namespace: &str, name: Option<&str>) -> Result<(), Refused> {
        let is_asked = |stopped: &&Stopped| {
            stopped.pipeline.namespace == namespace
                && name.is_none_or(|name| name == stopped.pipeline.name || name == stopped.pipeline.id.to_string())
        };
        let unreadable = |stopped: &&Stopped| !stopped.is_readable;
        match self.stopped().iter().filter(is_asked).find(unreadable) {
            None => Ok(()),
            Some(stopped) => {
                let problem = Refusal::new(RefusalKind::PipelineStopped, stopped.sentence());
                Err(Box::new(problem.retry_after(RETRY_AFTER_S)))
            }
        }
    }

    /// Returns the number of the session that runs a pipeline, or that continues once the pipeline is
    /// loaded again.
    pub fn session_at_work(&self, pipeline: Uuid) -> Option<u64> {
        if let Some(served) = self.running_of(pipeline) {
            return Some(served.session());
        }
        let stopped = self.stopped_ones().get(&pipeline).cloned();
        stopped.filter(|stopped| self.continues(stopped)).map(|stopped| stopped.session)
    }

    /// Whether a stopped pipeline has a session that continues once it is loaded again.
    pub(crate) fn continues(&self, stopped: &Stopped) -> bool {
        let session = self.catalog.get(Table::Sessions, &key_of(stopped.session)).ok().flatten();
        // A session that cannot be read may continue.
        session.is_some_and(|bytes| kept::<KeptSession>(&bytes).map_or(true, |session| !session.session_status.is_final()))
    }

    /// Notes a pipeline that is to be loaded for a session.
    pub(crate) fn remember_stopped(&self, pipeline: &KeptPipeline, session: u64, why: Error) {
        self.stopped_ones().insert(pipeline.id, Stopped::new(pipeline, session, why, self.now()));
    }

    /// Forgets a stopped pipeline, which runs again or is no longer meant to run.
    pub(crate) fn forget_stopped(&self, pipeline: Uuid) {
        self.stopped_ones().remove(&pipeline);
    }

    /// Handles the stop of a running pipeline.
    pub(crate) fn stop_pipeline(self: &Arc<Self>, served: &Served, why: Error) -> Result<(), Error> {
        let _change = self.lock_changes();
        let board = Some(Arc::clone(served.board()));
        let pipeline = self.all_pipelines()?.into_iter().find(|known| known.id == served.kept.id);
        let Some(pipeline) = pipeline else {
            self.let_go(served);
            return Ok(());
        };
        let newest = match served.session() {
            0 => None,
            number => self.catalog.get(Table::Sessions, &key_of(number))?,
        };
        let session: Option<KeptSession> = newest.map(|bytes| kept(&bytes)).transpose()?;
        let running = session.filter(|session| !session.session_status.is_final());
        let Some(mut session) = running else {
            // A pipeline without a running session is loaded again so that its meters can be read.
            tracing::error!(pipeline = pipeline.name, "meters and records of the pipeline can no longer be read: {why}");
            self.let_go(served);
            let newest = self.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, usize::MAX)?;
            if let Some(session) = newest.iter().find(|session| session.session_run_type == RunType::Normal) {
                self.remember_unreadable(&pipeline, session, why);
            }
            return Ok(());
        };
        let plan = plan_of(&self.catalog, pipeline.id)(session.version)?;
        session.counts = self.counts_of(&session, &plan, &served.board().totals());
        self.note_stopped(&pipeline, &mut session, &plan, board, why)?;
        self.let_go(served);
        if session.session_status.is_final() {
            self.read_failed(&pipeline, &session);
        }
        Ok(())
    }

    /// Remembers what stopped a pipeline; fails its session if that cannot heal by itself.
    pub(crate) fn note_stopped(
        &self,
        pipeline: &KeptPipeline,
        session: &mut KeptSession,
        plan: &Plan,
        board: Option<Arc<Board>>,
        why: Error,
    ) -> Result<(), Error> {
        let heals = may_heal(&why);
        let name = &pipeline.name;
        if heals {
            tracing::error!(pipeline = name, "the pipeline stopped and will be loaded again: {why}");
        } else {
            session.error = Some(why.to_string());
            session.is_broken = true;
            self.step(session, plan, Trigger::Fail, Vec::new())?;
            tracing::error!(pipeline = name, session = session.session_id, "the pipeline failed: {why}");
        }
        let mut stopped = Stopped::new(pipeline, session.number, why, self.now());
        (stopped.has_failed, stopped.board) = (!heals, board);
        if !mutant::is_put_back(Mutant::SilentStop) {
            self.stopped_ones().insert(pipeline.id, stopped);
        }
        Ok(())
    }

    /// Marks a pipeline as failed after a restart, if damage or a fault ended its newest session.
    pub(crate) fn remember_failure(&self, pipeline: &KeptPipeline, session: &KeptSession) {
        if session.session_status == Status::Failed && session.is_broken {
            let why = Error::new(Kind::Corrupt, session.error.clone().unwrap_or_default());
            let mut stopped = Stopped::new(pipeline, session.number, why, self.now());
            (stopped.has_failed, stopped.is_readable) = (true, true);
            self.stopped_ones().insert(pipeline.id, stopped);
        }
    }

    /// Records that a pipeline without a running session cannot be loaded. It is tried again, if
    /// that may help.
    pub(crate) fn remember_unreadable(&self, pipeline: &KeptPipeline, session: &KeptSession, why: Error) {
        let mut stopped = Stopped::new(pipeline, session.number, why, self.now());
        stopped.has_failed = !may_heal(&stopped.why);
        self.stopped_ones().insert(pipeline.id, stopped);
    }

    /// Loads a failed pipeline without running it, so that its meters and records can be read.
    fn read_failed(self: &Arc<Self>, pipeline: &KeptPipeline, session: &KeptSession) {
        let read = self.newest_compiled(pipeline).and_then(|compiled| self.put_to_work(pipeline, session, &compiled));
        match read {
            Ok(()) => {
                if let Some(stopped) = self.stopped_ones().get_mut(&pipeline.id) {
                    stopped.is_readable = true;
                }
            }
            Err(why) => {
                tracing::error!(pipeline = pipeline.name, "meters and records of the failed pipeline cannot be read: {why}");
            }
        }
    }

    /// Loads the stopped pipelines whose pause is over.
    pub(crate) fn load_stopped(self: &Arc<Self>) {
        let now = self.now();
        let rests = mutant::is_put_back(Mutant::RestsForEver);
        // A clock that was set back must not make the pause longer.
        let is_over = |at: Timestamp| at <= now || at > now.saturating_add(PAUSE_LONGEST);
        let due = |stopped: &Stopped| !stopped.has_failed && is_over(stopped.next_try) && !rests;
        for stopped in self.stopped().into_iter().filter(due) {
            if let Err(why) = self.load_again(&stopped, now) {
                tracing::error!(pipeline = stopped.pipeline.name, "the pipeline cannot be loaded again: {why}");
            }
        }
    }

    fn try_later(&self, pipeline: Uuid, why: Error, has_failed: bool, now: Timestamp) {
        if let Some(known) = self.stopped_ones().get_mut(&pipeline) {
            known.pause = (known.pause * 2).min(PAUSE_LONGEST);
            known.next_try = now.saturating_add(known.pause);
            (known.has_failed, known.why) = (has_failed, why);
        }
    }

    fn load_again(self: &Arc<Self>, stopped: &Stopped, now: Timestamp) -> Result<(), Error> {
        let _change = self.change()?;
        let id = stopped.pipeline.id;
        let bytes = self.catalog.get(Table::Sessions, &key_of(stopped.session))?;
        let pipeline = self.all_pipelines()?.into_iter().find(|known| known.id == id);
        let (Some(pipeline), Some(bytes)) = (pipeline, bytes) else {
            self.forget_stopped(id);
            return Ok(());
        };
        let mut session: KeptSession = kept(&bytes)?;
        let compiled = match self.newest_compiled(&pipeline) {
            Ok(compiled) => compiled,
            // It stays stopped: only the program that took the document reads its state.
            Err(why) => {
                self.try_later(id, why, false, now);
                return Ok(());
            }
        };
        match self.put_to_work(&pipeline, &session, &compiled) {
            Ok(()) => {
                self.forget_stopped(id);
                if session.session_status.is_final() {
                    // Its meters can be read again, and a failure is still one.
                    self.remember_failure(&pipeline, &session);
                    return Ok(());
                }
                tracing::info!(pipeline = pipeline.name, session = session.session_id, "the pipeline runs again");
                if session.session_status == Status::Initializing {
                    self.step(&mut session, &compiled.plan, Trigger::Ready, Vec::new())?;
                }
                Ok(())
            }
            Err(why) if may_heal(&why) || session.session_status.is_final() => {
                let has_failed = !may_heal(&why);
                self.try_later(id, why, has_failed, now);
                Ok(())
            }
            Err(why) => {
                let board = stopped.board.clone();
                self.note_stopped(&pipeline, &mut session, &compiled.plan, board, why)
            }
        }
    }
}
