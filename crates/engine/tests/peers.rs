//! The expectations of other products' tests, for cases of scope `core` (and of this product's
//! extensions): `cases/peers/peers.jsonl`.
//!
//! Each case is translated to a pipeline and run straight, shuffled and split. Decisions where
//! peers disagree are in `cases/README.md`.

#![allow(clippy::unwrap_used)] // a failed test panics

mod support;

use std::collections::BTreeMap;

use flowmeter_core::decimal::{Decimal, Rounding};
use flowmeter_core::schedule::Schedule;
use flowmeter_core::time::Zone;
use serde_json::{Value, json};
use support::{Outcome, Step, at, run_all_ways};

fn cases() -> Vec<Value> {
    let text = include_str!("../../../cases/peers/peers.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Peers name a field of the data by its name alone.
fn field(name: &str) -> String {
    if name == "subject" { name.to_owned() } else { format!("data.{name}") }
}

fn aggregation(meter: &Value) -> Option<Value> {
    Some(match text(meter, "aggregation") {
        "unique_count" if meter.get("unique_op").is_some() => return None,
        "unique_count" => json!("unique"),
        "weighted_sum" if meter.get("initial").is_some() => return None,
        "weighted_sum" => json!({"type": "weighted", "timeUnit": "period", "input": "change"}),
        // Peers interpolate; nearest rank is this product's stated rule.
        "percentile" | "first" | "std" => return None,
        other => json!(other),
    })
}

fn schedule(window: &str) -> Option<Value> {
    Some(match window {
        "" => json!("never"),
        "minute" => json!({"minute": "*", "hour": "*", "day": "*", "month": "*", "weekday": "*"}),
        "hour" | "day" | "week" | "month" | "quarter" | "year" => json!({"every": window}),
        "week_sun" => json!({"every": "week", "anchor": {"weekday": "sunday"}}),
        _ => return None,
    })
}

fn conditions(meter: &Value) -> Vec<Value> {
    let one_of = |map: &Value| -> Vec<String> {
        let members = map.as_object().into_iter().flatten();
        members.map(|(name, values)| format!("{} in {values}", field(name))).collect()
    };
    let mut all: Vec<String> = one_of(&meter["filter"]);
    for excluded in meter["exclude"].as_array().into_iter().flatten() {
        all.push(format!("!({})", one_of(excluded).join(" && ")));
    }
    if let Some(kind) = meter["event_type"].as_str() {
        all.push(format!("type == {kind:?}"));
    }
    all.into_iter().map(|expression| json!({"expression": expression})).collect()
}

/// The pipeline of a case, or `None` if it asks for what this product does otherwise.
fn pipeline(meter: &Value, period: &Value, users: &[&str]) -> Option<Value> {
    let window = text(meter, "window");
    let group_by =
        meter["group_by"].as_array().map(|names| names.iter().map(|name| field(name.as_str().unwrap())).collect::<Vec<_>>());
    let mut kind = json!({"name": "m", "aggregation": aggregation(meter)?, "resetSchedule": schedule(window)?, "flushEmpty": window.is_empty()});
    let mut meters = Vec::new();
    if let Some(from) = period["from"].as_str() {
        kind["activeFrom"] = json!(from);
        // An integral needs a period: the case's own, as a schedule of one month.
        if kind["aggregation"]["type"] == "weighted" {
            kind["resetSchedule"] = json!("monthly");
        }
        if let Some(to) = period["to"].as_str() {
            kind["activeTo"] = json!(to);
        }
        meters = users.iter().map(|user| json!({"userId": user, "meterType": "m", "createdAt": from})).collect();
    }
    if let Some(zone) = meter["timezone"].as_str() {
        kind["timezone"] = json!(zone);
    }
    let mut rule = json!({"category": "DEFAULT", "value": field(meter["value"].as_str().unwrap_or("value"))});
    rule["groupBy"] = json!(group_by.map(|fields| vec![fields]).unwrap_or_default());
    let all = conditions(meter);
    if !all.is_empty() {
        rule["conditions"] = json!({"all": all});
    }
    let key = "4b7c1f0e-23a5-4d68-9a1e-0c5d3f2b1a00";
    let mut operators = vec![json!({"meter": {"key": key, "unmatched": "drop", "textNumbers": true, "rules": [rule]}})];
    if let Some(keys) = meter["dedupe"].get("key") {
        operators.insert(0, json!({"dedupe": {"key": keys}}));
    }
    Some(json!({
        "pipeline": "peer", "source": {"file": {"path": "-"}}, "operators": operators, "meterTypes": [kind], "meters": meters,
    }))
}

fn users(events: &[&Value]) -> Vec<String> {
    let mut users: Vec<String> = events.iter().map(|event| text(event, "subject").to_owned()).collect();
    users.push("customer-1".to_owned());
    users.sort();
    users.dedup();
    users
}

/// The parts of a record that a case checks.
struct Row {
    start: String,
    value: Option<Decimal>,
    count: u64,
    groups: BTreeMap<String, Option<Decimal>>,
}

fn decimal(json: &serde_json::value::RawValue) -> Option<Decimal> {
    // Quotients have more digits than a decimal: cut to 18.
    let text = json.get();
    let cut = text.split_once('.').map_or(text.to_owned(), |(whole, rest)| format!("{whole}.{}", &rest[..rest.len().min(18)]));
    cut.parse().ok()
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    let row = |record: &String| {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(record).unwrap();
        let members = support::members(&raw).unwrap();
        let groups: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(members["groups"].get()).unwrap();
        let groups = groups.iter().map(|group| {
            let group = support::members(group).unwrap();
            let fields: BTreeMap<String, Value> = serde_json::from_str(group["fields"].get()).unwrap();
            (json!(fields).to_string(), decimal(group["value"]))
        });
        let meta: Value = serde_json::from_str(members["meterMetaData"].get()).unwrap();
        Row {
            start: serde_json::from_str(members["periodStart"].get()).unwrap(),
            value: decimal(members["value"]),
            count: meta["eventCount"].as_u64().unwrap(),
            groups: groups.collect(),
        }
    };
    outcome.records.iter().map(row).collect()
}

/// Equal at the precision the case states.
fn equal(actual: Option<Decimal>, expected: &Value, round: Option<i64>) -> bool {
    let Some(expected) = expected.as_str() else { return actual.is_none() };
    let expected: Decimal = expected.parse().unwrap();
    match (actual, round) {
        (Some(actual), Some(places)) => {
            actual.round(places as i32, Rounding::HalfUp) == expected.round(places as i32, Rounding::HalfUp)
        }
        (Some(actual), None) => actual == expected,
        (None, _) => false,
    }
}

fn check_meter(case: &Value) -> Result<bool, String> {
    let events: Vec<&Value> = case["events"].as_array().unwrap().iter().collect();
    let users = users(&events);
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let meter = if text(&case["meter"], "window") == "second" { by_second(&case["meter"]) } else { case["meter"].clone() };
    let Some(mut document) = pipeline(&meter, &case["period"], &users) else { return Ok(false) };
    if text(&case["meter"], "window") == "second" {
        let cut = json!({"map": {"set": {"data.second": "time.substring(0, 19)"}}});
        document["operators"].as_array_mut().unwrap().insert(0, cut);
    }
    let lines = events.iter().map(ToString::to_string).collect();
    let now = at("2026-06-01T00:00:00Z");
    let steps = [Step::Events(now, lines), Step::Tick(now), Step::Flush(now)];
    // Of repetitions with other content the first arrival wins: there the order is the case.
    let ordered = case["meter"].get("dedupe").is_some();
    let outcome = run_all_ways(&document.to_string(), &steps, ordered);
    compare(case, &rows(&outcome)).map(|()| true).map_err(|why| format!("{why}\n{}", outcome.records.join("\n")))
}

/// A metering period of a second does not exist here; a group by second separates events as well.
fn by_second(meter: &Value) -> Value {
    let mut meter = meter.clone();
    meter["group_by"] = json!(["second"]);
    meter["window"] = json!("");
    meter
}

fn compare(case: &Value, rows: &[Row]) -> Result<(), String> {
    let expect = &case["expect"];
    let round = expect["round"].as_i64();
    let counted: u64 = rows.iter().map(|row| row.count).sum();
    if let Some(count) = expect["count"].as_u64()
        && count != counted
    {
        return Err(format!("{counted} events counted, not {count}"));
    }
    if let Some(groups) = expect["groups"].as_array() {
        return groups.iter().try_for_each(|group| compare_group(case, rows, group, round));
    }
    let empty = counted == 0;
    let nullable = matches!(text(&case["meter"], "aggregation"), "min" | "max" | "avg" | "latest");
    // The decision on empty periods: sums and counts are 0, the rest is null.
    let expected = if empty && nullable {
        Value::Null
    } else if empty {
        json!("0")
    } else {
        expect["value"].clone()
    };
    let value = match rows {
        [] => None,
        [one] => one.value,
        several => several.iter().try_fold(Decimal::ZERO, |sum, row| sum.add(row.value?)),
    };
    match equal(value, &expected, round) {
        true => Ok(()),
        false => Err(format!("{value:?} is not {expected}")),
    }
}

fn compare_group(case: &Value, rows: &[Row], group: &Value, round: Option<i64>) -> Result<(), String> {
    let found = match (group["window"].as_str(), group["by"].as_object()) {
        (Some(window), _) if text(&case["meter"], "window") == "second" => {
            let key = json!({"data.second": window.trim_end_matches('Z')}).to_string();
            rows.iter().find_map(|row| row.groups.get(&key).copied()).flatten()
        }
        (Some(window), _) => {
            let start = at(window).to_string();
            // A window over all users is their sum.
            let values: Vec<_> = rows.iter().filter(|row| row.start == start).map(|row| row.value).collect();
            match values.as_slice() {
                [] => None,
                [one] => *one,
                several => several.iter().try_fold(Decimal::ZERO, |sum, value| sum.add((*value)?)),
            }
        }
        (None, Some(by)) => {
            let fields: BTreeMap<String, &Value> = by.iter().map(|(name, value)| (field(name), value)).collect();
            let key = json!(fields).to_string();
            rows.iter().find_map(|row| row.groups.get(&key).copied()).flatten()
        }
        _ => None,
    };
    match equal(found, &group["value"], round) {
        true => Ok(()),
        false => Err(format!("{found:?} is not {group}")),
    }
}

#[test]
fn peers_meters_come_out_right() {
    let mut held = 0;
    let mut failures = Vec::new();
    for case in cases() {
        let of_interest = matches!(text(&case, "scope"), "core" | "extension") && text(&case, "kind") == "meter";
        if !of_interest {
            continue;
        }
        match check_meter(&case) {
            Ok(true) => held += 1,
            Ok(false) => assert_eq!(text(&case, "scope"), "extension", "{case}"),
            Err(why) => failures.push(format!("{}: {why}", text(&case, "case"))),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(held >= 67, "{held}");
}

#[test]
fn peers_parsing_comes_out_right() {
    let mut held = 0;
    for case in cases().iter().filter(|case| text(case, "kind") == "parse") {
        let event =
            json!({"id": "1", "source": "s", "subject": "customer-1", "time": "2026-01-01T00:00:00Z", "data": case["data"]});
        let document = pipeline(&case["meter"], &Value::Null, &[]).unwrap();
        let now = at("2026-06-01T00:00:00Z");
        let outcome = run_all_ways(&document.to_string(), &[Step::Events(now, vec![event.to_string()]), Step::Flush(now)], false);
        let name = text(case, "case");
        if case["expect"].get("error").is_some() {
            assert_eq!(outcome.tally.parked_total(), 1, "{name}");
            assert!(matches!(outcome.parked[0].0.as_str(), "no_value" | "bad_value"), "{name} {:?}", outcome.parked);
        } else {
            assert_eq!(outcome.tally.counted, 1, "{name} {:?}", outcome.parked);
            let expected = case["expect"].get("value").cloned().unwrap_or(json!("1"));
            assert!(equal(rows(&outcome)[0].value, &expected, None), "{name}");
        }
        held += 1;
    }
    assert_eq!(held, 8);
}

fn anchored(case: &Value) -> (Schedule, Zone) {
    let zone = Zone::named(text(case, "timezone")).unwrap();
    let every = match text(case, "schedule") {
        "daily" => "day",
        "weekly" => "week",
        "monthly" => "month",
        "quarterly" => "quarter",
        "yearly" => "year",
        "hourly" => "hour",
        other => panic!("{other}"),
    };
    let mut schedule = json!({"every": every});
    if let Some(anchor) = case["anchor"].as_str() {
        // An anchor instant, on the zone's clock (all of these are in UTC).
        let number = |range: std::ops::Range<usize>| anchor[range].parse::<i64>().unwrap();
        schedule["anchor"] = json!({"day": number(8..10), "time": &anchor[11..16]});
        if matches!(every, "quarter" | "year") {
            schedule["anchor"]["month"] = json!(number(5..7));
        }
    } else if case["anchor"].is_object() {
        schedule["anchor"] = case["anchor"].clone();
    }
    (flowmeter_document::read_schedule(&schedule.to_string()).unwrap(), zone)
}

#[test]
fn peers_periods_come_out_right() {
    let mut held = 0;
    for case in cases() {
        match text(&case, "kind") {
            "period" => {
                let (schedule, zone) = anchored(&case);
                let period = schedule.period_at(&zone, at(text(&case, "instant")));
                let expected = (at(text(&case["expect"], "periodStart")), at(text(&case["expect"], "periodEnd")));
                assert_eq!((period.start, period.end), expected, "{}", text(&case, "case"));
            }
            "boundaries" => {
                let (schedule, zone) = anchored(&case);
                let starts: Vec<_> =
                    case["expect"]["starts"].as_array().unwrap().iter().map(|s| at(s.as_str().unwrap())).collect();
                for pair in starts.windows(2) {
                    let period = schedule.period_at(&zone, pair[0]);
                    assert_eq!((period.start, period.end), (pair[0], pair[1]), "{}", text(&case, "case"));
                }
            }
            _ => continue,
        }
        held += 1;
    }
    assert_eq!(held, 18);
}

#[test]
fn every_reset_case_comes_out_right() {
    let text_of = include_str!("../../../cases/reset/reset.jsonl");
    let mut held = 0;
    for line in text_of.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (schedule, zone) = anchored(&case);
        let period = schedule.period_at(&zone, at(text(&case, "instant")));
        let expected = (at(text(&case, "periodStart")), at(text(&case, "periodEnd")));
        assert_eq!((period.start, period.end), expected, "{line}");
        held += 1;
    }
    assert_eq!(held, 57);
}

/// Late events that a peer ignores are parked here. Its window of a second is a minute here: the
/// case's seconds are read as minutes.
#[test]
fn a_late_event_past_the_window_changes_nothing() {
    let case = cases().into_iter().find(|case| text(case, "kind") == "late").unwrap();
    let mut meter = case["meter"].clone();
    meter["window"] = json!("minute");
    let mut document = pipeline(&meter, &Value::Null, &[]).unwrap();
    document["meterTypes"][0]["late"] = json!({"policy": "park"});
    let as_minutes = |event: &Value| {
        let mut event = event.clone();
        let time = text(&event, "time").to_owned();
        event["time"] = json!(format!("{}{}:00{}", &time[..14], &time[17..19], &time[19..]));
        event.to_string()
    };
    let mut steps = Vec::new();
    for batch in case["batches"].as_array().unwrap() {
        steps.push(Step::Events(at("2014-01-01T12:04:00Z"), batch.as_array().unwrap().iter().map(as_minutes).collect()));
        // The minutes before the newest one are closed.
        steps.push(Step::Tick(at("2014-01-01T12:03:00.5Z")));
    }
    steps.push(Step::Tick(at("2014-01-01T12:04:00Z")));
    let outcome = run_all_ways(&document.to_string(), &steps, false);
    let values: Vec<String> = rows(&outcome).iter().map(|row| row.value.unwrap().to_string()).collect();
    assert_eq!(values, ["1.5", "3.5", "3.5"]);
    let too_late = outcome.parked.iter().filter(|(reason, _)| reason == "too_late").count();
    assert_eq!(too_late, 2, "the late event comes twice, and a parked one does not spend its identity");
    assert_eq!(outcome.tally.duplicate, 0);
}
