//! The facts of the oracle about the meters of a key: every counted event and every flushed period,
//! for ever, whether the meter exists at the moment or not.

use std::collections::BTreeMap;

use flowmeter_core::decimal::{Decimal, Quotient};

/// The successive meters of a key.
pub(super) struct Meter {
    /// When it was declared, if it was.
    pub(super) declared: Option<i64>,
    pub(super) delete_on_reset: bool,
    /// Whether the meter does not exist at the moment.
    pub(super) gone: bool,
    /// Whether earlier meters can no longer be amended.
    pub(super) closed: bool,
    /// Whether the present one has flushed anything.
    pub(super) flushed_any: bool,
    /// The start of its first period.
    pub(super) first: i64,
    pub(super) periods: BTreeMap<i64, Held>,
    /// Flushed periods of any of them: starts and ends.
    pub(super) flushed: BTreeMap<i64, i64>,
    /// The instants from which on a version's schedule cuts the periods.
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

    /// Starts the next meter of the key.
    pub(super) fn begin_again(&mut self, declared: Option<i64>, first: i64) {
        (self.declared, self.first, self.gone) = (declared, first, false);
        (self.delete_on_reset, self.flushed_any, self.closed) = (false, false, false);
    }

    /// Returns the flushed period that contains an instant.
    pub(super) fn flushed_at(&self, instant: i64) -> Option<(i64, i64)> {
        let (start, end) = self.flushed.range(..=instant).next_back()?;
        (instant < *end).then_some((*start, *end))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.periods.values().all(|held| held.amend_at.is_none())
    }
}
