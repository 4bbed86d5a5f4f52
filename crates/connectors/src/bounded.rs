//! A session over files, from start to end: the work of `flowmeter run`, for a caller that drives
//! it step by step. Its meters live as long as the session.

use std::sync::Arc;

use flowmeter_core::decimal::{Decimal, Quotient};
use flowmeter_core::mediation::{OperatorCount, Tap};
use flowmeter_core::partition::RecordKey;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_engine::node::Clock;
use flowmeter_engine::{Engine, Error, Kind, Noted, Observer, ParkedEvent, RecordSink, Settings, Totals};

use crate::file::Files;
use crate::push::{Push, Tell};

/// Receives the results of the session, in addition to the targets.
pub trait Beside: RecordSink {
    /// Whether it wants the events of single meters.
    fn wants_meters(&self) -> bool;
}

/// A session over files.
pub struct Bounded<'t> {
    plan: Arc<Plan>,
    targets: &'t [TargetPlan],
    clock: Arc<dyn Clock>,
    tell: Tell,
    running: Option<Running>,
}

struct Running {
    files: Files,
    push: Push,
    engine: Engine,
}

impl<'t> Bounded<'t> {
    /// Creates a session with no open target. `tell` is called with a status line while a
    /// target does not accept records.
    pub fn new(plan: Arc<Plan>, targets: &'t [TargetPlan], clock: Arc<dyn Clock>, tell: Tell) -> Bounded<'t> {
        Bounded { plan, targets, clock, tell, running: None }
    }

    /// Opens files and targets.
    pub fn open(&mut self, settings: Settings, at: Timestamp, beside: &mut dyn Beside) -> Result<(), Error> {
        let files = Files::new(Arc::clone(&self.plan), &[])?;
        let push = Push::open(&self.plan.name, self.targets, None, Arc::clone(&self.clock), Arc::clone(&self.tell))?;
        let mut engine = Engine::new(&self.plan, settings)?;
        crate::tables::load(&self.plan, &mut engine)?;
        engine.listen(beside.wants_meters());
        engine.open_declared(at).iter().try_for_each(|noted| beside.noted(noted))?;
        self.running = Some(Running { files, push, engine });
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Running, Error> {
        self.running.as_mut().ok_or_else(|| Error::new(Kind::Bug, "a session that was not opened"))
    }

    /// Processes the whole input. `watch` is called repeatedly with the counts of operators.
    pub fn ingest(
        &mut self,
        at: Timestamp,
        beside: &mut dyn Beside,
        watch: &mut dyn FnMut(&[OperatorCount]),
    ) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let Running { files, push, engine } = self.running()?;
        engine.ingest(files, at, &mut Both { push, beside }, &mut Watched(watch))?;
        check(&plan, &engine.totals().tally)
    }

    /// Flushes what is due and sends it to the targets.
    pub fn flush(&mut self, at: Timestamp, beside: &mut dyn Beside) -> Result<(), Error> {
        let Running { push, engine, .. } = self.running()?;
        engine.tick(at, &mut Both { push, beside }, &mut Watched(&mut |_| {}))?;
        push.accept()
    }

    /// Waits until the targets confirm.
    pub fn confirm(&mut self) -> Result<(), Error> {
        self.running()?.push.confirm()
    }

    /// Returns the totals so far.
    pub fn totals(&self) -> Totals {
        self.running.as_ref().map(|running| running.engine.totals()).unwrap_or_default()
    }
}

/// Passes results to the targets and to the other receiver.
struct Both<'b> {
    push: &'b mut Push,
    beside: &'b mut dyn Beside,
}

impl RecordSink for Both<'_> {
    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.push.record(key, json)?;
        self.beside.record(key, json)
    }

    fn threshold(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.push.threshold(key, json)?;
        self.beside.threshold(key, json)
    }

    fn noted(&mut self, noted: &Noted) -> Result<(), Error> {
        self.beside.noted(noted)
    }
}

/// Checks what must hold before any record is sent.
pub fn check(plan: &Plan, tally: &Tally) -> Result<(), Error> {
    if !tally.is_complete() {
        return Err(Error::new(Kind::Bug, format!("events were lost: {tally:?}")));
    }
    check_errors(plan, tally.parked_total(), tally.received)
}

/// Checks the share of parked events.
///
/// # Errors
/// It is above `maxErrorPercent`.
pub fn check_errors(plan: &Plan, parked: u64, received: u64) -> Result<(), Error> {
    let share = Decimal::from_count(parked.saturating_mul(100));
    match plan.error_percent_max {
        Some(limit) if Quotient::of(share, received.max(1)).compare(limit).is_gt() => {
            let message = format!("{parked} of {received} events were parked; maxErrorPercent is {limit}");
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
