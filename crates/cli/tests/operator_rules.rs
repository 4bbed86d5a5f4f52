//! Rules of operators that keep state, over several runs with one data folder.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::process::{Command, Output};

use serde_json::{Value, json};

const METER: &str =
    "  - meter: { key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c12, value: v, rules: [{}] }\nmeterTypes: [{ name: m }]\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Runs operators over a text in the given format, in front of a meter that adds up `v`.
    fn run(&self, format: &str, operators: &str, text: &str, more: &[&str]) -> Output {
        self.write(
            "p.yaml",
            &format!("pipeline: p\nsource: {{ file: {{ path: '-', format: {format} }} }}\noperators:\n{operators}{METER}"),
        );
        self.write("input", text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.current_dir(self.0.path()).args(["run", "p.yaml", "--input", "input", "--output", "json", "--output", "records"]);
        command.args(["--derived", "derived", "--parked", "parked"]).args(more).output().unwrap()
    }

    /// Runs events whose state is kept from run to run.
    fn go_on(&self, operators: &str, events: &[Value], as_of: &str) -> Value {
        let text: String = events.iter().map(|event| format!("{event}\n")).collect();
        summary(&self.run("ndjson", operators, &text, &["--data", "data", "--as-of", as_of]))
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[allow(clippy::needless_pass_by_value)] // written at its use
fn event(id: &str, time: &str, more: Value) -> Value {
    let mut event = json!({"id": id, "source": "s", "subject": "a", "time": format!("2026-01-{time}Z")});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[test]
fn fields_that_windows_keep_may_change_while_windows_are_held() {
    let windows = |window: &str, keep: &str| {
        format!("  - accumulate: {{ key: [subject], window: {window}, fields: {{ v: {{ count: true }} }}{keep} }}\n")
    };
    for window in ["{ size: 1h }", "{ gap: 10m }"] {
        for (before, after, expected) in [
            ("", ", keep: [plan]", [json!(null), json!("silver")]),
            (", keep: [plan]", "", [json!(null), json!(null)]),
            // A window that is held has no value of a field that was not kept.
            (", keep: [plan]", ", keep: [region]", [json!(null), json!(null)]),
            (", keep: [plan, region]", ", keep: [region, plan]", [json!("gold"), json!("silver")]),
        ] {
            let place = Place::new();
            let first = event("1", "05T10:10:00", json!({"plan": "gold", "region": "eu"}));
            place.go_on(&windows(window, before), &[first], "2026-01-05T10:15:00Z");
            let second = event("2", "05T14:10:00", json!({"plan": "silver"}));
            let told = place.go_on(&windows(window, after), &[second], "2026-02-01T00:00:00Z");
            assert_eq!(
                (&told["events"]["derived"], &told["events"]["held"]),
                (&json!(2), &json!(0)),
                "{window}{before}{after}: {told}"
            );
            let derived = place.lines("derived");
            let plans: Vec<Value> = derived.iter().map(|event| event["plan"].clone()).collect();
            assert_eq!(plans, expected, "{window}{before}{after}: {derived:?}");
        }
    }
}

#[test]
fn operators_name_columns_that_a_file_has() {
    let operators = [
        "accumulate: { key: [usr], window: { size: 1h }, fields: { n: { sum: v } } }",
        "accumulate: { key: [user], window: { size: 1h }, fields: { n: { sum: usr } } }",
        "accumulate: { key: [user], window: { size: 1h }, fields: { n: { sum: v } }, keep: [usr] }",
        "aggregate: { key: [usr], fields: { n: { sum: v } } }",
        "rate: { quantity: usr, set: cost, price: { model: unit, unit: 1 } }",
        "split: { path: usr }",
        "enrich: { table: plans, on: { c: usr }, set: { plan: plan }, unmatched: pass }",
        "currency: { table: rates, base: EUR, amount: usr, from: user, to: { value: EUR }, set: cost }",
        "correlate: { key: [usr], start: 'v == 1', stop: 'v == 2', duration: seconds }",
        "correlate: { key: [user], start: 'v == 1', stop: 'v == 2', duration: seconds, stopFields: [usr] }",
    ];
    let place = Place::new();
    place.write("plans.csv", "c,plan\na,gold\n");
    place.write("rates.csv", "currency,date,rate\nUSD,2026-01-01,1.1\n");
    for operator in operators {
        let tables = "tables:\n  - { name: plans, key: [c], file: { path: plans.csv } }\n  - { name: rates, key: [currency, date], file: { path: rates.csv } }\n";
        let document = format!(
            "pipeline: p\nsource: {{ file: {{ path: input.csv, time: t }} }}\n{tables}operators:\n  - {operator}\n  \
             - meter: {{ key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c12, user: user, value: v, rules: [{{}}] }}\nmeterTypes: [{{ name: m }}]\n"
        );
        let only = |name: &str| operator.contains(&format!("table: {name},"));
        let document = document.lines().filter(|line| {
            !line.contains("- { name: ") || only("plans") && line.contains("plans") || only("rates") && line.contains("rates")
        });
        let document: String = document.map(|line| format!("{line}\n")).collect();
        let document = if only("plans") || only("rates") { document } else { document.replace("tables:\n", "") };
        place.write("p.yaml", &document);
        place.write("input.csv", "id,user,t,v\n1,a,2026-01-05T10:00:00Z,1\n");
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        let output =
            command.current_dir(place.0.path()).args(["run", "p.yaml", "--as-of", "2026-02-01T00:00:00Z"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{operator}: {message}");
        assert!(message.contains("`usr` (did you mean `user`?)"), "{operator}: {message}");
    }
}

#[test]
fn an_event_in_several_windows_is_held_until_the_last_of_them() {
    let windows = "  - accumulate: { key: [subject], window: { size: 2h, step: 1h }, fields: { v: { count: true } } }\n";
    let place = Place::new();
    let both = [event("1", "05T08:30:00", json!({})), event("2", "05T11:10:00", json!({}))];
    let told = place.go_on(windows, &both, "2026-01-05T11:30:00Z");
    assert_eq!(
        (&told["events"]["absorbed"], &told["events"]["held"], &told["events"]["derived"]),
        (&json!(2), &json!(1), &json!(2)),
        "{told}"
    );
    // One of the two windows of the second event ends.
    let told = place.go_on(windows, &[], "2026-01-05T12:00:00Z");
    assert_eq!((&told["totals"]["held"], &told["totals"]["derived"]), (&json!(1), &json!(3)), "{told}");
    let told = place.go_on(windows, &[], "2026-01-05T13:00:00Z");
    assert_eq!((&told["totals"]["held"], &told["totals"]["derived"]), (&json!(0), &json!(4)), "{told}");
}

fn calls(timeout: &str) -> String {
    format!(
        "  - correlate: {{ key: [subject], start: 'kind == \"start\"', stop: 'kind == \"stop\"', duration: v, timeout: {timeout} }}\n"
    )
}

#[test]
fn a_start_that_is_held_takes_its_stop_however_old() {
    let place = Place::new();
    place.go_on(&calls("none"), &[event("1", "05T10:00:00", json!({"kind": "start"}))], "2026-01-06T00:00:00Z");
    place.go_on(&calls("none"), &[], "2026-01-16T00:00:00Z");
    let told = place.go_on(&calls("none"), &[event("2", "05T12:00:00", json!({"kind": "stop"}))], "2026-02-01T00:00:00Z");
    assert_eq!((&told["events"]["derived"], &told["totals"]["held"]), (&json!(1), &json!(0)), "{told}");
    assert_eq!(place.lines("derived")[0]["v"], json!(7200));
}

#[test]
fn a_pair_before_one_that_is_released_counts_in_any_order_of_arrival() {
    let (start, stop) = (event("3", "05T09:00:00", json!({"kind": "start"})), event("4", "05T09:30:00", json!({"kind": "stop"})));
    for older in [[start.clone(), stop.clone()], [stop, start.clone()]] {
        let place = Place::new();
        let first = [event("1", "05T10:00:00", json!({"kind": "start"})), event("2", "05T10:10:00", json!({"kind": "stop"}))];
        place.go_on(&calls("24h"), &first, "2026-01-05T11:00:00Z");
        let told = place.go_on(&calls("24h"), &older, "2026-01-05T11:30:00Z");
        assert_eq!((&told["events"]["derived"], &told["events"]["parked"]), (&json!(1), &json!(0)), "{told}");
        assert_eq!(place.lines("derived")[0]["v"], json!(1800));
    }
    // The stop may come in a later run. A pair that would hold the start of the released one does not count.
    for (repeat, at, expected) in [
        ("first", "05T09:30:00", json!({})),
        ("first", "05T10:30:00", json!({"too_late": 1, "no_start": 1})),
        ("last", "05T09:30:00", json!({})),
        ("last", "05T10:30:00", json!({"no_stop": 1, "no_start": 1})),
    ] {
        let place = Place::new();
        let first = [event("1", "05T10:00:00", json!({"kind": "start"})), event("2", "05T10:10:00", json!({"kind": "stop"}))];
        let operators = calls("24h").replace("timeout:", &format!("repeat: {repeat}, timeout:"));
        place.go_on(&operators, &first, "2026-01-05T11:00:00Z");
        let told = place.go_on(&operators, std::slice::from_ref(&start), "2026-01-05T11:30:00Z");
        assert_eq!((&told["events"]["held"], &told["events"]["parked"]), (&json!(1), &json!(0)), "{told}");
        let told = place.go_on(&operators, &[event("4", at, json!({"kind": "stop"}))], "2026-01-05T13:00:00Z");
        let is_pair = expected == json!({});
        assert_eq!(told["events"]["derived"], json!(u8::from(is_pair)), "{repeat} {at}: {told}");
        assert_eq!(told["totals"]["parkedByReason"], expected, "{repeat} {at}: {told}");
    }
}

#[test]
fn ids_that_are_numbers_are_compared_by_their_value() {
    let text = r#"{"k":1,"subject":"a","time":"2026-01-05T10:00:00Z","v":1}
{"k":1.0,"subject":"a","time":"2026-01-05T10:00:00Z","v":2}
{"k":"1","subject":"a","time":"2026-01-05T10:00:00Z","v":4}
{"k":1e0,"subject":"a","time":"2026-01-05T10:00:00Z","v":8}
{"k":10,"subject":"a","time":"2026-01-05T10:00:00Z","v":16}
"#;
    let place = Place::new();
    let told = summary(&place.run("ndjson", "  - dedupe: { key: [k] }\n", text, &["--as-of", "2026-02-01T00:00:00Z"]));
    assert_eq!((&told["events"]["counted"], &told["events"]["duplicate"]), (&json!(2), &json!(3)), "{told}");
    assert_eq!(place.lines("records")[0]["value"], json!(17));
}

#[test]
fn a_script_that_does_not_end_stops_the_run_and_not_the_event() {
    let place = Place::new();
    // Backtracking is not counted in steps.
    let script = "  - script: { code: 'function step(event) { event.v = /^(a+)+$/.test(event.text) ? 1 : 0; return event }' }\n";
    let text =
        json!({"id": "1", "source": "s", "subject": "a", "time": "2026-01-05T10:00:00Z", "text": format!("{}b", "a".repeat(31))});
    let output = place.run("ndjson", script, &format!("{text}\n"), &["--as-of", "2026-02-01T00:00:00Z"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("input:1: `script`: the script ran for ten seconds without an end"), "{message}");
    assert!(place.lines("records").is_empty() && place.lines("parked").is_empty());
}
