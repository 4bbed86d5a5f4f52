//! Sessions that start by themselves, at the due times of a pipeline's schedule.
//!
//! The catalog remembers, for each pipeline, the last due time that was handled. A run has a unique
//! key made of its due time, so one that was started just before a crash is not started again. Due
//! times that passed unseen follow `catchUp`; one that passes while a session runs follows `overlap`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use flowmeter_core::schedule::{CatchUp, RunSchedule};
use flowmeter_core::session::Status;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Change, count_to};
use uuid::Uuid;

use crate::audit::Who;
use crate::background::wait_until;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::sessions::{SessionFilter, StartOptions};
use crate::tables::reading::ReadTables;

/// Due times of one pipeline that are looked at together: those of a year, if one is due each hour.
const DUE_MAX: usize = 10_000;

/// How long a move of the test clock waits for the sessions that it started.
const RUNS_PATIENCE: Duration = Duration::from_secs(60);

/// By pipeline, the version that was compiled last and its schedule.
type Known = BTreeMap<Uuid, (u32, Option<Arc<RunSchedule>>)>;

/// The schedules of pipelines, as of their newest versions.
#[derive(Default)]
pub(crate) struct Schedules {
    known: Mutex<Known>,
    /// The time of the first look: what was due before passed while the server was down.
    begun: OnceLock<Timestamp>,
    /// Pipelines whose due session could not be started at the last look.
    failing: Mutex<BTreeSet<Uuid>>,
}

impl Schedules {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counter_of(pipeline: Uuid) -> String {
    format!("runs/{pipeline}")
}

impl Installation {
    /// Returns the schedule of a pipeline's newest version.
    fn schedule_of(&self, pipeline: &KeptPipeline) -> Result<Option<Arc<RunSchedule>>, Error> {
        if let Some((_, schedule)) = self.schedules.known().get(&pipeline.id).filter(|(version, _)| *version == pipeline.version)
        {
            return Ok(schedule.clone());
        }
        let schedule = self.newest_compiled(pipeline)?.plan.schedule.map(Arc::new);
        self.schedules.known().insert(pipeline.id, (pipeline.version, schedule.clone()));
        Ok(schedule)
    }

    /// Returns the last due time of a pipeline that was handled, if there is one.
    fn handled(&self, pipeline: Uuid) -> Result<Option<Timestamp>, Error> {
        let millis = self.catalog.counter(counter_of(pipeline).as_bytes())?;
        Ok(i64::try_from(millis).ok().filter(|millis| *millis > 0).and_then(|millis| Timestamp::from_scaled(millis, 1_000_000)))
    }

    fn handle(&self, pipeline: Uuid, due: Timestamp) -> Result<(), Error> {
        let millis = u64::try_from(due.nanos() / 1_000_000).unwrap_or_default();
        Ok(self.catalog.commit(&[count_to(counter_of(pipeline).as_bytes(), millis)])?)
    }

    /// Returns the change by which a schedule that a new version may have begins now, unless the version
    /// before had one.
    pub(crate) fn begin_schedule(&self, newer: &KeptPipeline) -> Result<Option<Change>, Error> {
        let before = newer.version.checked_sub(1).filter(|before| *before > 0);
        // Of a version that the program refuses, no schedule is known.
        let before = before.and_then(|version| self.schedule_of(&KeptPipeline { version, ..newer.clone() }).ok()?);
        let now = u64::try_from(self.now().nanos() / 1_000_000).unwrap_or_default();
        Ok(before.is_none().then(|| count_to(counter_of(newer.id).as_bytes(), now)))
    }

    /// Returns the time at which a pipeline's schedule starts its next session.
    pub fn next_run(&self, pipeline: &KeptPipeline) -> Result<Option<Timestamp>, Error> {
        // A pipeline that cannot be read says so itself.
        let Ok(Some(schedule)) = self.schedule_of(pipeline) else { return Ok(None) };
        let handled = self.handled(pipeline.id)?.unwrap_or(Timestamp::MIN);
        Ok(schedule.next_after(handled.max(self.now())))
    }

    /// Returns the first instant after another, up to a third, at which a schedule starts a session, or
    /// starts one again that failed.
    pub(crate) fn next_scheduled(&self, after: Timestamp, until: Timestamp) -> Result<Option<Timestamp>, Error> {
        let mut next: Option<Timestamp> = None;
        for pipeline in self.all_pipelines()?.iter() {
            // A pipeline that cannot be read says so itself.
            let Ok(Some(schedule)) = self.schedule_of(pipeline) else { continue };
            let handled = self.handled(pipeline.id)?.unwrap_or(Timestamp::MIN);
            let again = self.next_retry(pipeline, &schedule)?.map(|retry| retry.at).filter(|at| *at > after);
            let due = schedule.next_after(handled.max(after)).into_iter().chain(again).min();
            next = next.into_iter().chain(due.filter(|due| *due <= until)).min();
        }
        Ok(next)
    }

    /// Starts the sessions that are due by an instant of the test clock, and waits until they have ended:
    /// until the next instant at which something is due, a real clock would leave them the time. Gives up
    /// after a minute: those that have not ended are left running.
    pub(crate) fn run_scheduled(self: &Arc<Self>, at: Timestamp) -> Result<(), Error> {
        let pipelines = self.all_pipelines()?;
        let have_ended = || {
            self.look_after();
            pipelines.iter().all(|pipeline| self.has_run(pipeline, at).unwrap_or(true))
        };
        if !wait_until(RUNS_PATIENCE, have_ended) {
            tracing::warn!("scheduled sessions have not ended in time; the test clock moves on from {at}");
        }
        Ok(())
    }

    /// Whether the sessions that a schedule starts by an instant have started and ended.
    fn has_run(&self, pipeline: &KeptPipeline, at: Timestamp) -> Result<bool, Error> {
        let Some(schedule) = self.schedule_of(pipeline)? else { return Ok(true) };
        let Some(handled) = self.handled(pipeline.id)? else { return Ok(true) };
        if self.running_of(pipeline.id).is_some() {
            let newest = self.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, 1)?;
            // A session that a person started or paused may last.
            return Ok(newest.first().is_none_or(|session| session.due.is_none() || session.session_status == Status::Paused));
        }
        if self.schedules.failing().contains(&pipeline.id) {
            return Ok(true);
        }
        let is_due = schedule.next_after(handled).is_some_and(|due| due <= at);
        let is_due_again = self.next_retry(pipeline, &schedule)?.is_some_and(|retry| retry.at <= at);
        Ok(!is_due && !is_due_again)
    }

    /// Starts the sessions that are due.
    pub(crate) fn start_due(self: &Arc<Self>) {
        let pipelines = match self.all_pipelines() {
            Ok(pipelines) => pipelines,
            Err(why) => return tracing::error!("schedules cannot be read: {why}"),
        };
        for pipeline in pipelines {
            let started = self.start_due_of(&pipeline);
            let is_new = match &started {
                Ok(()) => {
                    self.schedules.failing().remove(&pipeline.id);
                    false
                }
                Err(_) => self.schedules.failing().insert(pipeline.id),
            };
            if let Err(why) = started
                && is_new
            {
                tracing::error!(pipeline = pipeline.name, "a scheduled session did not start: {why}");
            }
        }
    }

    fn start_due_of(self: &Arc<Self>, pipeline: &KeptPipeline) -> Result<(), Error> {
        let Some(schedule) = self.schedule_of(pipeline)? else { return Ok(()) };
        let now = self.now();
        let begun = *self.schedules.begun.get_or_init(|| now);
        let Some(handled) = self.handled(pipeline.id)? else {
            // The first due time is one after the schedule was made.
            return self.handle(pipeline.id, now);
        };
        let is_running = self.session_at_work(pipeline.id).is_some();
        let next = std::iter::successors(schedule.next_after(handled), |due| schedule.next_after(*due));
        let due: Vec<Timestamp> = next.take_while(|due| *due <= now).take(DUE_MAX).collect();
        let Some(last) = due.last().copied() else {
            return if is_running { Ok(()) } else { self.retry(pipeline, &schedule, now) };
        };
        if is_running {
            if !schedule.queues {
                tracing::warn!(pipeline = pipeline.name, "the run that was due at {last} is skipped: a session is running");
                self.handle(pipeline.id, last)?;
            }
            return Ok(());
        }
        let chosen = match schedule.catch_up {
            CatchUp::All => due[0],
            CatchUp::Latest => last,
            CatchUp::None if last <= begun => {
                tracing::warn!(pipeline = pipeline.name, "the run that was due at {last} is left out: the server was down");
                return self.handle(pipeline.id, last);
            }
            CatchUp::None => last,
        };
        let left_out = due.iter().position(|due| *due == chosen).unwrap_or_default();
        if left_out > 0 {
            tracing::warn!(
                pipeline = pipeline.name,
                "{left_out} runs that were due before {chosen} are left out: `catchUp` makes up for the latest"
            );
        }
        let Some(read) = self.read_asked_soon(pipeline)? else { return Ok(()) };
        self.start_at(pipeline, chosen, 0, &read)?;
        self.handle(pipeline.id, chosen)
    }

    fn start_at(self: &Arc<Self>, pipeline: &KeptPipeline, due: Timestamp, attempt: u32, read: &ReadTables) -> Result<(), Error> {
        let who = Who::named("schedule", pipeline.namespace.as_str());
        let key = if attempt == 0 { format!("schedule/{due}") } else { format!("schedule/{due}/{attempt}") };
        let options =
            StartOptions { unique_key: Some(key), as_of: Some(due), due: Some(due), attempt, ..StartOptions::default() };
        // Targets are not looked at first: one that is away must not keep usage from being taken.
        self.start_unprobed(&who, pipeline, options, read).map(drop).map_err(|why| Error::new(Kind::Unavailable, why.detail))
    }

    /// Returns when a scheduled run that failed is started again, if it is.
    fn next_retry(&self, pipeline: &KeptPipeline, schedule: &RunSchedule) -> Result<Option<Retry>, Error> {
        if schedule.retries == 0 {
            return Ok(None);
        }
        let newest = self.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, 1)?;
        let Some(session) = newest.first().filter(|session| session.session_status == Status::Failed) else { return Ok(None) };
        let (Some(due), Some(ended_at)) = (session.due, session.session_end_time) else { return Ok(None) };
        let retry = Retry { at: ended_at.saturating_add(schedule.pause), due, attempt: session.attempt + 1 };
        Ok((session.attempt < schedule.retries).then_some(retry))
    }

    /// Starts a scheduled run again that failed.
    fn retry(self: &Arc<Self>, pipeline: &KeptPipeline, schedule: &RunSchedule, now: Timestamp) -> Result<(), Error> {
        let Some(retry) = self.next_retry(pipeline, schedule)?.filter(|retry| retry.at <= now) else { return Ok(()) };
        let Some(read) = self.read_asked_soon(pipeline)? else { return Ok(()) };
        self.start_at(pipeline, retry.due, retry.attempt, &read)
    }
}

/// A scheduled run that is started again.
struct Retry {
    at: Timestamp,
    /// The due time of the run.
    due: Timestamp,
    /// How often it was started before.
    attempt: u32,
}
