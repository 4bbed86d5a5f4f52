//! What a person does about a delivery.

use flowmeter_core::time::Timestamp;

use super::super::{Delivery, DeliveryState, Shelf};
use super::Outbox;
use crate::{Error, Kind};

impl<S: Shelf> Outbox<S> {
    /// Sends records again, in one write to the shelf: those that are dead, were left out, or
    /// wait.
    ///
    /// # Errors
    /// One of them has no delivery; then nothing is changed.
    pub fn resend(&mut self, numbers: &[u64], now: Timestamp) -> Result<Vec<Delivery>, Error> {
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

    /// Leaves a record out, for a reason.
    ///
    /// # Errors
    /// There is no such delivery.
    pub fn skip(&mut self, number: u64, reason: &str, now: Timestamp) -> Result<Delivery, Error> {
        let mut delivery = self.known(number)?;
        if delivery.state == DeliveryState::Skipped {
            return Ok(delivery);
        }
        if delivery.state == DeliveryState::Dead {
            self.marks.dead -= 1;
        }
        self.marks.skipped += 1;
        delivery.state = DeliveryState::Skipped;
        delivery.tried_last = now.nanos();
        reason.clone_into(&mut delivery.answer);
        self.keep(std::slice::from_ref(&delivery), &[])?;
        self.note(delivery.clone());
        Ok(delivery)
    }

    /// Does not wait any longer before it tries again.
    pub fn hurry(&mut self) {
        self.quiet_until = Timestamp::MIN;
    }

    fn known(&self, number: u64) -> Result<Delivery, Error> {
        let missing =
            || Error::new(Kind::Invalid, format!("record {number} has gone or waits for its turn; there is nothing to do"));
        self.shelf.delivery(number)?.ok_or_else(missing)
    }
}
