//! Actions of people on deliveries.

use std::collections::BTreeSet;

use flowmeter_core::time::Timestamp;

use super::super::{Delivery, DeliveryState, Records, Shelf};
use super::{Outbox, UnderWay};
use crate::{Error, Kind};

impl<S: Shelf> Outbox<S> {
    /// Loads the window that was being sent before a restart, so that actions find its records.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn resume(&mut self, records: &mut dyn Records, now: Timestamp) -> Result<(), Error> {
        self.reload_if_stale()?;
        if self.under_way.is_none() && self.marks.is_under_way() {
            self.under_way = self.begin(records, self.marks.sent, now)?;
        }
        Ok(())
    }

    /// Checks that records have deliveries in one of some states.
    ///
    /// # Errors
    /// `Invalid` if one has not: another act, or an attempt, came first.
    pub fn must_be(&self, numbers: &[u64], states: &[DeliveryState]) -> Result<(), Error> {
        for &number in numbers {
            let state = self.known(number)?.state;
            if !states.contains(&state) {
                return Err(Error::new(Kind::Invalid, format!("record {number} is {} by now", state.name())));
            }
        }
        Ok(())
    }

    /// Sends records again that are dead, skipped or waiting, in one write to the store.
    ///
    /// # Errors
    /// One of them has no delivery; then nothing is changed.
    pub fn resend(&mut self, numbers: &[u64], now: Timestamp) -> Result<Vec<Delivery>, Error> {
        self.reload_if_stale()?;
        let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
        let mut deliveries = numbers.iter().map(|number| self.known(*number)).collect::<Result<Vec<Delivery>, Error>>()?;
        // Those of the window that is being sent go with it, at once.
        let alone: BTreeSet<u64> = numbers.into_iter().filter(|number| self.place_in_window(*number).is_none()).collect();
        for delivery in &mut deliveries {
            match delivery.state {
                DeliveryState::Dead => self.marks.take_dead(1),
                DeliveryState::Skipped => self.marks.skipped -= 1,
                DeliveryState::Pending
                | DeliveryState::Sent
                | DeliveryState::Accepted
                | DeliveryState::Confirmed
                | DeliveryState::Retrying => {}
            }
            delivery.state = DeliveryState::Retrying;
            delivery.attempts = 0;
            delivery.next_attempt = now.nanos();
        }
        let stored: Vec<Delivery> = deliveries.iter().filter(|delivery| alone.contains(&delivery.number)).cloned().collect();
        self.keep(&stored, &[])?;
        stored.into_iter().for_each(|delivery| self.note(delivery));
        self.hurry();
        Ok(deliveries)
    }

    /// Skips records, with a reason, in one write to the store.
    ///
    /// # Errors
    /// One of them has no delivery; then nothing is changed.
    pub fn skip(&mut self, numbers: &[u64], reason: &str, now: Timestamp) -> Result<Vec<Delivery>, Error> {
        self.reload_if_stale()?;
        let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
        let mut deliveries = numbers.iter().map(|number| self.known(*number)).collect::<Result<Vec<Delivery>, Error>>()?;
        for delivery in deliveries.iter_mut().filter(|delivery| delivery.state != DeliveryState::Skipped) {
            if delivery.state == DeliveryState::Dead {
                self.marks.take_dead(1);
            }
            self.marks.skipped += 1;
            delivery.state = DeliveryState::Skipped;
            delivery.tried_last = now.nanos();
            reason.clone_into(&mut delivery.answer);
        }
        self.keep(&deliveries, &[])?;
        for delivery in &deliveries {
            if let Some(at) = self.place_in_window(delivery.number)
                && let Some(under_way) = &mut self.under_way
            {
                under_way.left.remove(at);
            }
            self.note(delivery.clone());
        }
        if self.under_way.as_ref().is_some_and(|under_way| under_way.left.is_empty()) {
            // Nothing is sent any more: the window ends without waiting.
            self.hurry();
        }
        Ok(deliveries)
    }

    /// Ends the pause before the next attempt, and the wait for more records.
    pub fn hurry(&mut self) {
        self.quiet_until = Timestamp::MIN;
        self.gathered_at = self.gathered_at.map(|_| Timestamp::MIN);
    }

    /// Sends the window that fails as a whole again, at once. Returns the number of its records.
    ///
    /// # Errors
    /// The marks cannot be stored.
    pub fn resend_window(&mut self) -> Result<u64, Error> {
        self.reload_if_stale()?;
        let left = self.left().iter().map(|span| span.until - span.first).sum();
        self.keep(&[], &[])?;
        self.hurry();
        Ok(left)
    }

    /// Returns the delivery of a record that has one of its own, or is in the window that is being
    /// sent.
    fn known(&self, number: u64) -> Result<Delivery, Error> {
        if let Some(own) = self.shelf.delivery(number)? {
            return Ok(own);
        }
        let none =
            || Error::new(Kind::Invalid, format!("record {number} was accepted or waits for its turn; nothing needs to be done"));
        let at = self.place_in_window(number).ok_or_else(none)?;
        let under_way = self.under_way.as_ref().ok_or_else(none)?;
        self.in_window(under_way, at)
    }

    /// Returns the index, among those left in the window that is being sent, of a record.
    fn place_in_window(&self, number: u64) -> Option<usize> {
        let UnderWay { window, left, .. } = self.under_way.as_ref()?;
        left.binary_search_by_key(&number, |place| window.get(*place).number).ok()
    }

    /// Returns a record of the window as a delivery of its own.
    fn in_window(&self, under_way: &UnderWay, at: usize) -> Result<Delivery, Error> {
        let (marks, record) = (&self.marks, under_way.window.get(under_way.left[at]));
        let names = record.names()?;
        Ok(Delivery {
            number: record.number,
            record_id: names.record_id,
            meter: names.meter,
            state: if marks.failing_since.is_some() { DeliveryState::Retrying } else { DeliveryState::Sent },
            attempts: marks.attempts,
            tried_first: marks.sent_at,
            tried_last: marks.tried_last(),
            next_attempt: self.quiet_until.nanos(),
            in_doubt: under_way.in_doubt,
            answer: marks.answer.clone(),
            history: marks.history.clone(),
        })
    }
}
