//! Records to the targets of a run.
//!
//! A run has no log of records and nobody who would come back tomorrow: what a target does
//! not take is sent again for a while, under the same key, and then the run has failed. It
//! may be run again: the same records go under the same keys.
//!
//! Runs that keep a ledger number their records through all of them, and hand over what the
//! targets must remember from one to the next: files grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::partition::RecordKey;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::ledger::Owed;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{
    Delivery, DeliveryState, Kept, Marks, Outbox, Patience, Progress, Records, Shelf, Span, Target, Window, WindowLimits,
};
use flowmeter_engine::{Error, Kind, RecordSink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// What is known of targets that take no part in this run.
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

/// What is done with a window that is full.
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
    /// Without any, records go to standard output.
    ///
    /// # Errors
    /// A target cannot be opened.
    pub fn open(pipeline: &str, targets: &[TargetPlan], instead: Option<&str>, clock: Arc<dyn Clock>) -> Result<Push, Error> {
        Push::with(pipeline, targets, instead, None, clock)
    }

    /// The same for a run that goes on where another ended: with what that one gave to
    /// remember, `null` if there was none. Its records are handed over twice: to be sent, and
    /// after [`Push::look_again`] to be read back.
    ///
    /// # Errors
    /// A target cannot be opened, or what it should remember is none.
    pub fn go_on(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        memory: &Value,
        clock: Arc<dyn Clock>,
    ) -> Result<Push, Error> {
        let remembered = if memory.is_null() { Ok(Remembered::default()) } else { serde_json::from_value(memory.clone()) };
        let remembered = remembered.map_err(|why| Error::new(Kind::Corrupt, format!("what targets remember: {why}")))?;
        Push::with(pipeline, targets, instead, Some(remembered), clock)
    }

    fn with(
        pipeline: &str,
        targets: &[TargetPlan],
        instead: Option<&str>,
        remembered: Option<Remembered>,
        clock: Arc<dyn Clock>,
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
        Ok(Push { records: lane(records, first), thresholds: lane(thresholds, first_threshold), clock, absent })
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
            lane.go(&*self.clock)?;
            lane.in_doubt = owed.in_doubt;
        }
        lane.push(owed.json, &*self.clock)
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
            lane.go(&*self.clock)?;
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
            lane.go(&*self.clock)?;
            lane.targets.iter_mut().try_for_each(|(_, target)| target.confirm())?;
        }
        Ok(())
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
        self.window.push(self.next, json);
        self.next += 1;
        let is_full = self.window.len() >= WINDOW.records || self.window.bytes() >= WINDOW.bytes;
        if is_full { self.go(clock) } else { Ok(()) }
    }

    /// Every target gets what has gathered, and shows that it has it.
    fn go(&mut self, clock: &dyn Clock) -> Result<(), Error> {
        let window = std::mem::replace(&mut self.window, Window::new(self.next));
        if window.is_empty() {
            return Ok(());
        }
        let span = window.span();
        let mut window = Once(Some(window));
        for (name, target) in &mut self.targets {
            if self.step != Step::ReadBack {
                send(name, target.as_mut(), &mut window, span, self.in_doubt, clock)?;
            }
            if self.step != Step::Send {
                read_back(name, target.as_mut(), &mut window, span)?;
            }
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

fn outbox(marks: Marks, patience: i64) -> Outbox<Nowhere> {
    Outbox::new(Nowhere::default(), Kept { marks, retrying: Vec::new() }, WINDOW, Patience { total: patience })
}

/// Sends a window until a target has it. One that may be there already is like one that was
/// under way at a crash.
fn send(
    name: &str,
    target: &mut dyn Target,
    window: &mut Once,
    span: Span,
    in_doubt: Option<i64>,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let marks = Marks { next: span.first, sent: span.first, confirmed: span.first, ..Marks::default() };
    let mut outbox = match in_doubt {
        None => outbox(marks, PATIENCE),
        // How long it was tried before says nothing: this run has its own patience, below.
        Some(since) => outbox(Marks { sent: span.until, sent_at: since, ..marks }, i64::MAX),
    };
    let begun = clock.now();
    loop {
        match outbox.step(target, window, span.until, clock.now())? {
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
    let dead = &outbox.shelf().dead;
    dead.first().map_or(Ok(()), |first| {
        let (count, all) = (dead.len(), span.until - span.first);
        let message = format!("target `{name}` refused {count} of {all} records: {}: {}", first.record_id, first.answer);
        Err(Error::new(Kind::Invalid, message))
    })
}

/// Compares a window with what a target holds. Files of a run are looked at as a whole, at
/// the end.
fn read_back(name: &str, target: &mut dyn Target, window: &mut Once, span: Span) -> Result<(), Error> {
    let sent = Marks { next: span.until, sent: span.until, confirmed: span.first, ..Marks::default() };
    let report = outbox(sent, PATIENCE).confirm(target, window)?;
    report.differences.first().map_or(Ok(()), |first| {
        let (count, all) = (report.difference_count, span.until - span.first);
        let message = format!("target `{name}` does not hold {count} of {all} records: {} {}", first.record_id, first.what);
        Err(Error::new(Kind::Corrupt, message))
    })
}

/// Waits for an instant.
fn wait(at: Timestamp, clock: &dyn Clock) {
    let left = at.since(clock.now());
    std::thread::park_timeout(Duration::from_nanos(u64::try_from(left).unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use flowmeter_engine::outbox::{Answer, Held, Outgoing, Repeat};

    use super::*;

    /// A target that has a record twice if it is sent twice.
    #[derive(Default)]
    struct Doubling(Vec<u64>);

    impl Target for Doubling {
        fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
            self.0.extend(records.iter().map(|record| record.number));
            vec![Answer::Accepted; records.len()]
        }

        fn repeat(&self) -> Repeat {
            Repeat::ReadFirst
        }

        fn can_be_asked(&self) -> bool {
            true
        }

        fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
            let held = |record: &Outgoing<'_>| if self.0.contains(&record.number) { Held::Same } else { Held::Missing };
            Ok(records.iter().map(held).collect())
        }
    }

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(1_700_000_000_000_000_000)
        }
    }

    #[test]
    fn what_may_be_there_is_looked_for_before_it_is_sent() {
        let mut target = Doubling(vec![7, 8]);
        let mut window = Window::new(7);
        (7..10).for_each(|number| window.push(number, b"{}"));
        let span = window.span();
        let mut window = Once(Some(window));
        send("t", &mut target, &mut window, span, Some(0), &Noon).unwrap();
        assert_eq!(target.0, [7, 8, 9]);
        // Of what nobody has begun to send it is known that it is not there.
        send("t", &mut target, &mut window, span, None, &Noon).unwrap();
        assert_eq!(target.0, [7, 8, 9, 7, 8, 9]);
    }
}
