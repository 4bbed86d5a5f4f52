//! A NORMAL session over files: read once, in a thread of its own, then delivered.

use std::sync::Arc;

use flowmeter_core::pipeline::Pipeline;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_engine::Error;
use serde_json::{Value, json};

use super::sessions::counts;
use super::{Installation, KeptPipeline, KeptSession, Refused, Who, problem_of};
use crate::{background, traces};

impl Installation {
    /// A batch run: reads the pipeline's files once, in a thread of its own.
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
        let thread = background::spawn("session", move || {
            let span = traces::session(&running.session_id, &running.pipeline);
            // What goes wrong is kept with the session.
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
        let mut run = flowmeter_connectors::bounded::Bounded::new(Arc::clone(&plan), &compiled.targets, Arc::clone(&self.clock));
        let now = self.now();
        let mut teller = self.batch_teller(session, Arc::clone(&plan), now)?;
        let settings = self.live_settings().engine;
        let outcome = (|| {
            run.open(settings, now, &mut teller)?;
            self.step(session, &plan, Trigger::Ready, Vec::new())?;
            let running = session.clone();
            // Who cannot be told now is told at the next interval.
            run.ingest(now, &mut teller, &mut |counts| {
                if let Err(why) = self.tell_counts(&running, &plan, counts, self.now()) {
                    tracing::error!(session = running.session_id, "counts of operators: {why}");
                }
            })?;
            self.step(session, &plan, Trigger::Finish, Vec::new())?;
            run.flush(now, &mut teller)?;
            teller.tell()?;
            self.step(session, &plan, Trigger::AllAccepted, Vec::new())?;
            run.confirm()?;
            self.step(session, &plan, Trigger::AllConfirmed, Vec::new())?;
            session.counts = counts(&plan, &run.totals());
            self.step(session, &plan, Trigger::WrapUp, Vec::new())
        })();
        if let Err(why) = outcome {
            // What happened before comes before the last status.
            if let Err(why) = teller.tell() {
                tracing::error!(session = session.session_id, "what happened to its meters: {why}");
            }
            session.error = Some(why.to_string());
            session.counts = counts(&plan, &run.totals());
            self.step(session, &plan, Trigger::Fail, Vec::new())?;
        }
        Ok(())
    }
}
