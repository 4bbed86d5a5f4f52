//! One attempt: records are sent, and each answer is applied.

use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::super::pace::next_attempt;
use super::super::{
    Answer, Attempt, Delivery, DeliveryState, Exchange, Held, Names, Outgoing, RETRYING_MAX, Repeat, Shelf, Span, Target, Window,
    story,
};
use super::{Outbox, UnderWay};
use crate::Error;

/// After this many attempts in which no record of the window was accepted, send some records alone:
/// the records may be at fault, not the target.
const PROBED_AFTER: u32 = 2;
/// The number of these records: if the target is at fault after all, no more than these leave the
/// window.
const PROBES_MAX: usize = 100;

/// The changes that the answers of an attempt make.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) changed: Vec<Delivery>,
    /// Deliveries that were accepted.
    pub(super) gone: Vec<Delivery>,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Indexes of records that stay in their window.
    pub(super) remaining: Vec<usize>,
    is_in_doubt: bool,
    /// The pause that the target asks for.
    asked: Option<i64>,
    pub(super) why: Option<String>,
    /// The attempt of records that stay in their window.
    of_window: Option<Attempt>,
}

/// The queue of a record whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// It stays in its window, which is sent again.
    Window,
    /// It gets a delivery of its own, and the window continues without it.
    Alone,
}

impl<S: Shelf> Outbox<S> {
    /// Sends the records of a window that may be sent now. Returns the window unless it is done.
    pub(super) fn attempt(
        &mut self,
        mut under_way: UnderWay,
        sendable: &[usize],
        target: &mut dyn Target,
        now: Timestamp,
    ) -> Result<Option<Window>, Error> {
        let records: Vec<Outgoing<'_>> = sendable.iter().map(|place| under_way.window.get(*place)).collect();
        let answers = send(target, under_way.window.span(), &records, under_way.in_doubt, now);
        let moves = answers.iter().any(|(answer, _)| matches!(answer, Answer::Accepted | Answer::Refused(_)));
        // While other records are accepted, failed ones are retried on their own. If none is
        // accepted, some are retried on their own after a while, to see whether they are at fault.
        let alone_max = match (moves, self.marks.attempts) {
            (true, _) => RETRYING_MAX,
            (false, PROBED_AFTER..) => PROBES_MAX,
            (false, _) => 0,
        };
        let mut outcome = Outcome::default();
        let over = self.patience.is_over(self.marks.sent_at, now);
        for ((place, record), (answer, exchange)) in sendable.iter().zip(&records).zip(answers) {
            if answer == Answer::Accepted {
                outcome.accepted += 1;
                continue;
            }
            let attempted = Attempted {
                record,
                attempts: self.marks.attempts + 1,
                tried_first: self.marks.sent_at,
                now,
                over,
                in_doubt_since: under_way.in_doubt.unwrap_or(now.nanos()),
                history: &self.marks.history,
                exchange,
            };
            let alone = self.retrying.len() + outcome.changed.len() < alone_max;
            attempted.apply(answer, if alone { Queue::Alone } else { Queue::Window }, *place, &mut outcome);
        }
        drop(records);
        self.record_result(&mut outcome, moves, now);
        if outcome.is_in_doubt {
            under_way.in_doubt = under_way.in_doubt.or(Some(now.nanos()));
        }
        // Records that could not be sent now stay too.
        under_way.left.append(&mut outcome.remaining);
        under_way.left.sort_unstable();
        if let Some(attempt) = outcome.of_window.take() {
            story::add(&mut self.marks.history, attempt);
        }
        if under_way.left.is_empty() {
            self.marks.next = self.marks.sent;
            self.marks.attempts = 0;
            self.marks.history.clear();
            self.marks.memory = target.memory();
        } else {
            self.marks.attempts = if moves { 0 } else { self.marks.attempts.saturating_add(1) };
            if !moves || outcome.asked.is_some() {
                self.quiet_until = next_attempt(self.marks.next, self.marks.attempts.max(1), now, outcome.asked);
            }
        }
        self.keep(&outcome.changed, &[])?;
        outcome.changed.into_iter().for_each(|delivery| self.note(delivery));
        if under_way.left.is_empty() {
            return Ok(Some(under_way.window));
        }
        self.under_way = Some(under_way);
        Ok(None)
    }

    /// Records the result of an attempt, and whether the target works.
    pub(super) fn record_result(&mut self, outcome: &mut Outcome, moves: bool, now: Timestamp) {
        self.marks.accepted += outcome.accepted;
        let dead = outcome.changed.iter().rfind(|delivery| delivery.state == DeliveryState::Dead);
        self.marks.add_dead(outcome.refused, dead.map_or("", |delivery| &delivery.answer), now);
        if moves {
            self.marks.failing_since = None;
        } else if let Some(why) = outcome.why.take() {
            self.marks.failing_since.get_or_insert(now.nanos());
            self.marks.answer = story::cut(&why, story::SHORT_BYTES_MAX);
        }
    }
}

/// Sends records. If the target would double records that it may have already, sends only those
/// that it lacks.
pub(super) fn send(
    target: &mut dyn Target,
    span: Span,
    records: &[Outgoing<'_>],
    in_doubt: Option<i64>,
    now: Timestamp,
) -> Vec<(Answer, Exchange)> {
    let unsent = |answer: Answer| (answer, Exchange::default());
    let is_harmless = match (in_doubt, target.repeat()) {
        (None, _) | (_, Repeat::Harmless) => true,
        (Some(since), Repeat::HarmlessFor(span)) => now.nanos().saturating_sub(since) < span,
        (Some(_), Repeat::ReadFirst) => false,
    };
    if is_harmless {
        return whole(target, span, records);
    }
    if !target.can_be_asked() {
        let why = "the target may have it already; it cannot be read and no longer recognises the key. Look there, then resend or skip it";
        return vec![unsent(Answer::Refused(why.to_owned())); records.len()];
    }
    target.look_afresh();
    let held = match target.read_back(records) {
        Ok(held) => held,
        Err(why) => return vec![unsent(Answer::Unavailable { why: why.to_string(), after: None }); records.len()],
    };
    let missing: Vec<Outgoing<'_>> =
        records.iter().zip(&held).filter(|(_, held)| **held == Held::Missing).map(|(record, _)| *record).collect();
    let mut sent = whole(target, span, &missing).into_iter();
    let answer = |held: Held| match held {
        Held::Same => unsent(Answer::Accepted),
        Held::Different(what) => unsent(Answer::Refused(format!("the target has it with other content: {what}"))),
        Held::Missing => sent.next().unwrap_or(unsent(Answer::NotTried)),
    };
    held.into_iter().map(answer).collect()
}

/// Sends records. Those without an answer were not sent.
fn whole(target: &mut dyn Target, span: Span, records: &[Outgoing<'_>]) -> Vec<(Answer, Exchange)> {
    let mut answers = target.send(span, records);
    answers.resize(records.len(), Answer::NotTried);
    answers.into_iter().enumerate().map(|(place, answer)| (answer, target.exchange(place))).collect()
}

/// A record that was sent, with the circumstances that its answer is judged by.
pub(super) struct Attempted<'r> {
    pub(super) record: &'r Outgoing<'r>,
    pub(super) attempts: u32,
    pub(super) tried_first: i64,
    pub(super) now: Timestamp,
    /// Attempts have lasted long enough.
    pub(super) over: bool,
    /// Time since when it is in doubt, if it is.
    pub(super) in_doubt_since: i64,
    /// Attempts of the record before this one.
    pub(super) history: &'r [Attempt],
    pub(super) exchange: Exchange,
}

impl Attempted<'_> {
    pub(super) fn apply(&self, answer: Answer, queue: Queue, place: usize, outcome: &mut Outcome) {
        let (why, in_doubt) = match answer {
            Answer::Accepted => {
                outcome.accepted += 1;
                outcome.gone.push(self.delivery(DeliveryState::Accepted, "accepted", false));
                return;
            }
            Answer::NotTried => {
                outcome.remaining.push(place);
                return;
            }
            Answer::Unavailable { why, after } => {
                outcome.asked = outcome.asked.max(after);
                outcome.of_window.get_or_insert_with(|| self.noted(&why));
                outcome.why.get_or_insert(why);
                outcome.remaining.push(place);
                return;
            }
            Answer::Refused(why) => {
                outcome.refused += 1;
                outcome.changed.push(self.delivery(DeliveryState::Dead, &why, false));
                return;
            }
            Answer::Later(why) => (why, false),
            Answer::InDoubt(why) => (why, true),
        };
        outcome.is_in_doubt |= in_doubt;
        outcome.why.get_or_insert_with(|| why.clone());
        if self.over {
            outcome.refused += 1;
            let why = format!("tried for too long; the last answer: {why}");
            outcome.changed.push(self.delivery(DeliveryState::Dead, &why, in_doubt));
        } else if queue == Queue::Alone {
            outcome.changed.push(self.delivery(DeliveryState::Retrying, &why, in_doubt));
        } else {
            outcome.of_window.get_or_insert_with(|| self.noted(&why));
            outcome.remaining.push(place);
        }
    }

    /// Returns the attempt for people.
    pub(super) fn noted(&self, answer: &str) -> Attempt {
        Attempt::new(self.now, &self.exchange, answer)
    }

    /// Returns all attempts so far.
    pub(super) fn with_this(&self, answer: &str) -> Vec<Attempt> {
        let mut history = self.history.to_vec();
        story::add(&mut history, self.noted(answer));
        history
    }

    fn delivery(&self, state: DeliveryState, answer: &str, in_doubt: bool) -> Delivery {
        // The log of records has only records of this program.
        let names = self.record.names().unwrap_or(Names { meter: Uuid::nil(), record_id: Uuid::nil() });
        let next = next_attempt(self.record.number, self.attempts, self.now, None);
        Delivery {
            number: self.record.number,
            record_id: names.record_id,
            meter: names.meter,
            state,
            attempts: self.attempts,
            tried_first: self.tried_first,
            tried_last: self.now.nanos(),
            next_attempt: next.nanos(),
            in_doubt: in_doubt.then_some(self.in_doubt_since),
            history: self.with_this(answer),
            answer: story::cut(answer, story::SHORT_BYTES_MAX),
        }
    }
}
