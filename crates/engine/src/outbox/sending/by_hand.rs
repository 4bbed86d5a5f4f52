//! Actions of people on deliveries.

use std::collections::BTreeSet;

use flowmeter_core::time::Timestamp;

use super::super::{Delivery, DeliveryState, Shelf};
use super::Outbox;
use crate::{Error, Kind};

impl<S: Shelf> Outbox<S> {
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
        for delivery in &mut deliveries {
            match delivery.state {
                DeliveryState::Dead => self.marks.dead -= 1,
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
        self.keep(&deliveries, &[])?;
        deliveries.iter().for_each(|delivery| self.note(delivery.clone()));
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
                self.marks.dead -= 1;
            }
            self.marks.skipped += 1;
            delivery.state = DeliveryState::Skipped;
            delivery.tried_last = now.nanos();
            reason.clone_into(&mut delivery.answer);
        }
        self.keep(&deliveries, &[])?;
        deliveries.iter().for_each(|delivery| self.note(delivery.clone()));
        Ok(deliveries)
    }

    /// Ends the pause before the next attempt.
    pub fn hurry(&mut self) {
        self.quiet_until = Timestamp::MIN;
    }

    fn known(&self, number: u64) -> Result<Delivery, Error> {
        let missing =
            || Error::new(Kind::Invalid, format!("record {number} was accepted or waits for its turn; nothing needs to be done"));
        self.shelf.delivery(number)?.ok_or_else(missing)
    }
}
