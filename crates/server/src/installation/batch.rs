//! A NORMAL session over files: read once, in its own thread, then delivered.

use std::sync::Arc;

use flowmeter_connectors::bounded::Bounded;
use flowmeter_core::pipeline::Pipeline;
use flowmeter_core::plan::Plan;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use serde_json::{Value, json};

use super::meter_events::BatchTeller;
use super::sessions::counts;
use super::{Installation, KeptPipeline, KeptSession, Refused, Who, problem_of};
use crate::background::{self, Yields};
use crate::traces;

impl Installation {
    /// Runs a batch session: reads the pipeline's files once, in its own thread.
    pub(super) fn run_batch(
        self: &Arc<Self>,
        who: &Who,
        pipeline: &KeptPipeline,
        compiled: Pipeline,
        unique_key: Option<String>,
    ) -> Result<KeptSession, Refused> {
        let at = |why: Error| problem_of(&why);
        let mut session = self.new_session(pipeline, RunType::Normal, unique_key).map_err(at)?;
        let audited = self
            .audited(who, "session.start", &session.session_id, Value::Null, json!({"pipeline": pipeline.name}))
            .map_err(at)?;
        self.step(&mut session, &compiled.plan, Trigger::Start, audited).map_err(at)?;
        let (installation, mut running) = (Arc::clone(self), session.clone());
        let thread = background::spawn("session", Yields::Somewhat, move || {
            let span = traces::session(&running.session_id, &running.pipeline);
            // An error is stored with the session.
            drop(span.in_scope(|| installation.batch(&mut running, compiled)));
            span.record("flowmeter.status", running.session_status.as_str());
            if running.error.is_some() {
                traces::failed(&span);
            }
        });
        thread.map_err(at)?;
        Ok(session)
    }

    fn batch(&self, session: &mut KeptSession, compiled: Pipeline) -> Result<(), Error> {
        let plan = Arc::new(compiled.plan);
        let id = session.session_id.clone();
        let tell = Arc::new(move |line: &str| tracing::warn!(session = id, "{line}"));
        let mut run = Bounded::new(Arc::clone(&plan), &compiled.targets, Arc::clone(&self.clock), tell);
        let now = self.now();
        let outcome = BatchTeller::new(self, session, Arc::clone(&plan), now).and_then(|mut teller| {
            let outcome = self.batch_steps(session, &plan, &mut run, &mut teller, now);
            // Events before a failure are sent before the last status.
            if outcome.is_err()
                && let Err(why) = teller.tell()
            {
                tracing::error!(session = session.session_id, "what happened to its meters: {why}");
            }
            outcome
        });
        if let Err(why) = outcome {
            session.error = Some(why.to_string());
            session.counts = counts(&plan, &run.totals());
            self.step(session, &plan, Trigger::Fail, Vec::new())?;
        }
        Ok(())
    }

    fn batch_steps(
        &self,
        session: &mut KeptSession,
        plan: &Arc<Plan>,
        run: &mut Bounded<'_>,
        teller: &mut BatchTeller<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        run.open(self.live_settings().engine, now, teller)?;
        self.step(session, plan, Trigger::Ready, Vec::new())?;
        let running = session.clone();
        // An update that fails now is sent at the next interval.
        run.ingest(now, teller, &mut |counts| {
            if let Err(why) = self.tell_counts(&running, plan, counts, self.now()) {
                tracing::error!(session = running.session_id, "counts of operators: {why}");
            }
        })?;
        self.step(session, plan, Trigger::Finish, Vec::new())?;
        run.flush(now, teller)?;
        teller.tell()?;
        self.step(session, plan, Trigger::AllAccepted, Vec::new())?;
        run.confirm()?;
        self.step(session, plan, Trigger::AllConfirmed, Vec::new())?;
        session.counts = counts(plan, &run.totals());
        self.step(session, plan, Trigger::WrapUp, Vec::new())
    }
}
