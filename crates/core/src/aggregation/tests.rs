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
    aggregate.open_with(opening.map(Decimal::from_int));
    for (hour, text) in events {
        let contribution = Contribution {
            number: decimal::parse(text.as_bytes()).unwrap_or_default(),
            fingerprint: xxhash_rust::xxh3::xxh3_128(text.as_bytes()),
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
    use Aggregation::{Avg, Delta, Increment, Latest, Max, Min, Percentile, Sum, Unique};
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
        // A restart at hour 2: 10 up, then 7 from nought, then 3.
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
    assert_eq!(value(Aggregation::Delta, None, &[(0, "0"), (1, most), (2, most)]), most);
}

#[test]
fn closing_is_the_next_opening() {
    let mut level = Aggregate::initial(weighted(None, LevelInput::Level));
    assert!(level.open_with(Some(Decimal::from_int(7))));
    assert!(!level.open_with(Some(Decimal::from_int(7))));
    assert_eq!(level.closing(weighted(None, LevelInput::Level)), Some(Decimal::from_int(7)));
    let contribution = Contribution { number: Decimal::from_int(2), fingerprint: 0, at: Timestamp::from_nanos(1) };
    level.add(weighted(None, LevelInput::Level), &contribution);
    assert_eq!(level.closing(weighted(None, LevelInput::Level)), Some(Decimal::from_int(2)));
    assert_eq!(level.closing(weighted(None, LevelInput::Change)), Some(Decimal::from_int(9)));
    assert_eq!(Aggregate::initial(Aggregation::Sum).closing(Aggregation::Sum), None);
}
