//! A session over files, from beginning to end: what `flowmeter run` does, for whoever
//! drives it step by step. Its meters live as long as it does.

use std::sync::Arc;

use flowmeter_core::decimal::{Decimal, Quotient};
use flowmeter_core::mediation::{OperatorCount, Tap};
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_engine::node::Clock;
use flowmeter_engine::{Engine, Error, Kind, Observer, ParkedEvent, Settings, Totals};

use crate::file::Files;
use crate::push::Push;

/// A session over files.
pub struct Bounded<'t> {
    plan: Arc<Plan>,
    targets: &'t [TargetPlan],
    clock: Arc<dyn Clock>,
    running: Option<Running>,
}

struct Running {
    files: Files,
    push: Push,
    engine: Engine,
}

impl<'t> Bounded<'t> {
    /// A session that has opened nothing yet.
    pub fn new(plan: Arc<Plan>, targets: &'t [TargetPlan], clock: Arc<dyn Clock>) -> Bounded<'t> {
        Bounded { plan, targets, clock, running: None }
    }

    /// Opens files and targets.
    pub fn open(&mut self, settings: Settings, at: Timestamp) -> Result<(), Error> {
        let files = Files::new(Arc::clone(&self.plan), &[])?;
        let push = Push::open(&self.plan.name, self.targets, None, Arc::clone(&self.clock))?;
        let mut engine = Engine::new(&self.plan, settings)?;
        engine.open_declared(at);
        self.running = Some(Running { files, push, engine });
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Running, Error> {
        self.running.as_mut().ok_or_else(|| Error::new(Kind::Bug, "a session that was not opened"))
    }

    /// Takes everything there is. `watch` is told what operators have done, again and again.
    pub fn ingest(&mut self, at: Timestamp, watch: &mut dyn FnMut(&[OperatorCount])) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let Running { files, push, engine } = self.running()?;
        engine.ingest(files, at, push, &mut Watched(watch))?;
        check(&plan, &engine.totals().tally)
    }

    /// Flushes what is due and hands it to the targets.
    pub fn flush(&mut self, at: Timestamp) -> Result<(), Error> {
        let Running { push, engine, .. } = self.running()?;
        engine.tick(at, push)?;
        push.accept()
    }

    /// Lets the targets confirm.
    pub fn confirm(&mut self) -> Result<(), Error> {
        self.running()?.push.confirm()
    }

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        self.running.as_ref().map(|running| running.engine.totals()).unwrap_or_default()
    }
}

/// What must hold before anything is pushed.
pub fn check(plan: &Plan, tally: &Tally) -> Result<(), Error> {
    if !tally.is_complete() {
        return Err(Error::new(Kind::Bug, format!("events were lost: {tally:?}")));
    }
    let parked = Decimal::from_count(tally.parked_total().saturating_mul(100));
    match plan.error_percent_max {
        Some(limit) if Quotient::of(parked, tally.received.max(1)).compare(limit).is_gt() => {
            let message =
                format!("{} of {} events were parked; maxErrorPercent is {limit}", tally.parked_total(), tally.received);
            Err(Error::new(Kind::Unavailable, message))
        }
        _ => Ok(()),
    }
}

struct Watched<'w>(&'w mut dyn FnMut(&[OperatorCount]));

impl Observer for Watched<'_> {
    fn counted(&mut self, operators: &[OperatorCount]) {
        (self.0)(operators);
    }

    fn parked(&mut self, _event: &ParkedEvent<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn tapped(&mut self, _tap: &Tap, _line: u64) {}

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}
