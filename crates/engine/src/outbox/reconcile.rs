//! What was flushed against what a target holds.
//!
//! Records are read back from the target and compared one by one, and added up by meter
//! type and period, as a person at the other end would. What is missing or different can
//! be mended: it is sent again under its key.

use std::collections::BTreeMap;

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Delivery, DeliveryState, Held, Outbox, Outgoing, Records, Shelf, Target, WindowLimits};
use crate::{Error, Kind};

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

/// Sums of one meter type and period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Records that were flushed.
    pub flushed: u64,
    /// The sum of their values.
    pub flushed_value: Decimal,
    /// Records the target holds as they were made.
    pub held: u64,
    /// The sum of their values.
    pub held_value: Decimal,
    /// Records it does not hold.
    pub missing: u64,
    /// Records it holds otherwise.
    pub different: u64,
    /// Of those missing: they wait, are dead or were left out, and that is known.
    pub known: u64,
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
    /// The target cannot be asked: that it accepted is all that is known.
    pub unreadable: bool,
}

impl Report {
    /// Whether the target holds what it should.
    pub fn agrees(&self) -> bool {
        self.difference_count == 0
    }
}

#[derive(Deserialize)]
struct Facts<'a> {
    #[serde(rename = "meterTypeName")]
    meter_type: String,
    #[serde(rename = "periodStart")]
    start: Option<String>,
    #[serde(rename = "periodEnd")]
    end: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
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
            let facts = all.iter().map(|record| facts(record)).collect::<Result<Vec<_>, _>>()?;
            let chosen: Vec<usize> = (0..all.len()).filter(|at| facts[*at].is_in(&part)).collect();
            let asked: Vec<Outgoing<'_>> = chosen.iter().map(|at| all[*at]).collect();
            if asked.is_empty() {
                continue;
            }
            let held = match report.unreadable {
                true => vec![Held::Same; asked.len()],
                false => target.read_back(&asked)?,
            };
            for ((at, record), held) in chosen.iter().zip(&asked).zip(held) {
                self.weigh(&facts[*at], record, held, &mut report)?;
            }
        }
        Ok(report)
    }

    fn weigh(&self, facts: &Facts<'_>, record: &Outgoing<'_>, held: Held, report: &mut Report) -> Result<(), Error> {
        let name = |text: &Option<String>| text.clone().unwrap_or_else(|| "never".to_owned());
        let sums = report.periods.entry((facts.meter_type.clone(), name(&facts.start), name(&facts.end))).or_default();
        let value = decimal::parse(facts.value.get().as_bytes()).unwrap_or_default();
        let add = |sum: Decimal| sum.add(value).unwrap_or(sum);
        sums.flushed += 1;
        sums.flushed_value = add(sums.flushed_value);
        // A record with a delivery of its own is not at rest: that it is not there is known.
        let own = self.shelf.delivery(record.number)?;
        let what = match held {
            Held::Same if !report.unreadable || own.is_none() => {
                sums.held += 1;
                sums.held_value = add(sums.held_value);
                return Ok(());
            }
            Held::Same | Held::Missing => {
                sums.missing += 1;
                match own {
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

fn facts<'a>(record: &Outgoing<'a>) -> Result<Facts<'a>, Error> {
    let wrong = |why: serde_json::Error| Error::new(Kind::Corrupt, format!("record {} is none: {why}", record.number));
    serde_json::from_slice(record.json).map_err(wrong)
}

impl Facts<'_> {
    fn is_in(&self, part: &Part) -> bool {
        let end = self.end.as_deref().and_then(|end| Timestamp::parse_rfc3339(end.as_bytes())).unwrap_or(Timestamp::MAX);
        // A period without end is in every range that has none.
        (part.ends_from <= end && end < part.ends_before) || (end == Timestamp::MAX && part.ends_before == Timestamp::MAX)
    }
}
