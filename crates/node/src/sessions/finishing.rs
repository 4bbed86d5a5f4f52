//! From USAGE_PUSHING to COMPLETED: all received events are counted, due periods are flushed, and
//! every target has the records and confirms them. That takes as long as the slowest target, so it
//! runs step by step in parallel with everything else, and after a restart it continues.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use flowmeter_core::plan::Plan;
use flowmeter_core::session::{Status, Trigger};
use flowmeter_engine::live::LogCommand;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Table, key_of};

use crate::deliveries::delivery::Standing;
use crate::installation::{Installation, Served};
use crate::pipelines::plan_of;
use crate::rows::kept;
use crate::sessions::KeptSession;

/// Interval and number of checks of a caller that asked to finish, before the answer is that
/// finishing continues.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS: usize = 500;

/// The progress of a session that is finishing. It is in memory: after a restart the steps are
/// repeated, which changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Finishing {
    /// The number of the session.
    session: u64,
    /// Whether everything received is counted, and due periods are flushed.
    is_flushed: bool,
    /// Whether a target lacked records and was sent them again.
    is_mended: bool,
    /// The last reported reason for waiting.
    waits_for: String,
}

impl Served {
    /// Resets the progress of the session. A thread that waits for a target to confirm does not
    /// block this: [`Finishing`] has the number of its session, and the next session starts from
    /// scratch.
    pub(crate) fn finish_anew(&self) {
        if let Ok(mut finishing) = self.finishing.try_lock() {
            *finishing = Finishing::default();
        }
    }
}

impl Installation {
    /// Continues until the session has ended, or waiting takes too long.
    pub(crate) fn finish_soon(&self, served: &Arc<Served>) -> Result<(), Error> {
        for _ in 0..LOOKS {
            self.go_on_finishing(served)?;
            if served.session() == 0 {
                return Ok(());
            }
            if !self.has_threads {
                return Ok(());
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }

    /// Takes the steps that are possible now.
    pub(crate) fn go_on_finishing(&self, served: &Arc<Served>) -> Result<(), Error> {
        // One caller at a time; a second one finds it done.
        let mut finishing = served.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(served.session()))? else { return Ok(()) };
        let mut session: KeptSession = kept(&bytes)?;
        if finishing.session != session.number {
            *finishing = Finishing { session: session.number, ..Finishing::default() };
        }
        if !matches!(session.session_status, Status::UsagePushing | Status::PushCompleted | Status::ConsumeCompleted) {
            return Ok(());
        }
        let plan = plan_of(&self.catalog, served.kept.id)(session.version)?;
        match self.finish_steps(&mut session, served, &plan, &mut finishing) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            // A target does not answer, or there is no room: the step is repeated later.
            Err(why) if matches!(why.kind, Kind::Unavailable | Kind::Full) => {
                let why = why.to_string();
                if finishing.waits_for != why {
                    tracing::warn!(session = session.session_id, "finishing waits: {why}");
                    finishing.waits_for = why;
                }
                return Ok(());
            }
            Err(why) => {
                session.error = Some(why.to_string());
                session.counts = self.counts_of(&session, &plan, &served.board().totals());
                self.step(&mut session, &plan, Trigger::Fail, Vec::new())?;
            }
        }
        *finishing = Finishing::default();
        self.rest(served)
    }

    /// Whether the session has ended.
    fn finish_steps(
        &self,
        session: &mut KeptSession,
        served: &Arc<Served>,
        plan: &Plan,
        finishing: &mut Finishing,
    ) -> Result<bool, Error> {
        if session.session_status == Status::UsagePushing {
            if !finishing.is_flushed {
                served.worker.pause(false)?;
                // Periods that ended by now are due, whether the clock has ticked yet or not.
                let at = session.clock(plan).unwrap_or_else(|| self.now()).nanos();
                let command = LogCommand::Close { pipeline: served.kept.id, at };
                let ticked = self.command(&command)?;
                served.worker.wait_for(ticked + 1)?;
                let end = served.worker.ask(|live| live.commit().map(|()| live.outlet().records().written()))??;
                served.delivery.reach(end);
                self.halt(served)?;
                finishing.is_flushed = true;
            }
            match served.delivery.standing() {
                Standing::Underway => return Ok(false),
                Standing::Dead(why) => return Err(Error::new(Kind::Invalid, why)),
                Standing::Accepted => self.step(session, plan, Trigger::AllAccepted, Vec::new())?,
            }
        }
        if session.session_status == Status::PushCompleted {
            // Records that were sent again must be delivered before they are compared again.
            match served.delivery.standing() {
                Standing::Underway => return Ok(false),
                Standing::Dead(why) => return Err(Error::new(Kind::Invalid, why)),
                Standing::Accepted => {}
            }
            if let Some((target, report)) = served.delivery.confirm(!finishing.is_mended)? {
                let first = report.differences.first().map(|difference| format!("{} {}", difference.record_id, difference.what));
                let what = format!(
                    "target `{target}` does not hold {} records as they were flushed: {}",
                    report.difference_count,
                    first.unwrap_or_default()
                );
                if finishing.is_mended {
                    return Err(Error::new(Kind::Corrupt, what));
                }
                tracing::warn!(session = session.session_id, "{what}; it is sent them again");
                finishing.is_mended = true;
                return Ok(false);
            }
            self.step(session, plan, Trigger::AllConfirmed, Vec::new())?;
        }
        session.counts = self.counts_of(session, plan, &served.board().totals());
        // The events of all meters are sent before the last status.
        self.tell_of_meters_of(served)?;
        self.step(session, plan, Trigger::WrapUp, Vec::new())?;
        Ok(true)
    }
}
