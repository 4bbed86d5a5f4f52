//! The outbox of one target: sends windows, evaluates answers and retries failed records.

mod attempt;
mod by_hand;
mod retry;

use std::collections::BTreeMap;

use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::{
    DEAD_MAX, Delivery, DeliveryState, Kept, Marks, Patience, RETRYING_MAX, Records, Shelf, Span, Target, Window, WindowLimits,
};
use crate::{Error, Kind};

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was done; there may be more.
    Worked,
    /// Nothing needs to be sent.
    Idle,
    /// Nothing needs to be done before an instant, unless new records arrive.
    Until(Timestamp),
    /// So many records were refused that a person must look first.
    Halted,
}

/// The outbox of one target.
pub struct Outbox<S> {
    pub(super) shelf: S,
    pub(super) marks: Marks,
    /// Deliveries that are retried, by number.
    retrying: BTreeMap<u64, Delivery>,
    /// Number of retried deliveries of each meter.
    waiting_meters: BTreeMap<Uuid, u32>,
    under_way: Option<UnderWay>,
    /// No attempt is made before this instant.
    quiet_until: Timestamp,
    limits: WindowLimits,
    patience: Patience,
    /// Nanoseconds for which the first record of a window waits for others.
    gather: i64,
    /// The instant at which the next window is full, whatever it has; `None`: no record waits.
    gathered_at: Option<Timestamp>,
    /// The last write to the shelf failed: reload before anything else.
    must_reload: bool,
}

/// The window that is being sent.
struct UnderWay {
    window: Window,
    /// Indexes of records that still need to be sent, in order.
    left: Vec<usize>,
    /// Time since when the target may have some of them.
    in_doubt: Option<i64>,
}

impl<S: Shelf> Outbox<S> {
    /// Resumes from the stored state.
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
            gather: 0,
            gathered_at: None,
            must_reload: false,
        };
        outbox.resume_from(kept);
        outbox
    }

    /// Lets the first record of a window wait for others: fewer and larger windows.
    #[must_use]
    pub fn gathering(self, nanos: i64) -> Outbox<S> {
        Outbox { gather: nanos, ..self }
    }

    fn resume_from(&mut self, kept: Kept) {
        self.marks = kept.marks;
        self.retrying.clear();
        self.waiting_meters.clear();
        self.under_way = None;
        self.gathered_at = None;
        self.must_reload = false;
        kept.retrying.into_iter().for_each(|delivery| self.note(delivery));
    }

    /// Reads the stored state again if the last write failed, as after a crash: records that were
    /// sent and not recorded are sent again.
    pub(super) fn reload_if_stale(&mut self) -> Result<(), Error> {
        if self.must_reload {
            self.resume_from(self.shelf.kept()?);
        }
        Ok(())
    }

    /// Returns the storage of the progress.
    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    /// Returns the store of the target's progress, to be changed.
    pub fn shelf_mut(&mut self) -> &mut S {
        &mut self.shelf
    }

    /// Returns the progress of the target.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Returns the number of retried deliveries.
    pub fn retrying(&self) -> usize {
        self.retrying.len()
    }

    /// Returns the numbers of the records that the window which is being sent still has to send.
    pub fn left(&self) -> Vec<Span> {
        let Some(UnderWay { window, left, .. }) = &self.under_way else {
            // After a restart the window is not loaded yet.
            let Marks { next, sent, .. } = self.marks;
            return if self.marks.is_under_way() { vec![Span { first: next, until: sent }] } else { Vec::new() };
        };
        let mut spans: Vec<Span> = Vec::new();
        for number in left.iter().map(|place| window.get(*place).number) {
            match spans.last_mut() {
                Some(span) if span.until == number => span.until += 1,
                _ => spans.push(Span { first: number, until: number + 1 }),
            }
        }
        spans
    }

    /// Returns the instant before which no attempt is made.
    pub fn quiet_until(&self) -> Timestamp {
        self.quiet_until
    }

    /// Takes the next step, with records up to a number.
    ///
    /// # Errors
    /// A failure on our side: records cannot be read, marks cannot be stored. Failures of the
    /// target are no errors; the marks have them.
    pub fn step(
        &mut self,
        target: &mut dyn Target,
        records: &mut dyn Records,
        end: u64,
        now: Timestamp,
    ) -> Result<Progress, Error> {
        self.reload_if_stale()?;
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
        self.set_aside(&mut under_way, now)?;
        let sendable = self.take_sendable(&mut under_way)?;
        if sendable.is_empty() && !under_way.left.is_empty() {
            // All of them wait behind others, and no more may wait on their own.
            self.under_way = Some(under_way);
            return Ok(self.nothing_to_send());
        }
        if let Some(done) = self.attempt(under_way, &sendable, target, now)? {
            records.give_back(done);
        }
        Ok(Progress::Worked)
    }

    fn nothing_to_send(&self) -> Progress {
        let next = self.next_due().into_iter().chain(self.gathered_at).min();
        next.map_or(Progress::Idle, Progress::Until)
    }

    /// Whether the records up to `end` still wait for others.
    fn is_gathering(&mut self, end: u64, now: Timestamp) -> bool {
        let waiting = end.saturating_sub(self.marks.next);
        if waiting == 0 {
            self.gathered_at = None;
            return false;
        }
        // A clock that is set back makes no wait longer.
        let longest = now.saturating_add(self.gather);
        let full_at = self.gathered_at.map_or(longest, |at| at.min(longest));
        self.gathered_at = Some(full_at);
        now < full_at && waiting < self.limits.records as u64
    }

    /// Loads the window that was being sent, or opens the next one.
    fn begin(&mut self, records: &mut dyn Records, end: u64, now: Timestamp) -> Result<Option<UnderWay>, Error> {
        let resumed = self.marks.is_under_way();
        if !resumed && self.gather > 0 && self.is_gathering(end, now) {
            return Ok(None);
        }
        let until = if resumed { self.marks.sent } else { end };
        let limits = if resumed { WindowLimits { records: usize::MAX, bytes: usize::MAX } } else { self.limits };
        let window = records.read(self.marks.next, until, limits)?;
        if resumed && window.span().until < until {
            let message = format!("records {} to {until} were being sent and do not exist", window.span().until);
            return Err(Error::new(Kind::Corrupt, message));
        }
        if window.span().until == self.marks.next {
            return Ok(None);
        }
        let mut left: Vec<usize> = Vec::with_capacity(window.len());
        for (place, record) in window.iter().enumerate() {
            // Some records of a resumed window have a delivery of their own already.
            if !resumed || self.shelf.delivery(record.number)?.is_none() {
                left.push(place);
            }
        }
        self.gathered_at = None;
        if !resumed {
            self.marks.sent = window.span().until;
            self.marks.sent_at = now.nanos();
            // The end of the window is stored before anything of it is sent.
            self.keep(&[], &[])?;
        }
        Ok(Some(UnderWay { window, left, in_doubt: resumed.then_some(self.marks.sent_at) }))
    }

    /// Gives a delivery of their own to records whose meter waits for an earlier one, up to the
    /// maximum.
    fn set_aside(&mut self, under_way: &mut UnderWay, now: Timestamp) -> Result<(), Error> {
        // Reading names takes time: do it only while something waits.
        if self.waiting_meters.is_empty() {
            return Ok(());
        }
        let (mut behind, mut left) = (Vec::new(), Vec::new());
        for place in std::mem::take(&mut under_way.left) {
            let record = under_way.window.get(place);
            if self.retrying.len() + behind.len() < RETRYING_MAX {
                let names = record.names()?;
                if self.waiting_meters.contains_key(&names.meter) {
                    // It was sent before a crash, so the target may have it.
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

    /// Takes out the indexes of records that may be sent now; the others stay.
    fn take_sendable(&self, under_way: &mut UnderWay) -> Result<Vec<usize>, Error> {
        let left = std::mem::take(&mut under_way.left);
        if self.retrying.len() < RETRYING_MAX {
            return Ok(left);
        }
        let mut sendable = Vec::new();
        for place in left {
            match self.waiting_meters.contains_key(&under_way.window.get(place).names()?.meter) {
                true => under_way.left.push(place),
                false => sendable.push(place),
            }
        }
        Ok(sendable)
    }

    pub(super) fn keep(&mut self, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error> {
        // Until the shelf confirms, treat the in-memory state as stale.
        self.must_reload = true;
        self.shelf.keep(&self.marks, changed, gone)?;
        self.must_reload = false;
        Ok(())
    }

    pub(super) fn note(&mut self, mut delivery: Delivery) {
        self.forget(delivery.number);
        // Attempts stay in the store: there may be many, with long answers.
        delivery.history = Vec::new();
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
