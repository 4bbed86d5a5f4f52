//! One target's outbox at work: windows sent, answers weighed, what did not go tried again.

mod attempt;
mod by_hand;
mod retry;

use std::collections::BTreeMap;

use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::{
    DEAD_MAX, Delivery, DeliveryState, Kept, Marks, Patience, RETRYING_MAX, Records, Shelf, Target, Window, WindowLimits,
};
use crate::{Error, Kind};

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was done; there may be more.
    Worked,
    /// There is nothing to send.
    Idle,
    /// There is nothing to do before an instant, unless new records come.
    Until(Timestamp),
    /// So much was refused that a person must look first.
    Halted,
}

/// One target's outbox.
pub struct Outbox<S> {
    pub(super) shelf: S,
    pub(super) marks: Marks,
    /// Deliveries that are tried again, by number.
    retrying: BTreeMap<u64, Delivery>,
    /// How many of them there are of each meter.
    waiting_meters: BTreeMap<Uuid, u32>,
    under_way: Option<UnderWay>,
    /// Before this instant the target is left alone.
    quiet_until: Timestamp,
    limits: WindowLimits,
    patience: Patience,
    /// What is kept is not what is here: something could not be kept.
    is_astray: bool,
}

/// The window that is being sent.
struct UnderWay {
    window: Window,
    /// Places of records that still have to go, in order.
    left: Vec<usize>,
    /// Since when the target may have some of them.
    in_doubt: Option<i64>,
}

impl<S: Shelf> Outbox<S> {
    /// Goes on from what was kept.
    pub fn new(shelf: S, kept: Kept, limits: WindowLimits, patience: Patience) -> Outbox<S> {
        let mut outbox = Outbox {
            shelf,
            marks: Marks::default(),
            retrying: BTreeMap::new(),
            waiting_meters: BTreeMap::new(),
            under_way: None,
            quiet_until: Timestamp::MIN,
            limits,
            patience,
            is_astray: false,
        };
        outbox.go_on_from(kept);
        outbox
    }

    fn go_on_from(&mut self, kept: Kept) {
        self.marks = kept.marks;
        self.retrying.clear();
        self.waiting_meters.clear();
        self.under_way = None;
        self.is_astray = false;
        kept.retrying.into_iter().for_each(|delivery| self.note(delivery));
    }

    /// Who keeps it.
    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    /// The same, to be changed.
    pub fn shelf_mut(&mut self) -> &mut S {
        &mut self.shelf
    }

    /// How far the target has come.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How many deliveries are tried again.
    pub fn retrying(&self) -> usize {
        self.retrying.len()
    }

    /// The instant before which the target is left alone.
    pub fn quiet_until(&self) -> Timestamp {
        self.quiet_until
    }

    /// Does the next thing there is to do, with records up to a number.
    ///
    /// # Errors
    /// What belongs to us fails: records cannot be read, marks not be kept. What the target
    /// does wrong is no error, but is in the marks.
    pub fn step(
        &mut self,
        target: &mut dyn Target,
        records: &mut dyn Records,
        end: u64,
        now: Timestamp,
    ) -> Result<Progress, Error> {
        if self.is_astray {
            // As after a crash: what was sent and not kept is sent again.
            self.go_on_from(self.shelf.kept()?);
        }
        if now < self.quiet_until {
            return Ok(Progress::Until(self.quiet_until));
        }
        if self.marks.dead >= DEAD_MAX {
            return Ok(Progress::Halted);
        }
        if self.retry(target, records, now)? {
            return Ok(Progress::Worked);
        }
        let under_way = match self.under_way.take() {
            Some(under_way) => Some(under_way),
            None => self.begin(records, end, now)?,
        };
        let Some(mut under_way) = under_way else { return Ok(self.nothing_to_send()) };
        self.stand_aside(&mut under_way, now)?;
        let going = self.going(&mut under_way)?;
        if going.is_empty() && !under_way.left.is_empty() {
            // All of them wait behind others, and there is no room to let them wait apart.
            self.under_way = Some(under_way);
            return Ok(self.nothing_to_send());
        }
        if let Some(done) = self.attempt(under_way, &going, target, now)? {
            records.give_back(done);
        }
        Ok(Progress::Worked)
    }

    fn nothing_to_send(&self) -> Progress {
        self.next_due().map_or(Progress::Idle, Progress::Until)
    }

    /// Loads the window that was under way, or opens the next.
    fn begin(&mut self, records: &mut dyn Records, end: u64, now: Timestamp) -> Result<Option<UnderWay>, Error> {
        let resumed = self.marks.is_under_way();
        let until = if resumed { self.marks.sent } else { end };
        let limits = if resumed { WindowLimits { records: usize::MAX, bytes: usize::MAX } } else { self.limits };
        let window = records.read(self.marks.next, until, limits)?;
        if resumed && window.span().until < until {
            let message = format!("records {} to {until} were being sent and are not there", window.span().until);
            return Err(Error::new(Kind::Corrupt, message));
        }
        if window.span().until == self.marks.next {
            return Ok(None);
        }
        let mut left: Vec<usize> = Vec::with_capacity(window.len());
        for (place, record) in window.iter().enumerate() {
            // Of a window that is sent again, some have a delivery of their own already.
            if !resumed || self.shelf.delivery(record.number)?.is_none() {
                left.push(place);
            }
        }
        if !resumed {
            self.marks.sent = window.span().until;
            self.marks.sent_at = now.nanos();
            // Where it ends is kept before anything of it goes.
            self.keep(&[], &[])?;
        }
        Ok(Some(UnderWay { window, left, in_doubt: resumed.then_some(self.marks.sent_at) }))
    }

    /// Records whose meter waits for an earlier one wait apart, as far as there is room.
    fn stand_aside(&mut self, under_way: &mut UnderWay, now: Timestamp) -> Result<(), Error> {
        // Names cost time: they are read while something waits.
        if self.waiting_meters.is_empty() {
            return Ok(());
        }
        let (mut behind, mut left) = (Vec::new(), Vec::new());
        for place in std::mem::take(&mut under_way.left) {
            let record = under_way.window.get(place);
            if self.retrying.len() + behind.len() < RETRYING_MAX {
                let names = record.names()?;
                if self.waiting_meters.contains_key(&names.meter) {
                    // Sent before a crash, it may be there.
                    let in_doubt = under_way.in_doubt;
                    behind.push(Delivery { in_doubt, ..Delivery::behind(record.number, names, now) });
                    continue;
                }
            }
            left.push(place);
        }
        under_way.left = left;
        if behind.is_empty() {
            return Ok(());
        }
        self.keep(&behind, &[])?;
        behind.into_iter().for_each(|delivery| self.note(delivery));
        Ok(())
    }

    /// Takes out the places of records that may go now; those that are held up stay.
    fn going(&self, under_way: &mut UnderWay) -> Result<Vec<usize>, Error> {
        let left = std::mem::take(&mut under_way.left);
        if self.retrying.len() < RETRYING_MAX {
            return Ok(left);
        }
        let mut going = Vec::new();
        for place in left {
            match self.waiting_meters.contains_key(&under_way.window.get(place).names()?.meter) {
                true => under_way.left.push(place),
                false => going.push(place),
            }
        }
        Ok(going)
    }

    pub(super) fn keep(&mut self, changed: &[Delivery], gone: &[u64]) -> Result<(), Error> {
        // Nothing is believed that is not kept.
        self.is_astray = true;
        self.shelf.keep(&self.marks, changed, gone)?;
        self.is_astray = false;
        Ok(())
    }

    /// Knows of a delivery as it is now.
    pub(super) fn note(&mut self, delivery: Delivery) {
        self.forget(delivery.number);
        if delivery.state == DeliveryState::Retrying {
            *self.waiting_meters.entry(delivery.meter).or_default() += 1;
            self.retrying.insert(delivery.number, delivery);
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(known) = self.retrying.remove(&number) else { return };
        if let Some(count) = self.waiting_meters.get_mut(&known.meter) {
            *count -= 1;
            if *count == 0 {
                self.waiting_meters.remove(&known.meter);
            }
        }
    }
}
