//! Messages of parked events: each names what is wrong, with the value as the file has it.

use super::session::{document, run};

const AS_OF: &str = "2026-03-01T00:00:00Z";

/// A time of three columns, of which the last is an offset.
const JOINED: &str = "user: u\n      time: {fields: [Date, Start, Offset], format: '%Y-%m-%d %H:%M %:z'}";

#[test]
fn messages_name_the_field_and_what_it_is() {
    let rows = |row: &str| format!("u,Date,Start,Offset,n,length,USAGE (kWh)\n{row}\n");
    let whole = |n: &str, length: &str| rows(&format!("u,2026-01-01,10:00,+01:00,{n},{length},1"));
    let json = |members: &str| format!("{{\"userId\":\"u\",\"time\":\"2026-01-01T00:00:00Z\",{members}}}\n");
    let typed = ", types: {'USAGE (kWh)': number, n: number}";
    let quoted = ", value: 'event[\"USAGE (kWh)\"]'";
    for (file, source, meter, rule, text, code, expected) in [
        // A failing expression: its own error, whole.
        (
            "a.csv",
            "",
            JOINED,
            ", value: duration(length)",
            whole("1", "7 min"),
            "bad_value",
            "`duration(length)`: the text \"7 min\" is no duration like 90s, 1h30m or 27:00:01",
        ),
        (
            "a.ndjson",
            "",
            "match: first",
            ", value: 'n + \"x\"'",
            json("\"n\":1"),
            "bad_value",
            "`n + \"x\"`: cannot add the number 1 and the text \"x\"",
        ),
        // Only the part of a time that is missing.
        ("a.csv", "", JOINED, ", value: n", rows("u,2026-01-01,10:00,,1,1s,1"), "no_time", "`Offset` is empty"),
        ("a.csv", "", JOINED, ", value: n", rows("u,2026-01-01,,,1,1s,1"), "no_time", "`Start` and `Offset` are empty"),
        (
            "a.ndjson",
            "",
            "time: {fields: [d, t, z], format: '%Y-%m-%d %H:%M %:z'}",
            "",
            "{\"userId\":\"u\",\"d\":\"\",\"t\":null,\"value\":1}\n".to_owned(),
            "no_time",
            "`d` is empty and `t` is null and `z` is missing",
        ),
        ("a.ndjson", "", "match: first", "", "{\"userId\":\"u\",\"time\":null}\n".to_owned(), "no_time", "`time` is null"),
        // The number of columns, whether or not there is a header.
        (
            "a.csv",
            ", header: false",
            "user: c1",
            ", value: c2",
            "u,1\nu\n".to_owned(),
            "unreadable",
            "the row has 1 field, but the file has 2 columns",
        ),
        (
            "a.csv",
            ", header: false, columns: [a, b]",
            "user: a",
            ", value: b",
            "u\n".to_owned(),
            "unreadable",
            "the row has 1 field, but the file has 2 columns",
        ),
        // A field without a value.
        ("a.csv", typed, JOINED, ", value: n", whole("", "1s"), "no_value", "`n` is empty"),
        (
            "a.csv",
            typed,
            JOINED,
            quoted,
            rows("u,2026-01-01,10:00,+01:00,1,1s,"),
            "no_value",
            "`event[\"USAGE (kWh)\"]` is empty",
        ),
        ("a.ndjson", "", "match: first", "", json("\"v\":1"), "no_value", "`value` is missing"),
        ("a.ndjson", "", "match: first", "", json("\"value\":null"), "no_value", "`value` is null"),
        ("a.ndjson", "", "user: who", "", json("\"who\":\"\""), "no_user", "`who` is empty"),
        ("a.ndjson", "", "user: who", "", json("\"who\":null"), "no_user", "`who` is null"),
        ("a.ndjson", "", "user: who", "", json("\"who\":[1]"), "no_user", "`who` is [1], neither text nor a number"),
        // A line that is cut off.
        (
            "a.ndjson",
            "",
            "match: first",
            "",
            "{\"userId\":\"u\n".to_owned(),
            "unreadable",
            "not a JSON object: the line ends inside a string, after column 12",
        ),
    ] {
        let document = document(&format!("path: DIR/{file}{source}"), meter, rule, "");
        let outcome = run(&document, &[(file, text.as_bytes())], AS_OF);
        let Some((_, found, detail, _)) = outcome.parked.first() else { panic!("{expected}: {outcome:?}") };
        assert_eq!((found.as_str(), detail.as_str()), (code, expected));
    }
}

#[test]
fn a_short_line_of_fixed_width_is_parked_unless_blanks_may_be_missing() {
    let columns = "format: fixed, columns: [{name: id0, from: 1, to: 3}, {name: who, from: 4, to: 6}, \
                   {name: secs, from: 7, to: 11}, {name: r, from: 12, to: 12}]";
    let text = "c-1AAA00460A\nc-2AAA004\nc-3AAA7\nc-4AAA00009\n";
    let of = |option: &str| {
        let document = document(&format!("path: DIR/a.txt, {columns}{option}"), "user: who", ", value: secs, groupBy: [[r]]", "");
        run(&document, &[("a.txt", text.as_bytes())], AS_OF)
    };
    let value = |option: &str| of(option).records[0]["value"].to_string();
    let lines = |option: &str| of(option).parked.iter().map(|(line, code, ..)| format!("{line} {code}")).collect::<Vec<_>>();
    assert_eq!((value(""), lines("")), ("460".to_owned(), ["2", "3", "4"].map(|line| format!("{line} unreadable")).to_vec()));
    // The number of the second line is padded with zeros, so no blanks are missing.
    assert_eq!(value(", shortLines: allow"), "476");
    assert_eq!(lines(", shortLines: allow"), ["2 unreadable"]);
    assert_eq!(
        of("").parked[0].2,
        "the line has 9 characters of 12 and ends inside the column `secs` (7 to 11); if an editor cut the blanks at its end, write `shortLines: allow`"
    );
}
