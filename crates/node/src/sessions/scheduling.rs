//! Sessions that start by themselves, at the due times of a pipeline's schedule.
//!
//! The catalog remembers, for each pipeline, the last due time that was handled. A run has a unique
//! key made of its due time, so one that was started just before a crash is not started again. Due
//! times that passed unseen follow `catchUp`; one that passes while a session runs follows `overlap`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use flowmeter_core::schedule::{CatchUp, RunSchedule};
use flowmeter_core::session::Status;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Change, count_to};
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::sessions::StartOptions;
use crate::tables::reading::ReadTables;

/// Due times of one pipeline that are looked at together: those of a year, if one is due each hour.
const DUE_MAX: usize = 10_000;

/// By pipeline, the version that was compiled last and its schedule.
type Known = BTreeMap<Uuid, (u32, Option<Arc<RunSchedule>>)>;

/// The schedules of pipelines, as of their newest versions.
#[derive(Default)]
pub(crate) struct Schedules {
    known: Mutex<Known>,
    /// The time of the first look: what was due before passed while the server was down.
    begun: OnceLock<Timestamp>,
}

impl Schedules {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        let version = self.version(pipeline, pipeline.version).map_err(|why| Error::new(Kind::Corrupt, why.detail))?;
        let schedule = version.compile()?.plan.schedule.map(Arc::new);
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
        let before = before.map(|version| self.schedule_of(&KeptPipeline { version, ..newer.clone() })).transpose()?.flatten();
        let now = u64::try_from(self.now().nanos() / 1_000_000).unwrap_or_default();
        Ok(before.is_none().then(|| count_to(counter_of(newer.id).as_bytes(), now)))
    }

    /// Returns the time at which a pipeline's schedule starts its next session.
    pub fn next_run(&self, pipeline: &KeptPipeline) -> Result<Option<Timestamp>, Error> {
        let Some(schedule) = self.schedule_of(pipeline)? else { return Ok(None) };
        let handled = self.handled(pipeline.id)?.unwrap_or(Timestamp::MIN);
        Ok(schedule.next_after(handled.max(self.now())))
    }

    /// Starts the sessions that are due.
    pub(crate) fn start_due(self: &Arc<Self>) {
        let pipelines = match self.all_pipelines() {
            Ok(pipelines) => pipelines,
            Err(why) => return tracing::error!("schedules cannot be read: {why}"),
        };
        for pipeline in pipelines {
            if let Err(why) = self.start_due_of(&pipeline) {
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
        let is_running = self.running_of(pipeline.id).is_some();
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

    /// Starts a scheduled run again that failed.
    fn retry(self: &Arc<Self>, pipeline: &KeptPipeline, schedule: &RunSchedule, now: Timestamp) -> Result<(), Error> {
        if schedule.retries == 0 {
            return Ok(());
        }
        let newest = self.sessions(&pipeline.namespace, Some(pipeline.id), None, None, 1)?;
        let Some(session) = newest.first().filter(|session| session.status() == Status::Failed) else { return Ok(()) };
        let time = |text: &Option<String>| Timestamp::parse_rfc3339(text.as_deref()?.as_bytes());
        let (Some(due), Some(ended_at)) = (time(&session.due), time(&session.session_end_time)) else { return Ok(()) };
        if session.attempt >= schedule.retries || ended_at.saturating_add(schedule.pause) > now {
            return Ok(());
        }
        let Some(read) = self.read_asked_soon(pipeline)? else { return Ok(()) };
        self.start_at(pipeline, due, session.attempt + 1, &read)
    }
}
