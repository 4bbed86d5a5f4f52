//! Files damaged at any byte: every byte belongs to one event, and a damaged line changes no line
//! before it, and none behind a quoted field of the allowed length.
//!
//! `FLOWMETER_DAMAGED_FILES=100000` sets how many files of each format are damaged.

use super::damage::{Choice, with_seeds};
use super::session::{document, run};

const AS_OF: &str = "2026-03-01T00:00:00Z";
const ROWS: usize = 24;
/// The most lines of a quoted field in these files.
const QUOTED_LINES: usize = 3;

/// A format with the fields of its source, and how its files are written.
struct Written {
    file: &'static str,
    source: &'static str,
    meter: &'static str,
    /// The condition under which rows are counted.
    when: &'static str,
    header: Option<&'static str>,
    row: fn(usize) -> String,
}

const FORMATS: [Written; 5] = [
    Written {
        file: "a.csv",
        source: "quotedLinesMax: 3",
        meter: "match: first",
        when: "true",
        header: Some("time,userId,note,value"),
        row: |i| {
            let note = match i % 5 {
                0 => format!("\"note {i}, with \"\"quotes\"\"\""),
                1 => format!("\"two\nlines {i}\""),
                _ => format!("note {i}"),
            };
            format!("2026-01-01T00:00:00Z,user{i:02},{note},{}", i + 1)
        },
    },
    Written {
        file: "office.csv",
        source: "delimiter: ';', numbers: {decimal: ','}, types: {value: number}, quotedLinesMax: 3",
        meter: "match: first",
        when: "true",
        header: Some("time;userId;note;value"),
        row: |i| format!("2026-01-01T00:00:00Z;user{i:02};a, b;{},5", i + 1),
    },
    Written {
        file: "a.ndjson",
        source: "",
        meter: "match: first",
        when: "true",
        header: None,
        row: |i| {
            format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"user{i:02}\",\"n\":{{\"é\":[1,2]}},\"value\":{}}}", i + 1)
        },
    },
    Written {
        file: "a.txt",
        source: "format: fixed, columns: [{name: time, from: 1, to: 20}, {name: userId, from: 21, to: 26}, \
                 {name: value, from: 27, to: 31, type: number}, {name: end, from: 32, to: 32}]",
        meter: "match: first",
        // A line that has one more or one less is not taken for that of another user.
        when: "end == \"E\"",
        header: None,
        row: |i| format!("2026-01-01T00:00:00Zuser{i:02}{:05}E", i + 1),
    },
    Written {
        file: "access.log",
        source: "format: access_log",
        meter: "user: user",
        when: "true",
        header: None,
        row: |i| format!("192.0.2.{i} - user{i:02} [01/Jan/2026:00:00:00 +0000] \"GET /x HTTP/1.1\" 200 {}", i + 1),
    },
];

/// A damaged file, and the rows that its damage may reach.
struct Damaged {
    bytes: Vec<u8>,
    reached: std::ops::Range<usize>,
}

/// Bytes that files have in places where they do not belong.
const STRAY: [&[u8]; 14] =
    [b"\"", b"\"\"", b",", b";", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b"{", b"\\", b"\x1a"];

/// Damages a file in one place, and gives each line one of two ends.
fn damaged(format: &Written, choice: &mut Choice) -> Damaged {
    let lines: Vec<String> = (0..ROWS).map(format.row).collect();
    let broken = choice.below(ROWS);
    let mixed = choice.below(3);
    let mut bytes = Vec::new();
    if choice.below(8) == 0 {
        bytes.extend_from_slice(b"\xef\xbb\xbf");
    }
    let end = |bytes: &mut Vec<u8>, choice: &mut Choice| {
        let is_long = mixed == 1 || (mixed == 2 && choice.below(2) == 0);
        bytes.extend_from_slice(if is_long { b"\r\n" } else { b"\n" });
    };
    if let Some(header) = format.header {
        bytes.extend_from_slice(header.as_bytes());
        end(&mut bytes, choice);
    }
    let mut cut = None;
    for (i, line) in lines.iter().enumerate() {
        let line = line.as_bytes();
        match i == broken {
            false => bytes.extend_from_slice(line),
            true => {
                let at = choice.below(line.len() + 1);
                let until = (at + 1 + choice.below(4)).min(line.len());
                match choice.below(6) {
                    // Something is left out.
                    0 => bytes.extend([&line[..at], &line[until.max(at)..]].concat()),
                    // Something is there twice.
                    1 => bytes.extend([&line[..until.max(at)], &line[at..]].concat()),
                    // The file ends here.
                    2 => {
                        bytes.extend_from_slice(&line[..at]);
                        cut = Some(bytes.len());
                    }
                    // A wrong time.
                    3 => bytes.extend(String::from_utf8_lossy(line).replace("2026", "20-6").into_bytes()),
                    _ => bytes.extend([&line[..at], STRAY[choice.below(STRAY.len())], &line[at..]].concat()),
                }
            }
        }
        end(&mut bytes, choice);
    }
    let is_cut = cut.is_some();
    bytes.truncate(cut.unwrap_or(bytes.len()));
    let last = if is_cut { ROWS } else { (broken + QUOTED_LINES + 1).min(ROWS) };
    Damaged { bytes, reached: broken..last }
}

/// Checks that events, in order, are all of a file but its mark, its header and blank lines.
fn covers(bytes: &[u8], header: Option<&str>, events: &[Vec<u8>]) -> Result<(), String> {
    let is_blank = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | b'\t');
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut rest = &bytes[header.map_or(0, str::len)..];
    for event in events {
        let event = event.trim_ascii();
        let begin = rest.iter().position(|byte| !is_blank(byte)).unwrap_or(rest.len());
        rest = rest[begin..].strip_prefix(event).ok_or_else(|| {
            let (event, rest) = (String::from_utf8_lossy(event), String::from_utf8_lossy(&rest[begin..]));
            format!("the event {event:?} is not what follows: {rest:?}")
        })?;
    }
    match rest.iter().all(is_blank) {
        true => Ok(()),
        false => Err(format!("in no event: {:?}", String::from_utf8_lossy(rest))),
    }
}

/// Returns a text as programs of an office write it.
fn utf_16(text: &str) -> Vec<u8> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// Checks that a file whose header lacks a column that is read counts nothing, and says which.
fn lacks_a_column(document: &str, file: &str, bytes: &[u8]) {
    let place = bytes.windows(5).position(|name| name == b"value").unwrap();
    let renamed = [&bytes[..place], b"valeu", &bytes[place + 5..]].concat();
    let outcome = run(document, &[(file, &renamed)], AS_OF);
    let failure = outcome.failure.unwrap_or_default();
    assert!(failure.contains("`value`") && failure.contains("valeu"), "{failure}");
    assert!(outcome.tally.counted == 0 && outcome.records.is_empty(), "{:?}", outcome.tally);
}

#[test]
fn every_byte_is_in_one_event_and_damage_stays_where_it_is() {
    for format in &FORMATS {
        let source = if format.source.is_empty() { String::new() } else { format!(", {}", format.source) };
        let source = format!("path: DIR/{}{source}", format.file);
        let value = if format.file == "access.log" { "bytes" } else { "value" };
        let rule = |when: &str| document(&source, format.meter, &format!(", when: '{when}', value: {value}"), "");
        let (parks, counts) = (rule("false"), rule(format.when));
        with_seeds(60, |seed| {
            let mut choice = Choice(seed);
            let Damaged { bytes, reached } = damaged(format, &mut choice);
            let shown = || format!("{}, seed {seed}: {:?}", format.file, String::from_utf8_lossy(&bytes));
            if format.header.is_some() && choice.below(20) == 0 {
                return lacks_a_column(&counts, format.file, &bytes);
            }
            // The same text in another encoding has the same events.
            let written = match std::str::from_utf8(&bytes) {
                Ok(text) if choice.below(10) == 0 => utf_16(text),
                _ => bytes.clone(),
            };
            let parked = run(&parks, &[(format.file, &written)], AS_OF);
            assert_eq!(parked.failure, None, "{}", shown());
            if let Err(why) = covers(&bytes, format.header, &parked.raws) {
                panic!("{why}\n{}", shown());
            }
            let outcome = run(&counts, &[(format.file, &written)], AS_OF);
            for i in (0..ROWS).filter(|i| !reached.contains(i)) {
                let user = format!("user{i:02}");
                let of_user = || outcome.records.iter().filter(|record| record["userId"] == user.as_str());
                let value = if format.file == "office.csv" { format!("{}.5", i + 1) } else { (i + 1).to_string() };
                let found: Vec<String> = of_user().map(|record| record["value"].to_string()).collect();
                assert_eq!(found, [value], "row {i}: {}", shown());
                assert!(of_user().all(|record| record["periodStart"] == "2026-01-01T00:00:00.000Z"), "{}", shown());
            }
        });
    }
}
