//! Sessions: one run of a pipeline, its status, and the events that tell of it.

mod event;
pub mod status;
#[cfg(test)]
mod tests;

pub use event::{OperatorUpdate, StatusChange};
pub use status::{RunType, Status, Trigger};

use crate::plan::Plan;
use crate::time::Timestamp;
use status::Illegal;
use uuid::Uuid;

/// One run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `R-00000001`, counting up.
    pub id: String,
    /// The purpose of the run.
    pub run_type: RunType,
    /// The pipeline.
    pub pipeline_id: Uuid,
    /// Its name.
    pub pipeline_name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What ended it, if that was an error.
    pub error: Option<String>,
    status: Status,
}

impl Session {
    /// The id of the session of a number.
    pub fn id_of(number: u64) -> String {
        format!("R-{number:08}")
    }

    /// A session that is defined and has not run.
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

    /// A session as it was kept: where it stood, and when it ended.
    pub fn kept(mut self, status: Status, ended_at: Option<Timestamp>, error: Option<String>) -> Session {
        (self.status, self.ended_at, self.error) = (status, ended_at, error);
        self
    }

    /// Returns the present status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Takes a step, if it is a legal one, and gives the event that tells of it.
    pub fn take(&mut self, trigger: Trigger, at: Timestamp) -> Result<StatusChange, Illegal> {
        let previous = self.status;
        self.status = status::next(previous, self.run_type, trigger)?;
        if self.status.is_final() {
            self.ended_at = Some(at);
        }
        Ok(StatusChange::of(self, previous))
    }
}
