//! Every reason to park, in every format: its message fits the settings in force.

use flowmeter_core::verdict::Reason;

use super::session::{document, run};

const AS_OF: &str = "2026-03-01T00:00:00Z";

/// Each remedy that a message may advise, with the line in the document that already applies it.
const ADVICE: [(&str, &str); 6] = [
    ("textNumbers: true", "textNumbers: true"),
    ("format: unix_s", "format: unix_s"),
    ("quotes: lenient", "quotes: lenient"),
    ("quotes: none", "quotes: none"),
    ("dedupe: off", "dedupe: off"),
    ("extra: ignore", "extra: ignore"),
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
fn an_event_without_identity_names_the_fields_that_were_looked_at() {
    let document = document("path: DIR/a.ndjson", "match: first", "", "").replace("dedupe: off\n", "");
    let text = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1}\n";
    let outcome = run(&document, &[("a.ndjson", text.as_bytes())], AS_OF);
    assert_eq!(outcome.parked[0].1, "no_id");
    assert_eq!(outcome.parked[0].2, "`id` is missing or null");
}
