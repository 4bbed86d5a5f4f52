//! Records to the targets of a run.

use std::sync::Arc;

use flowmeter_core::partition::RecordKey;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Delivery, Error, RecordSink, Target};

/// The name of outputs that take partial records.
const THRESHOLD: &str = "threshold";

/// The targets of a run, and what was handed to them.
pub struct Push {
    plan: Arc<Plan>,
    records: Vec<Box<dyn Target>>,
    thresholds: Vec<Box<dyn Target>>,
    /// Records handed over.
    pub record_count: u64,
    /// Partial records handed over.
    pub threshold_count: u64,
}

impl Push {
    /// Opens the targets of a pipeline; a path takes the place of those for records.
    /// Without any, records go to standard output.
    pub fn open(plan: &Arc<Plan>, targets: &[TargetPlan], instead: Option<&str>) -> Result<Push, Error> {
        let mut push =
            Push { plan: Arc::clone(plan), records: Vec::new(), thresholds: Vec::new(), record_count: 0, threshold_count: 0 };
        for target in targets.iter().filter(|target| target.name == THRESHOLD) {
            push.thresholds.extend(crate::target::open(target)?);
        }
        let mut named = targets.iter().filter(|target| target.name != THRESHOLD).peekable();
        match instead {
            Some(path) => push.records.push(crate::target::of_path(path)?),
            None if named.peek().is_none() => push.records.push(crate::target::of_path("-")?),
            None => {
                for target in named {
                    push.records.extend(crate::target::open(target)?);
                }
            }
        }
        Ok(push)
    }

    /// Whether any target writes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.records.iter().chain(&self.thresholds).any(|target| target.is_stdout())
    }

    fn each(&mut self, mut action: impl FnMut(&mut dyn Target) -> Result<(), Error>) -> Result<(), Error> {
        let targets = self.records.iter_mut().chain(&mut self.thresholds);
        targets.into_iter().try_for_each(|target| action(target.as_mut()))
    }

    /// Every target accepts everything.
    pub fn accept(&mut self) -> Result<(), Error> {
        self.each(|target| target.accept())
    }

    /// Every target confirms that it holds what it accepted.
    pub fn confirm(&mut self) -> Result<(), Error> {
        self.each(|target| target.confirm())
    }
}

impl RecordSink for Push {
    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.record_count += 1;
        let delivery = Delivery { key, json, plan: &self.plan };
        self.records.iter_mut().try_for_each(|target| target.push(&delivery))
    }

    fn threshold(&mut self, key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.threshold_count += 1;
        let delivery = Delivery { key, json, plan: &self.plan };
        self.thresholds.iter_mut().try_for_each(|target| target.push(&delivery))
    }
}
