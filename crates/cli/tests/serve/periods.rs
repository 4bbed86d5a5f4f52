//! Periods end while the server runs: the clock closes them, and records leave.

use std::path::Path;

use serde_json::json;

use crate::support::server::{Server, event, eventually, items};

/// Counts by the hour, into a file.
pub(crate) fn hours(target: &Path) -> String {
    format!(
        "pipeline: hours
source: {{ http: {{}} }}
operators:
  - meter:
      key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a11
      rules: [{{ category: use, value: data.value }}]
meterTypes:
  - {{ name: Use, category: use, unit: kWh, resetSchedule: hourly, flushEmpty: false, late: {{ amendWithin: 36500d }} }}
targets:
  - file: {{ path: {} }}
",
        target.display()
    )
}

#[test]
fn a_period_that_is_over_is_flushed_by_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("records.ndjson");
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, hours(&target)).unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--pipeline", document.to_str().unwrap()]);
    let mut past = event("1", "anna", json!(2.5));
    past["time"] = json!("2024-05-01T10:15:00Z");
    server.count(&[past]);
    let records = eventually("a record of the hour", || {
        Some(items(&server.get("/api/v1/records?userId=anna"))).filter(|found| !found.is_empty())
    });
    let record = &records[0];
    assert_eq!((&record["value"], &record["unit"]), (&json!(2.5), &json!("kWh")));
    assert_eq!(
        (&record["periodStart"], &record["periodEnd"]),
        (&json!("2024-05-01T10:00:00.000Z"), &json!("2024-05-01T11:00:00.000Z"))
    );
    let id = record["meterMetaData"]["recordId"].as_str().unwrap();
    let one = server.ask("GET", &format!("/api/v1/records/{id}")).send();
    let lines = eventually("the record in the file", || {
        let text = std::fs::read_to_string(&target).ok()?;
        text.ends_with('\n').then_some(text)
    });
    assert!(lines.contains(&one.text()), "byte for byte: {lines} {}", one.text());
    assert_eq!(server.ask("GET", "/api/v1/records/nothing").send().problem().0, 404);

    // An event that comes later still makes a revision with its delta, not a second bill.
    let mut late = event("2", "anna", json!(1));
    late["time"] = json!("2024-05-01T10:45:00Z");
    let told = server.count(&[late]);
    assert_eq!(told["events"][0]["verdict"], "counted", "{told}");
    let revised = eventually("a revision", || {
        let records = items(&server.get("/api/v1/records?userId=anna"));
        records.into_iter().find(|record| record["meterMetaData"]["revision"].as_u64() > Some(0))
    });
    assert_eq!((&revised["value"], &revised["meterMetaData"]["delta"]), (&json!(3.5), &json!(1)));
}

#[test]
fn a_meter_that_is_deleted_on_reset_leaves_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    let text = hours(&folder.path().join("records.ndjson"));
    std::fs::write(&document, text).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let made = server.post("/api/v1/meters", &json!({"userId": "bob", "meterType": "Use", "deleteOnReset": true}));
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/api/v1/meters/{id}"))["deleteOnReset"], true);
    server.count(&[event("1", "bob", json!(7))]);
    assert_eq!(server.get(&format!("/api/v1/meters/{id}"))["value"], 7);
}

#[test]
fn a_meter_that_was_deleted_flushes_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    let text = hours(&folder.path().join("records.ndjson"));
    std::fs::write(&document, text).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let in_the_past = |id: &str, value: i64| {
        let mut event = event(id, "anna", json!(value));
        event["time"] = json!("2024-05-01T10:15:00Z");
        event
    };
    let records = |count: usize| {
        eventually("records", || Some(items(&server.get("/api/v1/records?userId=anna"))).filter(|found| found.len() == count))
    };
    server.count(&[in_the_past("1", 2)]);
    records(1);
    let meters = items(&server.get("/api/v1/meters?userId=anna"));
    let path = format!("/api/v1/meters/{}", meters[0]["id"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path).send().status, 204);
    assert!(items(&server.get("/api/v1/meters?userId=anna")).is_empty());
    server.count(&[in_the_past("2", 5)]);
    let records = records(2);
    let revisions: Vec<_> = records
        .iter()
        .map(|record| (&record["value"], &record["meterMetaData"]["revision"], &record["meterMetaData"]["delta"]))
        .collect();
    assert!(revisions.contains(&(&json!(7), &json!(1), &json!(5))), "{revisions:?}");
    assert_ne!(records[0]["meterMetaData"]["recordId"], records[1]["meterMetaData"]["recordId"]);
    assert!(items(&server.get("/api/v1/meters?userId=anna")).is_empty(), "it did not come back");
}

#[test]
fn another_schedule_in_a_new_version_counts_after_the_current_period() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    let text = hours(&folder.path().join("records.ndjson"));
    std::fs::write(&document, &text).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let period_of = |user: &str| {
        let meter = items(&server.get(&format!("/api/v1/meters?userId={user}")))[0].clone();
        (meter["periodStart"].clone(), meter["periodEnd"].clone())
    };
    server.count(&[event("1", "anna", json!(1))]);
    let before = period_of("anna");
    let newer = text.replace("resetSchedule: hourly", "resetSchedule: yearly, timezone: Europe/Oslo");
    let put = |text: &str| {
        server
            .ask("PUT", "/api/v1/pipelines/hours")
            .header("if-match", "*")
            .header("content-type", "application/yaml")
            .body(text)
            .send()
    };
    put(&newer).ok();
    server.count(&[event("2", "anna", json!(1)), event("3", "berta", json!(1))]);
    assert_eq!(period_of("anna"), before, "the current period ends as it was to end");
    assert_ne!(period_of("berta"), before, "a new meter has the new schedule");
    // Fields that may not change are refused as before.
    assert_eq!(put(&newer.replace("unit: kWh", "aggregation: max")).problem().0, 409);
}

const ZONES: &str = "pipeline: zones
source: { http: {} }
operators:
  - meter:
      key: 5f1f5ab0-7f0e-4f43-9d02-5a5f2f9f1c09
      rules: [{ category: zones, value: data.value }]
meterTypes:
  - { name: Zones, category: zones, resetSchedule: daily, timezone: { field: data.tz } }
";

#[test]
fn a_meter_in_a_zone_of_its_own_is_traced_and_explained_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T17:00:00Z"]);
    let write = |method: &'static str, path: &str, document: &str| {
        server.ask(method, path).header("content-type", "application/yaml").body(document).send().ok()
    };
    write("POST", "/api/v1/pipelines", ZONES);
    server.post("/api/v1/pipelines/zones/run", &json!({})).ok();
    server.post("/api/v1/meters", &json!({"userId": "bert", "meterType": "Zones", "timezone": "Asia/Tokyo"})).ok();
    let mut first = event("1", "anna", json!(1));
    first["data"]["tz"] = json!("asia/kathmandu");
    server.count(&[first, event("2", "anna", json!(2)), event("3", "bert", json!(4))]);
    let period = |id: &str| {
        let traced = server.get(&format!("/api/v1/events/{id}/trace"));
        let counted = traced["events"].as_array().unwrap().iter().flat_map(|event| event["counted"].as_array().unwrap().clone());
        let counted = counted.filter(|counted| counted["meterType"] == "Zones").collect::<Vec<_>>();
        (counted[0]["periodStart"].clone(), counted[0]["periodEnd"].clone())
    };
    let kathmandu = (json!("2026-01-04T18:15:00.000Z"), json!("2026-01-05T18:15:00.000Z"));
    assert_eq!([period("1"), period("2")], [kathmandu.clone(), kathmandu.clone()], "the first event decided");
    assert_eq!(period("3"), (json!("2026-01-05T17:00:00.000Z"), json!("2026-01-06T15:00:00.000Z")));
    // A version whose meter types have other places.
    let before = "meterTypes:\n  - { name: Zeros, category: zeros }\n";
    write("PUT", "/api/v1/pipelines/zones", &ZONES.replace("meterTypes:\n", before));
    assert_eq!(period("3").1, json!("2026-01-06T15:00:00.000Z"), "by the version of its receipt");
    server.post("/api/v1/clock", &json!({"to": "2026-01-06T00:00:00Z"})).ok();
    let records = items(&server.get("/api/v1/records?pipeline=zones&userId=anna"));
    assert_eq!((&records[0]["timezone"], &records[0]["value"]), (&json!("Asia/Kathmandu"), &json!(3)));
    let path = format!("/api/v1/records/{}/explain", records[0]["meterMetaData"]["recordId"].as_str().unwrap());
    let recount = eventually("the recount", || Some(server.get(&path)["recount"].clone()).filter(|recount| !recount.is_null()));
    assert_eq!(recount, json!({"eventCount": 2, "equal": true, "value": 3}));
}

#[test]
fn periods_are_listed_with_their_revisions_and_deliveries() {
    const DIGITS: &str = "12345678901234567890.123456789012345678";
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, hours(&folder.path().join("records.ndjson"))).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let past = |id: &str, hour: u32, value: &str| {
        let mut one = event(id, "anna", json!("V"));
        one["time"] = json!(format!("2024-05-01T{hour}:15:00Z"));
        serde_json::from_str(&one.to_string().replace("\"V\"", value)).unwrap()
    };
    server.count(&[past("1", 10, DIGITS), past("2", 11, "2"), event("3", "anna", json!(7))]);
    let records = |count: usize| {
        eventually("records", || Some(items(&server.get("/api/v1/records?userId=anna"))).filter(|found| found.len() == count))
    };
    records(2);
    server.count(&[past("4", 10, "1")]);
    let records = records(3);
    let meter = items(&server.get("/api/v1/meters?userId=anna"))[0].clone();
    let path = format!("/api/v1/meters/{}/periods", meter["id"].as_str().unwrap());
    let answer = server.ask("GET", &path).send();
    assert!(answer.text().contains(&format!("\"value\":{DIGITS}")), "{}", answer.text());
    let periods = items(&answer.ok());
    let starts: Vec<_> = periods.iter().map(|one| (one["open"].clone(), one["revisions"].as_array().unwrap().len())).collect();
    assert_eq!(starts, [(json!(true), 0), (json!(false), 1), (json!(false), 2)], "{periods:?}");
    assert_eq!((&periods[0]["value"], &periods[0]["periodStart"]), (&json!(7), &meter["periodStart"]));
    let revisions = &periods[2]["revisions"];
    assert_eq!(
        (&revisions[0]["revision"], &revisions[0]["delta"], &revisions[0]["eventCount"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert!(revisions[0]["madeAt"].is_string() && revisions[0]["deliveries"][0]["state"].is_string(), "{revisions}");
    // Page by page.
    let first = server.get(&format!("{path}?limit=1"));
    assert_eq!(items(&first).len(), 2, "the ongoing period, and one that was flushed");
    let rest = server.get(&format!("{path}?limit=1&cursor={}", first["nextCursor"].as_str().unwrap()));
    assert_eq!((items(&rest)[0]["periodStart"].clone(), &rest["nextCursor"]), (json!("2024-05-01T10:00:00.000Z"), &json!(null)));
    assert_eq!(server.ask("GET", &format!("{path}?cursor=x")).send().problem().1, "bad_cursor");
    assert_eq!(server.ask("GET", "/api/v1/meters/x/periods").send().problem().0, 404);
    // The revisions of the period of any of its records.
    let of_first_hour = records.iter().find(|one| one["periodStart"] == "2024-05-01T10:00:00.000Z").unwrap();
    let id = of_first_hour["meterMetaData"]["recordId"].as_str().unwrap();
    let history = items(&server.get(&format!("/api/v1/records/{id}/history")));
    assert_eq!(history.iter().map(|one| one["revision"].clone()).collect::<Vec<_>>(), [json!(1), json!(0)]);
    assert_eq!(server.ask("GET", "/api/v1/records/nothing/history").send().problem().0, 404);
    // A meter that was deleted still has its periods.
    assert_eq!(server.ask("DELETE", &format!("/api/v1/meters/{}", meter["id"].as_str().unwrap())).send().status, 204);
    assert_eq!(items(&server.get(&path)).len(), 2);
}

#[test]
fn meters_are_listed_backwards() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&["a1", "a2", "b1", "b2"].map(|user| event(user, user, json!(1))));
    let users = |query: &str| {
        let list = server.get(&format!("/api/v1/meters?meterType=Events{query}"));
        let users: Vec<String> = items(&list).iter().map(|one| one["userId"].as_str().unwrap().to_owned()).collect();
        (users, list["nextCursor"].as_str().map(str::to_owned))
    };
    assert_eq!(users("").0, ["a1", "a2", "b1", "b2"]);
    assert_eq!(users("&order=desc").0, ["b2", "b1", "a2", "a1"]);
    let (first, next) = users("&order=desc&limit=3");
    assert_eq!(first, ["b2", "b1", "a2"]);
    let next: String = form_urlencoded(&next.unwrap());
    assert_eq!(users(&format!("&order=desc&limit=3&cursor={next}")), (vec!["a1".to_owned()], None));
    assert_eq!(users("&order=desc&prefix=a").0, ["a2", "a1"]);
    assert_eq!(server.ask("GET", "/api/v1/meters?order=down").send().problem().2.as_deref(), Some("order"));
}

/// Encodes a cursor, which has bytes that an address cannot have.
fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[test]
fn closings_are_of_types_in_use_and_include_periods_in_their_grace() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T10:10:00Z"]);
    server.post("/api/v1/meter-types", &json!({"name": "Unused", "category": "none", "resetSchedule": "hourly"})).ok();
    let document = json!({
        "pipeline": "p", "source": {"http": {}},
        "operators": [{"meter": {"key": "00000000-0000-4000-8000-000000000001", "rules": [{"category": "c"}]}}],
        "meterTypes": [
            {"name": "Slow", "category": "c", "resetSchedule": "hourly", "late": {"grace": "90m"}},
            {"name": "Quick", "category": "c", "resetSchedule": "hourly"},
        ],
    });
    server.post("/api/v1/pipelines", &document).ok();
    server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    let closings = items(&server.get("/api/v1/closings"));
    let own = closings.iter().filter(|one| one["pipeline"] == "p");
    let shown: Vec<(&str, &str, &str)> = own
        .map(|one| (one["meterType"].as_str().unwrap(), one["periodEnd"].as_str().unwrap(), one["graceEnd"].as_str().unwrap()))
        .collect();
    let expected = [
        ("Slow", "2026-01-05T09:00:00.000Z", "2026-01-05T10:30:00.000Z"),
        ("Quick", "2026-01-05T11:00:00.000Z", "2026-01-05T11:00:00.000Z"),
        ("Slow", "2026-01-05T10:00:00.000Z", "2026-01-05T11:30:00.000Z"),
        ("Slow", "2026-01-05T11:00:00.000Z", "2026-01-05T12:30:00.000Z"),
    ];
    assert_eq!(shown, expected, "{closings:?}");
}

/// A pipeline that counts by the day and carries late events, with a threshold.
fn carrying() -> serde_json::Value {
    json!({
        "pipeline": "p", "source": {"http": {}},
        "operators": [{"meter": {
            "key": "00000000-0000-4000-8000-000000000001", "value": "data.value", "rules": [{"category": "c"}],
        }}],
        "meterTypes": [{
            "name": "m", "category": "c", "resetSchedule": "daily", "late": {"policy": "carry"},
            "thresholds": [{"name": "five", "value": 5}],
        }],
    })
}

#[test]
fn a_carried_event_is_traced_and_explained_in_the_period_of_its_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T10:00:00Z"]);
    server.post("/api/v1/pipelines", &carrying()).ok();
    server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    let at = |id: &str, user: &str, value: i32, time: &str| {
        let mut one = event(id, user, json!(value));
        one["time"] = json!(time);
        one
    };
    server.count(&[at("1", "anna", 1, "2026-01-05T09:00:00Z")]);
    server.post("/api/v1/clock", &json!({"to": "2026-01-06T10:00:00Z"})).ok();
    server.count(&[at("2", "anna", 2, "2026-01-05T09:30:00Z"), at("3", "bert", 4, "2026-01-05T09:30:00Z")]);
    let traced = |id: &str| {
        let traced = server.get(&format!("/api/v1/events/{id}/trace"));
        let events = traced["events"].as_array().unwrap().clone();
        let own = events.iter().find(|event| event["pipeline"] == "p").unwrap();
        (own["counted"][0]["periodStart"].as_str().unwrap().to_owned(), own["counted"][0]["late"].clone())
    };
    assert_eq!(traced("1"), ("2026-01-05T00:00:00.000Z".to_owned(), json!(null)));
    assert_eq!(traced("2"), ("2026-01-06T00:00:00.000Z".to_owned(), json!("carried")));
    assert_eq!(traced("3"), ("2026-01-05T00:00:00.000Z".to_owned(), json!(null)), "the first event of its user");
    server.post("/api/v1/clock", &json!({"to": "2026-01-07T10:00:00Z"})).ok();
    let records = items(&server.get("/api/v1/records?pipeline=p&userId=anna"));
    let found = records.iter().find(|record| record["periodStart"] == "2026-01-06T00:00:00.000Z").unwrap();
    let id = found["meterMetaData"]["recordId"].as_str().unwrap();
    let explained = server.get(&format!("/api/v1/records/{id}/explain"));
    assert_eq!(explained["recount"], json!({"eventCount": 1, "equal": true, "value": 2}), "{explained}");
    assert_eq!(explained["events"][0]["late"], "carried");
}

#[test]
fn records_without_events_are_explained_and_partial_ones_name_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T10:00:00Z"]);
    let mut document = carrying();
    let path = folder.path().join("partial.ndjson");
    document["targets"] = json!([{"name": "threshold", "file": {"path": path}}]);
    server.post("/api/v1/pipelines", &document).ok();
    server.post("/api/v1/pipelines/p/run", &json!({})).ok();
    let id = "00000000-0000-4000-8000-0000000000aa";
    server.post("/api/v1/meters", &json!({"userId": "anna", "meterType": "m", "pipeline": "p", "id": id})).ok();
    server.count(&[event("1", "anna", json!(7))]);
    let traced = server.get("/api/v1/events/1/trace");
    let own = traced["events"].as_array().unwrap().iter().find(|event| event["pipeline"] == "p").unwrap().clone();
    assert_eq!(own["counted"][0]["meterId"], id, "the given id: {own}");
    server.post("/api/v1/clock", &json!({"to": "2026-01-07T10:00:00Z"})).ok();
    let records = items(&server.get("/api/v1/records?pipeline=p&userId=anna"));
    let name = |record: &serde_json::Value| record["meterMetaData"]["recordId"].as_str().unwrap().to_owned();
    let explain = |id: &str| server.ask("GET", &format!("/api/v1/records/{id}/explain")).send();
    let empty = records.iter().find(|record| record["meterMetaData"]["eventCount"] == 0).unwrap();
    assert_eq!(explain(&name(empty)).ok()["recount"], json!({"eventCount": 0, "equal": true, "value": 0}));
    let partial = items(&server.get("/api/v1/records?pipeline=p&userId=anna&threshold=true")).remove(0);
    let whole = records.iter().find(|record| record["periodStart"] == partial["periodStart"]).unwrap();
    // The target of partial records takes no records of periods.
    let history = server.get(&format!("/api/v1/records/{}/history", name(whole)));
    assert_eq!(items(&history)[0]["deliveries"], json!([]), "{history}");
    let told = explain(&name(&partial));
    assert_eq!((told.problem().1.as_str(), &told.json()["periodRecordId"]), ("conflict", &json!(name(whole))));
}
