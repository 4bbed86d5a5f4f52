//! Tests of which numbers are published, and when.

use super::*;

fn known(taken_before: u64) -> Known {
    Known { taken_before, saved_at: Timestamp::MIN, saved_position: 0, flush: None }
}

#[test]
fn totals_are_made_known_from_where_the_log_ended_at_the_start() {
    let known = known(300);
    let steps = [(100, false), (299, false), (300, true), (301, true)];
    for (position, expected) in steps {
        assert_eq!(known.has_caught_up(position), expected, "{position}");
    }
}

#[test]
fn a_period_that_had_ended_long_before_is_due_when_its_event_came() {
    let at = Timestamp::from_nanos;
    let mut known = known(0);
    // Due instant and clock of the pipeline, and the time from which on it should be flushed.
    let steps = [
        (Some(100), 50, Some(100)),
        (Some(100), 120, Some(100)),
        (Some(10), 130, Some(130)),
        (Some(10), 140, Some(130)),
        (None, 150, None),
        (Some(10), 160, Some(160)),
    ];
    for (due, clock, expected) in steps {
        let from = known.flush_from(due.map(at), at(clock));
        assert_eq!(from.map(Timestamp::nanos), expected, "{due:?} at {clock}");
    }
}
