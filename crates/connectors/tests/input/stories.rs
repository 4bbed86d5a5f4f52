//! Stories of files, each with its records and its parked events.

use std::io::Write;

use super::session::{document, run};

const AS_OF: &str = "2026-03-01T00:00:00Z";

fn lines(file: &str, source: &str, meter: &str, rule: &str, text: &str) -> Vec<String> {
    let source = format!("path: DIR/{file}{source}");
    run(&document(&source, meter, rule, ""), &[(file, text.as_bytes())], AS_OF).shown()
}

#[test]
fn a_name_that_is_no_column_refuses_the_file() {
    let csv = "When,User,Secs\n2026-01-01 10:00:00,u,5\n2026-01-02 10:00:00,u,6\n";
    let good = "time: {field: When, format: '%Y-%m-%d %H:%M:%S'}\n      user: User";
    assert_eq!(lines("a.csv", "", good, ", value: Secs", csv), ["u 2026-01-01 11"]);
    for (label, meter, rule, wrong, near) in [
        ("time", "time: {field: Date, format: '%Y-%m-%d %H:%M:%S'}\n      user: User", ", value: Secs", "Date", ""),
        ("time of a typo", "time: {field: Wen, format: '%Y-%m-%d %H:%M:%S'}\n      user: User", ", value: Secs", "Wen", "When"),
        ("user", "time: {field: When, format: '%Y-%m-%d %H:%M:%S'}\n      user: user_id", ", value: Secs", "user_id", ""),
        ("value", good, ", value: Sec", "Sec", "Secs"),
        ("a computed value", good, ", value: 'decimal(Sec) * 2'", "Sec", "Secs"),
        ("groupBy", good, ", value: Secs, groupBy: [[Usr]]", "Usr", "User"),
        ("carryLast", good, ", value: Secs, carryLast: [Region]", "Region", ""),
        ("a condition", good, ", value: Secs, conditions: {all: [{field: kind, op: eq, value: x}]}", "kind", ""),
        ("an expression", good, ", value: Secs, when: 'Plan == \"x\"'", "Plan", ""),
    ] {
        let told = lines("a.csv", "", meter, rule, csv);
        assert_eq!(told.len(), 1, "{label}: {told:?}");
        assert!(told[0].starts_with(&format!("DIR/a.csv: the pipeline reads `{wrong}`")), "{label}: {told:?}");
        assert!(told[0].contains("it has When, User, Secs"), "{label}: {told:?}");
        let meant = told[0].contains(&format!("did you mean `{near}`?"));
        assert!(near.is_empty() || meant, "{label}: {told:?}");
    }
    let optional = lines("a.csv", ", optional: [Region]", good, ", value: Secs, groupBy: [[Region]]", csv);
    assert_eq!(optional, ["u 2026-01-01 11"]);
    // An id of the source, and a filter before the meter.
    assert!(lines("a.csv", ", id: [call]", good, ", value: Secs", csv)[0].contains("reads `call`"));
    let set = document("path: DIR/a.csv", good, ", value: twice", "")
        .replace("operators:\n", "operators:\n  - map: {set: {twice: 'decimal(Secs) * 2'}}\n");
    assert_eq!(run(&set, &[("a.csv", csv.as_bytes())], AS_OF).shown(), ["u 2026-01-01 22"]);
}

#[test]
fn a_column_is_found_by_its_literal_name() {
    let csv = "time,userId,value,resource_tags.user_shop,line/item\n2026-01-01T00:00:00Z,u,1,north,x\n";
    let rule = ", groupBy: [[resource_tags.user_shop], [line/item]]";
    let outcome = run(&document("path: DIR/a.csv", "match: first", rule, ""), &[("a.csv", csv.as_bytes())], AS_OF);
    let groups = outcome.records[0]["groups"].to_string() + &outcome.records[0].to_string();
    assert!(groups.contains("\"resource_tags.user_shop\":\"north\""), "{groups}");
}

#[test]
fn a_declared_time_that_is_missing_parks() {
    let json = "{\"userId\":\"u\",\"value\":1,\"at\":\"2026-01-01T00:00:00Z\"}\n{\"userId\":\"u\",\"value\":2}\n\
                {\"userId\":\"u\",\"value\":4,\"at\":null}\n{\"userId\":\"u\",\"value\":8,\"at\":\"\"}\n\
                {\"userId\":\"u\",\"value\":16,\"at\":\"soon\"}\n{\"userId\":\"u\",\"value\":32,\"time\":\"2026-01-05T00:00:00Z\"}\n";
    let parked = ["2 no_time", "3 no_time", "4 no_time", "5 bad_time", "6 no_time"];
    let expected: Vec<&str> = ["u 2026-01-01 1"].into_iter().chain(parked).collect();
    assert_eq!(lines("a.ndjson", "", "time: at", "", json), expected);
    assert_eq!(lines("a.ndjson", ", time: at", "match: first", "", json), expected, "declared by the source");
    let received = "time: {field: at, missing: received}";
    let shown = lines("a.ndjson", "", received, "", json);
    assert_eq!(shown, ["u 2026-01-01 1", "u 2026-03-01 46", "5 bad_time"]);
    // Without a declaration the time of receipt is taken, and counted.
    let plain = "{\"userId\":\"u\",\"value\":1}\n{\"userId\":\"u\",\"value\":2,\"time\":\"2026-01-05T00:00:00Z\"}\n{\"userId\":\"u\",\"value\":4,\"time\":null}\n";
    let outcome = run(&document("path: DIR/a.ndjson", "match: first", "", ""), &[("a.ndjson", plain.as_bytes())], AS_OF);
    assert_eq!(outcome.shown(), ["u 2026-01-01 2", "u 2026-03-01 1", "3 no_time"]);
    assert_eq!(outcome.timed_by_receipt, 1);
    // A filter may drop rows before their time is judged.
    let rows = "at,kind,userId,value\n(local),unit,,\n01.02.2026 10:00,use,u,3\n";
    let meter = "time: {field: at, format: '%d.%m.%Y %H:%M'}";
    let filtered = document("path: DIR/a.csv", meter, "", "")
        .replace("operators:\n", "operators:\n  - filter: {when: 'kind != \"unit\"'}\n");
    assert_eq!(run(&filtered, &[("a.csv", rows.as_bytes())], AS_OF).shown(), ["u 2026-02-01 3"]);
}

#[test]
fn details_of_times_name_path_value_and_form() {
    let json = "{\"userId\":\"u\",\"value\":1,\"time\":1767312000}\n{\"userId\":\"u\",\"value\":1,\"time\":1767312000000000}\n";
    let outcome = run(&document("path: DIR/a.ndjson", "match: first", "", ""), &[("a.ndjson", json.as_bytes())], AS_OF);
    let details: Vec<&str> = outcome.parked.iter().map(|(_, _, detail, _)| detail.as_str()).collect();
    assert!(details[0].starts_with("`time` is 1767312000; expected RFC 3339"), "{details:?}");
    assert!(details[0].ends_with("say `format: unix_s`") && details[1].ends_with("say `format: unix_us`"), "{details:?}");
    let text = "{\"userId\":\"u\",\"value\":1,\"ts\":\"99999999999\"}\n{\"userId\":\"u\",\"value\":2,\"ts\":\"1767312000\"}\n";
    for source in [", time: {field: ts, format: unix_s}", ""] {
        let meter = if source.is_empty() { "time: {field: ts, format: unix_s}" } else { "match: first" };
        assert_eq!(lines("a.ndjson", source, meter, "", text), ["u 2026-01-01 2", "1 bad_time"], "{source}");
    }
    let joined = "d;t;userId;value\n31.01.2026;24:00;u;1\n01.02.2026;;u;2\n";
    let meter = "time: {fields: [d, t], format: '%d.%m.%Y %H:%M'}";
    assert_eq!(
        lines("a.csv", ", delimiter: ';'", meter, "", joined),
        ["u 2026-02-01 1", "2 no_time"].map(|shown| shown.replace("2 no_time", "3 no_time"))
    );
}

#[test]
fn one_old_event_opens_no_thousands_of_periods() {
    let json = "{\"userId\":\"u\",\"value\":1,\"time\":\"2026-02-28T10:00:00Z\"}\n{\"userId\":\"u\",\"value\":1,\"time\":\"1985-01-01T00:00:00Z\"}\n";
    let hourly = |rest: &str| {
        let text = document("path: DIR/a.ndjson", "match: first", "", ", resetSchedule: hourly");
        run(&text.replace("flushEmpty: false", rest), &[("a.ndjson", json.as_bytes())], AS_OF)
    };
    let refused = hourly("flushEmpty: true");
    assert_eq!(refused.parked.len(), 1);
    assert_eq!((refused.parked[0].0, refused.parked[0].1.as_str()), (2, "too_old"));
    assert!(refused.parked[0].2.contains("more than 10000 records"), "{:?}", refused.parked);
    assert!(refused.records.len() < 30);
    assert!(hourly("flushEmpty: false").parked.is_empty());
    let reversed: String = json.lines().rev().map(|line| format!("{line}\n")).collect();
    let text = document("path: DIR/a.ndjson", "match: first", "", ", resetSchedule: hourly");
    let again = run(&text.replace("flushEmpty: false", "flushEmpty: true"), &[("a.ndjson", reversed.as_bytes())], AS_OF);
    assert_eq!(again.records, refused.records, "whichever arrives first");
    let tolerance =
        document("path: DIR/a.ndjson", "match: first", "", "").replace("dedupe: off", "dedupe: off\npastTolerance: 30d");
    assert_eq!(run(&tolerance, &[("a.ndjson", json.as_bytes())], AS_OF).shown(), ["u 2026-02-01 1", "2 too_old"]);
}

#[test]
fn quotes_swallow_no_row() {
    let csv = "id,time,userId,note,value\n1,2026-01-01T00:00:00Z,u,5\" pipe,1\n2,2026-01-01T00:00:00Z,u,\"6\"\" pipe\",2\n\
               3,2026-01-01T00:00:00Z,u,\"oops,4\n4,2026-01-01T00:00:00Z,u,\"fine\",8\n5,2026-01-01T00:00:00Z,u,x,16\n";
    assert_eq!(lines("a.csv", "", "match: first", "", csv), ["u 2026-01-01 26", "2 unreadable", "4 unreadable"]);
    let lenient = lines("a.csv", ", quotes: none", "match: first", "", csv);
    assert_eq!(lenient, ["u 2026-01-01 31"]);
}

#[test]
fn readings_of_several_counters_are_told_apart() {
    let pods = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"pod\":\"a\",\"value\":100}\n\
                {\"time\":\"2026-01-01T00:01:00Z\",\"userId\":\"u\",\"pod\":\"b\",\"value\":1000}\n\
                {\"time\":\"2026-01-01T00:02:00Z\",\"userId\":\"u\",\"pod\":\"c\",\"value\":50}\n\
                {\"time\":\"2026-01-01T00:03:00Z\",\"userId\":\"u\",\"pod\":\"a\",\"value\":115}\n\
                {\"time\":\"2026-01-01T00:04:00Z\",\"userId\":\"u\",\"pod\":\"b\",\"value\":1010}\n\
                {\"time\":\"2026-01-01T00:05:00Z\",\"userId\":\"u\",\"pod\":\"c\",\"value\":50}\n";
    let delta = |rule: &str| {
        let text = document("path: DIR/a.ndjson", "match: first", rule, ", aggregation: delta");
        run(&text, &[("a.ndjson", pods.as_bytes())], AS_OF)
    };
    assert_eq!(delta(", series: [pod], groupBy: [[pod]]").shown(), ["u 2026-01-01 25"]);
    let refused = delta(", groupBy: [[pod]]").shown();
    assert!(refused[0].contains("which fields name one? Write `series: [pod]`"), "{refused:?}");
    let levels = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"disk\":\"a\",\"value\":10}\n\
                  {\"time\":\"2026-01-01T12:00:00Z\",\"userId\":\"u\",\"disk\":\"b\",\"value\":20}\n";
    let kind = ", aggregation: weighted, resetSchedule: daily, timeUnit: hour";
    let text = document("path: DIR/a.ndjson", "match: first", ", series: [disk]", kind);
    assert_eq!(run(&text, &[("a.ndjson", levels.as_bytes())], "2026-01-02T00:00:00Z").shown()[0], "u 2026-01-01 480");
}

#[test]
fn doubles_are_rounded_where_they_are_read() {
    let json = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":0.00014145000000000000123}\n";
    assert_eq!(lines("a.ndjson", "", "match: first", "", json), ["1 bad_value"]);
    for rule in [", value: 'round(value, 12)'", ", round: {places: 12}", ", value: 'round(decimal(string(value)), 12)'"] {
        assert_eq!(lines("a.ndjson", "", "match: first", rule, json), ["u 2026-01-01 0.00014145"], "{rule}");
    }
}

#[test]
fn marks_encodings_and_packed_files() {
    let event = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1}\n";
    let log = "192.0.2.1 - u [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";
    let marked = |text: &str| ["\u{feff}".as_bytes(), text.as_bytes()].concat();
    for (file, text) in [("a.ndjson", event), ("a.json", event)] {
        let text = marked(text);
        let text = String::from_utf8(text).unwrap_or_default();
        assert_eq!(lines(file, "", "match: first", "", &text), ["u 2026-01-01 1"], "{file}");
    }
    let text = format!("\u{feff}{log}");
    assert_eq!(lines("a.log", "", "user: client", ", value: bytes", &text), ["192.0.2.1 2026-01-01 5"]);
    let utf16: Vec<u8> =
        "\u{feff}time,userId,value\n2026-01-01T00:00:00Z,Zoë,3\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let csv = document("path: DIR/a.csv", "match: first", "", "");
    assert_eq!(run(&csv, &[("a.csv", &utf16)], AS_OF).shown(), ["Zoë 2026-01-01 3"]);
    let unmarked = run(&csv, &[("a.csv", &utf16[2..])], AS_OF).shown();
    assert!(unmarked[0].contains("UTF-16") && unmarked[0].contains("encoding: utf-16le"), "{unmarked:?}");
    let windows = b"time,userId,value\n2026-01-01T00:00:00Z,Zo\xeb,3\n";
    let told = run(&csv, &[("a.csv", windows)], AS_OF);
    assert!(told.parked[0].2.contains("0xEB") && told.parked[0].2.contains("encoding:"), "{:?}", told.parked);
    let declared = document("path: DIR/a.csv, encoding: windows-1252", "match: first", "", "");
    assert_eq!(run(&declared, &[("a.csv", windows)], AS_OF).shown(), ["Zoë 2026-01-01 3"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&marked(event)).unwrap();
    let packed = packed.finish().unwrap();
    let joined = [packed.clone(), packed, vec![0; 512]].concat();
    let gz = document("path: DIR/a.ndjson.gz", "match: first", "", "");
    assert_eq!(run(&gz, &[("a.ndjson.gz", &joined)], AS_OF).shown(), ["u 2026-01-01 2"]);
    let trailing = [joined, b"rest".to_vec()].concat();
    let warned = run(&gz, &[("a.ndjson.gz", &trailing)], AS_OF);
    assert_eq!((warned.shown(), warned.warnings.len()), (vec!["u 2026-01-01 2".to_owned()], 1));
}

#[test]
fn lists_are_read_whole_or_told() {
    let one = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1}";
    for text in
        [format!("[\n{one},\n{one},\n{one}\n]\n"), format!("[{one},{one}]\n{one}\n"), format!("{one}\n[{one}, {one}]\n[]\n")]
    {
        assert_eq!(lines("a.ndjson", "", "match: first", "", &text), ["u 2026-01-01 3"], "{text}");
    }
    let wrapped = format!("{{\"page\": 1, \"data\": {{\"records\": [{one}, {one}]}}}}\n");
    assert_eq!(lines("a.json", ", items: data.records", "match: first", "", &wrapped), ["u 2026-01-01 2"]);
}

#[test]
fn names_that_no_event_had_are_listed() {
    let json = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"data\":{\"tokens\":1}}\n";
    let rule = ", value: data.tokns, groupBy: [[region]]";
    let outcome = run(&document("path: DIR/a.ndjson", "match: first", rule, ""), &[("a.ndjson", json.as_bytes())], AS_OF);
    assert_eq!(
        outcome.unseen,
        ["`region` was in none of 1 events", "`data.tokns` was in none of 1 events; nearest: `data.tokens`"]
    );
}

#[test]
fn access_logs_match_their_whole_pattern() {
    let log = "shop:443 192.0.2.1 - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\"\n\
               192.0.2.5, 10.0.0.1 - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\"\n\
               192.0.2.7 - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\"\n";
    let shown = lines("a.log", "", "user: client", ", value: bytes", log);
    assert_eq!(shown, ["192.0.2.7 2026-01-01 5", "1 unreadable", "2 unreadable"]);
    let vhost = lines("a.log", ", format: vhost_combined", "user: vhost", ", value: bytes", log);
    assert_eq!(vhost, ["shop 2026-01-01 5", "2 unreadable", "3 unreadable"]);
    let timed = "192.0.2.7 - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 1500\n";
    let pattern = ", pattern: '%h %l %u %t \"%r\" %>s %b %D'";
    assert_eq!(lines("a.log", pattern, "user: client", ", value: D", timed), ["192.0.2.7 2026-01-01 1500"]);
    assert!(lines("a.log", pattern, "user: client", ", value: duration", timed)[0].contains("reads `duration`"));
}

#[test]
fn tables_of_offices_are_read_as_they_are_declared() {
    let report = "Usage report\n\nKunde;Datum;Betrag\n;;(EUR)\n007;31.01.2026;1.234,50 \u{20ac}\n008;31.01.2026;(2,25)\n;;\n009;31.01.2026;1.5\nSumme;;1.232,25\n";
    let source = ", delimiter: ';', skip: {before: 1}, units: true, footer: 1, types: {Betrag: {number: {decimal: ',', group: '.', currency: true}}}";
    let meter = "user: Kunde\n      time: {field: Datum, format: '%d.%m.%Y'}";
    let shown = lines("a.csv", source, meter, ", value: Betrag", report);
    assert_eq!(shown, ["007 2026-01-01 1234.5", "008 2026-01-01 -2.25", "8 bad_value"]);
    // Said for the whole file, a value is read by the same form.
    let source =
        ", delimiter: ';', skip: {before: 1}, units: true, footer: 1, numbers: {decimal: ',', group: '.', currency: true}";
    assert_eq!(lines("a.csv", source, meter, ", value: Betrag", report), shown);
    let fixed = "Zo\u{eb}  202601310012.5\nBob  202601310000.5\n";
    let columns = ", format: fixed, columns: [{name: who, from: 1, to: 5}, {name: day, from: 6, to: 13}, {name: n, from: 14, to: 19, type: number}]";
    let meter = "user: who\n      time: {field: day, format: '%Y%m%d'}";
    assert_eq!(lines("a.txt", columns, meter, ", value: n", fixed), ["Bob 2026-01-01 0.5", "Zo\u{eb} 2026-01-01 12.5"]);
}

#[test]
fn the_examples_of_the_page_compile() {
    let page = include_str!("../../../../docs/input.md");
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4);
    for block in blocks {
        flowmeter_document::Pipeline::read(block).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
    }
    let report = blocks_of(page, "pipeline: report");
    let text = "Nutzung\n\nKunde;Datum;Betrag\n;;EUR\nM\u{fc}ller;31.01.2026;1.234,50 \u{80}\nSumme;;1.234,50\n";
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let document = report.replace("path: report.csv", "path: DIR/report.csv");
    assert_eq!(run(&document, &[("report.csv", &latin)], AS_OF).shown()[0], "M\u{fc}ller 2026-01-01 1234.5");
}

/// The example of a page that begins with a line.
fn blocks_of<'p>(page: &'p str, first: &str) -> &'p str {
    page.split("```yaml\n").find(|block| block.starts_with(first)).and_then(|block| block.split("```").next()).unwrap()
}

#[test]
fn workbooks_are_read_as_tables() {
    let workbook = include_bytes!("usage.xlsx");
    let source = "path: DIR/usage.xlsx, skip: {before: 1}";
    let meter = "user: Customer\n      time: {field: Day, format: '%Y-%m-%d %H:%M:%S'}";
    let document = |source: &str, meter: &str| document(source, meter, ", value: Amount, carryLast: [Note]", "");
    let outcome = run(&document(source, meter), &[("usage.xlsx", workbook)], AS_OF);
    assert_eq!(outcome.shown(), ["00186 2026-01-01 0.1", "Zo\u{eb} 2026-01-01 1234.5"]);
    assert!(outcome.records[1].to_string().contains(r#""Note":"a, \"b\"""#), "{:?}", outcome.records);
    let named = run(&document(&format!("{source}, sheet: Costs"), meter), &[("usage.xlsx", workbook)], AS_OF).shown();
    assert!(named[0].contains("no sheet `Costs`; it has Usage"), "{named:?}");
    let typo = run(&document(source, &meter.replace("Day", "Dya")), &[("usage.xlsx", workbook)], AS_OF).shown();
    assert!(typo[0].contains("reads `Dya` (did you mean `Day`?)"), "{typo:?}");
    // A message names the row of the sheet.
    let late = run(&document(source, meter), &[("usage.xlsx", workbook)], "2026-01-10T00:00:00Z");
    assert_eq!(late.shown(), ["00186 2026-01-01 0.1", "5 in_future"]);
}

#[test]
fn every_element_of_a_line_has_an_identity() {
    let element = |n: u32| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":{n}}}");
    let [one, two, four] = [1, 2, 4].map(element);
    let list = format!("[{one},{two},{four}]");
    let pretty = format!("[\n{one}, {two},\n{four}\n]");
    for (label, file, source, text) in [
        ("a list on one line", "a.json", "", list.clone()),
        ("objects on one line", "a.json", "", format!("{one}{two} {four}")),
        ("two lists", "a.json", "", format!("[{one},{two}][{four}]")),
        ("several lines", "a.json", "", pretty),
        ("a wrapper", "a.json", ", items: data", format!("{{\"data\":{list}}}")),
        ("a line of NDJSON that is a list", "a.ndjson", "", format!("{list}\n")),
        ("NDJSON lists and objects", "a.ndjson", "", format!("[{one},{two}]\n{four}\n")),
    ] {
        let source = format!("path: DIR/{file}, id: line{source}");
        let document = document(&source, "match: first", ", value: value", "").replace("dedupe: off\n", "");
        let outcome = run(&document, &[(file, text.as_bytes())], AS_OF);
        assert_eq!(outcome.shown(), ["u 2026-01-01 7"], "{label}");
    }
}

#[test]
fn the_elements_of_a_long_line_have_identities_across_blocks() {
    let element = |n: usize| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1,\"n\":{n}}}");
    let list = format!("[{}]", (0..20_000).map(element).collect::<Vec<_>>().join(","));
    let document = document("path: DIR/a.json, id: line", "match: first", "", "").replace("dedupe: off\n", "");
    assert_eq!(run(&document, &[("a.json", list.as_bytes())], AS_OF).shown(), ["u 2026-01-01 20000"]);
}

#[test]
fn nothing_of_a_json_file_that_is_cut_short_counts() {
    let element = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":1}";
    let many = vec![element; 20_000].join(",\n");
    for (file, source, text) in [
        ("a.json", "", format!("[{element},\n{element}")),
        ("a.json", "", format!("[{many}")),
        ("a.json", ", items: data", format!("{{\"data\":[{element},{element}],")),
        ("a.ndjson", "", format!("[{element},\n{element},\n")),
    ] {
        let source = format!("path: DIR/{file}{source}");
        let outcome = run(&document(&source, "match: first", "", ""), &[(file, text.as_bytes())], AS_OF);
        assert!(outcome.failure.as_ref().is_some_and(|why| why.contains("is cut short")), "{file}: {:?}", outcome.failure);
        assert!(outcome.records.is_empty(), "{file}");
    }
}

#[test]
fn the_name_of_each_file_tells_its_format() {
    let csv = "time,userId,value\n2026-01-01T00:00:00Z,u,5\n";
    let tsv = "time\tuserId\tvalue\n2026-01-01T00:00:00Z\tu\t5\n";
    let json = "{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u\",\"value\":\"5\"}\n";
    for (path, file, text) in [
        ("A.CSV", "A.CSV", csv),
        ("A.TSV", "A.TSV", tsv),
        ("*", "a.csv", csv),
        ("*", "a.Csv", csv),
        ("a*", "a.csv", csv),
        ("*", "a.ndjson", json),
    ] {
        let outcome = run(&document(&format!("path: 'DIR/{path}'"), "match: first", "", ""), &[(file, text.as_bytes())], AS_OF);
        assert_eq!(outcome.shown(), ["u 2026-01-01 5"], "{file} by {path}");
    }
    // Where the pattern names the format, text is no number in JSON.
    let document = document("path: 'DIR/*.ndjson'", "match: first", "", "");
    assert_eq!(run(&document, &[("a.ndjson", json.as_bytes())], AS_OF).shown(), ["1 bad_value"]);
}

#[test]
fn packed_data_that_is_cut_short_names_the_file_the_place_and_the_remedy() {
    let row = |n: usize| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"u{n}\",\"value\":{n}}}\n");
    let text: String = (0..50_000).map(row).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (file, form, packed) in [("a.ndjson.gz", "gzip", gzip), ("a.ndjson.zst", "zstd", zstd)] {
        for kept in [packed.len() - 3, packed.len() / 2] {
            let pipeline = document(&format!("path: DIR/{file}"), "match: first", "", "");
            let outcome = run(&pipeline, &[(file, &packed[..kept])], AS_OF);
            let failure = outcome.failure.unwrap_or_default();
            for part in [&format!("DIR/{file}: the {form} data is cut short"), "about line ", &format!("`{form} -t`")] {
                assert!(failure.contains(part), "{file}, {kept} bytes: {failure}");
            }
            assert!(outcome.records.is_empty(), "{file}");
        }
    }
}
