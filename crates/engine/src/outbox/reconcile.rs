//! What was flushed against what a target holds.
//!
//! Records are read back from the target and compared one by one, and added up by meter
//! type and period, as a person at the other end would: of each meter and period the
//! newest revision counts ([`sums`]). What is missing or different can be mended: it is
//! sent again under its key.

mod sums;

use std::collections::BTreeMap;

use flowmeter_core::time::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Delivery, DeliveryState, Held, Outbox, Outgoing, Records, Shelf, Target, WindowLimits};
use crate::Error;
pub use sums::{Amount, Sums};
use sums::{Facts, Standing};

/// Differences a report names; beyond, it only counts.
const NAMED_MAX: usize = 1_000;

/// Which records are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first record.
    pub first: u64,
    /// Behind the last.
    pub until: u64,
    /// Only records whose period ends at or after this instant.
    pub ends_from: Timestamp,
    /// Only records whose period ends before this instant.
    pub ends_before: Timestamp,
}

/// One record that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The record.
    pub record_id: Uuid,
    /// Its number.
    #[serde(skip)]
    pub number: u64,
    /// What is wrong.
    pub what: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By meter type, period start and period end.
    pub periods: BTreeMap<(String, String, String), Sums>,
    /// What is not as it should be, as far as it is named.
    pub differences: Vec<Difference>,
    /// How many.
    pub difference_count: u64,
    /// The target cannot be read back: only its acceptance is known.
    pub unreadable: bool,
    /// How far the target's sums are behind the flushed ones.
    standing: Standing,
}

impl Report {
    /// Whether no difference was found. Of a target that was not asked there is none.
    pub fn agrees(&self) -> bool {
        self.difference_count == 0
    }

    /// Whether the target holds what it should; `None` if it was not asked.
    pub fn verdict(&self) -> Option<bool> {
        (!self.unreadable).then(|| self.agrees())
    }
}

impl<S: Shelf> Outbox<S> {
    /// Compares a part of the records with what the target holds.
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
                    Some(own) => format!("is not there: {}: {}", own.state.name(), own.answer),
                    None => "is not there, although the target accepted it".to_owned(),
                }
            }
            Held::Different(what) => {
                sums.different += 1;
                format!("is there, but not as it was made: {what}")
            }
        };
        report.difference_count += 1;
        if report.differences.len() < NAMED_MAX {
            report.differences.push(Difference { record_id: record.names()?.record_id, number: record.number, what });
        }
        Ok(())
    }

    /// Sends again what a comparison named; how many that is.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn mend(&mut self, report: &Report, records: &mut dyn Records, now: Timestamp) -> Result<u64, Error> {
        let mut changed = Vec::new();
        for difference in &report.differences {
            let window =
                records.read(difference.number, difference.number + 1, WindowLimits { records: 1, bytes: usize::MAX })?;
            let Some(record) = window.iter().next() else { continue };
            let own = self.shelf.delivery(record.number)?;
            match own.as_ref().map(|own| own.state) {
                Some(DeliveryState::Dead) => self.marks.dead -= 1,
                // It is under way already.
                Some(DeliveryState::Retrying) => continue,
                Some(_) => {}
                None => self.marks.accepted = self.marks.accepted.saturating_sub(1),
            }
            let answer = format!("sent again: the record {}", difference.what);
            changed.push(Delivery { answer, ..Delivery::behind(record.number, record.names()?, now) });
        }
        self.keep(&changed, &[])?;
        let count = changed.len() as u64;
        changed.into_iter().for_each(|delivery| self.note(delivery));
        self.hurry();
        Ok(count)
    }

    /// Compares what was not confirmed yet; when the target holds it, it is confirmed. Of a
    /// target that cannot be asked, its acceptance is the confirmation.
    ///
    /// # Errors
    /// As for [`Outbox::compare`].
    pub fn confirm(&mut self, target: &mut dyn Target, records: &mut dyn Records) -> Result<Report, Error> {
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

/// Records that are asked for at once.
const COMPARED_AT_ONCE: usize = 10_000;

impl Report {
    fn sums(&mut self, facts: &Facts<'_>) -> &mut Sums {
        let name = |text: &Option<String>| text.clone().unwrap_or_else(|| "never".to_owned());
        self.periods.entry((facts.meter_type.clone(), name(&facts.start), name(&facts.end))).or_default()
    }
}
