//! Real usage data and its exact totals, computed by others (`fixtures/data`).

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::collections::BTreeMap;

use flowmeter_core::decimal::{Decimal, Rounding};
use serde_json::Value;
use support::{root, stdout};

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("fixtures/data/expected.json")).unwrap()).unwrap()
}

/// A record, with its value as exact text.
struct Record {
    json: Value,
    value: Option<Decimal>,
}

fn run(example: &str, as_of: &str) -> Vec<Record> {
    let text = stdout(&["run", &format!("examples/{example}.yaml"), "--as-of", as_of, "--flush-open"]);
    let record = |line: &str| {
        // The value is the last member; its text is used unchanged.
        let value = line.rsplit_once("\"value\":").unwrap().1.trim_end_matches('}');
        Record { json: serde_json::from_str(line).unwrap(), value: value.parse().ok() }
    };
    text.lines().map(record).collect()
}

fn sum<'r>(records: impl IntoIterator<Item = &'r Record>) -> String {
    // An open period without events has no minimum: null is left out.
    let values = records.into_iter().filter_map(|record| record.value);
    values.fold(Decimal::ZERO, |sum, value| sum.add(value).unwrap()).to_string()
}

fn of_type<'r>(records: &'r [Record], name: &str) -> Vec<&'r Record> {
    records.iter().filter(|record| record.json["meterTypeName"] == name).collect()
}

fn groups(records: &[&Record]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for group in records.iter().flat_map(|record| record.json["groups"].as_array().unwrap()) {
        *sums.entry(group["key"].as_str().unwrap().to_owned()).or_default() += group["value"].as_u64().unwrap();
    }
    sums
}

#[test]
fn apache_access_log() {
    let expected = &expected()["apache_combined_10000.log"];
    let records = run("apache", "2015-06-01T00:00:00Z");
    let (bytes, requests) = (of_type(&records, "Bytes"), of_type(&records, "Requests"));
    assert_eq!(sum(bytes.iter().copied()), expected["bytes_sum"].as_str().unwrap());
    assert_eq!(sum(requests.iter().copied()), "9999");
    let users: std::collections::BTreeSet<&str> = records.iter().map(|record| record.json["userId"].as_str().unwrap()).collect();
    assert_eq!(users.len() as u64, expected["unique_client_ip"].as_u64().unwrap());
    let by_group = groups(&requests);
    for (field, counts) in [("status", &expected["requests_by_status"]), ("method", &expected["requests_by_method"])] {
        for (value, count) in counts.as_object().unwrap() {
            assert_eq!(by_group[&format!("{field}:{value}")], count.as_u64().unwrap(), "{field} {value}");
        }
    }
    for (day, count) in expected["requests_by_day"].as_object().unwrap() {
        let start = format!("2015-05-{}T00:00:00.000Z", &day[..2]);
        let of_day = requests.iter().copied().filter(|record| record.json["periodStart"] == start.as_str());
        assert_eq!(sum(of_day), count.to_string(), "{day}");
    }
    for top in expected["bytes_by_top3_ip"].as_array().unwrap() {
        let of_user = bytes.iter().copied().filter(|record| record.json["userId"] == top[0]);
        assert_eq!(sum(of_user), top[1].as_str().unwrap());
    }
}

#[test]
fn the_one_bad_log_line_is_parked_with_file_line_and_reason() {
    let output = support::flowmeter(&["run", "examples/apache.yaml", "--as-of", "2015-06-01T00:00:00Z", "--strict"]);
    assert_eq!(output.status.code(), Some(1));
    let told = support::stderr(&output);
    assert!(told.contains("10,000 received = 9,999 counted + 0 duplicate + 0 filtered + 1 parked"), "{told}");
    assert!(told.contains("apache_combined_10000.log:8899: unreadable: not a line of an access log"), "{told}");
}

#[test]
fn azure_llm_trace() {
    let expected = &expected()["azure_llm_code_2023.csv"];
    let records = run("azure", "2023-11-17T00:00:00Z");
    let value = |name: &str| sum(of_type(&records, name));
    let context = &expected["ContextTokens"];
    for (name, wanted) in [("Context tokens", "sum"), ("Largest context", "max"), ("Smallest context", "min")] {
        assert_eq!(value(name), context[wanted].as_str().unwrap());
    }
    assert_eq!(value("Different contexts"), expected["unique_ContextTokens"].to_string());
    assert_eq!(value("Generated tokens"), expected["GeneratedTokens"]["sum"].as_str().unwrap());
    let line = stdout(&["run", "examples/azure.yaml", "--as-of", "2023-11-17T00:00:00Z"]);
    // 18059974 / 8819 with 28 significant digits.
    assert!(line.contains("\"value\":2047.848282118153985712665835}"));
    let minutes = of_type(&records, "Generated tokens a minute");
    assert_eq!(minutes.len() as u64, expected["minutes"].as_u64().unwrap());
    for (record, wanted) in minutes.iter().zip(expected["GeneratedTokens_by_minute_first3"].as_array().unwrap()) {
        let start = wanted[0].as_str().unwrap().replace(' ', "T");
        assert!(record.json["periodStart"].as_str().unwrap().starts_with(&start));
        assert_eq!(record.value.unwrap().to_string(), wanted[1].to_string());
    }
}

#[test]
fn electricity_by_local_day_and_month() {
    let expected = &expected()["eemeter_il-electricity-cdd-hdd-hourly.csv"];
    let records = run("electricity", "2018-03-01T00:00:00Z");
    let (days, months) = (of_type(&records, "Energy by day"), of_type(&records, "Energy by month"));
    assert_eq!(sum(days.iter().copied()), expected["sum"].as_str().unwrap());
    assert_eq!(sum(months.iter().copied()), expected["sum"].as_str().unwrap());
    assert_eq!(sum(of_type(&records, "Peak")), expected["max"].as_str().unwrap());
    let day = |start: &str| days.iter().find(|record| record.json["periodStart"] == start).unwrap();
    let decimal = |name: &str| expected[name].as_str().unwrap().parse::<Decimal>().ok();
    // The day clocks go forward has 23 readings, the day they go back 25.
    let short = day("2016-03-13T06:00:00.000Z");
    assert_eq!(
        (short.value, &short.json["meterMetaData"]["eventCount"]),
        (decimal("local_day_2016-03-13 (23 readings)"), &Value::from(23))
    );
    assert_eq!(short.json["periodEnd"], "2016-03-14T05:00:00.000Z");
    let long = day("2016-11-06T05:00:00.000Z");
    assert_eq!(
        (long.value, &long.json["meterMetaData"]["eventCount"]),
        (decimal("local_day_2016-11-06 (25 readings)"), &Value::from(25))
    );
    for (record, wanted) in months.iter().zip(expected["local_months_first4"].as_array().unwrap()) {
        assert!(record.json["periodStart"].as_str().unwrap().starts_with(wanted[0].as_str().unwrap()));
        assert_eq!(record.value, wanted[1].as_str().unwrap().parse().ok());
    }
}

/// The publisher's own daily file, rounded to 0.05 by its publisher, agrees day by day.
#[test]
fn electricity_agrees_with_the_published_days() {
    let records = run("electricity", "2018-03-01T00:00:00Z");
    let days = of_type(&records, "Energy by day");
    let published = std::fs::read_to_string(root().join("fixtures/data/eemeter_il-electricity-cdd-hdd-daily.csv")).unwrap();
    let mut compared = 0;
    for (line, record) in published.lines().skip(1).zip(&days) {
        let Some(value) = line.split(',').nth(1).and_then(|text| text.trim().parse::<Decimal>().ok()) else { continue };
        let apart = value.sub(record.value.unwrap()).unwrap().round(2, Rounding::Trunc).unwrap();
        let bound: Decimal = "0.05".parse().unwrap();
        assert!(apart <= bound && apart >= bound.neg(), "{line}: {:?}", record.value);
        compared += 1;
    }
    assert!(compared > 800, "{compared}");
}

#[test]
fn telecom_volumes() {
    let expected = &expected()["cider_mobiledata.csv"];
    let records = run("telecom", "2020-03-01T00:00:00Z");
    assert_eq!(sum(&records), expected["sum"].as_str().unwrap());
    for top in expected["top3"].as_array().unwrap() {
        assert_eq!(sum(records.iter().filter(|record| record.json["userId"] == top[0])), top[1].as_str().unwrap());
    }
}

#[test]
fn parquet_requests() {
    let expected = &expected()["http_requests_2023-04-13.parquet"];
    let records = run("parquet", "2023-04-14T00:00:00Z");
    assert_eq!(sum(&records), expected["EdgeResponseBytes_sum"].to_string());
    let counted: u64 = records.iter().map(|record| record.json["meterMetaData"]["eventCount"].as_u64().unwrap()).sum();
    assert_eq!(counted, expected["rows"].as_u64().unwrap());
    let firsts = records.iter().map(|record| record.json["meterMetaData"]["firstEvent"].as_str().unwrap());
    assert_eq!(firsts.min(), Some("2023-04-13T23:58:58.000Z"));
}

#[test]
fn nginx_running_totals() {
    let expected = &expected()["nginxplus_status.ndjson"];
    let records = run("nginx", "2015-11-01T00:00:00Z");
    assert_eq!(sum(of_type(&records, "Requests")), expected["latest minus first"].to_string());
    assert_eq!(sum(of_type(&records, "Last total")), expected["requests.total first/last/min/max"][1].to_string());
    assert_eq!(sum(of_type(&records, "Greatest total")), expected["requests.total first/last/min/max"][3].to_string());
}

/// Order, threads and partitions never change a byte.
#[test]
fn shuffled_or_split_the_bytes_are_the_same() {
    let straight = stdout(&["run", "examples/apache.yaml", "--as-of", "2015-06-01T00:00:00Z", "--threads", "1"]);
    for layout in [
        ["--threads", "2", "--partitions", "2"],
        ["--threads", "1", "--partitions", "7"],
        ["--threads", "3", "--partitions", "16"],
    ] {
        let mut arguments = vec!["run", "examples/apache.yaml", "--as-of", "2015-06-01T00:00:00Z"];
        arguments.extend(layout);
        assert_eq!(stdout(&arguments), straight, "{layout:?}");
    }
    let text = std::fs::read_to_string(root().join("fixtures/data/apache_combined_10000.log")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.reverse();
    lines.rotate_left(3333);
    let shuffled = tempfile::NamedTempFile::with_suffix(".log").unwrap();
    std::fs::write(shuffled.path(), lines.join("\n")).unwrap();
    let input = shuffled.path().to_str().unwrap();
    let other = stdout(&["run", "examples/apache.yaml", "--as-of", "2015-06-01T00:00:00Z", "--input", input]);
    assert_eq!(other, straight);
}
