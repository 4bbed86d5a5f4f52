//! Bounds hold, and say when to come again.

use flowmeter_core::time::Timestamp;
use flowmeter_node::settings::Rates;

use super::{Gate, RateLimits, check_depth};
use crate::problem::Code;

const START_S: i64 = 1_700_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_nanos((START_S * 1_000 + millis) * 1_000_000)
}

fn limits(requests_per_second: u64, events_per_second: u64, burst_s: u64) -> RateLimits {
    RateLimits::new(Rates { requests_per_second, events_per_second, burst_s })
}

/// Seconds to wait; 0: admitted.
fn admit(limits: &RateLimits, millis: i64) -> u64 {
    limits.admit(None, at(millis)).err().map_or(0, |problem| problem.retry_after_s.unwrap())
}

#[test]
fn requests_come_at_their_rate_and_in_bursts() {
    let limits = limits(2, 0, 2);
    let steps = [
        // A full bucket: two seconds of the rate at once.
        (0, 0),
        (0, 0),
        (0, 0),
        (0, 0),
        (0, 1),
        // Half a second later there is one more, and no second one.
        (499, 1),
        (500, 0),
        (500, 1),
        // It does not fill beyond its size.
        (60_000, 0),
        (60_000, 0),
        (60_000, 0),
        (60_000, 0),
        (60_000, 1),
    ];
    for (step, (millis, wait)) in steps.into_iter().enumerate() {
        assert_eq!(admit(&limits, millis), wait, "step {step} at {millis} ms");
    }
}

#[test]
fn a_large_batch_is_taken_whole_and_paid_off() {
    let limits = limits(0, 1_000, 1);
    assert_eq!(admit(&limits, 0), 0);
    limits.spend_events(None, 5_000, at(0));
    assert_eq!(admit(&limits, 0), 5, "owes 4000 and wants one: 4.001 s");
    assert_eq!(admit(&limits, 3_999), 1);
    assert_eq!(admit(&limits, 4_001), 0);
}

#[test]
fn no_rate_means_as_many_as_come() {
    let limits = limits(0, 0, 1);
    limits.spend_events(None, u64::MAX, at(0));
    assert!((0..10_000).all(|_| admit(&limits, 0) == 0));
}

#[test]
fn a_clock_that_jumps_back_locks_nobody_out() {
    let limits = limits(1, 10_000_000, 1);
    assert_eq!(admit(&limits, 0), 0);
    assert!(admit(&limits, -86_400_000 * 400) <= 10_000_001);
    limits.spend_events(None, u64::MAX, at(0));
    assert!(admit(&limits, 0) <= 2, "a debt beyond belief is forgotten");
}

#[test]
fn keys_do_not_share() {
    let limits = limits(1, 0, 1);
    let [a, b] = ["00000000000000a1", "00000000000000b1"].map(|id| Some(id.parse().unwrap()));
    assert!(limits.admit(a, at(0)).is_ok());
    let problem = limits.admit(a, at(0)).unwrap_err();
    assert_eq!((problem.code, problem.retry_after_s), (Code::RateLimited, Some(1)));
    assert!(limits.admit(b, at(0)).is_ok());
}

#[test]
fn the_gate_is_full_until_somebody_leaves() {
    let gate = Gate::new(2);
    let (first, _second) = (gate.enter().unwrap(), gate.enter().unwrap());
    assert_eq!(gate.inside(), 2);
    let problem = gate.enter().unwrap_err();
    assert_eq!((problem.code, problem.retry_after_s), (Code::Overloaded, Some(1)));
    drop(first);
    assert!(gate.clone().enter().is_ok());
}

#[test]
fn depth_is_counted_outside_strings() {
    let cases = [
        ("1", 0, true),
        ("[]", 1, true),
        ("[]", 0, false),
        (r#"{"a":[1,{"b":2}]}"#, 3, true),
        (r#"{"a":[1,{"b":2}]}"#, 2, false),
        (r#"["[[[[", "\"[[", "\\"]"#, 1, true),
        ("[][][][]", 1, true),
        ("]]]][", 1, true),
    ];
    for (json, depth_max, expected) in cases {
        assert_eq!(check_depth(json.as_bytes(), depth_max).is_ok(), expected, "{json}");
    }
}
