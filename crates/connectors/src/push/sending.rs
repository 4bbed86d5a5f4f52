//! Sends one window to one target until the target has it, and reads it back.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{
    Delivery, DeliveryState, Kept, Marks, Outbox, Patience, Progress, Records, Shelf, Span, Target, Window, WindowLimits,
};
use flowmeter_engine::{Error, Kind};

use super::WINDOW;
use super::waiting::{Tell, Waiting};

/// Nanoseconds that a target may refuse records before the run fails: longer than a restart of
/// the target, shorter than a person would wait.
pub(super) const PATIENCE: i64 = 300_000_000_000;

/// One window, as the records of an outbox.
pub(super) struct Once(pub(super) Option<Window>);

impl Records for Once {
    fn read(&mut self, from: u64, until: u64, _limits: WindowLimits) -> Result<Window, Error> {
        let window = self.0.as_ref().ok_or_else(|| Error::new(Kind::Bug, "a window that is gone"))?;
        Ok(window.part(from, until))
    }
}

/// A run without a data folder: keeps only the failed deliveries, for its report.
#[derive(Default)]
struct Nowhere {
    marks: Marks,
    dead: Vec<Delivery>,
}

impl Shelf for Nowhere {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], _gone: &[Delivery]) -> Result<(), Error> {
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

/// Sends a window until a target has it. A window that may already be there is handled like one
/// that was in progress at a crash.
pub(super) fn send(
    name: &str,
    target: &mut dyn Target,
    window: &mut Once,
    span: Span,
    in_doubt: Option<i64>,
    (clock, tell): (&dyn Clock, &Tell),
) -> Result<(), Error> {
    let marks = Marks { next: span.first, sent: span.first, confirmed: span.first, ..Marks::default() };
    let mut outbox = match in_doubt {
        None => outbox(marks, PATIENCE),
        // The time since earlier attempts does not matter: this run has its own limit, below.
        Some(since) => outbox(Marks { sent: span.until, sent_at: since, ..marks }, i64::MAX),
    };
    let begun = clock.now();
    let waiting = Waiting::begin(name, target.address(), Arc::clone(tell))?;
    loop {
        let progress = outbox.step(target, window, span.until, clock.now())?;
        let is_waiting = outbox.marks().failing_since.is_some() || matches!(progress, Progress::Until(_));
        if is_waiting {
            let answer = &outbox.marks().answer;
            waiting.heard(answer);
            if target.needs_a_person() {
                let message = format!("target `{name}`: {answer}; no waiting changes that: mend it and run again");
                return Err(Error::new(Kind::Invalid, message));
            }
            // An attempt may take longer than the pause after it; then nothing asks to wait.
            if clock.now().since(begun) >= i128::from(PATIENCE) {
                let message = format!("target `{name}` took nothing for {} s: {answer}", PATIENCE / 1_000_000_000);
                return Err(Error::new(Kind::Unavailable, message));
            }
        }
        match progress {
            Progress::Worked => {}
            Progress::Idle | Progress::Halted => break,
            Progress::Until(at) => wait(at, clock),
        }
    }
    let dead = &outbox.shelf().dead;
    dead.first().map_or(Ok(()), |first| {
        let (count, all) = (dead.len(), span.until - span.first);
        let message = format!("target `{name}` refused {count} of {all} records: {}: {}", first.record_id, first.answer);
        Err(Error::new(Kind::Invalid, message))
    })
}

/// Compares a window with the content of a target. Files of a run are compared as a whole, at the
/// end.
pub(super) fn read_back(name: &str, target: &mut dyn Target, window: &mut Once, span: Span) -> Result<(), Error> {
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
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicI64, Ordering};

    use flowmeter_engine::outbox::{Answer, Held, Outgoing, Repeat};

    use super::*;

    fn quiet() -> Tell {
        Arc::new(|_| ())
    }

    /// A target that stores a record twice if it is sent twice.
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
    fn records_in_doubt_are_looked_up_before_they_are_sent() {
        let mut target = Doubling(vec![7, 8]);
        let mut window = Window::new(7);
        (7..10).for_each(|number| window.push(number, b"{}"));
        let span = window.span();
        let mut window = Once(Some(window));
        send("t", &mut target, &mut window, span, Some(0), (&Noon, &quiet())).unwrap();
        assert_eq!(target.0, [7, 8, 9]);
        // A window that was never sent cannot be at the target.
        send("t", &mut target, &mut window, span, None, (&Noon, &quiet())).unwrap();
        assert_eq!(target.0, [7, 8, 9, 7, 8, 9]);
    }

    /// A target that accepts nothing.
    struct Shut {
        lasts: bool,
    }

    impl Target for Shut {
        fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
            vec![Answer::Unavailable { why: "schema \"x\" does not exist".to_owned(), after: None }; records.len()]
        }

        fn needs_a_person(&self) -> bool {
            self.lasts
        }
    }

    /// A clock that advances ten minutes at each call.
    #[derive(Default)]
    struct Hasty(AtomicI64);

    impl Clock for Hasty {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.0.fetch_add(600_000_000_000, Ordering::Relaxed))
        }
    }

    #[test]
    fn an_error_that_no_waiting_mends_ends_the_wait() {
        let one = || {
            let mut window = Window::new(0);
            window.push(0, b"{}");
            (window.span(), Once(Some(window)))
        };
        let (span, mut window) = one();
        let why = send("db", &mut Shut { lasts: true }, &mut window, span, None, (&Noon, &quiet())).unwrap_err();
        assert_eq!(why.kind, Kind::Invalid);
        assert!(why.to_string().contains("target `db`: schema \"x\" does not exist; no waiting"), "{why}");
        let (span, mut window) = one();
        let why = send("db", &mut Shut { lasts: false }, &mut window, span, None, (&Hasty::default(), &quiet())).unwrap_err();
        assert_eq!(why.kind, Kind::Unavailable);
        assert!(why.to_string().contains("took nothing for 300 s"), "{why}");
    }

    #[test]
    fn a_target_that_does_not_answer_is_told_of_again_and_again() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, more) = std::sync::mpsc::channel();
        let (kept, more_told) = (Arc::clone(&lines), Mutex::new(told));
        let tell: Tell = Arc::new(move |line| {
            kept.lock().unwrap().push(line.to_owned());
            let _closed = more_told.lock().unwrap().send(());
        });
        let waiting = Waiting::every(Duration::from_millis(1), "billing", "db:5432".to_owned(), tell).unwrap();
        more.recv().unwrap();
        waiting.heard("connection refused");
        // One request may have been on its way.
        (0..2).for_each(|_| more.recv().unwrap());
        drop(waiting);
        let lines = lines.lock().unwrap();
        assert!(lines[0].starts_with("target `billing`: no answer from db:5432 for "), "{lines:?}");
        assert!(lines.last().unwrap().ends_with("trying for up to 300 s: connection refused"), "{lines:?}");
    }
}
