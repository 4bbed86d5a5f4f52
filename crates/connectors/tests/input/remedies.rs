//! Every reason to park, in every format: its message fits the settings in force.

use flowmeter_core::verdict::Reason;

use super::session::{document, run, run_after};

const AS_OF: &str = "2026-03-01T00:00:00Z";

/// Each remedy that a message may advise, with the line in the document that already applies it.
const ADVICE: [(&str, &str); 11] = [
    ("textNumbers: true", "textNumbers: true"),
    ("format: unix_s", "format: unix_s"),
    ("quotes: lenient", "quotes: lenient"),
    ("quotes: none", "quotes: none"),
    ("dedupe: off", "dedupe: off"),
    ("extra: ignore", "extra: ignore"),
    ("shortLines: allow", "shortLines: allow"),
    ("missing: received", "missing: received"),
    ("autoCreate: true", "autoCreate: true"),
    ("unmatched: drop", "unmatched: drop"),
    ("set `late`", "late: {"),
];

/// Lines of fixed width, and such that may be short.
const FIXED: &str = ", format: fixed, columns: [{name: time, from: 1, to: 20}, {name: userId, from: 21, to: 21}, {name: value, from: 22, to: 25, type: number}]";
const SHORT: &str = ", format: fixed, shortLines: allow, columns: [{name: time, from: 1, to: 20}, {name: userId, from: 21, to: 21}, {name: value, from: 22, to: 25, type: number}]";

/// A source of each format, and how it writes the event of a user, a time and a value.
type Write = fn(&str, &str) -> String;
const FORMATS: [(&str, &str, Write); 4] = [
    ("a.ndjson", "", |time, value| format!("{{\"time\":\"{time}\",\"userId\":\"u\",\"value\":{value}}}\n")),
    ("a.csv", "", |time, value| format!("time,userId,value\n{time},u,{value}\n")),
    ("a.psv", ", format: csv, delimiter: '|', header: false, columns: [time, userId, value]", |time, value| {
        format!("{time}|u|{value}\n")
    }),
    (
        "a.txt",
        ", format: fixed, columns: [{name: time, from: 1, to: 20}, {name: userId, from: 21, to: 21}, {name: value, from: 22, to: 45}]",
        |time, value| format!("{time}u{value:>24}\n"),
    ),
];

#[test]
fn every_reason_says_what_and_where() {
    for reason in Reason::ALL {
        assert!(!reason.remedy().is_empty() && reason.remedy().len() < 160, "{reason}");
        for unknown in ["`split`", "textNumbers"] {
            assert!(!reason.remedy().contains(unknown), "{reason} advises {unknown} whatever the settings");
        }
    }
}

#[test]
fn messages_advise_nothing_that_is_so_already() {
    let event = |members: &str| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",{members}}}\n");
    let row = |fields: &str| format!("time,userId,value\n{fields}\n");
    let log = |line: &str| format!("{line}\n");
    for (reason, file, source, meter, rule, text) in [
        (Reason::Unreadable, "a.ndjson", "", "match: first", "", "{\"a\":}\n".to_owned()),
        (Reason::Unreadable, "a.csv", "", "match: first", "", row("1,2,\"x")),
        (Reason::Unreadable, "a.csv", ", quotes: lenient", "match: first", "", row("1,2")),
        (Reason::Unreadable, "a.csv", ", quotes: none", "match: first", "", row("1,2")),
        (Reason::Unreadable, "a.log", "", "user: client", ", value: bytes", log("hello")),
        (Reason::Unreadable, "a.log", ", extra: ignore", "user: client", ", value: bytes", log("hello")),
        (Reason::Unreadable, "a.txt", FIXED, "match: first", "", "2026-01-01T00:00:00Zu1\n".to_owned()),
        (Reason::Unreadable, "a.txt", SHORT, "match: first", "", "2026-01-01T00:00:00Zu01\n".to_owned()),
        (Reason::NoTime, "a.csv", ", time: {field: time}", "match: first", "", row(",u,1")),
        (Reason::NoUser, "a.ndjson", "", "user: who", "", event("\"value\":1")),
        (Reason::NoUser, "a.csv", "", "match: first", "", row("2026-01-01T00:00:00Z,,1")),
        (Reason::NoValue, "a.ndjson", "", "match: first", "", event("\"v\":1")),
        (Reason::BadValue, "a.ndjson", "", "match: first", "", event("\"value\":\"7\"")),
        (Reason::BadValue, "a.ndjson", "", "textNumbers: true", "", event("\"value\":\"seven\"")),
        (Reason::BadValue, "a.csv", "", "match: first", "", row("2026-01-01T00:00:00Z,u,seven")),
        (Reason::BadValue, "a.csv", "", "match: first", "", row("2026-01-01T00:00:00Z,u,0x10")),
        (Reason::BadValue, "a.csv", "", "match: first", "", row("2026-01-01T00:00:00Z,u,NaN")),
        (
            Reason::BadTime,
            "a.ndjson",
            "",
            "match: first",
            "",
            event("\"value\":1").replace("\"2026-01-01T00:00:00Z\"", "1767312000"),
        ),
        (Reason::BadTime, "a.csv", ", time: {field: time, format: unix_s}", "match: first", "", row("soon,u,1")),
        (Reason::NoTime, "a.csv", "", "match: first", "", row(",u,1")),
        (Reason::InFuture, "a.csv", "", "match: first", "", row("2027-01-01T00:00:00Z,u,1")),
        (Reason::NoRule, "a.csv", "", "match: first", ", when: 'false'", row("2026-01-01T00:00:00Z,u,1")),
        (Reason::OperatorError, "a.csv", "", "match: first", ", when: 'value > 5'", row("2026-01-01T00:00:00Z,u,x")),
    ] {
        let document = document(&format!("path: DIR/{file}{source}"), meter, rule, "");
        let outcome = run(&document, &[(file, text.as_bytes())], AS_OF);
        let [(_, code, detail, remedy)] = outcome.parked.as_slice() else { panic!("{reason} of {file}: {outcome:?}") };
        assert_eq!(code, reason.code(), "{file}: {detail}");
        assert!(!detail.is_empty() || reason == Reason::NoRule, "{reason} of {file} has no detail");
        let message = format!("{detail}; {remedy}");
        for (advice, known) in ADVICE {
            assert!(!(message.contains(advice) && document.contains(known)), "{reason} of {file} advises `{advice}`: {message}");
        }
        // Text is a number in these formats already.
        let is_text = file.ends_with(".csv") || file.ends_with(".log");
        assert!(!(is_text && message.contains("textNumbers")), "{reason} of {file}: {message}");
    }
}

#[test]
fn reasons_of_meters_say_what_and_where() {
    let (january, december) = ("2026-01-10T00:00:00Z", "2025-12-10T00:00:00Z");
    for (reason, kind, early, time, value, expected) in [
        (Reason::BeforeActive, ", activeFrom: '2026-02-01T00:00:00Z'", None, january, "1", "2026-02-01"),
        (Reason::AfterActive, ", activeTo: '2026-01-01T00:00:00Z'", None, january, "1", "2026-01-01"),
        (Reason::NoMeter, ", autoCreate: false", None, january, "1", "`u`"),
        (Reason::NoRule, ", category: other", None, january, "1", ""),
        (Reason::TooLate, ", late: {policy: park}", Some(january), january, "1", "the period until 2026-02-01"),
        (Reason::TooLate, ", late: {amendWithin: 0s}", Some(january), january, "1", "the period until 2026-02-01"),
        (Reason::TooOld, ", resetSchedule: daily, emptyPeriodsMax: 10", None, december, "1", "`emptyPeriodsMax`"),
        (Reason::BadValue, "", Some(january), january, "99999999999999999999", "would leave the range"),
        (Reason::BadValue, "", None, january, "0.0000000000000000001", "round"),
    ] {
        for (file, source, write) in FORMATS {
            let mut document = document(&format!("path: DIR/{file}{source}"), "match: first", "", kind);
            if reason == Reason::TooOld {
                document = document.replace("flushEmpty: false", "flushEmpty: true");
            }
            if reason == Reason::NoRule {
                document = document.replace("{name: r}", "{name: r, category: other, when: 'false'}");
            }
            let (before, text) = (early.map(|time| write(time, value)), write(time, value));
            let earlier = format!("earlier-{file}");
            let before = before.as_ref().map(|text| (earlier.as_str(), text.as_bytes()));
            let outcome = run_after(&document, before.as_slice(), &[(file, text.as_bytes())], AS_OF);
            let [(_, code, detail, remedy)] = outcome.parked.as_slice() else { panic!("{reason} of {file}: {outcome:?}") };
            assert_eq!(code, reason.code(), "{file}: {detail}");
            assert!(detail.contains(expected), "{reason} of {file}: {detail}");
            let message = format!("{detail}; {remedy}");
            for (advice, known) in ADVICE {
                assert!(
                    !(message.contains(advice) && document.contains(known)),
                    "{reason} of {file} advises `{advice}`: {message}"
                );
            }
        }
    }
}

#[test]
fn an_event_without_identity_names_the_fields_that_were_looked_at() {
    let row = |fields: &str| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1{fields}}}\n");
    let csv = |rows: &str| format!("time,userId,value,id,call,leg\n{rows}");
    for (label, file, source, text, expected) in [
        ("no id", "a.ndjson", "", row(""), "`id` is missing, null or empty"),
        ("an empty id", "a.ndjson", "", row(",\"id\":\"\""), "`id` is missing, null or empty"),
        ("an empty column", "a.csv", "", csv("2026-01-01T00:00:00Z,u,1,,x,y\n"), "`id` is missing, null or empty"),
        (
            "an empty field of the source's id",
            "a.ndjson",
            ", id: [call]",
            row(",\"call\":\"\""),
            "`call` is missing, null or empty",
        ),
        (
            "several of them",
            "a.csv",
            ", id: [call, leg]",
            csv("2026-01-01T00:00:00Z,u,1,,,\n"),
            "`call` and `leg` are all missing, null or empty",
        ),
    ] {
        let document = document(&format!("path: DIR/{file}{source}"), "match: first", "", "").replace("dedupe: off\n", "");
        let outcome = run(&document, &[(file, text.as_bytes())], AS_OF);
        let found: Vec<(&str, &str)> = outcome.parked.iter().map(|(_, code, detail, _)| (&**code, &**detail)).collect();
        assert_eq!(found, [("no_id", expected)], "{label}");
    }
}

#[test]
fn an_identity_of_several_fields_may_have_empty_ones() {
    let document = document("path: DIR/a.csv, id: [call, leg]", "match: first", "", "").replace("dedupe: off\n", "");
    let time = "2026-01-01T00:00:00Z,u,1";
    let text = format!("time,userId,value,call,leg\n{time},a,\n{time},b,\n{time},,a\n{time},a,\n");
    let outcome = run(&document, &[("a.csv", text.as_bytes())], AS_OF);
    assert_eq!(outcome.shown(), ["u 2026-01-01 3"]);
}

#[test]
fn a_time_that_cannot_be_read_is_named_as_it_is() {
    let csv = |row: &str| format!("date,time,userId,value\n{row},u,1\n");
    for (label, source, text, code, expected) in [
        ("seconds", "", csv("x,1769904000"), "bad_time", "say `format: unix_s`"),
        ("seconds of the source's time", ", time: {field: time}", csv("x,1769904000"), "bad_time", "say `format: unix_s`"),
        ("a year", ", time: {field: time}", csv("x,1026-01-02T00:00:00Z"), "bad_time", "from 1677-09-21"),
        ("digits", "", csv("x,2026-01-02T00:00:00.123456789012Z"), "bad_time", "at most 9 digits"),
        (
            "one part of two",
            ", time: {fields: [date, time], format: '%Y-%m-%d %H:%M'}",
            csv(",10:00"),
            "no_time",
            "`date` is empty",
        ),
        (
            "the other part of two",
            ", time: {fields: [date, time], format: '%Y-%m-%d %H:%M'}",
            csv("2026-01-01,"),
            "no_time",
            "`time` is empty",
        ),
    ] {
        let outcome =
            run(&document(&format!("path: DIR/a.csv{source}"), "match: first", "", ""), &[("a.csv", text.as_bytes())], AS_OF);
        let [(_, found, detail, _)] = outcome.parked.as_slice() else { panic!("{label}: {outcome:?}") };
        assert_eq!(found, code, "{label}: {detail}");
        assert!(detail.contains(expected), "{label}: {detail}");
        assert!(code == "bad_time" || !(detail.contains("missing") || detail.contains(" and ")), "{label}: {detail}");
    }
}
