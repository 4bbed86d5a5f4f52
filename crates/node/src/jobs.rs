//! Jobs: long acts over many parked events, deliveries or records.
//!
//! A job takes what matches when it begins, up to a moment that the request names, so that later
//! arrivals are not swept in. It outlives the request, its progress can be read, and it can be
//! canceled; what is done stays done. Jobs are in the catalog: one that was at work when the server
//! ended has failed, and says so.

mod changes;
mod corrections;
mod deliveries;
mod exports;
mod job;
mod reconciliation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Catalog, Change, Table, key_of};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::audit::Who;
use crate::background::{self, Yields};
use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, put};
use crate::settings::Jobs as Bounds;

pub use changes::FieldChanges;
pub use corrections::{CorrectionChange, CorrectionWish, EventSelector};
pub use deliveries::{DeliveryAction, DeliverySelector, DeliveryWish};
pub(crate) use exports::EXPORTS_FOLDER;
pub use exports::{ExportFormat, ExportWish};
pub use job::{Findings, Job, JobAction, JobKind, JobState};

/// Nanoseconds after which the progress of a job is written to the catalog again.
const KEPT_EVERY: i64 = 1_000_000_000;
/// The error of a job that the end of the server cut short.
const CUT_SHORT: &str = "the server ended before the job did; what is done stays done: begin a new job for the rest";

/// The newest jobs, as the catalog has them.
pub struct Jobs {
    catalog: Arc<dyn Catalog>,
    jobs: Mutex<BTreeMap<u64, Job>>,
    /// The folder of the files of exports.
    folder: PathBuf,
    bounds: Bounds,
}

impl Jobs {
    /// Reads the jobs of the catalog. Those that were at work have failed at `now`.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub(crate) fn open(catalog: Arc<dyn Catalog>, folder: PathBuf, bounds: Bounds, now: Timestamp) -> Result<Jobs, Error> {
        let mut jobs = BTreeMap::new();
        let mut changes = Vec::new();
        for (key, value) in catalog.scan(Table::Jobs, b"", None, usize::MAX)? {
            let Ok(number) = key.try_into().map(u64::from_be_bytes) else { continue };
            let mut job: Job = match kept(&value) {
                Ok(job) => job,
                Err(why) => {
                    tracing::warn!("job J-{number:08} cannot be read and is left out: {why}");
                    continue;
                }
            };
            if job.state.is_at_work() {
                job.end(Some(CUT_SHORT.to_owned()), now);
                changes.push(row(number, &job));
            }
            job.file = job.file.filter(|file| folder.join(file).exists());
            jobs.insert(number, job);
        }
        if !changes.is_empty() {
            catalog.commit(&changes)?;
        }
        Ok(Jobs { catalog, jobs: Mutex::new(jobs), folder, bounds })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job its number and id, and adds it.
    fn add(&self, mut job: Job) -> Result<(u64, Job), Refused> {
        let mut jobs = self.lock();
        let max = self.bounds.running_max;
        let at_work = jobs.values().filter(|other| other.namespace == job.namespace && other.state.is_at_work());
        if at_work.count() >= max {
            let detail = format!("{max} jobs are running (jobs.running_max); wait for one of them, or cancel one");
            return Err(Box::new(Refusal::new(RefusalKind::Overloaded, detail).retry_after(10)));
        }
        // Numbers continue with the seconds of the clock, so that no id names two jobs.
        let seconds = u64::try_from(job.started_at.nanos() / 1_000_000_000).unwrap_or(0);
        let number = jobs.last_key_value().map_or(seconds, |(number, _)| seconds.max(number + 1));
        job.id = format!("J-{number:08}");
        jobs.insert(number, job.clone());
        Ok((number, job))
    }

    /// Writes a job to the catalog together with `more`. Removes what is beyond the bounds of its
    /// namespace: the oldest jobs that have ended, and the oldest files and results.
    fn keep(&self, number: u64, more: Vec<Change>) -> Result<(), Error> {
        let (changes, files) = {
            let mut jobs = self.lock();
            let mut changes = more;
            let mut files = Vec::new();
            let namespace = jobs.get(&number).map(|job| job.namespace.clone()).unwrap_or_default();
            let own = jobs.values().filter(|job| job.namespace == namespace).count();
            for _ in self.bounds.kept_max..own {
                let has_ended = |job: &Job| job.namespace == namespace && !job.state.is_at_work();
                let Some(oldest) = jobs.iter().find(|(_, job)| has_ended(job)).map(|(number, _)| *number) else { break };
                files.extend(jobs.remove(&oldest).and_then(|job| job.file));
                changes.push(Change::Remove(Table::Jobs, key_of(oldest).to_vec()));
            }
            let max = self.bounds.outputs_max;
            for at in beyond_newest(&jobs, max, |job| job.namespace == namespace && job.file.is_some())
                .into_iter()
                .filter(|at| *at != number)
            {
                if let Some(job) = jobs.get_mut(&at) {
                    files.extend(job.file.take());
                    changes.push(row(at, job));
                }
            }
            for at in beyond_newest(&jobs, max, |job| job.namespace == namespace && job.result.is_some())
                .into_iter()
                .filter(|at| *at != number)
            {
                if let Some(job) = jobs.get_mut(&at) {
                    job.result = None;
                    changes.push(row(at, job));
                }
            }
            changes.extend(jobs.get(&number).map(|job| row(number, job)));
            (changes, files)
        };
        self.catalog.commit(&changes)?;
        for file in files {
            // It may have been removed by hand.
            drop(std::fs::remove_file(self.folder.join(file)));
        }
        Ok(())
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

    /// Returns the path of a file of an export.
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.folder.join(file)
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
    installation: &'j Installation,
    number: u64,
    /// The time at which it was last written to the catalog.
    kept: Mutex<Timestamp>,
}

impl Progress<'_> {
    /// Notes things that are done, with their outcome.
    fn done(&self, outcome: &str, count: u64) {
        self.change(|job| {
            job.done += count;
            job.count(outcome, count);
        });
    }

    /// Notes things that could not be done, with their outcome.
    fn failed(&self, outcome: &str, count: u64) {
        self.change(|job| {
            job.failed += count;
            job.count(outcome, count);
        });
    }

    /// Notes one thing more that the job takes.
    fn matched(&self) {
        self.installation.jobs.change(self.number, |job| job.matched += 1);
    }

    /// Notes the name of the file that the job has written.
    fn writes(&self, file: String) {
        self.installation.jobs.change(self.number, |job| job.file = Some(file));
    }

    /// Notes what the job found.
    fn found(&self, result: Box<RawValue>) {
        self.installation.jobs.change(self.number, |job| job.result = Some(Findings(result.into())));
    }

    fn change(&self, change: impl FnOnce(&mut Job)) {
        self.installation.jobs.change(self.number, change);
        let now = self.installation.wall();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if now.nanos().saturating_sub(kept.nanos()) >= KEPT_EVERY {
            *kept = now;
            if let Err(why) = self.installation.jobs.keep(self.number, Vec::new()) {
                tracing::warn!("the progress of job J-{:08} could not be written: {why}", self.number);
            }
        }
    }

    fn is_canceled(&self) -> bool {
        self.installation.jobs.lock().get(&self.number).is_none_or(|job| job.state == JobState::Canceling)
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
    fn new_job(&self, who: &Who, kind: JobKind, action: JobAction, up_to: Option<Timestamp>) -> Job {
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
            result: None,
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
        let (kind, after) = (job.kind, json!({"action": job.action.name(), "matched": job.matched, "selector": selector}));
        let (number, job) = self.jobs.add(job)?;
        let audited = self.change().and_then(|_change| {
            let entry = self.audited(who, kind.audited_as(), &job.id, Value::Null, after)?;
            self.jobs.keep(number, entry)
        });
        let installation = Arc::clone(self);
        let run = move || {
            // A panic ends the job too: it must not hold its place for ever.
            let mut ending = Ending { installation, number, error: Some("the job broke off".to_owned()) };
            let kept = Mutex::new(ending.installation.wall());
            let progress = Progress { installation: &ending.installation, number, kept };
            let ended = work(&ending.installation, &progress);
            ending.error = ended.err();
        };
        let spawned = audited.and_then(|()| background::spawn("job", Yields::Wholly, run).map(drop));
        if let Err(why) = spawned {
            self.end_job(number, Some(why.to_string()));
            return Err(refusal_of(&why));
        }
        Ok(job)
    }

    fn end_job(&self, number: u64, error: Option<String>) {
        let now = self.now();
        self.jobs.change(number, |job| job.end(error, now));
        if let Err(why) = self.jobs.keep(number, Vec::new()) {
            tracing::error!("the end of job J-{number:08} could not be written, so a restart will call it failed: {why}");
        }
    }
}

fn row(number: u64, job: &Job) -> Change {
    put(Table::Jobs, key_of(number).to_vec(), job)
}

/// Returns the numbers of jobs with an output that ended before the newest such ones.
fn beyond_newest(jobs: &BTreeMap<u64, Job>, max: usize, has_output: impl Fn(&Job) -> bool) -> Vec<u64> {
    let mut found: Vec<_> = jobs.iter().filter(|(_, job)| has_output(job)).map(|(at, job)| (job.ended_at, *at)).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.into_iter().skip(max).map(|(_, at)| at).collect()
}
