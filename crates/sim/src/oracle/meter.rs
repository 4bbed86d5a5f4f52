//! What the oracle knows of the meters of a key: every event that counted, every period that
//! was flushed, for ever, whether there is a meter at the moment or not.

use std::collections::BTreeMap;

use flowmeter_core::decimal::{Decimal, Quotient};

/// The meters of a key, one after the other.
pub(super) struct Meter {
    /// When it was declared, if it was.
    pub(super) declared: Option<i64>,
    pub(super) delete_on_reset: bool,
    /// Whether there is none at the moment.
    pub(super) gone: bool,
    /// Whether nothing of those before can be amended any more.
    pub(super) closed: bool,
    /// Whether the present one has flushed anything.
    pub(super) flushed_any: bool,
    /// The start of its first period.
    pub(super) first: i64,
    pub(super) periods: BTreeMap<i64, Held>,
    /// What any of them flushed: starts and ends.
    pub(super) flushed: BTreeMap<i64, i64>,
    /// From when on which version's schedule cuts the periods.
    pub(super) eras: Vec<(i64, u32)>,
}

#[derive(Default)]
pub(super) struct Held {
    pub(super) end: i64,
    /// Event time, number, text, region: in the order of arrival.
    pub(super) events: Vec<(i64, Decimal, String, String)>,
    pub(super) sent: Option<(u32, Option<Quotient>)>,
    pub(super) amend_at: Option<i64>,
}

impl Meter {
    pub(super) fn new(declared: Option<i64>, first: i64, version: u32) -> Meter {
        Meter {
            declared,
            delete_on_reset: false,
            gone: false,
            closed: false,
            flushed_any: false,
            first,
            periods: BTreeMap::new(),
            flushed: BTreeMap::new(),
            eras: vec![(i64::MIN, version)],
        }
    }

    /// Another takes its place.
    pub(super) fn begin_again(&mut self, declared: Option<i64>, first: i64) {
        (self.declared, self.first, self.gone) = (declared, first, false);
        (self.delete_on_reset, self.flushed_any, self.closed) = (false, false, false);
    }

    /// The flushed period that holds an instant.
    pub(super) fn flushed_at(&self, instant: i64) -> Option<(i64, i64)> {
        let (start, end) = self.flushed.range(..=instant).next_back()?;
        (instant < *end).then_some((*start, *end))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.periods.values().all(|held| held.amend_at.is_none())
    }
}
