//! Sends records to the targets of a run.
//!
//! A run has no log of records, and no process that would continue it tomorrow. Records that a
//! target does not accept are sent again for a while, under the same key; after that the run fails.
//! It may be repeated: the same records have the same keys.
//!
//! Runs that keep a ledger number their records across all runs, and hand over the state that
//! targets need from one run to the next, such as the lengths of growing files.

mod sending;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::partition::RecordKey;
use flowmeter_document::TargetPlan;
use flowmeter_engine::ledger::Owed;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Target, Window, WindowLimits};
use flowmeter_engine::{Error, Kind, RecordSink};
use sending::{Once, read_back, send};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calls::Abandon;
use crate::targets::{Around, of_path, open};
pub use waiting::Tell;

/// The bounds of a window of a run.
const WINDOW: WindowLimits = WindowLimits { records: 10_000, bytes: 8 << 20 };

/// The targets of a run, and the records that were passed to them.
pub struct Push {
    records: Lane,
    thresholds: Lane,
    clock: Arc<dyn Clock>,
    tell: Tell,
    /// The state of targets that take no part in this run.
    absent: BTreeMap<String, Value>,
}

/// Targets that receive the same records.
struct Lane {
    targets: Vec<(String, Box<dyn Target>)>,
    window: Window,
    /// The number of the first record.
    first: u64,
    /// The number of the next record.
    next: u64,
    step: Step,
    /// The instant from which targets may already have the records, in nanoseconds.
    in_doubt: Option<i64>,
}

/// How a full window is handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is sent and read back at once, since it is not kept afterwards.
    SendAndReadBack,
    /// It is only sent.
    Send,
    /// It is only read back.
    ReadBack,
}

/// The state that a run hands over to the next: the numbers of records, and the state of targets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Remembered {
    records: u64,
    thresholds: u64,
    targets: BTreeMap<String, Value>,
}

impl Push {
    /// Opens the targets of a pipeline; a path replaces those for records. Without any, records go
    /// to standard output. Each target is probed, and `tell` is called with a status line while a
    /// target does not accept records.
    ///
    /// # Errors
    /// A target cannot be opened, or cannot accept records now.
    pub fn open(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> Result<Push, Error> {
        Push::with(pipeline, targets, instead, None, (clock, tell))
    }

    /// Opens the targets for a run that continues another one, with the state that it handed over,
    /// `null` if there was none. Its records are passed twice: to be sent and, after
    /// [`Push::look_again`], to be read back.
    ///
    /// # Errors
    /// As for [`Push::open`], or the state of a target cannot be read.
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
                    pipeline,
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

    /// Checks whether every target can accept records: better now than after hours of counting.
    fn probe(&mut self) -> Result<(), Error> {
        for (name, target) in self.records.targets.iter_mut().chain(&mut self.thresholds.targets) {
            target.probe().map_err(|why| Error::new(why.kind, format!("target `{name}`: {why}")))?;
        }
        Ok(())
    }

    /// Returns the state for the next run.
    ///
    /// # Errors
    /// The state cannot be serialized.
    pub fn memory(&self) -> Result<Value, Error> {
        let mut targets = self.absent.clone();
        targets.extend(self.targets().map(|(id, target)| (id.clone(), target.memory())).filter(|(_, memory)| !memory.is_null()));
        let remembered = Remembered { records: self.records.next, thresholds: self.thresholds.next, targets };
        serde_json::to_value(remembered).map_err(|why| Error::new(Kind::Bug, why.to_string()))
    }

    /// Takes a record that has to be delivered.
    ///
    /// # Errors
    /// A target does not accept it, or does not hold it.
    pub fn take(&mut self, owed: Owed<'_>) -> Result<(), Error> {
        let lane = if owed.is_threshold { &mut self.thresholds } else { &mut self.records };
        if lane.in_doubt != owed.in_doubt {
            // Records that may already be at the target and others are sent separately.
            lane.go(&*self.clock, &self.tell)?;
            lane.in_doubt = owed.in_doubt;
        }
        lane.push(owed.json, &*self.clock, &self.tell)
    }

    /// Switches to reading back: the same records are passed again.
    pub fn look_again(&mut self) {
        for lane in [&mut self.records, &mut self.thresholds] {
            (lane.window, lane.next, lane.step) = (Window::new(lane.first), lane.first, Step::ReadBack);
            lane.targets.iter_mut().for_each(|(_, target)| target.look_afresh());
        }
    }

    /// Returns the number of records passed.
    pub fn record_count(&self) -> u64 {
        self.records.next - self.records.first
    }

    /// Returns the number of partial records passed.
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

    /// Waits until every target accepts all records.
    ///
    /// # Errors
    /// A target refuses records for good or for too long.
    pub fn accept(&mut self) -> Result<(), Error> {
        for lane in [&mut self.records, &mut self.thresholds] {
            lane.go(&*self.clock, &self.tell)?;
            lane.targets.iter_mut().try_for_each(|(_, target)| target.seal())?;
        }
        Ok(())
    }

    /// Waits until every target confirms that it holds what it accepted.
    ///
    /// # Errors
    /// A target holds something else.
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

    /// Sends the collected window to every target and reads it back.
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
        if let Some(window) = window.0 {
            self.window = window.again(self.next);
        }
        Ok(())
    }
}
