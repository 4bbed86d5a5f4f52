//! Tests of the outbox with a target that gives prepared answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use flowmeter_core::time::Timestamp;

use super::*;
use crate::Error;

const SECOND: i64 = 1_000_000_000;

fn record(meter: u64, id: u64) -> Vec<u8> {
    format!(
        r#"{{"id":"00000000-0000-0000-0000-{meter:012}","meterMetaData":{{"recordId":"10000000-0000-0000-0000-{id:012}"}},"meterTypeName":"t","periodEnd":"2026-02-01T00:00:00.000Z","periodStart":"2026-01-01T00:00:00.000Z","value":0.5}}"#
    )
    .into_bytes()
}

/// Records of some meters, in turn.
struct Log {
    meters: u64,
}

impl Records for Log {
    fn read(&mut self, from: u64, until: u64, limits: WindowLimits) -> Result<Window, Error> {
        let mut window = Window::new(from);
        for number in (from..until).take(limits.records) {
            window.push(number, &record(number % self.meters, number));
        }
        Ok(window)
    }
}

/// The stored state, shared with the outbox after a crash.
#[derive(Clone, Default)]
struct Catalog(Arc<Mutex<(Marks, BTreeMap<u64, Delivery>)>>);

impl Shelf for Catalog {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error> {
        let mut kept = self.0.lock().unwrap();
        kept.0 = marks.clone();
        gone.iter().for_each(|gone| drop(kept.1.remove(&gone.number)));
        kept.1.extend(changed.iter().map(|delivery| (delivery.number, delivery.clone())));
        Ok(())
    }

    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error> {
        Ok(self.0.lock().unwrap().1.get(&number).cloned())
    }

    fn kept(&self) -> Result<Kept, Error> {
        let kept = self.0.lock().unwrap();
        let retrying = kept.1.values().filter(|delivery| delivery.state == DeliveryState::Retrying).cloned().collect();
        Ok(Kept { marks: kept.0.clone(), retrying })
    }
}

/// A target with prepared answers by record, which otherwise accepts.
#[derive(Default)]
struct Prepared {
    answers: BTreeMap<u64, VecDeque<Answer>>,
    /// Numbers in the order of arrival, and how often each took effect.
    came: Vec<u64>,
    held: BTreeMap<u64, u32>,
    windows: Vec<Span>,
    knows_keys: Option<Repeat>,
    can_be_asked: bool,
}

impl Target for Prepared {
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.windows.push(window);
        let mut answers = Vec::new();
        let mut held_up = BTreeSet::new();
        for record in records {
            let meter = record.names().unwrap().meter;
            if held_up.contains(&meter) {
                answers.push(Answer::NotTried);
                continue;
            }
            self.came.push(record.number);
            let answer = self.answers.get_mut(&record.number).and_then(VecDeque::pop_front).unwrap_or(Answer::Accepted);
            let takes = matches!(answer, Answer::Accepted) || answer == Answer::InDoubt("took it".to_owned());
            if takes && (self.repeat() == Repeat::ReadFirst || !self.held.contains_key(&record.number)) {
                *self.held.entry(record.number).or_default() += 1;
            }
            let stops = matches!(answer, Answer::Unavailable { .. });
            if !matches!(answer, Answer::Accepted | Answer::Refused(_)) {
                held_up.insert(meter);
            }
            answers.push(answer);
            if stops {
                break;
            }
        }
        answers
    }

    fn repeat(&self) -> Repeat {
        self.knows_keys.unwrap_or(Repeat::Harmless)
    }

    fn can_be_asked(&self) -> bool {
        self.can_be_asked
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let held = |record: &Outgoing<'_>| if self.held.contains_key(&record.number) { Held::Same } else { Held::Missing };
        Ok(records.iter().map(held).collect())
    }
}

fn open(catalog: &Catalog, window: usize) -> Outbox<Catalog> {
    let limits = WindowLimits { records: window, bytes: usize::MAX };
    Outbox::new(catalog.clone(), catalog.kept().unwrap(), limits, Patience::DAY)
}

/// Takes steps until nothing is left to do, and moves the clock to each awaited instant.
fn drive(outbox: &mut Outbox<Catalog>, target: &mut Prepared, end: u64, now: &mut Timestamp) {
    let mut log = Log { meters: 4 };
    for _ in 0..10_000 {
        match outbox.step(target, &mut log, end, *now).unwrap() {
            Progress::Worked => {}
            Progress::Until(at) => *now = at.max(now.saturating_add(1)),
            Progress::Idle | Progress::Halted => return,
        }
    }
    panic!("it does not come to an end: {:?}", outbox.marks());
}

fn answers(list: &[(u64, &[Answer])]) -> BTreeMap<u64, VecDeque<Answer>> {
    list.iter().map(|(number, answers)| (*number, answers.iter().cloned().collect())).collect()
}

fn later() -> Answer {
    Answer::Later("500".to_owned())
}

fn away() -> Answer {
    Answer::Unavailable { why: "connection refused".to_owned(), after: None }
}

#[test]
fn everything_goes_once_in_windows_that_join() {
    let (catalog, mut target, mut now) = (Catalog::default(), Prepared::default(), Timestamp::from_nanos(0));
    let mut outbox = open(&catalog, 7);
    drive(&mut outbox, &mut target, 20, &mut now);
    assert_eq!(target.came, (0..20).collect::<Vec<_>>());
    assert_eq!(target.windows, [(0, 7), (7, 14), (14, 20)].map(|(first, until)| Span { first, until }));
    assert_eq!(
        (outbox.marks().accepted, (outbox.marks().next, outbox.retrying()) == (20, 0), now),
        (20, true, Timestamp::from_nanos(0))
    );
}

#[test]
fn failed_records_are_retried_alone_and_hold_up_only_their_meter() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    // Records 1, 5, 9 … are of one meter.
    let mut target = Prepared { answers: answers(&[(1, &[later(), later(), later()])]), ..Prepared::default() };
    let mut outbox = open(&catalog, 4);
    drive(&mut outbox, &mut target, 12, &mut now);
    assert_eq!(target.held.values().copied().collect::<Vec<_>>(), [1; 12]);
    let order: Vec<u64> = target.came.iter().copied().filter(|number| number % 4 == 1).collect();
    assert_eq!(order, [1, 1, 1, 1, 5, 9], "later records of the meter wait");
    assert!(target.came.iter().position(|number| *number == 8) < target.came.iter().rposition(|number| *number == 1));
    assert_eq!(catalog.0.lock().unwrap().1.len(), 0, "nothing is kept of what went");
}

#[test]
fn a_refused_record_is_dead_and_can_be_sent_again_or_left_out() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let no = Answer::Refused("400: no such account".to_owned());
    let mut target = Prepared { answers: answers(&[(2, &[no.clone(), no.clone()]), (3, &[no])]), ..Prepared::default() };
    let mut outbox = open(&catalog, 4);
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!((outbox.marks().dead, outbox.marks().accepted, (outbox.marks().next, outbox.retrying()) == (8, 0)), (2, 6, true));
    let dead = catalog.delivery(2).unwrap().unwrap();
    assert_eq!((dead.state, dead.answer.as_str(), dead.attempts), (DeliveryState::Dead, "400: no such account", 1));
    // One more failure, then success.
    outbox.resend(&[2], now).unwrap();
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!(outbox.marks().dead, 2);
    outbox.resend(&[2], now).unwrap();
    outbox.skip(&[3], "a test account", now).unwrap();
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!((outbox.marks().dead, outbox.marks().skipped, outbox.marks().accepted), (0, 1, 7));
    assert_eq!(target.held.get(&2), Some(&1));
    assert!(outbox.resend(&[1], now).is_err(), "what went is not sent again");
    assert_eq!(catalog.delivery(3).unwrap().unwrap().answer, "a test account");
}

#[test]
fn records_of_a_window_that_fails_as_a_whole_can_be_sent_at_once_or_left_out() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let mut target = Prepared { answers: answers(&[(0, &[away(), away(), away()])]), ..Prepared::default() };
    let (mut outbox, mut log) = (open(&catalog, 4), Log { meters: 4 });
    assert_eq!(outbox.step(&mut target, &mut log, 8, now).unwrap(), Progress::Worked);
    assert_eq!(outbox.left(), [Span { first: 0, until: 4 }]);
    outbox.must_be(&[0, 3], &[DeliveryState::Retrying]).unwrap();
    let skipped = outbox.skip(&[2], "a test account", now).unwrap();
    assert_eq!((skipped[0].state, skipped[0].history.len()), (DeliveryState::Skipped, 1));
    assert_eq!(outbox.left(), [(0, 2), (3, 4)].map(|(first, until)| Span { first, until }));
    assert!(matches!(outbox.step(&mut target, &mut log, 8, now).unwrap(), Progress::Until(_)), "the target is left alone");
    let resent = outbox.resend(&[0], now).unwrap();
    assert_eq!((resent[0].state, outbox.retrying()), (DeliveryState::Retrying, 0));
    assert_eq!(outbox.step(&mut target, &mut log, 8, now).unwrap(), Progress::Worked, "the pause is over");
    assert_eq!(target.came, [0, 0]);
    // The same after a restart, before the window is loaded.
    let mut outbox = open(&catalog, 4);
    assert_eq!(outbox.left(), [Span { first: 0, until: 4 }]);
    assert!(outbox.skip(&[3], "a test account", now).is_err());
    outbox.resume(&mut log, now).unwrap();
    outbox.skip(&[3], "a test account", now).unwrap();
    assert!(outbox.skip(&[5], "a test account", now).is_err(), "it waits for its turn");
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!(target.held.keys().copied().collect::<Vec<_>>(), [0, 1, 4, 5, 6, 7]);
    assert_eq!((outbox.marks().next, outbox.marks().accepted, outbox.marks().skipped), (8, 6, 2));
}

#[test]
fn records_that_are_gathered_go_together_or_when_a_window_is_full() {
    let (catalog, mut target) = (Catalog::default(), Prepared::default());
    let (mut outbox, mut log) = (open(&catalog, 4).gathering(60 * SECOND), Log { meters: 4 });
    let mut step =
        |end: u64, seconds: i64| outbox.step(&mut target, &mut log, end, Timestamp::from_nanos(seconds * SECOND)).unwrap();
    assert_eq!(step(0, 0), Progress::Idle);
    assert_eq!(step(1, 10), Progress::Until(Timestamp::from_nanos(70 * SECOND)));
    assert_eq!(step(3, 69), Progress::Until(Timestamp::from_nanos(70 * SECOND)), "the first record decides");
    assert_eq!(step(3, 70), Progress::Worked);
    assert_eq!(step(3, 71), Progress::Idle);
    assert_eq!(step(7, 80), Progress::Worked, "a full window does not wait");
    assert_eq!(step(8, 81), Progress::Until(Timestamp::from_nanos(141 * SECOND)));
    assert_eq!(step(8, 20), Progress::Until(Timestamp::from_nanos(80 * SECOND)), "the clock was set back");
    assert_eq!(target.windows, [(0, 3), (3, 7)].map(|(first, until)| Span { first, until }));
}

#[test]
fn a_window_is_done_when_all_of_it_is_left_out() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let mut target = Prepared { answers: answers(&[(0, &[away(), away()])]), ..Prepared::default() };
    let (mut outbox, mut log) = (open(&catalog, 4), Log { meters: 4 });
    outbox.step(&mut target, &mut log, 8, now).unwrap();
    outbox.skip(&[0, 1, 2, 3], "all of them", now).unwrap();
    assert!(outbox.left().is_empty());
    assert_eq!(outbox.step(&mut target, &mut log, 4, now).unwrap(), Progress::Worked, "it does not wait for the pause");
    assert_eq!(outbox.marks().next, 4);
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!(target.held.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!((outbox.marks().next, outbox.marks().skipped), (8, 4));
}

#[test]
fn a_pause_that_the_target_asks_for_is_kept_behind_a_record_that_it_took() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let pause = 900 * SECOND;
    let busy = Answer::Unavailable { why: "429".to_owned(), after: Some(pause) };
    // Record 5 is of the meter of record 1.
    let mut target = Prepared { answers: answers(&[(1, &[later()]), (5, &[busy])]), ..Prepared::default() };
    let (mut outbox, mut log) = (open(&catalog, 8), Log { meters: 4 });
    outbox.step(&mut target, &mut log, 8, now).unwrap();
    assert_eq!(target.came.iter().filter(|number| **number == 5).count(), 0, "it waits behind record 1");
    while !target.came.contains(&5) {
        if let Progress::Until(at) = outbox.step(&mut target, &mut log, 8, now).unwrap() {
            now = at;
        }
    }
    let Progress::Until(at) = outbox.step(&mut target, &mut log, 8, now).unwrap() else { panic!("it is asked again at once") };
    assert!(at.since(now) >= i128::from(pause), "{at}");
    now = at;
    drive(&mut outbox, &mut target, 8, &mut now);
    assert_eq!(target.held.len(), 8);
}

/// A catalog whose disk is full at times.
struct Full {
    catalog: Catalog,
    is_full: bool,
}

impl Shelf for Full {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error> {
        match self.is_full {
            true => Err(Error::new(crate::Kind::Full, "the disk is full")),
            false => self.catalog.keep(marks, changed, gone),
        }
    }

    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error> {
        self.catalog.delivery(number)
    }

    fn kept(&self) -> Result<Kept, Error> {
        self.catalog.kept()
    }
}

#[test]
fn requests_that_could_not_be_stored_have_no_effect() {
    let (catalog, now) = (Catalog::default(), Timestamp::from_nanos(0));
    let no = Answer::Refused("400: no such account".to_owned());
    let mut target = Prepared { answers: answers(&[(2, &[no])]), can_be_asked: true, ..Prepared::default() };
    let limits = WindowLimits { records: 4, bytes: usize::MAX };
    let shelf = Full { catalog: catalog.clone(), is_full: false };
    let mut outbox = Outbox::new(shelf, catalog.kept().unwrap(), limits, Patience::DAY);
    let mut log = Log { meters: 4 };
    outbox.step(&mut target, &mut log, 4, now).unwrap();
    assert_eq!((outbox.marks().dead, outbox.marks().accepted), (1, 3));
    target.held.remove(&1);
    let part = Part { first: 0, until: 4, ends_from: Timestamp::MIN, ends_before: Timestamp::MAX };
    let report = outbox.compare(&mut target, &mut log, part).unwrap();
    outbox.shelf_mut().is_full = true;
    // Requests come one after another, without a step of delivery between them.
    for _ in 0..3 {
        assert!(outbox.resend(&[2], now).is_err());
        assert!(outbox.skip(&[2], "a test account", now).is_err());
        assert!(outbox.mend(&report, &mut log, now).is_err());
    }
    outbox.shelf_mut().is_full = false;
    outbox.resend(&[2], now).unwrap();
    assert_eq!((outbox.marks().dead, outbox.marks().skipped, outbox.marks().accepted), (0, 0, 3));
    assert_eq!(outbox.mend(&report, &mut log, now).unwrap(), 1);
    assert_eq!((outbox.retrying(), outbox.marks().accepted), (2, 2));
}

#[test]
fn a_target_that_is_away_for_days_loses_nothing_and_kills_nothing() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let gone: Vec<Answer> = std::iter::repeat_n(away(), 1000).collect();
    let mut target = Prepared { answers: answers(&[(0, &gone)]), ..Prepared::default() };
    let mut outbox = open(&catalog, 10);
    let mut log = Log { meters: 4 };
    while now.nanos() < 3 * 86_400 * SECOND {
        if let Progress::Until(at) = outbox.step(&mut target, &mut log, 10, now).unwrap() {
            now = at;
        }
    }
    assert_eq!((outbox.marks().dead, outbox.retrying(), outbox.marks().failing_since), (0, 0, Some(0)));
    assert_eq!(outbox.marks().answer, "connection refused");
    target.answers.clear();
    drive(&mut outbox, &mut target, 10, &mut now);
    assert_eq!((outbox.marks().accepted, outbox.marks().failing_since), (10, None));
}

#[test]
fn a_record_that_never_goes_is_dead_after_a_day_and_lets_others_by() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let never: Vec<Answer> = std::iter::repeat_n(later(), 5000).collect();
    let mut target = Prepared { answers: answers(&[(0, &never)]), ..Prepared::default() };
    // It is alone in its window, so record and target cannot be distinguished.
    let mut outbox = open(&catalog, 1);
    drive(&mut outbox, &mut target, 3, &mut now);
    assert!(now.nanos() >= 86_400 * SECOND, "{now}");
    assert_eq!((outbox.marks().dead, outbox.marks().accepted), (1, 2));
    let others = target.came.iter().position(|number| *number == 2).unwrap();
    assert!(others < 10, "the others waited for {others} attempts");
}

#[test]
fn a_window_is_the_same_after_a_crash() {
    for crash_after in 0..4 {
        let (catalog, mut target, mut now) = (Catalog::default(), Prepared::default(), Timestamp::from_nanos(0));
        let mut outbox = open(&catalog, 5);
        let mut log = Log { meters: 4 };
        // There are eight records at first.
        for _ in 0..crash_after {
            outbox.step(&mut target, &mut log, 8, now).unwrap();
        }
        // The window is stored and sent; its result is not stored.
        let before = catalog.0.lock().unwrap().clone();
        outbox.step(&mut target, &mut log, 8, now).unwrap();
        let mut marks = before.0.clone();
        if marks.next < 8 {
            marks.sent = (marks.next + 5).min(8);
        }
        *catalog.0.lock().unwrap() = (marks, before.1);
        // After the crash there are twelve.
        let mut outbox = open(&catalog, 5);
        drive(&mut outbox, &mut target, 12, &mut now);
        assert_eq!(target.held, (0..12).map(|number| (number, 1)).collect(), "crash after {crash_after}");
        let mut firsts: Vec<Span> = target.windows.clone();
        firsts.dedup();
        assert!(firsts.windows(2).all(|pair| pair[0].until == pair[1].first), "{firsts:?}");
    }
}

#[test]
fn where_a_repeat_would_double_it_is_looked_for_first() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let took = Answer::InDoubt("took it".to_owned());
    let mut target = Prepared {
        answers: answers(&[(0, std::slice::from_ref(&took)), (2, std::slice::from_ref(&took))]),
        knows_keys: Some(Repeat::ReadFirst),
        can_be_asked: true,
        ..Prepared::default()
    };
    let mut outbox = open(&catalog, 4);
    drive(&mut outbox, &mut target, 4, &mut now);
    assert_eq!(target.held, (0..4).map(|number| (number, 1)).collect());
    assert_eq!(outbox.marks().accepted, 4);
}

#[test]
fn a_record_in_doubt_that_cannot_be_looked_for_is_left_to_a_person() {
    for (repeat, dead) in [(Repeat::ReadFirst, 1), (Repeat::HarmlessFor(3_600 * SECOND), 0), (Repeat::HarmlessFor(1), 1)] {
        let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
        let took = Answer::InDoubt("took it".to_owned());
        let mut target = Prepared { answers: answers(&[(0, &[took])]), knows_keys: Some(repeat), ..Prepared::default() };
        let mut outbox = open(&catalog, 4);
        drive(&mut outbox, &mut target, 4, &mut now);
        assert_eq!(outbox.marks().dead, dead, "{repeat:?}");
        assert_eq!(target.held.get(&0), Some(&1), "{repeat:?}");
    }
}

#[test]
fn a_target_that_says_when_is_left_alone_until_then() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let busy = Answer::Unavailable { why: "429".to_owned(), after: Some(90 * SECOND) };
    let mut target = Prepared { answers: answers(&[(2, &[busy])]), ..Prepared::default() };
    let mut outbox = open(&catalog, 5);
    let mut log = Log { meters: 4 };
    while outbox.step(&mut target, &mut log, 5, now).unwrap() == Progress::Worked {}
    assert_eq!(outbox.quiet_until(), Timestamp::from_nanos(90 * SECOND));
    assert_eq!(target.came, [0, 1, 2]);
    drive(&mut outbox, &mut target, 5, &mut now);
    assert_eq!(target.came, [0, 1, 2, 2, 3, 4]);
}

#[test]
fn records_that_a_target_lost_are_found_and_sent_again() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let mut target = Prepared { can_be_asked: true, ..Prepared::default() };
    let mut outbox = open(&catalog, 5);
    drive(&mut outbox, &mut target, 10, &mut now);
    target.held.remove(&3);
    target.held.remove(&7);
    let mut log = Log { meters: 4 };
    let report = outbox.confirm(&mut target, &mut log).unwrap();
    assert_eq!((report.difference_count, report.differences[0].number, outbox.marks().confirmed), (2, 3, 0));
    let sums = report.periods.values().next().unwrap();
    assert_eq!((sums.flushed.records, sums.held.records, sums.missing), (10, 8, 2));
    let value = |amount: &super::Amount| amount.value.get().unwrap().to_string();
    assert_eq!((value(&sums.flushed), value(&sums.held)), ("5".to_owned(), "4".to_owned()));
    assert_eq!(outbox.mend(&report, &mut log, now).unwrap(), 2);
    drive(&mut outbox, &mut target, 10, &mut now);
    assert!(outbox.confirm(&mut target, &mut log).unwrap().agrees());
    assert_eq!((outbox.marks().confirmed, outbox.marks().accepted), (10, 10));
    assert_eq!(target.held, (0..10).map(|number| (number, 1)).collect());
}

#[test]
fn a_target_that_cannot_be_asked_is_not_said_to_hold_anything() {
    let (catalog, mut now) = (Catalog::default(), Timestamp::from_nanos(0));
    let mut target = Prepared::default();
    let mut outbox = open(&catalog, 5);
    drive(&mut outbox, &mut target, 10, &mut now);
    let part = super::Part { first: 0, until: 10, ends_from: Timestamp::MIN, ends_before: Timestamp::MAX };
    let report = outbox.compare(&mut target, &mut Log { meters: 4 }, part).unwrap();
    assert_eq!((report.unreadable, report.verdict(), report.difference_count), (true, None, 0));
    let sums = report.periods.values().next().unwrap();
    assert_eq!((sums.flushed.records, sums.held.records, sums.missing), (10, 0, 0));
}
