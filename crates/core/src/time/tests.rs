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
fn numbers_by_default_lie_between_1980_and_2100() {
    let parse = |text: &str| TimeFormat::Default.parse(text.as_bytes(), Clue::Number);
    let advice = |text: &str, clue| TimeFormat::Default.advice(text.as_bytes(), clue);
    assert_eq!(parse("1767312000000").map(|at| at.to_string()).as_deref(), Some("2026-01-02T00:00:00.000Z"));
    for (text, unit) in [
        ("1767312000", "unix_s"),
        ("1767312000.25", "unix_s"),
        ("1767312000000000", "unix_us"),
        ("1767312000000000000", "unix_ns"),
    ] {
        assert_eq!(parse(text), None, "{text}");
        assert!(advice(text, Clue::Number).is_some_and(|advice| advice.contains(unit)), "{text}");
    }
    for text in ["0", "-5", "315532799999", "4102444800000", "99999999999999999999"] {
        assert_eq!(parse(text), None, "{text}");
    }
    assert!(advice("1767312000", Clue::Text).is_some_and(|advice| advice.contains("unix_s")));
    let declared = TimeFormat::named("unix_s", Zone::utc()).unwrap();
    assert_eq!(declared.parse(b"99999999999", Clue::Text), None);
    assert_eq!(declared.parse(b"86400", Clue::Text).map(|at| at.to_string()).as_deref(), Some("1970-01-02T00:00:00.000Z"));
}

#[test]
fn patterns_that_read_nothing_are_refused() {
    for (pattern, advice) in [
        ("%Y-%m-%d %H:%M:%S %Z", "timezone:"),
        ("%c", "%a %b %e %H:%M:%S %Y"),
        ("%Y-%m-%d %r", "%I:%M:%S %p"),
        ("%x %H:%M", "%m/%d/%y"),
        ("%Y-%m-%d %X", "%H:%M:%S"),
        ("%Y %q", "quarter"),
        ("%H:%M:%S", "year, month and day"),
        ("%Y-%m-%d %I:%M", "%p"),
        ("%Y-%m", "year, month and day"),
    ] {
        let why = TimeFormat::read(pattern, Zone::utc(), false).err();
        assert!(why.as_ref().is_some_and(|why| why.contains(advice)), "{pattern}: {why:?}");
    }
    for pattern in
        ["%Y-%m-%dT%H:%M:%S%.f%:z", "%d.%m.%Y", "%m/%d/%y %I:%M %p", "%s", "%Y%m%d%H%M%S", "%b %e %Y %T", "%A %d %B %Y"]
    {
        assert!(TimeFormat::read(pattern, Zone::utc(), false).is_ok(), "{pattern}");
    }
}

#[test]
fn the_hour_24_is_midnight_and_names_of_zones_may_be_skipped() {
    let rfc = |text: &str| Timestamp::parse_rfc3339(text.as_bytes()).map(|at| at.to_string());
    assert_eq!(rfc("2024-02-29T24:00:00Z").as_deref(), Some("2024-03-01T00:00:00.000Z"));
    assert_eq!(rfc("2024-02-29T24:00:00.000+01:00").as_deref(), Some("2024-02-29T23:00:00.000Z"));
    for none in ["2024-02-29T24:00:01Z", "2024-02-29T24:30:00Z", "2024-02-29T24:00:00.5Z", "2024-02-29T25:00:00Z"] {
        assert_eq!(rfc(none), None, "{none}");
    }
    let oslo = || Zone::named("Europe/Oslo").unwrap();
    for (pattern, zone, text, expected) in [
        ("%d.%m.%Y %H:%M", oslo(), "31.03.2024 24:00", Some("2024-03-31T22:00:00.000Z")),
        ("%Y%m%d%H%M", oslo(), "202401012400", Some("2024-01-01T23:00:00.000Z")),
        ("%H:%M %d.%m.%Y", oslo(), "24:00 31.12.2023", Some("2023-12-31T23:00:00.000Z")),
        ("%d.%m.%Y %H:%M", oslo(), "31.03.2024 24:01", None),
        ("%Y-%m-%d %H:%M:%S %z %Z", Zone::utc(), "2024-01-31 10:00:00 +0200 EET", Some("2024-01-31T08:00:00.000Z")),
        ("%Y-%m-%d %H:%M:%S %z %Z", Zone::utc(), "2024-01-31 24:00:00 +0200 EET", Some("2024-01-31T22:00:00.000Z")),
        ("%a %b %e %H:%M:%S %Z %Y %z", Zone::utc(), "Wed Jan 31 10:00:00 CET 2024 +0100", Some("2024-01-31T09:00:00.000Z")),
    ] {
        let parsed = TimeFormat::read(pattern, zone, true).unwrap().parse(text.as_bytes(), Clue::Text);
        assert_eq!(parsed.map(|t| t.to_string()).as_deref(), expected, "{pattern} {text}");
    }
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

#[test]
fn times_beyond_the_range_and_too_many_digits_are_named() {
    let pattern = TimeFormat::named("%d.%m.%Y", Zone::utc()).unwrap();
    let seconds = TimeFormat::named("unix_s", Zone::utc()).unwrap();
    for (format, text, expected) in [
        (&TimeFormat::Default, "1026-01-02T00:00:00Z", Some("from 1677-09-21")),
        (&TimeFormat::Default, "2345-01-02T00:00:00Z", Some("to 2262-04-11")),
        (
            &TimeFormat::Default,
            "2026-01-02T00:00:00.123456789012Z",
            Some("at most 9 digits behind the point, and this one has 12"),
        ),
        (&TimeFormat::Default, "2026-13-02T00:00:00Z", None),
        (&TimeFormat::Default, "soon", None),
        (&pattern, "02.01.1026", Some("from 1677-09-21")),
        (&pattern, "soon", None),
        (&seconds, "99999999999", Some("to 2262-04-11")),
        (&seconds, "soon", None),
    ] {
        assert_eq!(format.parse(text.as_bytes(), Clue::Text), None, "{text}");
        let advice = format.advice(text.as_bytes(), Clue::Text);
        assert_eq!(advice.is_some(), expected.is_some(), "{text}: {advice:?}");
        assert!(expected.is_none_or(|expected| advice.as_ref().is_some_and(|advice| advice.contains(expected))), "{advice:?}");
    }
}
