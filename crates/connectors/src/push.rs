//! Records to the targets of a run.
//!
//! A run has no log of records and nobody who would come back tomorrow: what a target does
//! not take is sent again for a while, under the same key, and then the run has failed. It
//! may be run again: the same records go under the same keys.
//!
//! Runs that keep a ledger number their records through all of them, and hand over what the
//! targets must remember from one to the next: files grow.

mod sending;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::partition::RecordKey;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_engine::ledger::Owed;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Target, Window, WindowLimits};
use flowmeter_engine::{Error, Kind, RecordSink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calls::Abandon;
use crate::targets::{Around, of_path, open};
use sending::{Once, read_back, send};
pub use waiting::Tell;

/// How large a window of a run is.
const WINDOW: WindowLimits = WindowLimits { records: 10_000, bytes: 8 << 20 };

/// The targets of a run, and what was handed to them.
pub struct Push {
    records: Lane,
    thresholds: Lane,
    clock: Arc<dyn Clock>,
    tell: Tell,
    /// The memory of targets that take no part in this run.
    absent: BTreeMap<String, Value>,
}

/// Targets that take the same records.
struct Lane {
    targets: Vec<(String, Box<dyn Target>)>,
    window: Window,
    /// The number of the first.
    first: u64,
    /// The number of the next.
    next: u64,
    step: Step,
    /// Since when targets may have what comes, nanoseconds.
    in_doubt: Option<i64>,
}

/// How a full window is handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is sent, and at once read back: afterwards nobody has it.
    SendAndReadBack,
    /// It is sent.
    Send,
    /// It is read back.
    ReadBack,
}

/// What a run hands over to the next: how far the numbers have come, and what targets must
/// remember.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Remembered {
    records: u64,
    thresholds: u64,
    targets: BTreeMap<String, Value>,
}

impl Push {
    /// Opens the targets of a pipeline; a path takes the place of those for records.
    /// Without any, records go to standard output. Each target is probed, and `tell` is
    /// called with a status line while a target does not accept records.
    ///
    /// # Errors
    /// A target cannot be opened, or could not take records now.
    pub fn open(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> Result<Push, Error> {
        Push::with(pipeline, targets, instead, None, (clock, tell))
    }

    /// The same for a run that goes on where another ended: with what that one gave to
    /// remember, `null` if there was none. Its records are handed over twice: to be sent, and
    /// after [`Push::look_again`] to be read back.
    ///
    /// # Errors
    /// As for [`Push::open`], or what a target should remember is none.
    pub fn go_on(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        memory: &Value,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> Result<Push, Error> {
        let remembered = if memory.is_null() { Ok(Remembered::default()) } else { serde_json::from_value(memory.clone()) };
        let remembered = remembered.map_err(|why| Error::new(Kind::Corrupt, format!("what targets remember: {why}")))?;
        Push::with(pipeline, targets, instead, Some(remembered), (clock, tell))
    }

    fn with(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        remembered: Option<Remembered>,
        (clock, tell): (Arc<dyn Clock>, Tell),
    ) -> Result<Push, Error> {
        let opened = |thresholds: bool| {
            let mut list = Vec::new();
            for plan in targets.iter().filter(|plan| plan.thresholds == thresholds) {
                let memory = remembered.as_ref().map(|remembered| remembered.targets.get(&plan.id).unwrap_or(&Value::Null));
                let around = Around {
                    folder: std::path::Path::new("."),
                    owner: format!("{pipeline}/{}", plan.id),
                    memory,
                    clock: Arc::clone(&clock),
                    abandon: Abandon::default(),
                };
                list.extend(open(plan, &around)?.map(|target| (plan.id.clone(), target)));
            }
            Ok::<_, Error>(list)
        };
        let is_named = targets.iter().any(|plan| !plan.thresholds);
        let records = match instead {
            Some(path) => vec![(path.to_owned(), of_path(path)?)],
            None if !is_named => vec![("-".to_owned(), of_path("-")?)],
            None => opened(false)?,
        };
        let step = if remembered.is_some() { Step::Send } else { Step::SendAndReadBack };
        let lane = |targets, first| Lane { targets, window: Window::new(first), first, next: first, step, in_doubt: None };
        let thresholds = opened(true)?;
        let Remembered { records: first, thresholds: first_threshold, targets: absent } = remembered.unwrap_or_default();
        let (records, thresholds) = (lane(records, first), lane(thresholds, first_threshold));
        let mut push = Push { records, thresholds, clock, tell, absent };
        push.probe()?;
        Ok(push)
    }

    /// Whether every target could take records: better now than after hours of counting.
    fn probe(&mut self) -> Result<(), Error> {
        for (name, target) in self.records.targets.iter_mut().chain(&mut self.thresholds.targets) {
            target.probe().map_err(|why| Error::new(why.kind, format!("target `{name}`: {why}")))?;
        }
        Ok(())
    }

    /// What the next run must be given.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn memory(&self) -> Result<Value, Error> {
        let mut targets = self.absent.clone();
        targets.extend(self.targets().map(|(id, target)| (id.clone(), target.memory())).filter(|(_, memory)| !memory.is_null()));
        let remembered = Remembered { records: self.records.next, thresholds: self.thresholds.next, targets };
        serde_json::to_value(remembered).map_err(|why| Error::new(Kind::Bug, why.to_string()))
    }

    /// Takes a record that is owed.
    ///
    /// # Errors
    /// A target does not take it, or does not hold it.
    pub fn take(&mut self, owed: Owed<'_>) -> Result<(), Error> {
        let lane = if owed.is_threshold { &mut self.thresholds } else { &mut self.records };
        if lane.in_doubt != owed.in_doubt {
            // Those that may be there and those that are not leave apart.
            lane.go(&*self.clock, &self.tell)?;
            lane.in_doubt = owed.in_doubt;
        }
        lane.push(owed.json, &*self.clock, &self.tell)
    }

    /// From now on the same records come again, to be read back.
    pub fn look_again(&mut self) {
        for lane in [&mut self.records, &mut self.thresholds] {
            (lane.window, lane.next, lane.step) = (Window::new(lane.first), lane.first, Step::ReadBack);
            lane.targets.iter_mut().for_each(|(_, target)| target.look_afresh());
        }
    }

    /// Records handed over.
    pub fn record_count(&self) -> u64 {
        self.records.next - self.records.first
    }

    /// Partial records handed over.
    pub fn threshold_count(&self) -> u64 {
        self.thresholds.next - self.thresholds.first
    }

    /// Whether any target writes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.targets().any(|(_, target)| target.is_stdout())
    }

    fn targets(&self) -> impl Iterator<Item = &(String, Box<dyn Target>)> {
        self.records.targets.iter().chain(&self.thresholds.targets)
    }

    /// Every target accepts everything.
    ///
    /// # Errors
    /// One does not, for good or for too long.
    pub fn accept(&mut self) -> Result<(), Error> {
        for lane in [&mut self.records, &mut self.thresholds] {
            lane.go(&*self.clock, &self.tell)?;
            lane.targets.iter_mut().try_for_each(|(_, target)| target.seal())?;
        }
        Ok(())
    }

    /// Every target confirms that it holds what it accepted.
    ///
    /// # Errors
    /// One holds something else.
    pub fn confirm(&mut self) -> Result<(), Error> {
        for lane in [&mut self.records, &mut self.thresholds] {
            lane.go(&*self.clock, &self.tell)?;
            lane.targets.iter_mut().try_for_each(|(_, target)| target.confirm())?;
        }
        Ok(())
    }
}

impl RecordSink for Push {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.push(json, &*self.clock, &self.tell)
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.thresholds.push(json, &*self.clock, &self.tell)
    }
}

impl Lane {
    fn push(&mut self, json: &[u8], clock: &dyn Clock, tell: &Tell) -> Result<(), Error> {
        self.window.push(self.next, json);
        self.next += 1;
        let is_full = self.window.len() >= WINDOW.records || self.window.bytes() >= WINDOW.bytes;
        if is_full { self.go(clock, tell) } else { Ok(()) }
    }

    /// Every target gets what has gathered, and shows that it has it.
    fn go(&mut self, clock: &dyn Clock, tell: &Tell) -> Result<(), Error> {
        let window = std::mem::replace(&mut self.window, Window::new(self.next));
        if window.is_empty() {
            return Ok(());
        }
        let span = window.span();
        let mut window = Once(Some(window));
        for (name, target) in &mut self.targets {
            if self.step != Step::ReadBack {
                send(name, target.as_mut(), &mut window, span, self.in_doubt, (clock, tell))?;
            }
            if self.step != Step::Send {
                read_back(name, target.as_mut(), &mut window, span)?;
            }
        }
        Ok(())
    }
}
