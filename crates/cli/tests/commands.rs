//! Every command, as a user meets it.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{flowmeter, records, root, stderr, stdout};

const API_COUNTER: &str = "cases/api-counter/api-counter.pipeline.yaml";

#[test]
fn the_reference_record_comes_out_field_by_field() {
    let text = stdout(&["run", API_COUNTER, "--as-of", "2023-08-01T00:00:00Z"]);
    let [mut record] = <[Value; 1]>::try_from(records(&text)).unwrap();
    let reference: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("cases/api-counter/record.json")).unwrap()).unwrap();
    let meta = record["meterMetaData"].as_object_mut().unwrap();
    for own in ["recordId", "revision", "eventCount"] {
        assert!(meta.remove(own).is_some(), "{own}");
    }
    assert_eq!(record, reference);
    let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
}

#[test]
fn a_summary_for_programs_and_the_session_s_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (out, events) = (path("out.ndjson"), path("events.ndjson"));
    let text = stdout(&[
        "run",
        API_COUNTER,
        "--as-of",
        "2023-08-01T00:00:00Z",
        "--output",
        &out,
        "--output",
        "json",
        "--events",
        &events,
    ]);
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["events"]["counted"], 25);
    assert_eq!(summary["events"]["duplicate"], 1);
    let way = json!(["INITIALIZING", "RUNNING", "USAGE_PUSHING", "PUSH_COMPLETED", "CONSUME_COMPLETED", "COMPLETED"]);
    assert_eq!(summary["statuses"], way);
    assert_eq!(records(&std::fs::read_to_string(&out).unwrap()).len(), 1);
    let told = records(&std::fs::read_to_string(&events).unwrap());
    let changes: Vec<&Value> = told.iter().filter(|event| event.get("sessionStatus").is_some()).collect();
    assert_eq!(changes.iter().map(|change| change["sessionStatus"].clone()).collect::<Vec<_>>(), *way.as_array().unwrap());
    assert_eq!(changes[0]["sessionPreviousStatus"], "NEVER_RUN");
    for pair in changes.windows(2) {
        assert_eq!(pair[1]["sessionPreviousStatus"], pair[0]["sessionStatus"]);
    }
    assert!(changes[4].get("sessionEndTime").is_none() && changes[5]["sessionEndTime"].is_string());
    let operators: Vec<&Value> = told.iter().filter(|event| event.get("operatorId").is_some()).collect();
    assert_eq!(operators.len(), 2);
    assert_eq!((&operators[1]["operatorTotalCount"], &operators[1]["operatorOutputCount"]), (&json!(25), &json!(25)));
}

#[test]
fn a_session_that_fails_says_so_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.ndjson");
    let target = folder.path().join("out.ndjson");
    let arguments = [
        "run",
        API_COUNTER,
        "--input",
        "no/such/file.ndjson",
        "--output",
        target.to_str().unwrap(),
        "--events",
        events.to_str().unwrap(),
    ];
    let output = flowmeter(&arguments);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("no/such/file.ndjson"), "{}", stderr(&output));
    let told = records(&std::fs::read_to_string(&events).unwrap());
    assert_eq!(told.last().unwrap()["sessionStatus"], "FAILED");
    assert!(!target.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file stays behind");
}

#[test]
fn too_many_errors_fail_the_session_when_the_pipeline_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("p.yaml");
    let text = "pipeline: p\nmaxErrorPercent: 40\nsource: {file: {path: '-'}}\ndedupe: off\noperators:\n  - meter: {key: 00000000-0000-4000-8000-000000000001, rules: [{}]}\nmeterTypes: [{name: m}]\n";
    std::fs::write(&pipeline, text).unwrap();
    let good = r#"{"subject":"a","time":"2024-01-01T00:00:00Z","value":1}"#;
    for (input, code) in [(format!("{good}\nbad\n{good}\n"), 0), (format!("{good}\nbad\n"), 3)] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .args(["run", pipeline.to_str().unwrap(), "--as-of", "2024-02-01T00:00:00Z"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
}

#[test]
fn packed_and_globbed_files_give_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read(root().join("cases/api-counter/api-counter.events.ndjson")).unwrap();
    let half = text.iter().enumerate().filter(|(_, c)| **c == b'\n').nth(12).unwrap().0 + 1;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text[..half]).unwrap();
    std::fs::write(folder.path().join("a.ndjson.gz"), gzip.finish().unwrap()).unwrap();
    std::fs::write(folder.path().join("b.ndjson.zst"), zstd::encode_all(&text[half..], 1).unwrap()).unwrap();
    let lines = String::from_utf8(text).unwrap();
    let array = format!("[{}]", lines.trim_end().replace('\n', ",\n"));
    std::fs::write(folder.path().join("all.json"), array).unwrap();
    let straight = stdout(&["run", API_COUNTER, "--as-of", "2023-08-01T00:00:00Z"]);
    for pattern in ["*.ndjson.*", "all.json"] {
        let input = folder.path().join(pattern);
        let pipeline = if pattern.ends_with("json") { any_format(folder.path()) } else { API_COUNTER.to_owned() };
        let other = stdout(&["run", &pipeline, "--as-of", "2023-08-01T00:00:00Z", "--input", input.to_str().unwrap()]);
        assert_eq!(other, straight, "{pattern}");
    }
}

/// The pipeline without its word on the format: the file's name decides.
fn any_format(folder: &Path) -> String {
    let text = std::fs::read_to_string(root().join(API_COUNTER)).unwrap().replace(", format: ndjson", "");
    let path = folder.join("any.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn delimited_text_of_a_peer() {
    let case = include_str!("../../../cases/peers/peers.jsonl").lines().find(|line| line.contains("\"cgrates-009\"")).unwrap();
    let case: Value = serde_json::from_str(case).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cdr.csv"), case["content"].as_str().unwrap()).unwrap();
    let pipeline = "pipeline: cdr\nsource: {file: {path: cdr.csv, header: false, delimiter: ';', comment: '#', id: [c1], time: {field: c6, format: '%Y-%m-%d %H:%M:%S'}}}\n\
        operators:\n  - meter: {key: 00000000-0000-4000-8000-000000000001, user: c4, value: c7, rules: [{groupBy: [[c3]]}]}\nmeterTypes: [{name: m, resetSchedule: yearly}]\n";
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, pipeline).unwrap();
    let records = records(&stdout(&["run", path.to_str().unwrap(), "--as-of", "2014-01-01T00:00:00Z"]));
    assert_eq!(records[0]["value"], 211);
    assert_eq!(records[0]["meterMetaData"]["eventCount"], 3);
    let groups: Vec<_> =
        records[0]["groups"].as_array().unwrap().iter().map(|g| (g["fields"]["c3"].clone(), g["value"].clone())).collect();
    assert_eq!(groups, [(json!("cgrates.org"), json!(26)), (json!("itsyscom.com"), json!(185))]);
}

#[test]
fn records_as_rows_and_by_period() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("out.csv");
    stdout(&["run", API_COUNTER, "--as-of", "2023-08-01T00:00:00Z", "--output", csv.to_str().unwrap()]);
    let text = std::fs::read_to_string(&csv).unwrap();
    assert!(
        text.starts_with("id,userId,meterTypeId,") && text.contains("8a76066d-ff29-417c-a18e-abde22e44310,user0@example.com,"),
        "{text}"
    );
    let template = folder.path().join("{periodEnd}/{userId}.ndjson");
    stdout(&["run", API_COUNTER, "--as-of", "2023-09-01T00:00:00Z", "--output", template.to_str().unwrap()]);
    for month in ["2023-08-01T00:00:00.000Z", "2023-09-01T00:00:00.000Z"] {
        let file = folder.path().join(month).join("user0@example.com.ndjson");
        assert_eq!(records(&std::fs::read_to_string(file).unwrap()).len(), 1);
    }
}

#[test]
fn test_shows_each_operator_and_pushes_nothing() {
    let text = stdout(&["test", API_COUNTER, "--as-of", "2023-08-01T00:00:00Z", "--output", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["statuses"], json!(["TESTING", "TESTING_PASSED"]));
    assert_eq!(report["sessionRunType"], "DEBUG");
    assert_eq!(report["operators"][0]["in"], 26);
    assert_eq!(report["operators"][0]["out"], 25);
    assert_eq!(report["samples"][0]["fields"]["country"], "Norway");
    assert_eq!(report["wouldFlush"][0]["value"], 25);
    let failed = flowmeter(&["test", "examples/apache.yaml", "--as-of", "2015-06-01T00:00:00Z", "--strict"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("TESTING → TESTING_FAILED"));
}

#[test]
fn test_counts_threshold_pushes_apart_from_records() {
    let folder = tempfile::tempdir().unwrap();
    let event = r#"{"subject":"a","time":"2024-01-01T00:00:00Z","value":7}"#;
    std::fs::write(folder.path().join("events.ndjson"), event).unwrap();
    let pipeline = "pipeline: p\nsource: {file: {path: events.ndjson}}\ndedupe: off\noperators:\n  - meter: {key: 00000000-0000-4000-8000-000000000001, rules: [{}]}\n\
        meterTypes: [{name: m, thresholds: [{name: five, value: 5}]}]\n";
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, pipeline).unwrap();
    let text = stdout(&["test", path.to_str().unwrap(), "--as-of", "2024-01-20T00:00:00Z", "--output", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["thresholds"], &report["records"]), (&json!(1), &json!(1)));
    assert_eq!(report["wouldFlush"][0]["threshold"]["direction"], "reached");
}

#[test]
fn periods_on_the_command_line() {
    let schedule = r#"{"every":"month","anchor":{"day":31,"time":"00:00"}}"#;
    let arguments = ["periods", "--timezone", "America/Sao_Paulo", "--schedule", schedule, "--at", "2018-11-10T12:00:00Z"];
    assert_eq!(
        stdout(&arguments),
        "{\"periodStart\": \"2018-10-31T03:00:00.000Z\", \"periodEnd\": \"2018-11-30T02:00:00.000Z\"}\n"
    );
    let text = stdout(&["periods", "--schedule", "monthly", "--from", "2024-01-15T00:00:00Z", "--to", "2024-04-01T00:00:00Z"]);
    let starts: Vec<String> =
        records(&text).iter().map(|period| period["periodStart"].as_str().unwrap()[..7].to_owned()).collect();
    assert_eq!(starts, ["2024-01", "2024-02", "2024-03"]);
    for (schedule, zone, complaint) in [
        ("montly", "UTC", "unknown schedule"),
        ("{\"every\":\"month\",\"anchor\":{\"dya\":1}}", "UTC", "did you mean `day`?"),
        ("{\"minute\":\"61\",\"hour\":\"0\",\"day\":\"1\",\"month\":\"*\",\"weekday\":\"*\"}", "UTC", "not a cron minute"),
        ("monthly", "Europe/Olso", "did you mean Europe/Oslo?"),
    ] {
        let output = flowmeter(&["periods", "--schedule", schedule, "--timezone", zone]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(complaint), "{}", stderr(&output));
    }
}

#[test]
fn every_reset_case_comes_out_right_on_the_command_line() {
    for line in include_str!("../../../cases/reset/reset.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let unit = match case["schedule"].as_str().unwrap() {
            "daily" => "day",
            name => name.trim_end_matches("ly"),
        };
        let schedule = json!({"every": unit, "anchor": case["anchor"]}).to_string();
        let text = stdout(&[
            "periods",
            "--timezone",
            case["timezone"].as_str().unwrap(),
            "--schedule",
            &schedule,
            "--at",
            case["instant"].as_str().unwrap(),
        ]);
        let period = &records(&text)[0];
        for bound in ["periodStart", "periodEnd"] {
            let wanted = case[bound].as_str().unwrap().replace('Z', ".000Z");
            assert_eq!(period[bound], wanted.as_str(), "{line}");
        }
    }
}

#[test]
fn check_prints_what_a_pipeline_means_and_it_means_the_same() {
    for example in ["apache", "azure", "electricity", "telecom", "parquet", "nginx", "llm-usage"] {
        let effective = stdout(&["check", &format!("examples/{example}.yaml")]);
        assert!(effective.contains("futureTolerance: 5m"), "{effective}");
        let again = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(again.path(), &effective).unwrap();
        assert_eq!(stdout(&["check", again.path().to_str().unwrap()]), effective);
    }
}

#[test]
fn a_value_that_is_an_expression_is_computed_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let events = [
        r#"{"id":"1","subject":"a","time":"2024-01-01T00:00:00Z","data":{"n":3,"price":0.1}}"#,
        r#"{"id":"2","subject":"a","time":"2024-01-01T00:00:00Z","data":{"n":"3","price":0.1}}"#,
        r#"{"id":"3","subject":"a","time":"2024-01-01T00:00:00Z","data":{"price":0.1},"= data.n * data.price":7}"#,
        r#"{"id":"4","subject":"a","time":"2024-01-01T00:00:00Z","data":{"n":7,"price":0.2}}"#,
    ];
    std::fs::write(folder.path().join("events.ndjson"), events.join("\n")).unwrap();
    let pipeline = "pipeline: p\nsource: {file: {path: events.ndjson}}\noperators:\n  - meter:\n      key: 00000000-0000-4000-8000-000000000001\n      match: all\n      rules:\n\
        \x20       - { category: cost, value: data.n * data.price }\n\
        \x20       - { category: calls, value: 1 }\n\
        \x20       - { category: kinds, value: 'data.n > 5 ? \"many\" : \"few\"' }\n\
        meterTypes:\n  - { name: cost, category: cost }\n  - { name: calls, category: calls }\n  - { name: kinds, category: kinds, aggregation: unique }\n";
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, pipeline).unwrap();
    let parked = folder.path().join("parked.ndjson");
    let arguments = ["run", path.to_str().unwrap(), "--as-of", "2024-02-01T00:00:00Z", "--parked", parked.to_str().unwrap()];
    let mut values: Vec<(String, String)> = records(&stdout(&arguments))
        .iter()
        .map(|record| (record["meterTypeName"].as_str().unwrap().to_owned(), record["value"].to_string()))
        .collect();
    values.sort();
    let expected = [("calls", "2"), ("cost", "1.7"), ("kinds", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(values, expected);
    let parked = std::fs::read_to_string(parked).unwrap();
    let reasons: Vec<Value> = records(&parked).iter().map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["bad_value", "bad_value"], "{parked}");
    assert!(parked.contains("data.n * data.price"), "{parked}");
}

#[test]
fn warnings_are_printed_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    let text = "pipeline: p\nsource: {file: {path: '-'}}\noperators:\n  - meter:\n      key: 00000000-0000-4000-8000-000000000001\n      rules:\n        - { name: all }\n        - { name: never }\nmeterTypes: [{name: m}]\n";
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("none.ndjson"), "").unwrap();
    let input = folder.path().join("none.ndjson");
    let (file, input) = (path.to_str().unwrap(), input.to_str().unwrap());
    let expected = format!("{file}:8:11: warning: operators[0].meter.rules[1]: `never` can never apply");
    for arguments in [
        vec!["check", file],
        vec!["check", "--quiet", file],
        vec!["run", file, "--input", input],
        vec!["test", file, "--input", input],
    ] {
        let output = flowmeter(&arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&expected), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn schema_completions_and_manual_are_there() {
    let schema: Value = serde_json::from_str(&stdout(&["schema"])).unwrap();
    assert_eq!(schema["properties"]["operators"]["items"]["properties"]["meter"]["required"], json!(["key", "rules"]));
    assert!(stdout(&["completions", "bash"]).contains("flowmeter"));
    assert!(stdout(&["man"]).contains(".TH flowmeter"));
    assert!(stdout(&["run", "--help"]).contains("--flush-open"));
}

#[test]
fn every_command_has_a_manual_page() {
    for (command, line) in [
        (vec!["man"], "flowmeter-run(1)"),
        (vec!["man", "run"], "TH flowmeter-run 1"),
        (vec!["man", "keys", "create"], "flowmeter-keys-create"),
    ] {
        let page = stdout(&command);
        assert!(page.replace('\\', "").contains(line), "{command:?}: {page}");
    }
    let unknown = flowmeter(&["man", "keys", "crete"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        stderr(&unknown).contains("there is no command `crete`; there are: list, create, rotate, revoke"),
        "{}",
        stderr(&unknown)
    );
}
