//! Pipelines follow the statuses of their sessions.
//!
//! The status of a session is committed first, then its pipeline takes the step. Where the disk fails
//! in between, the pipeline was not paused, resumed or stopped. The periodic checks take the missing
//! step, so that the status that people see is what the pipeline does.

use std::sync::Arc;

use flowmeter_core::session::{Status, Trigger};
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Table, key_of};

use crate::installation::{Installation, Served};
use crate::pipelines::plan_of;
use crate::rows::kept;
use crate::sessions::KeptSession;

/// The step that a pipeline did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    Ready,
    Pause(bool),
    Rest,
}

impl Installation {
    /// Takes the step that a pipeline with a session has missed, if any.
    pub(crate) fn follow_session(self: &Arc<Self>, served: &Arc<Served>) -> Result<(), Error> {
        if self.missed(served)?.is_none() {
            return Ok(());
        }
        // People's steps are taken under this lock, so one that is under way is not missed.
        let _change = self.change()?;
        let Some((mut session, missed)) = self.missed(served)? else { return Ok(()) };
        tracing::warn!(session = session.session_id, pipeline = session.pipeline, "the pipeline takes a step that it missed");
        match missed {
            Missed::Pause(pauses) => served.worker().pause(pauses),
            Missed::Ready => {
                let plan = plan_of(&self.catalog, served.kept.id)(session.version)?;
                self.step(&mut session, &plan, Trigger::Ready, Vec::new())
            }
            // The thread that finishes the session has a lock of its own, and does it itself.
            Missed::Rest => match served.finishing.try_lock() {
                Ok(_finishing) => self.rest(served),
                Err(_) => Ok(()),
            },
        }
    }

    fn missed(&self, served: &Served) -> Result<Option<(KeptSession, Missed)>, Error> {
        let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(served.session()))? else { return Ok(None) };
        let session: KeptSession = kept(&bytes)?;
        let is_paused = served.board().is_paused();
        let missed = match session.session_status {
            Status::Running if is_paused => Missed::Pause(false),
            Status::Paused if !is_paused => Missed::Pause(true),
            Status::Initializing => Missed::Ready,
            status if status.is_final() => Missed::Rest,
            _ => return Ok(None),
        };
        Ok(Some((session, missed)))
    }
}
