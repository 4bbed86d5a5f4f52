//! Every aggregation as a table of events and answers.

use super::*;
use crate::decimal;

const HOUR: i64 = 3_600_000_000_000;

fn day() -> Period {
    Period { start: Timestamp::from_nanos(0), end: Timestamp::from_nanos(24 * HOUR) }
}

/// Values at hours of the day, in order of arrival → the value as text.
fn value(aggregation: Aggregation, opening: Option<i64>, events: &[(i64, &str)]) -> String {
    let mut aggregate = Aggregate::initial(aggregation);
    aggregate.open_with(&opening.map(|n| (0, Opening::at(Decimal::from_int(n)))).into_iter().collect());
    for (hour, text) in events {
        let contribution = Contribution {
            number: decimal::parse(text.as_bytes()).unwrap_or_default(),
            fingerprint: if aggregation.has_series() { 0 } else { xxhash_rust::xxh3::xxh3_128(text.as_bytes()) },
            at: Timestamp::from_nanos(hour * HOUR),
        };
        assert!(aggregate.has_room(&contribution));
        aggregate.add(aggregation, &contribution);
    }
    let mut out = Vec::new();
    match aggregate.value(aggregation, day()) {
        Some(value) => value.write_to(&mut out),
        None => out.extend_from_slice(b"null"),
    }
    String::from_utf8(out).unwrap()
}

fn weighted(unit: Option<i64>, input: LevelInput) -> Aggregation {
    Aggregation::Weighted(Weighted { unit, input })
}

#[test]
fn values_by_aggregation() {
    use Aggregation::{Avg, Increment, Latest, Max, Min, Percentile, Sum, Unique};
    #[allow(non_snake_case)] // named like the other aggregations of the table
    let Delta = Aggregation::Delta(Delta::default());
    let hours = weighted(Some(HOUR), LevelInput::Level);
    let changes = weighted(Some(HOUR), LevelInput::Change);
    let mean_level = weighted(None, LevelInput::Level);
    let p = |p: &str| Percentile(decimal::parse(p.as_bytes()).unwrap());
    let five = [(1, "3"), (2, "5"), (3, "2"), (4, "3"), (5, "5")];
    for (aggregation, opening, events, expected) in [
        (Sum, None, &five[..], "18"),
        (Sum, None, &[], "0"),
        (Increment, None, &five, "5"),
        (Min, None, &five, "2"),
        (Min, None, &[], "null"),
        (Max, None, &[(1, "-3"), (2, "-1")], "-1"),
        (Avg, None, &five, "3.6"),
        (Avg, None, &[(1, "20"), (2, "30"), (3, "20")], "23.33333333333333333333333333"),
        (Avg, None, &[], "null"),
        (Unique, None, &[(1, "a"), (2, "b"), (3, "a"), (4, "1"), (5, "1.0")], "4"),
        (Latest, None, &[(5, "10"), (12, "77"), (8, "22")], "77"),
        (Latest, None, &[(5, "1"), (5, "2")], "2"),
        (Latest, None, &[], "null"),
        // A level of 2 from hour 6, of 5 from hour 12: 12 + 60 level-hours.
        (hours, None, &[(12, "5"), (6, "2")], "72"),
        (hours, Some(1), &[(12, "5"), (6, "2")], "78"),
        (hours, Some(3), &[], "72"),
        (hours, None, &[], "0"),
        (changes, Some(10), &[(6, "2"), (12, "-4")], "228"),
        (mean_level, None, &[(12, "5"), (6, "2")], "3"),
        (mean_level, None, &[(8, "1")], "0.6666666666666666666666666667"),
        (Delta, None, &[(1, "100")], "0"),
        (Delta, None, &[(3, "130"), (1, "100"), (2, "110")], "30"),
        (Delta, Some(90), &[(1, "100")], "10"),
        // A restart at hour 2: 10 up, then 7 from 0, then 3.
        (Delta, Some(90), &[(1, "100"), (2, "7"), (3, "10")], "20"),
        (p("50"), None, &five, "3"),
        (p("74"), None, &[(1, "3"), (2, "5"), (3, "6")], "6"),
        (p("100"), None, &five, "5"),
        (p("0.1"), None, &five, "2"),
        (p("50"), None, &[], "null"),
    ] {
        assert_eq!(value(aggregation, opening, events), expected, "{aggregation:?} {opening:?} {events:?}");
    }
}

#[test]
fn great_levels_over_long_times_do_not_overflow() {
    let most = "99999999999999999999.999999999999999999";
    let seconds = weighted(Some(1_000_000_000), LevelInput::Level);
    assert_eq!(value(seconds, None, &[(0, most)]), "8640000000000000000000000");
    assert_eq!(value(Aggregation::Delta(Delta::default()), None, &[(0, "0"), (1, most), (2, most)]), most);
}

#[test]
fn closing_is_the_next_opening() {
    let of = |n| vec![(0, Opening::at(Decimal::from_int(n)))];
    let mut level = Aggregate::initial(weighted(None, LevelInput::Level));
    assert!(level.open_with(&of(7)));
    assert!(!level.open_with(&of(7)));
    assert_eq!(level.closing(weighted(None, LevelInput::Level)), of(7));
    let contribution = Contribution { number: Decimal::from_int(2), fingerprint: 0, at: Timestamp::from_nanos(1) };
    level.add(weighted(None, LevelInput::Level), &contribution);
    assert_eq!(level.closing(weighted(None, LevelInput::Level)), of(2));
    assert_eq!(level.closing(weighted(None, LevelInput::Change)), of(9));
    assert_eq!(Aggregate::initial(Aggregation::Sum).closing(Aggregation::Sum), vec![]);
}

fn text(quotient: Option<Quotient>) -> String {
    let mut out = Vec::new();
    quotient.unwrap().write_to(&mut out);
    String::from_utf8(out).unwrap()
}

/// Readings as `series hour value`.
fn of_series(aggregation: Aggregation, readings: &[(u128, i64, i64)]) -> Aggregate {
    let mut aggregate = Aggregate::initial(aggregation);
    for &(fingerprint, hour, n) in readings {
        let number = Decimal::from_int(n);
        aggregate.add(aggregation, &Contribution { number, fingerprint, at: Timestamp::from_nanos(hour * HOUR) });
    }
    aggregate
}

#[test]
fn each_series_counts_for_itself() {
    let delta = Aggregation::Delta(Delta::default());
    // Three pods, interleaved: 15, 10 and 0 up.
    let pods = [(1, 0, 100), (2, 0, 1_000), (3, 0, 50), (1, 1, 115), (3, 1, 50), (2, 1, 1_010)];
    assert_eq!(text(of_series(delta, &pods).value(delta, day())), "25");
    let mut late = pods;
    late.reverse();
    assert_eq!(text(of_series(delta, &late).value(delta, day())), "25");
    let hours = weighted(Some(HOUR), LevelInput::Level);
    // Two volumes: 10 from hour 0, 20 from hour 12 on.
    assert_eq!(text(of_series(hours, &[(1, 0, 10), (2, 12, 20)]).value(hours, day())), "480");
    let mut next = Aggregate::initial(delta);
    assert!(next.open_with(&of_series(delta, &pods).closing(delta)));
    assert_eq!(next.closing(delta).len(), 3);
    assert_eq!(text(next.value(delta, day())), "0");
}

#[test]
fn a_meter_keeps_a_bounded_number_of_series_apart() {
    let delta = Aggregation::Delta(Delta::default());
    let readings: Vec<_> = (0..crate::limits::SERIES_MAX as u128).map(|series| (series, 0, 1)).collect();
    let full = of_series(delta, &readings);
    let of = |fingerprint| Contribution { number: Decimal::ONE, fingerprint, at: Timestamp::from_nanos(0) };
    assert!(full.has_room(&of(7)));
    assert!(!full.has_room(&of(u128::MAX)));
}

#[test]
fn drops_of_a_counter_mean_what_is_declared() {
    let half = decimal::parse(b"0.5").unwrap();
    let delta = |restart| Delta { restart, ..Delta::default() };
    let wraps = Delta { wrap_at: Some(Decimal::from_int(256)), ..Delta::default() };
    let zero = Delta { ignore_zero: true, ..Delta::default() };
    let from_zero = Delta { from_zero: true, ..Delta::default() };
    for (delta, readings, expected) in [
        (delta(Restart::Any), &[100, 120, 7, 10][..], "30"),
        // 119 is a dip of the 120: it counts again once 120 is passed.
        (delta(Restart::Below(half)), &[100, 120, 119, 120, 125], "25"),
        (delta(Restart::Below(half)), &[100, 120, 30, 40], "60"),
        (delta(Restart::Any), &[100, 120, 119, 120, 125], "145"),
        (delta(Restart::Never), &[100, 120, 90], "-10"),
        (wraps, &[250, 4, 10], "16"),
        (wraps, &[300, 4], "4"),
        (zero, &[100, 0, 105], "5"),
        (zero, &[100, 0, 0, 5], "5"),
        (zero, &[100, 0, 3], "3"),
        (zero, &[0, 0, 5], "5"),
        (from_zero, &[100, 110], "110"),
    ] {
        let aggregation = Aggregation::Delta(delta);
        let all: Vec<_> = (0..).zip(readings).map(|(hour, n)| (0, hour, *n)).collect();
        assert_eq!(text(of_series(aggregation, &all).value(aggregation, day())), expected, "{delta:?} {readings:?}");
        // Cut anywhere into two periods, they add up to the same.
        for cut in 1..all.len() {
            let first = of_series(aggregation, &all[..cut]);
            let mut second = of_series(aggregation, &all[cut..]);
            second.open_with(&first.closing(aggregation));
            let (a, b) = (text(first.value(aggregation, day())), text(second.value(aggregation, day())));
            let whole: i64 = a.parse::<i64>().unwrap() + b.parse::<i64>().unwrap();
            assert_eq!(whole.to_string(), expected, "{delta:?} {readings:?} cut at {cut}");
        }
    }
}
