//! Times and durations in every spelling.

use super::*;
use proptest::prelude::*;

#[test]
fn rfc3339_in_every_spelling() {
    for (text, expected) in [
        ("2023-07-01T13:37:11.111Z", Some("2023-07-01T13:37:11.111Z")),
        ("2023-07-01T13:37:11Z", Some("2023-07-01T13:37:11.000Z")),
        ("2014-01-01T13:00:04+01:00", Some("2014-01-01T12:00:04.000Z")),
        ("2015-11-22T00:00:00-06:00", Some("2015-11-22T06:00:00.000Z")),
        ("2024-02-29T23:59:59.999999999Z", Some("2024-02-29T23:59:59.999Z")),
        ("2023-02-29T00:00:00Z", None),
        ("1915-03-06T14:33:57", None),
        ("1915-100-06T14:33:57Z", None),
        ("2023-07-01 13:37:11Z", Some("2023-07-01T13:37:11.000Z")),
        ("2023-07-01t13:37:11z", Some("2023-07-01T13:37:11.000Z")),
        ("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59.000Z")),
        ("9999-01-01T00:00:00Z", None),
        ("1500-01-01T00:00:00Z", None),
        ("-5 minutes", None),
        ("", None),
    ] {
        let shown = Timestamp::parse_rfc3339(text.as_bytes()).map(|t| t.to_string());
        assert_eq!(shown.as_deref(), expected, "{text:?}");
    }
}

#[test]
fn formats_of_real_files() {
    let utc = Zone::utc;
    for (format, zone, text, clue, expected) in [
        ("rfc3339", utc(), "1446249499322", Clue::Number, Some("2015-10-30T23:58:19.322Z")),
        ("unix_s", utc(), "1478012832", Clue::Text, Some("2016-11-01T15:07:12.000Z")),
        ("unix_s", utc(), "1478012832.25", Clue::Number, Some("2016-11-01T15:07:12.250Z")),
        ("unix_us", utc(), "1681430338000000", Clue::Number, Some("2023-04-13T23:58:58.000Z")),
        ("unix_ns", utc(), "1681430338000000000", Clue::Number, Some("2023-04-13T23:58:58.000Z")),
        ("%Y-%m-%d %H:%M:%S%.f", utc(), "2023-11-16 18:17:03.9799600", Clue::Text, Some("2023-11-16T18:17:03.979Z")),
        ("%d/%b/%Y:%H:%M:%S %z", utc(), "17/May/2015:10:05:03 +0000", Clue::Text, Some("2015-05-17T10:05:03.000Z")),
        (
            "%Y-%m-%d %H:%M",
            Zone::named("America/Sao_Paulo").unwrap(),
            "2018-11-04 00:00",
            Clue::Text,
            Some("2018-11-04T03:00:00.000Z"),
        ),
        ("%Y-%m-%d", Zone::named("+02:00").unwrap(), "2024-05-01", Clue::Text, Some("2024-04-30T22:00:00.000Z")),
        ("%Y-%m-%d", utc(), "2024-13-01", Clue::Text, None),
        ("unix_s", utc(), "soon", Clue::Text, None),
    ] {
        let parsed = TimeFormat::named(format, zone).unwrap().parse(text.as_bytes(), clue);
        assert_eq!(parsed.map(|t| t.to_string()).as_deref(), expected, "{format} {text}");
    }
    assert!(TimeFormat::named("iso", Zone::utc()).is_none());
    assert!(TimeFormat::named("%Y-%!", Zone::utc()).is_none());
}

#[test]
fn durations() {
    for (text, expected) in [
        ("5m", Some(300_000_000_000)),
        ("32d", Some(32 * 86_400_000_000_000)),
        ("1h30m", Some(5_400_000_000_000)),
        ("250ms", Some(250_000_000)),
        ("0", Some(0)),
        ("", None),
        ("5", None),
        ("5 minutes", None),
        ("-5m", None),
        ("999999999999w", None),
    ] {
        assert_eq!(parse_duration(text), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn agrees_with_the_time_library(nanos in any::<i64>()) {
        let at = Timestamp::from_nanos(nanos);
        let theirs = at.to_jiff();
        // Their display has as many fraction digits as needed: ours must read it back.
        prop_assert_eq!(Timestamp::parse_rfc3339(theirs.to_string().as_bytes()), Some(at));
        let shown = at.to_string();
        let millis: jiff::Timestamp = shown.parse().unwrap();
        prop_assert_eq!(millis.as_nanosecond(), i128::from(nanos).div_euclid(1_000_000) * 1_000_000);
    }
}
