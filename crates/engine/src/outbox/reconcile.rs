//! The comparison of flushed records with those at a target.
//!
//! Records are read back from the target and compared one by one. They are also added up by meter
//! type and period, as a person at the other end would do it: of each meter and period the newest
//! revision counts ([`sums`]). Missing and different records can be sent again under their keys.

mod sums;

use std::collections::BTreeMap;

use flowmeter_core::time::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Delivery, DeliveryState, Held, Outbox, Outgoing, Records, Shelf, Target, WindowLimits};
use crate::Error;
pub use sums::{Amount, Sums};
use sums::{Facts, Standing};

/// The maximum of differences that a report lists; further ones are only counted.
const NAMED_MAX: usize = 1_000;

/// The records to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    /// The number after the last record.
    pub until: u64,
    /// Only records whose period ends at or after this instant.
    pub ends_from: Timestamp,
    /// Only records whose period ends before this instant.
    pub ends_before: Timestamp,
}

/// A record that the target lacks or has with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub record_id: Uuid,
    #[serde(skip)]
    pub number: u64,
    /// The difference, for people.
    pub what: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By meter type, period start and period end.
    pub periods: BTreeMap<(String, String, String), Sums>,
    /// The differences, up to a maximum.
    pub differences: Vec<Difference>,
    /// The number of all differences.
    pub difference_count: u64,
    /// The target cannot be read back: only its acceptance is known.
    pub unreadable: bool,
    /// How far the target's sums are behind the flushed ones.
    standing: Standing,
}

impl Report {
    /// Returns whether no difference was found; true for a target that was not asked.
    pub fn agrees(&self) -> bool {
        self.difference_count == 0
    }

    /// Returns whether the target has what it should; `None` if it was not asked.
    pub fn verdict(&self) -> Option<bool> {
        (!self.unreadable).then(|| self.agrees())
    }
}

impl<S: Shelf> Outbox<S> {
    /// Compares a part of the records with those at the target.
    ///
    /// # Errors
    /// Records cannot be read, or the target does not answer.
    pub fn compare(&self, target: &mut dyn Target, records: &mut dyn Records, part: Part) -> Result<Report, Error> {
        let mut report = Report { unreadable: !target.can_be_asked(), ..Report::default() };
        target.look_afresh();
        let mut next = part.first;
        let until = part.until.min(self.marks.next);
        while next < until {
            let window = records.read(next, until, WindowLimits { records: COMPARED_AT_ONCE, ..WindowLimits::default() })?;
            if window.span().until == next {
                break;
            }
            next = window.span().until;
            let all: Vec<Outgoing<'_>> = window.iter().collect();
            let facts = all.iter().map(Facts::of).collect::<Result<Vec<_>, _>>()?;
            let chosen: Vec<usize> = (0..all.len()).filter(|at| facts[*at].is_in(&part)).collect();
            let asked: Vec<Outgoing<'_>> = chosen.iter().map(|at| all[*at]).collect();
            if asked.is_empty() {
                continue;
            }
            if report.unreadable {
                chosen.iter().for_each(|at| report.sums(&facts[*at]).flush(&facts[*at]));
                continue;
            }
            let held = target.read_back(&asked)?;
            for ((at, record), held) in chosen.iter().zip(&asked).zip(held) {
                self.weigh(&facts[*at], record, held, &mut report)?;
            }
        }
        Ok(report)
    }

    fn weigh(&self, facts: &Facts<'_>, record: &Outgoing<'_>, held: Held, report: &mut Report) -> Result<(), Error> {
        let is_held = held == Held::Same;
        let change = report.standing.change(facts, is_held)?;
        let sums = report.sums(facts);
        sums.flush(facts);
        sums.held.value.add(change);
        let what = match held {
            Held::Same => {
                sums.held.count(facts);
                return Ok(());
            }
            Held::Missing => {
                sums.missing += 1;
                // A record with a delivery of its own is still being sent, or was skipped.
                match self.shelf.delivery(record.number)? {
                    Some(own) if own.state == DeliveryState::Skipped => {
                        sums.known += 1;
                        return Ok(());
                    }
                    Some(own) => format!("is missing: {}: {}", own.state.name(), own.answer),
                    None => "is missing, although the target accepted it".to_owned(),
                }
            }
            Held::Different(what) => {
                sums.different += 1;
                format!("is at the target with other content: {what}")
            }
        };
        report.difference_count += 1;
        if report.differences.len() < NAMED_MAX {
            report.differences.push(Difference { record_id: record.names()?.record_id, number: record.number, what });
        }
        Ok(())
    }

    /// Sends the differences of a report again and returns their number.
    ///
    /// # Errors
    /// The deliveries cannot be stored.
    pub fn mend(&mut self, report: &Report, records: &mut dyn Records, now: Timestamp) -> Result<u64, Error> {
        self.reload_if_stale()?;
        let (mut changed, mut dead, mut accepted) = (Vec::new(), 0, 0);
        for difference in &report.differences {
            let window =
                records.read(difference.number, difference.number + 1, WindowLimits { records: 1, bytes: usize::MAX })?;
            let Some(record) = window.iter().next() else { continue };
            let own = self.shelf.delivery(record.number)?;
            match own.as_ref().map(|own| own.state) {
                Some(DeliveryState::Dead) => dead += 1,
                // It is being retried already.
                Some(DeliveryState::Retrying) => continue,
                Some(_) => {}
                None => accepted += 1,
            }
            let answer = format!("sent again: the record {}", difference.what);
            changed.push(Delivery { answer, ..Delivery::behind(record.number, record.names()?, now) });
        }
        self.marks.take_dead(dead);
        self.marks.accepted = self.marks.accepted.saturating_sub(accepted);
        self.keep(&changed, &[])?;
        let count = changed.len() as u64;
        changed.into_iter().for_each(|delivery| self.note(delivery));
        self.hurry();
        Ok(count)
    }

    /// Compares the records that are not confirmed yet, and confirms them if the target has them. A
    /// target that cannot be read confirms by its acceptance.
    ///
    /// # Errors
    /// As for [`Outbox::compare`].
    pub fn confirm(&mut self, target: &mut dyn Target, records: &mut dyn Records) -> Result<Report, Error> {
        self.reload_if_stale()?;
        let part =
            Part { first: self.marks.confirmed, until: self.marks.next, ends_from: Timestamp::MIN, ends_before: Timestamp::MAX };
        let report = match target.can_be_asked() {
            true => self.compare(target, records, part)?,
            false => Report { unreadable: true, ..Report::default() },
        };
        if report.agrees() {
            self.marks.confirmed = self.marks.next;
            self.keep(&[], &[])?;
        }
        Ok(report)
    }
}

/// Records that are read back at a time.
const COMPARED_AT_ONCE: usize = 10_000;

impl Report {
    fn sums(&mut self, facts: &Facts<'_>) -> &mut Sums {
        let name = |text: &Option<String>| text.clone().unwrap_or_else(|| "never".to_owned());
        self.periods.entry((facts.meter_type.clone(), name(&facts.start), name(&facts.end))).or_default()
    }
}
