//! Retries records that left their window.

use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::super::pace::next_attempt;
use super::super::{Answer, Delivery, Outgoing, Records, Repeat, Shelf, Span, Target, Window, WindowLimits};
use super::Outbox;
use super::attempt::{Attempted, Outcome, Queue, send};
use crate::{Error, Kind};

/// Records that are retried in one step.
const RETRIED_AT_ONCE: usize = 500;

impl<S: Shelf> Outbox<S> {
    /// Sends the due deliveries again. Returns whether there were any.
    pub(super) fn retry(&mut self, target: &mut dyn Target, records: &mut dyn Records, now: Timestamp) -> Result<bool, Error> {
        let mut due = self.due(now);
        for delivery in &mut due {
            delivery.history = self.shelf.delivery(delivery.number)?.map(|kept| kept.history).unwrap_or_default();
        }
        let Some(first) = due.first() else { return Ok(false) };
        // Each is a window of its own; they are sent together anyway.
        let span = Span { first: first.number, until: first.number + 1 };
        let mut windows = Vec::with_capacity(due.len());
        for delivery in &due {
            windows.push(records.read(delivery.number, delivery.number + 1, WindowLimits { records: 1, bytes: usize::MAX })?);
        }
        let records: Vec<Outgoing<'_>> = windows.iter().flat_map(Window::iter).collect();
        if records.len() != due.len() {
            return Err(Error::new(Kind::Corrupt, "a record that must be sent again does not exist"));
        }
        let doubt = due.iter().filter_map(|delivery| delivery.in_doubt).min();
        if target.repeat() != Repeat::Harmless {
            // If the program ends now, the target may have them.
            let sent: Vec<Delivery> = due
                .iter()
                .map(|delivery| Delivery { in_doubt: delivery.in_doubt.or(Some(now.nanos())), ..delivery.clone() })
                .collect();
            self.keep(&sent, &[])?;
        }
        let answers = send(target, span, &records, doubt, now);
        let moves = answers.iter().any(|(answer, _)| matches!(answer, Answer::Accepted | Answer::Refused(_)));
        let mut outcome = Outcome::default();
        let mut held_up = BTreeSet::new();
        for ((delivery, record), (answer, exchange)) in due.iter().zip(&records).zip(answers) {
            let tried_first = if delivery.attempts == 0 { now.nanos() } else { delivery.tried_first };
            let attempted = Attempted {
                record,
                attempts: delivery.attempts + 1,
                tried_first,
                now,
                over: self.patience.is_over(tried_first, now),
                in_doubt_since: delivery.in_doubt.unwrap_or(now.nanos()),
                history: &delivery.history,
                exchange,
            };
            // An answer about the target is no attempt of the record.
            let mut history = Vec::new();
            let asked = match &answer {
                Answer::NotTried => {
                    history.clone_from(&delivery.history);
                    Some(None)
                }
                Answer::Unavailable { why, after } => {
                    history = attempted.with_this(why);
                    outcome.why.get_or_insert(why.clone());
                    Some(*after)
                }
                _ => None,
            };
            let is_done = matches!(answer, Answer::Accepted | Answer::Refused(_));
            let is_behind = !is_done && !held_up.insert(delivery.meter);
            if let Some(asked) = asked {
                // One behind another of its meter that failed has no next attempt of its own.
                if is_behind {
                    continue;
                }
                let next = next_attempt(delivery.number, delivery.attempts.max(3), now, asked);
                outcome.changed.push(Delivery { next_attempt: next.nanos(), history, ..delivery.clone() });
                continue;
            }
            attempted.apply(answer, Queue::Alone, 0, &mut outcome);
        }
        drop(records);
        self.record_result(&mut outcome, moves, now);
        self.marks.memory = target.memory();
        self.keep(&outcome.changed, &outcome.gone)?;
        outcome.gone.iter().for_each(|delivery| self.forget(delivery.number));
        outcome.changed.into_iter().for_each(|delivery| self.note(delivery));
        Ok(true)
    }

    /// Returns the deliveries to send: of each meter whose first one is due, that one and those that
    /// wait behind it, in order.
    fn due(&self, now: Timestamp) -> Vec<Delivery> {
        let mut meters: BTreeMap<Uuid, bool> = BTreeMap::new();
        let is_due = |delivery: &&Delivery| *meters.entry(delivery.meter).or_insert_with(|| delivery.next_attempt <= now.nanos());
        self.retrying.values().filter(is_due).take(RETRIED_AT_ONCE).cloned().collect()
    }

    /// Returns the time at which the first of them is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.firsts().map(|delivery| delivery.next_attempt).min().map(Timestamp::from_nanos)
    }

    /// Returns, for each meter, the delivery that the others wait for.
    fn firsts(&self) -> impl Iterator<Item = &Delivery> {
        let mut meters = BTreeSet::new();
        self.retrying.values().filter(move |delivery| meters.insert(delivery.meter))
    }
}
