//! Sessions: one run of a pipeline, its status and its events.

mod event;
pub mod status;

pub use event::{OperatorUpdate, StatusChange};
pub use status::{RunType, Status, Trigger};

use status::Illegal;
use uuid::Uuid;

use crate::plan::Plan;
use crate::time::Timestamp;

/// One run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id, `R-00000001` and so on.
    pub id: String,
    /// The purpose of the run.
    pub run_type: RunType,
    /// Id of the pipeline.
    pub pipeline_id: Uuid,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// The time of its start.
    pub started_at: Timestamp,
    /// The time of its end.
    pub ended_at: Option<Timestamp>,
    /// The error that ended it, if one did.
    pub error: Option<String>,
    status: Status,
}

impl Session {
    /// Returns the id of a session's number.
    pub fn id_of(number: u64) -> String {
        format!("R-{number:08}")
    }

    /// Creates a session that is defined and has not run.
    pub fn new(number: u64, run_type: RunType, plan: &Plan, at: Timestamp) -> Session {
        Session {
            id: Session::id_of(number),
            run_type,
            pipeline_id: plan.id,
            pipeline_name: plan.name.clone(),
            started_at: at,
            ended_at: None,
            error: None,
            status: Status::NeverRun,
        }
    }

    /// Restores a stored session: its status, and the time of its end.
    pub fn kept(mut self, status: Status, ended_at: Option<Timestamp>, error: Option<String>) -> Session {
        (self.status, self.ended_at, self.error) = (status, ended_at, error);
        self
    }

    /// Returns the present status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Changes the status, if the step is legal, and returns the event of the change.
    pub fn take(&mut self, trigger: Trigger, at: Timestamp) -> Result<StatusChange, Illegal> {
        let previous = self.status;
        self.status = status::next(previous, self.run_type, trigger)?;
        if self.status.is_final() {
            self.ended_at = Some(at);
        }
        Ok(StatusChange::of(self, previous))
    }
}
