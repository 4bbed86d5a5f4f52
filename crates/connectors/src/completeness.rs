//! Checks of a session over files before any of its records is sent.

use flowmeter_core::decimal::{Decimal, Quotient};
use flowmeter_core::plan::Plan;
use flowmeter_core::verdict::Tally;
use flowmeter_engine::{Error, Kind};

/// Checks that every event has a verdict, and the share of parked ones.
///
/// # Errors
/// An event has none, or too many were parked.
pub fn check(plan: &Plan, tally: &Tally) -> Result<(), Error> {
    if !tally.is_complete() {
        return Err(Error::new(Kind::Bug, format!("events were lost: {tally:?}")));
    }
    check_errors(plan, tally.parked_total(), tally.received)
}

/// Checks the share of parked events.
///
/// # Errors
/// It is above `maxErrorPercent`.
pub fn check_errors(plan: &Plan, parked: u64, received: u64) -> Result<(), Error> {
    let share = Decimal::from_count(parked.saturating_mul(100));
    match plan.error_percent_max {
        Some(limit) if Quotient::of(share, received.max(1)).compare(limit).is_gt() => {
            let message = format!("{parked} of {received} events were parked; maxErrorPercent is {limit}");
            Err(Error::new(Kind::Unavailable, message))
        }
        _ => Ok(()),
    }
}
