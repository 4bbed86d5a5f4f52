//! One attempt: records sent, and what each answer changes.

use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::super::pace::next_attempt;
use super::super::{Answer, Delivery, DeliveryState, Held, Names, Outgoing, RETRYING_MAX, Repeat, Shelf, Span, Target, Window};
use super::{Outbox, UnderWay};
use crate::Error;

/// Attempts of a window of which nothing goes, after which records of it are tried on
/// their own: it may be them and not the target.
const PROBED_AFTER: u32 = 2;
/// How many of them: if it is the target after all, no more than these are out of line.
const PROBES_MAX: usize = 100;

/// What the answers of an attempt change.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) changed: Vec<Delivery>,
    pub(super) gone: Vec<u64>,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Places of records that stay with their window.
    pub(super) stay: Vec<usize>,
    is_in_doubt: bool,
    /// How long the target asks to be left alone.
    asked: Option<i64>,
    pub(super) why: Option<String>,
}

/// Where a record is that did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// It stays in its window, which is sent again.
    Window,
    /// It has a delivery of its own, and the window goes on without it.
    Own,
}

impl<S: Shelf> Outbox<S> {
    /// Sends what may go of a window. Gives the window back if nothing of it is left.
    pub(super) fn attempt(
        &mut self,
        mut under_way: UnderWay,
        going: &[usize],
        target: &mut dyn Target,
        now: Timestamp,
    ) -> Result<Option<Window>, Error> {
        let records: Vec<Outgoing<'_>> = going.iter().map(|place| under_way.window.get(*place)).collect();
        let answers = ask(target, under_way.window.span(), &records, under_way.in_doubt, now);
        let moves = answers.iter().any(|answer| matches!(answer, Answer::Accepted | Answer::Refused(_)));
        // While others go, what does not is tried on its own. When nothing goes, some are
        // tried on their own after a while, to see whether it is them.
        let alone_max = match (moves, self.marks.attempts) {
            (true, _) => RETRYING_MAX,
            (false, PROBED_AFTER..) => PROBES_MAX,
            (false, _) => 0,
        };
        let mut outcome = Outcome::default();
        let over = self.patience.is_over(self.marks.sent_at, now);
        for ((place, record), answer) in going.iter().zip(&records).zip(answers) {
            if answer == Answer::Accepted {
                outcome.accepted += 1;
                continue;
            }
            let fate = Fate {
                record,
                attempts: self.marks.attempts + 1,
                tried_first: self.marks.sent_at,
                now,
                over,
                doubt: under_way.in_doubt.unwrap_or(now.nanos()),
            };
            let alone = self.retrying.len() + outcome.changed.len() < alone_max;
            fate.weigh(answer, if alone { Home::Own } else { Home::Window }, *place, &mut outcome);
        }
        drop(records);
        self.book(&mut outcome, moves, now);
        if outcome.is_in_doubt {
            under_way.in_doubt = under_way.in_doubt.or(Some(now.nanos()));
        }
        // Those that could not go now stay, too.
        under_way.left.append(&mut outcome.stay);
        under_way.left.sort_unstable();
        if under_way.left.is_empty() {
            self.marks.next = self.marks.sent;
            self.marks.attempts = 0;
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

    /// Counts what came of an attempt, and whether the target is well.
    pub(super) fn book(&mut self, outcome: &mut Outcome, moves: bool, now: Timestamp) {
        self.marks.accepted += outcome.accepted;
        self.marks.dead += outcome.refused;
        if moves {
            self.marks.failing_since = None;
        } else if let Some(why) = outcome.why.take() {
            self.marks.failing_since.get_or_insert(now.nanos());
            self.marks.answer = why;
        }
    }
}

/// Sends records. Where sending twice would double them and they may be there already,
/// only those go that are not.
pub(super) fn ask(
    target: &mut dyn Target,
    span: Span,
    records: &[Outgoing<'_>],
    in_doubt: Option<i64>,
    now: Timestamp,
) -> Vec<Answer> {
    let is_harmless = match (in_doubt, target.repeat()) {
        (None, _) | (_, Repeat::Harmless) => true,
        (Some(since), Repeat::HarmlessFor(span)) => now.nanos().saturating_sub(since) < span,
        (Some(_), Repeat::ReadFirst) => false,
    };
    if is_harmless {
        return whole(target.send(span, records), records.len());
    }
    if !target.can_be_asked() {
        let why = "it may be there already, and the target can neither be asked nor still tell it by its key; look there";
        return vec![Answer::Refused(why.to_owned()); records.len()];
    }
    target.look_afresh();
    let held = match target.read_back(records) {
        Ok(held) => held,
        Err(why) => return vec![Answer::Unavailable { why: why.to_string(), after: None }; records.len()],
    };
    let missing: Vec<Outgoing<'_>> =
        records.iter().zip(&held).filter(|(_, held)| **held == Held::Missing).map(|(record, _)| *record).collect();
    let mut sent = whole(target.send(span, &missing), missing.len()).into_iter();
    let answer = |held: Held| match held {
        Held::Same => Answer::Accepted,
        Held::Different(what) => Answer::Refused(format!("it is there, but not as it was made: {what}")),
        Held::Missing => sent.next().unwrap_or(Answer::NotTried),
    };
    held.into_iter().map(answer).collect()
}

/// A target that does not answer for all has not sent the rest.
fn whole(mut answers: Vec<Answer>, records: usize) -> Vec<Answer> {
    answers.resize(records, Answer::NotTried);
    answers
}

/// A record that was sent, and when.
pub(super) struct Fate<'r> {
    pub(super) record: &'r Outgoing<'r>,
    pub(super) attempts: u32,
    pub(super) tried_first: i64,
    pub(super) now: Timestamp,
    /// It was tried for long enough.
    pub(super) over: bool,
    /// Since when it is in doubt, if it is.
    pub(super) doubt: i64,
}

impl Fate<'_> {
    pub(super) fn weigh(&self, answer: Answer, home: Home, place: usize, outcome: &mut Outcome) {
        let (why, in_doubt) = match answer {
            Answer::Accepted => {
                outcome.accepted += 1;
                outcome.gone.push(self.record.number);
                return;
            }
            Answer::NotTried => {
                outcome.stay.push(place);
                return;
            }
            Answer::Unavailable { why, after } => {
                outcome.asked = outcome.asked.max(after);
                outcome.why.get_or_insert(why);
                outcome.stay.push(place);
                return;
            }
            Answer::Refused(why) => {
                outcome.refused += 1;
                outcome.changed.push(self.delivery(DeliveryState::Dead, why, false));
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
            outcome.changed.push(self.delivery(DeliveryState::Dead, why, in_doubt));
        } else if home == Home::Own {
            outcome.changed.push(self.delivery(DeliveryState::Retrying, why, in_doubt));
        } else {
            outcome.stay.push(place);
        }
    }

    fn delivery(&self, state: DeliveryState, answer: String, in_doubt: bool) -> Delivery {
        // What the log of records holds was made by us.
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
            in_doubt: in_doubt.then_some(self.doubt),
            answer,
        }
    }
}
