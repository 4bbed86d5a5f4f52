//! Records to the targets of a run.
//!
//! A run has no log of records and nobody who would come back tomorrow: what a target does
//! not take is sent again for a while, under the same key, and then the run has failed. It
//! may be run again: the same records go under the same keys.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::partition::RecordKey;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{
    Delivery, DeliveryState, Kept, Marks, Outbox, Patience, Progress, Records, Shelf, Target, Window, WindowLimits,
};
use flowmeter_engine::{Error, Kind, RecordSink};

use crate::target::{Around, of_path, open};

/// How large a window of a run is.
const WINDOW: WindowLimits = WindowLimits { records: 10_000, bytes: 8 << 20 };
/// How long a target may take nothing before a run has failed: longer than a restart,
/// shorter than the patience of whoever started it.
const PATIENCE: i64 = 300_000_000_000;

/// The targets of a run, and what was handed to them.
pub struct Push {
    records: Lane,
    thresholds: Lane,
    clock: Arc<dyn Clock>,
}

/// Targets that take the same records.
struct Lane {
    targets: Vec<(String, Box<dyn Target>)>,
    window: Window,
    count: u64,
}

impl Push {
    /// Opens the targets of a pipeline; a path takes the place of those for records.
    /// Without any, records go to standard output.
    ///
    /// # Errors
    /// A target cannot be opened.
    pub fn open(pipeline: &str, targets: &[TargetPlan], instead: Option<&str>, clock: Arc<dyn Clock>) -> Result<Push, Error> {
        let opened = |thresholds: bool| {
            let mut list = Vec::new();
            for plan in targets.iter().filter(|plan| plan.thresholds == thresholds) {
                let around = Around {
                    folder: std::path::Path::new("."),
                    owner: format!("{pipeline}/{}", plan.id),
                    memory: None,
                    clock: Arc::clone(&clock),
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
        let lane = |targets| Lane { targets, window: Window::new(0), count: 0 };
        Ok(Push { records: lane(records), thresholds: lane(opened(true)?), clock })
    }

    /// Records handed over.
    pub fn record_count(&self) -> u64 {
        self.records.count
    }

    /// Partial records handed over.
    pub fn threshold_count(&self) -> u64 {
        self.thresholds.count
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
            lane.send(&*self.clock)?;
            lane.targets.iter_mut().try_for_each(|(_, target)| target.seal())?;
        }
        Ok(())
    }

    /// Every target confirms that it holds what it accepted.
    ///
    /// # Errors
    /// One holds something else.
    pub fn confirm(&mut self) -> Result<(), Error> {
        let targets = self.records.targets.iter_mut().chain(&mut self.thresholds.targets);
        targets.into_iter().try_for_each(|(_, target)| target.confirm())
    }
}

impl RecordSink for Push {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.push(json, &*self.clock)
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.thresholds.push(json, &*self.clock)
    }
}

impl Lane {
    fn push(&mut self, json: &[u8], clock: &dyn Clock) -> Result<(), Error> {
        self.window.push(self.count, json);
        self.count += 1;
        let is_full = self.window.len() >= WINDOW.records || self.window.bytes() >= WINDOW.bytes;
        if is_full { self.send(clock) } else { Ok(()) }
    }

    /// Sends what has gathered to every target, until each has it, and reads it back.
    fn send(&mut self, clock: &dyn Clock) -> Result<(), Error> {
        let window = std::mem::replace(&mut self.window, Window::new(self.count));
        if window.is_empty() {
            return Ok(());
        }
        let mut window = Once(Some(window));
        for (name, target) in &mut self.targets {
            window = deliver(name, target.as_mut(), window, clock)?;
        }
        Ok(())
    }
}

/// One window, as the records of an outbox.
struct Once(Option<Window>);

impl Records for Once {
    fn read(&mut self, from: u64, until: u64, _limits: WindowLimits) -> Result<Window, Error> {
        let window = self.0.as_ref().ok_or_else(|| Error::new(Kind::Bug, "a window that is gone"))?;
        let mut part = Window::new(from);
        for record in window.iter().filter(|record| (from..until).contains(&record.number)) {
            part.push(record.number, record.json);
        }
        Ok(part)
    }
}

/// A run keeps nothing; it remembers what died, to tell.
#[derive(Default)]
struct Nowhere {
    marks: Marks,
    dead: Vec<Delivery>,
}

impl Shelf for Nowhere {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], _gone: &[u64]) -> Result<(), Error> {
        self.marks = marks.clone();
        self.dead.extend(changed.iter().filter(|delivery| delivery.state == DeliveryState::Dead).cloned());
        Ok(())
    }

    fn kept(&self) -> Result<Kept, Error> {
        Ok(Kept { marks: self.marks.clone(), retrying: Vec::new() })
    }

    fn delivery(&self, _number: u64) -> Result<Option<Delivery>, Error> {
        Ok(None)
    }
}

fn deliver(name: &str, target: &mut dyn Target, mut window: Once, clock: &dyn Clock) -> Result<Once, Error> {
    let Some(span) = window.0.as_ref().map(Window::span) else { return Ok(window) };
    let marks = Marks { next: span.first, sent: span.first, confirmed: span.first, ..Marks::default() };
    let kept = Kept { marks, retrying: Vec::new() };
    let mut outbox = Outbox::new(Nowhere::default(), kept, WINDOW, Patience { total: PATIENCE });
    let begun = clock.now();
    loop {
        match outbox.step(target, &mut window, span.until, clock.now())? {
            Progress::Worked => {}
            Progress::Idle | Progress::Halted => break,
            Progress::Until(at) => {
                let answer = &outbox.marks().answer;
                if clock.now().since(begun) >= i128::from(PATIENCE) {
                    let message = format!("target `{name}` took nothing for {} s: {answer}", PATIENCE / 1_000_000_000);
                    return Err(Error::new(Kind::Unavailable, message));
                }
                wait(at, clock);
            }
        }
    }
    if let Some(dead) = outbox.shelf().dead.first() {
        let count = outbox.shelf().dead.len();
        let message = format!(
            "target `{name}` refused {count} of {} records: {}: {}",
            span.until - span.first,
            dead.record_id,
            dead.answer
        );
        return Err(Error::new(Kind::Invalid, message));
    }
    // Files are looked at as a whole, at the end.
    let report = outbox.confirm(target, &mut window)?;
    match report.differences.first() {
        None => Ok(window),
        Some(difference) => {
            let message = format!(
                "target `{name}` does not hold {} of {} records: {} {}",
                report.difference_count,
                span.until - span.first,
                difference.record_id,
                difference.what
            );
            Err(Error::new(Kind::Corrupt, message))
        }
    }
}

/// Waits for an instant.
fn wait(at: Timestamp, clock: &dyn Clock) {
    let left = at.since(clock.now());
    std::thread::park_timeout(Duration::from_nanos(u64::try_from(left).unwrap_or_default()));
}
