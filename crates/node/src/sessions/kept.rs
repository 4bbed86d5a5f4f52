//! A session as the catalog keeps it.

use flowmeter_core::plan::Plan;
use flowmeter_core::session::{RunType, Session, Status};
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::rows::{instant, named};

/// A session as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSession {
    /// The id, `R-00000001` and so on.
    pub session_id: String,
    /// A number that counts up.
    pub number: u64,
    /// Id of the pipeline.
    pub pipeline_id: Uuid,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The namespace of the session.
    pub namespace: String,
    /// The version with which it began.
    pub version: u32,
    #[serde(with = "named")]
    pub session_run_type: RunType,
    /// The status at present.
    #[serde(with = "named")]
    pub session_status: Status,
    /// The time of its start.
    #[serde(with = "instant")]
    pub session_start_time: Timestamp,
    /// The time of its end.
    #[serde(with = "instant::optional", default, skip_serializing_if = "Option::is_none")]
    pub session_end_time: Option<Timestamp>,
    /// The error that ended it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether a fault ended it that a person must look at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_broken: bool,
    /// Two starts with the same key are one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// The entry of the log with which it began.
    #[serde(default)]
    pub position: u64,
    /// The clock of a session that ends with its input.
    #[serde(with = "instant::optional", default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Options of sources for this session alone, by the id of the source.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub sources: Map<String, Value>,
    /// The time at which the pipeline's schedule made it due.
    #[serde(with = "instant::optional", default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// How often the run that was due then has failed before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The counts of the pipeline at its start.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub counts_before: Value,
    /// The counts at its end.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub counts: Value,
}

impl KeptSession {
    /// Returns the clock of a session that ends with its input. Sessions of older programs have the time
    /// of their start.
    pub(crate) fn clock(&self, plan: &Plan) -> Option<Timestamp> {
        plan.is_bounded().then(|| self.as_of.unwrap_or(self.session_start_time))
    }

    pub(crate) fn session(&self, plan: &Plan) -> Session {
        let session = Session::new(self.number, self.session_run_type, plan, self.session_start_time);
        session.kept(self.session_status, self.session_end_time, self.error.clone())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A filter of sessions.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Sessions of this pipeline.
    pub pipeline: Option<Uuid>,
    pub status: Option<Status>,
    pub run_type: Option<RunType>,
    /// Sessions that had not ended before this instant.
    pub from: Option<Timestamp>,
    /// Sessions that began before this instant.
    pub to: Option<Timestamp>,
}

impl SessionFilter {
    /// Returns the filter of the sessions of a pipeline.
    pub fn of(pipeline: Uuid) -> SessionFilter {
        SessionFilter { pipeline: Some(pipeline), ..SessionFilter::default() }
    }

    pub(super) fn takes(&self, session: &KeptSession) -> bool {
        self.pipeline.is_none_or(|pipeline| session.pipeline_id == pipeline)
            && self.status.is_none_or(|status| session.session_status == status)
            && self.run_type.is_none_or(|run_type| session.session_run_type == run_type)
            && self.from.is_none_or(|from| session.session_end_time.is_none_or(|ended| ended >= from))
            && self.to.is_none_or(|to| session.session_start_time < to)
    }
}
