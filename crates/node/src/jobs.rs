//! Jobs: long acts over many parked events, deliveries or records.
//!
//! A job takes what matches when it begins, up to a moment that the request names, so that later
//! arrivals are not swept in. It outlives the request, its progress can be read, and it can be
//! canceled; what is done stays done. Jobs are in memory: a restart ends and forgets them.

mod changes;
mod corrections;
mod deliveries;
mod exports;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use serde_json::{Value, json};

use crate::audit::Who;
use crate::background::{self, Yields};
use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

pub use changes::FieldChanges;
pub use corrections::{CorrectionChange, CorrectionWish, EventSelector};
pub use deliveries::{DeliveryAction, DeliverySelector, DeliveryWish};
pub(crate) use exports::{EXPORTS_FOLDER, remove_files};
pub use exports::{ExportFormat, ExportWish};

/// Jobs that are remembered.
const KEPT_MAX: usize = 200;
/// Jobs that run at the same time.
const RUNNING_MAX: usize = 4;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Counted only; nothing was changed.
    DryRun,
    Running,
    /// It stops after its current batch.
    Canceling,
    Canceled,
    Done,
    /// It ended with an error.
    Failed,
}

impl JobState {
    /// All states of a job.
    pub const ALL: [JobState; 6] =
        [JobState::DryRun, JobState::Running, JobState::Canceling, JobState::Canceled, JobState::Done, JobState::Failed];

    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            JobState::DryRun => "dry-run",
            JobState::Running => "running",
            JobState::Canceling => "canceling",
            JobState::Canceled => "canceled",
            JobState::Done => "done",
            JobState::Failed => "failed",
        }
    }

    /// Whether it still works.
    fn is_at_work(self) -> bool {
        matches!(self, JobState::Running | JobState::Canceling)
    }
}

/// A job, its progress and its result.
#[derive(Clone, Debug)]
pub struct Job {
    /// `J-` and its number; empty until it is added.
    pub id: String,
    /// The namespace of its author.
    pub namespace: String,
    /// `corrections`, `deliveries` or `export`.
    pub kind: &'static str,
    /// The action: `reprocess`, `discard`, `resend`, `skip`, `records`.
    pub action: &'static str,
    /// The pipeline; empty for all.
    pub pipeline: String,
    /// The reason that its author gave.
    pub reason: String,
    /// The key that began it.
    pub by: String,
    /// The moment up to which it takes things.
    pub up_to: Timestamp,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub state: JobState,
    /// Number of things that it takes.
    pub matched: u64,
    /// Number of things that are done.
    pub done: u64,
    /// Number of things that could not be done.
    pub failed: u64,
    /// Number of things by outcome.
    pub by_outcome: BTreeMap<&'static str, u64>,
    /// The error that ended it.
    pub error: Option<String>,
    /// The file that it wrote.
    pub file: Option<PathBuf>,
    /// Of a dry run that changes events: some of them, changed.
    pub sample: Option<Value>,
}

impl Job {
    /// Returns it as the API shows it.
    pub fn shown(&self) -> Value {
        let has_file = self.state == JobState::Done && self.file.is_some();
        let mut shown = json!({
            "jobId": self.id, "kind": self.kind, "action": self.action, "pipeline": self.pipeline, "reason": self.reason,
            "by": self.by, "upTo": self.up_to.to_string(), "startedAt": self.started_at.to_string(),
            "endedAt": self.ended_at.map(|at| at.to_string()), "state": self.state.name(), "matched": self.matched,
            "done": self.done, "failed": self.failed, "byOutcome": self.by_outcome, "error": self.error,
            "file": has_file.then(|| format!("/api/v1/jobs/{}/file", self.id)), "undo": Value::Null,
        });
        if let Some(sample) = &self.sample {
            shown["sample"] = sample.clone();
        }
        shown
    }
}

/// All jobs since the server started.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<BTreeMap<u64, Job>>);

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, and forgets the oldest ones that have ended.
    fn add(&self, mut job: Job) -> Result<(u64, Job), Refused> {
        let mut jobs = self.lock();
        if jobs.values().filter(|job| job.state.is_at_work()).count() >= RUNNING_MAX {
            let detail = format!("{RUNNING_MAX} jobs are running; wait for one of them, or cancel one");
            return Err(Box::new(Refusal::new(RefusalKind::Overloaded, detail).retry_after(10)));
        }
        // Numbers continue with the seconds of the clock, so that no id names two jobs, one before a
        // restart of the server and one after it.
        let seconds = u64::try_from(job.started_at.nanos() / 1_000_000_000).unwrap_or(0);
        let number = jobs.last_key_value().map_or(seconds, |(number, _)| seconds.max(number + 1));
        job.id = format!("J-{number:08}");
        jobs.insert(number, job.clone());
        while jobs.len() > KEPT_MAX {
            let Some(oldest) = jobs.iter().find(|(_, job)| !job.state.is_at_work()).map(|(number, _)| *number) else { break };
            if let Some(Job { file: Some(file), .. }) = jobs.remove(&oldest) {
                drop(std::fs::remove_file(file));
            }
        }
        Ok((number, job))
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().get_mut(&number) {
            change(job);
        }
    }

    /// Returns the jobs of a namespace, the newest first.
    pub fn of(&self, namespace: &str) -> Vec<Job> {
        self.lock().values().rev().filter(|job| job.namespace == namespace).cloned().collect()
    }

    /// Returns a job of a namespace.
    pub fn find(&self, namespace: &str, id: &str) -> Result<Job, Refused> {
        let jobs = self.lock();
        let found = jobs.values().find(|job| job.id == id && job.namespace == namespace);
        found.cloned().ok_or_else(|| not_found("job", id))
    }

    /// Asks a job to stop after its current batch. A job that has ended stays as it is.
    fn cancel(&self, namespace: &str, id: &str) -> Result<Job, Refused> {
        let mut jobs = self.lock();
        let found = jobs.values_mut().find(|job| job.id == id && job.namespace == namespace);
        let job = found.ok_or_else(|| not_found("job", id))?;
        if job.state == JobState::Running {
            job.state = JobState::Canceling;
        }
        Ok(job.clone())
    }
}

/// Ends a job when it is dropped.
struct Ending {
    installation: Arc<Installation>,
    number: u64,
    error: Option<String>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.installation.end_job(self.number, self.error.take());
    }
}

/// The progress of a job at work.
struct Progress<'j> {
    jobs: &'j Jobs,
    number: u64,
}

impl Progress<'_> {
    /// Notes things that are done, with their outcome.
    fn done(&self, outcome: &'static str, count: u64) {
        self.jobs.change(self.number, |job| {
            job.done += count;
            if count > 0 {
                *job.by_outcome.entry(outcome).or_default() += count;
            }
        });
    }

    /// Notes things that could not be done, with their outcome.
    fn failed(&self, outcome: &'static str, count: u64) {
        self.jobs.change(self.number, |job| {
            job.failed += count;
            if count > 0 {
                *job.by_outcome.entry(outcome).or_default() += count;
            }
        });
    }

    /// Notes the file that the job writes.
    fn writes(&self, file: PathBuf) {
        self.jobs.change(self.number, |job| job.file = Some(file));
    }

    fn is_canceled(&self) -> bool {
        self.jobs.lock().get(&self.number).is_none_or(|job| job.state == JobState::Canceling)
    }
}

impl Installation {
    /// Asks a job to stop after its current batch. A job that has ended stays as it is.
    pub fn cancel_job(&self, who: &Who, id: &str) -> Result<Job, Refused> {
        let job = self.jobs.find(&who.namespace, id)?;
        if job.state != JobState::Running {
            return Ok(job);
        }
        let after = json!({"state": JobState::Canceling.name()});
        self.note_audit(who, "job.cancel", id, json!({"state": job.state.name()}), after).map_err(|why| refusal_of(&why))?;
        self.jobs.cancel(&who.namespace, id)
    }

    /// Returns a job that has not begun.
    fn new_job(&self, who: &Who, kind: &'static str, action: &'static str, up_to: Option<Timestamp>) -> Job {
        let now = self.now();
        Job {
            id: String::new(),
            namespace: who.namespace.clone(),
            kind,
            action,
            pipeline: String::new(),
            reason: who.request.reason.clone().unwrap_or_default(),
            by: who.name.clone(),
            up_to: up_to.unwrap_or(now),
            started_at: now,
            ended_at: None,
            state: JobState::Running,
            matched: 0,
            done: 0,
            failed: 0,
            by_outcome: BTreeMap::new(),
            error: None,
            file: None,
            sample: None,
        }
    }

    /// Adds a job with its entry of the audit, and works on a thread of its own.
    fn begin_job(
        self: &Arc<Self>,
        who: &Who,
        job: Job,
        selector: &Value,
        work: impl FnOnce(&Installation, &Progress<'_>) -> Result<(), String> + Send + 'static,
    ) -> Result<Job, Refused> {
        let action = match job.kind {
            "corrections" => "correction.job",
            "deliveries" => "delivery.job",
            _ => "export.job",
        };
        let after = json!({"action": job.action, "matched": job.matched, "selector": selector});
        let (number, job) = self.jobs.add(job)?;
        let noted = self.note_audit(who, action, &job.id, Value::Null, after);
        let installation = Arc::clone(self);
        let run = move || {
            // A panic ends the job too: it must not hold its place for ever.
            let mut ending = Ending { installation, number, error: Some("the job broke off".to_owned()) };
            let progress = Progress { jobs: &ending.installation.jobs, number };
            let ended = work(&ending.installation, &progress);
            ending.error = ended.err();
        };
        let spawned = noted.and_then(|()| background::spawn("job", Yields::Wholly, run).map(drop));
        if let Err(why) = spawned {
            self.end_job(number, Some(why.to_string()));
            return Err(refusal_of(&why));
        }
        Ok(job)
    }

    fn end_job(&self, number: u64, error: Option<String>) {
        let now = self.now();
        self.jobs.change(number, |job| {
            job.state = match (&error, job.state) {
                (Some(_), _) => JobState::Failed,
                (None, JobState::Canceling) => JobState::Canceled,
                (None, _) => JobState::Done,
            };
            job.error = error;
            job.ended_at = Some(now);
        });
    }
}
