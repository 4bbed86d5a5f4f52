//! A job: what it does, its progress and its result.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::rows::instant;
use crate::verbatim::Object;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    pub(super) fn is_at_work(self) -> bool {
        matches!(self, JobState::Running | JobState::Canceling)
    }
}

/// The things that a job is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    Corrections,
    Deliveries,
    Export,
}

impl JobKind {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            JobKind::Corrections => "corrections",
            JobKind::Deliveries => "deliveries",
            JobKind::Export => "export",
        }
    }

    /// Returns the action of the audit that begins such a job.
    pub(super) fn audited_as(self) -> &'static str {
        match self {
            JobKind::Corrections => "correction.job",
            JobKind::Deliveries => "delivery.job",
            JobKind::Export => "export.job",
        }
    }
}

/// The work of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobAction {
    /// Parked events are sent again.
    Reprocess,
    /// Parked events are given up.
    Discard,
    /// Deliveries go again, under the same keys.
    Resend,
    /// Deliveries are left out.
    Skip,
    /// The records of targets are compared with those that were flushed.
    Reconcile,
    /// Records are written to a file.
    Records,
}

impl JobAction {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            JobAction::Reprocess => "reprocess",
            JobAction::Discard => "discard",
            JobAction::Resend => "resend",
            JobAction::Skip => "skip",
            JobAction::Reconcile => "reconcile",
            JobAction::Records => "records",
        }
    }
}

/// The findings of a comparison, as JSON with all digits. A copy shares them: they can be long.
#[derive(Clone, Debug)]
pub struct Findings(pub(super) Arc<RawValue>);

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Findings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Findings, D::Error> {
        Ok(Findings(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}

/// A job, its progress and its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// `J-` and its number; empty until it is added.
    pub id: String,
    /// The namespace of its author.
    pub namespace: String,
    pub kind: JobKind,
    pub action: JobAction,
    /// The pipeline; empty for all.
    pub pipeline: String,
    /// The reason that its author gave.
    pub reason: String,
    /// The key that began it.
    pub by: String,
    /// The moment up to which it takes things.
    #[serde(with = "instant")]
    pub up_to: Timestamp,
    #[serde(with = "instant")]
    pub started_at: Timestamp,
    #[serde(with = "instant::optional", default)]
    pub ended_at: Option<Timestamp>,
    pub state: JobState,
    /// Number of things that it takes.
    pub matched: u64,
    /// Number of things that are done.
    pub done: u64,
    /// Number of things that could not be done.
    pub failed: u64,
    /// Number of things by outcome.
    pub by_outcome: BTreeMap<String, u64>,
    /// The error that ended it.
    pub error: Option<String>,
    /// The name of the file that it wrote, in the folder of exports; only of the newest jobs.
    pub file: Option<String>,
    /// The findings of a comparison; only of the newest jobs.
    pub result: Option<Findings>,
    /// Of a dry run that changes events: some of them, changed.
    #[serde(skip)]
    pub sample: Option<Value>,
}

impl Job {
    /// Returns it as the API lists it, without its result.
    pub fn shown(&self) -> Value {
        let has_file = self.state == JobState::Done && self.file.is_some();
        let mut shown = json!({
            "jobId": self.id, "kind": self.kind.name(), "action": self.action.name(), "pipeline": self.pipeline, "reason": self.reason,
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

    /// Returns it as the API shows it alone, with its result.
    pub fn shown_whole(&self) -> Box<RawValue> {
        let none = RawValue::NULL;
        let result = self.result.as_ref().map_or(none, |findings| &*findings.0);
        Object::of(&self.shown()).with("result", result).finish()
    }

    /// Counts things of an outcome.
    pub(super) fn count(&mut self, outcome: &str, count: u64) {
        if count > 0 {
            *self.by_outcome.entry(outcome.to_owned()).or_default() += count;
        }
    }

    /// Ends it, by an error if there is one.
    pub(super) fn end(&mut self, error: Option<String>, now: Timestamp) {
        self.state = match (&error, self.state) {
            (Some(_), _) => JobState::Failed,
            (None, JobState::Canceling) => JobState::Canceled,
            (None, JobState::DryRun | JobState::Running | JobState::Canceled | JobState::Done | JobState::Failed) => {
                JobState::Done
            }
        };
        self.error = error;
        self.ended_at = Some(now);
    }
}
