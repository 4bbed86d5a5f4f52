//! From USAGE_PUSHING to COMPLETED: everything that was received is counted, what is due is
//! flushed, every target has it and confirms. That takes as long as the slowest target, so
//! it goes on beside everything else, step by step, and after a restart from where it was.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use flowmeter_core::plan::Plan;
use flowmeter_core::session::{Status, Trigger};
use flowmeter_engine::live::LogCommand;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Table, key_of};

use super::delivery::Standing;
use super::{Installation, KeptSession, Served, counts, kept, plan_of};

/// How often whoever asked to finish looks, and how many times, before the answer is that it
/// is on its way.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS: usize = 500;

/// How far a session that is finishing has come. In memory: after a restart it is done
/// again, which changes nothing.
#[derive(Debug, Default)]
pub(super) struct Finishing {
    /// Which session it is.
    session: u64,
    /// Everything received is counted, and what is due is flushed.
    is_flushed: bool,
    /// A target did not hold what it should, and was sent it again.
    is_mended: bool,
    /// What it waits for, as it was told last.
    waits_for: String,
}

impl Served {
    /// Forgets how far the session has come. A thread that waits for a target to confirm does
    /// not hold this up: [`Finishing`] has the number of its session, and the next session starts from scratch.
    pub(super) fn finish_anew(&self) {
        if let Ok(mut finishing) = self.finishing.try_lock() {
            *finishing = Finishing::default();
        }
    }
}

impl Installation {
    /// Goes on until the session has ended, or it takes too long to wait for it.
    pub(super) fn finish_soon(&self, served: &Arc<Served>) -> Result<(), Error> {
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

    /// Takes the steps that can be taken now.
    pub(super) fn go_on_finishing(&self, served: &Arc<Served>) -> Result<(), Error> {
        // One at a time; who comes second finds it done.
        let mut finishing = served.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(served.session()))? else { return Ok(()) };
        let mut session: KeptSession = kept(&bytes)?;
        if finishing.session != session.number {
            *finishing = Finishing { session: session.number, ..Finishing::default() };
        }
        if !matches!(session.status(), Status::UsagePushing | Status::PushCompleted | Status::ConsumeCompleted) {
            return Ok(());
        }
        let plan = plan_of(&self.catalog, served.kept.id)(session.version)?;
        match self.finish_steps(&mut session, served, &plan, &mut finishing) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            // Something outside does not answer, or there is no room: that is looked at again.
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
                session.counts = counts(&plan, &served.board().totals());
                self.step(&mut session, &plan, Trigger::Fail, Vec::new())?;
            }
        }
        *finishing = Finishing::default();
        self.rest(served)
    }

    /// Whether it has come to its end.
    fn finish_steps(
        &self,
        session: &mut KeptSession,
        served: &Arc<Served>,
        plan: &Plan,
        finishing: &mut Finishing,
    ) -> Result<bool, Error> {
        if session.status() == Status::UsagePushing {
            if !finishing.is_flushed {
                served.worker.pause(false)?;
                // What ended by now is due, whether the clock has told of it yet or not.
                let ticked = self.with_writer(|writer| writer.command(&LogCommand::Tick))?;
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
        if session.status() == Status::PushCompleted {
            // What was sent again must have gone before it is looked for again.
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
        session.counts = counts(plan, &served.board().totals());
        // Who stops listening at the last status has heard of every meter.
        self.tell_of_meters_of(served)?;
        self.step(session, plan, Trigger::WrapUp, Vec::new())?;
        Ok(true)
    }
}
