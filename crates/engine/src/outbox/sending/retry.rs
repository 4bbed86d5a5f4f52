//! Records that did not go with their window are sent again on their own.

use std::collections::BTreeSet;

use flowmeter_core::time::Timestamp;

use super::super::pace::next_attempt;
use super::super::{Answer, Delivery, Outgoing, Records, Repeat, Shelf, Span, Target, Window, WindowLimits};
use super::Outbox;
use super::attempt::{Fate, Home, Outcome, ask};
use crate::{Error, Kind};

/// Records that are sent again on their own in one step.
const RETRIED_AT_ONCE: usize = 500;

impl<S: Shelf> Outbox<S> {
    /// Sends what is due again; whether there was something.
    pub(super) fn retry(&mut self, target: &mut dyn Target, records: &mut dyn Records, now: Timestamp) -> Result<bool, Error> {
        let due = self.due(now);
        let Some(first) = due.first() else { return Ok(false) };
        // Each is a window of its own; they go together all the same.
        let span = Span { first: first.number, until: first.number + 1 };
        let mut windows = Vec::with_capacity(due.len());
        for delivery in &due {
            windows.push(records.read(delivery.number, delivery.number + 1, WindowLimits { records: 1, bytes: usize::MAX })?);
        }
        let records: Vec<Outgoing<'_>> = windows.iter().flat_map(Window::iter).collect();
        if records.len() != due.len() {
            return Err(Error::new(Kind::Corrupt, "a record that was to be sent again is not there"));
        }
        let doubt = due.iter().filter_map(|delivery| delivery.in_doubt).min();
        if target.repeat() != Repeat::Harmless {
            // Should the program end now, they may be there.
            let sent: Vec<Delivery> = due
                .iter()
                .map(|delivery| Delivery { in_doubt: delivery.in_doubt.or(Some(now.nanos())), ..delivery.clone() })
                .collect();
            self.keep(&sent, &[])?;
        }
        let answers = ask(target, span, &records, doubt, now);
        let moves = answers.iter().any(|answer| matches!(answer, Answer::Accepted | Answer::Refused(_)));
        let mut outcome = Outcome::default();
        for ((delivery, record), answer) in due.iter().zip(&records).zip(answers) {
            // What does not concern the record is no attempt of it.
            let asked = match &answer {
                Answer::NotTried => Some(None),
                Answer::Unavailable { why, after } => {
                    outcome.why.get_or_insert(why.clone());
                    Some(*after)
                }
                _ => None,
            };
            if let Some(asked) = asked {
                let next = next_attempt(delivery.number, delivery.attempts.max(3), now, asked);
                outcome.changed.push(Delivery { next_attempt: next.nanos(), ..delivery.clone() });
                continue;
            }
            let tried_first = if delivery.attempts == 0 { now.nanos() } else { delivery.tried_first };
            let fate = Fate {
                record,
                attempts: delivery.attempts + 1,
                tried_first,
                now,
                over: self.patience.is_over(tried_first, now),
                doubt: delivery.in_doubt.unwrap_or(now.nanos()),
            };
            fate.weigh(answer, Home::Own, 0, &mut outcome);
        }
        drop(records);
        self.book(&mut outcome, moves, now);
        self.marks.memory = target.memory();
        self.keep(&outcome.changed, &outcome.gone)?;
        outcome.gone.iter().for_each(|number| self.forget(*number));
        outcome.changed.into_iter().for_each(|delivery| self.note(delivery));
        Ok(true)
    }

    /// The first of each meter, if its time has come: the others go after it.
    fn due(&self, now: Timestamp) -> Vec<Delivery> {
        let firsts = self.firsts().filter(|delivery| delivery.next_attempt <= now.nanos());
        firsts.take(RETRIED_AT_ONCE).cloned().collect()
    }

    /// When the first of them is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.firsts().map(|delivery| delivery.next_attempt).min().map(Timestamp::from_nanos)
    }

    /// Of each meter, the delivery the others wait behind.
    fn firsts(&self) -> impl Iterator<Item = &Delivery> {
        let mut meters = BTreeSet::new();
        self.retrying.values().filter(move |delivery| meters.insert(delivery.meter))
    }
}
