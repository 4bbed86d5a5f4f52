//! Sums of records, by meter type and period.
//!
//! A period of a meter is flushed again when late events change it, as the next revision, whose
//! value replaces the previous one. So values of revisions are not added to each other: a revision
//! adds its delta. The records at a target are added up in the same way, by the newest revision
//! that it has of each period.

use std::collections::BTreeMap;

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Part;
use crate::outbox::Outgoing;
use crate::{Error, Kind};

/// The maximum of periods, with a newest revision that the target lacks, that a comparison follows:
/// some hundred megabytes.
const BEHIND_MAX: usize = 2_000_000;

/// Sums of one meter type and period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub flushed: Amount,
    /// The records that the target has unchanged.
    pub held: Amount,
    /// Number of records that the target lacks.
    pub missing: u64,
    /// Number of records that the target has with other content.
    pub different: u64,
    /// Number of missing records that a person skipped.
    pub known: u64,
}

impl Sums {
    pub(super) fn flush(&mut self, facts: &Facts<'_>) {
        self.flushed.count(facts);
        self.flushed.value.add(facts.change());
    }
}

/// A number of records and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub records: u64,
    /// Revisions of an earlier record among them.
    pub revisions: u64,
    /// The sum of the values of the newest revisions.
    pub value: Total,
}

impl Amount {
    pub(super) fn count(&mut self, facts: &Facts<'_>) {
        self.records += 1;
        self.revisions += u64::from(facts.meta.revision > 0);
    }
}

/// A sum of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total(Option<Decimal>);

impl Default for Total {
    fn default() -> Total {
        Total(Some(Decimal::ZERO))
    }
}

impl Total {
    /// Returns the sum; `None` if it has more than 38 digits.
    pub fn get(self) -> Option<Decimal> {
        self.0
    }

    pub(super) fn add(&mut self, change: Decimal) {
        self.0 = self.0.and_then(|sum| sum.add(change));
    }
}

/// The fields of a record that a comparison needs.
#[derive(Deserialize)]
pub(super) struct Facts<'a> {
    id: Uuid,
    #[serde(rename = "meterTypeName")]
    pub(super) meter_type: String,
    #[serde(rename = "periodStart")]
    pub(super) start: Option<String>,
    #[serde(rename = "periodEnd")]
    pub(super) end: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(rename = "meterMetaData", borrow)]
    meta: Meta<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(default)]
    revision: u32,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(record: &Outgoing<'a>) -> Result<Facts<'a>, Error> {
        let wrong = |why: serde_json::Error| Error::new(Kind::Corrupt, format!("record {} cannot be read: {why}", record.number));
        serde_json::from_slice(record.json).map_err(wrong)
    }

    pub(super) fn is_in(&self, part: &Part) -> bool {
        let end = instant(self.end.as_deref()).unwrap_or(Timestamp::MAX);
        // A period without end is in every range without end.
        (part.ends_from <= end && end < part.ends_before) || (end == Timestamp::MAX && part.ends_before == Timestamp::MAX)
    }

    fn value(&self) -> Decimal {
        number(Some(self.value)).unwrap_or_default()
    }

    /// Returns the change of the period's sum.
    fn change(&self) -> Decimal {
        match self.meta.revision {
            0 => self.value(),
            _ => number(self.meta.delta).unwrap_or_default(),
        }
    }
}

fn number(raw: Option<&RawValue>) -> Option<Decimal> {
    decimal::parse(raw?.get().as_bytes()).ok()
}

fn instant(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text?.as_bytes())
}

/// A period of a meter.
type Chain = (Uuid, Option<Timestamp>, Option<Timestamp>);

/// The periods of which the target lacks the newest revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Periods whose newest revision so far is missing, and the value of the newest one that is
    /// there.
    behind: BTreeMap<Chain, Decimal>,
}

impl Standing {
    /// Returns by how much a record changes the sum at the target. Revisions of a period must be
    /// passed in order.
    pub(super) fn change(&mut self, facts: &Facts<'_>, is_held: bool) -> Result<Decimal, Error> {
        let (value, change) = (facts.value(), facts.change());
        if is_held && self.behind.is_empty() {
            return Ok(change);
        }
        let chain = (facts.id, instant(facts.start.as_deref()), instant(facts.end.as_deref()));
        let less = |one: Decimal, other: Decimal| one.sub(other).unwrap_or_default();
        if is_held {
            return Ok(self.behind.remove(&chain).map_or(change, |held| less(value, held)));
        }
        self.behind.entry(chain).or_insert_with(|| less(value, change));
        match self.behind.len() > BEHIND_MAX {
            true => {
                let message =
                    format!("the target lacks more than {BEHIND_MAX} periods; compare a shorter time, with `from` and `to`");
                Err(Error::new(Kind::Invalid, message))
            }
            false => Ok(Decimal::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(meter: u8, revision: u32, value: &str, delta: Option<&str>) -> String {
        let delta = delta.map(|delta| format!(r#""delta":{delta},"#)).unwrap_or_default();
        format!(
            r#"{{"id":"00000000-0000-4000-8000-0000000000{meter:02}","meterMetaData":{{{delta}"revision":{revision}}},"meterTypeName":"t","periodEnd":"2026-02-01T00:00:00.000Z","periodStart":"2026-01-01T00:00:00.000Z","value":{value}}}"#
        )
    }

    /// Returns the sums of flushed records and of those at the target; the flag says whether it has
    /// a record.
    fn sums(records: &[(String, bool)]) -> (String, String) {
        let (mut sums, mut standing) = (Sums::default(), Standing::default());
        for (json, is_held) in records {
            let facts = Facts::of(&Outgoing { number: 0, json: json.as_bytes() }).unwrap();
            sums.held.value.add(standing.change(&facts, *is_held).unwrap());
            sums.flush(&facts);
        }
        let shown = |total: Total| total.get().unwrap().to_string();
        (shown(sums.flushed.value), shown(sums.held.value))
    }

    #[test]
    fn of_each_period_the_newest_revision_counts() {
        let chain = |held: [bool; 3]| {
            let records = [record(1, 0, "74.3", None), record(1, 1, "100.05", Some("25.75")), record(1, 2, "115", Some("14.95"))];
            let mut records: Vec<_> = records.into_iter().zip(held).collect();
            // Another meter between them changes nothing.
            records.insert(1, (record(2, 0, "1000", None), true));
            sums(&records)
        };
        for (held, expected) in [
            ([true, true, true], "1115"),
            ([true, true, false], "1100.05"),
            ([true, false, false], "1074.3"),
            ([true, false, true], "1115"),
            ([false, true, true], "1115"),
            ([false, false, true], "1115"),
            ([false, true, false], "1100.05"),
            ([false, false, false], "1000"),
        ] {
            assert_eq!(chain(held), ("1115".to_owned(), expected.to_owned()), "{held:?}");
        }
    }

    #[test]
    fn a_value_that_goes_down_or_is_not_there_counts_as_it_is() {
        let records =
            [(record(1, 0, "null", None), true), (record(1, 1, "5", Some("5")), true), (record(1, 2, "3", Some("-2")), true)];
        assert_eq!(sums(&records), ("3".to_owned(), "3".to_owned()));
    }
}
