//! The description of the API holds for every answer: each exchange of these tests is checked
//! against it, and this walk leaves out no endpoint that reads.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::contract::Exchange;
use crate::support::server::{Server, event, eventually, items};

const DOCUMENT: &str = "pipeline: walk
source: { http: {} }
tables: [{ name: plans, key: [customer] }]
operators:
  - enrich: { table: plans, on: { customer: subject }, set: { data.plan: plan } }
  - meter:
      key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c02
      rules: [{ category: walk, value: data.value, groupBy: [data.plan], carryLast: [data.plan] }]
meterTypes:
  - { name: Walk, category: walk, resetSchedule: hourly, capacity: 10, thresholds: [{ name: much, percentOfCapacity: 50 }] }
targets:
  - file: { path: FOLDER/records.ndjson }
";
const KEY: &str = "fm_00000000000000aa_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Answers without an end: query, and the component of the first message. A tail has none before
/// another event is judged.
const STREAMS: [(&str, &str, Option<&str>); 3] = [
    ("/api/v1/events/tail", "", None),
    ("/api/v1/live", "?topic=overview", Some("LiveSnapshot")),
    ("/api/v1/stream", "?after=0", Some("SessionEvent")),
];

/// Starts a server that has something of everything.
fn seeded(folder: &Path) -> Server {
    let set =
        ["--test-clock", "2026-01-05T12:00:00Z", "--set", "auth.required=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}"];
    let server = Server::start_in(&folder.join("data"), &set, &[("TEST_KEY", KEY)]).with_key(KEY);
    let document = DOCUMENT.replace("FOLDER", &folder.display().to_string());
    let post = |path: &str, body: Value| server.post(path, &body).ok();
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    let rows = "customer,plan\nanna,gold\n";
    server.ask("PUT", "/api/v1/tables/plans/rows").header("content-type", "text/csv").body(rows).send().ok();
    post("/api/v1/pipelines/walk/run", json!({}));
    let notification = json!({"name": "log", "eventType": "meter.session.status", "channels": [{"type": "log"}]});
    post("/api/v1/notifications", notification);
    post("/api/v1/meter-types", json!({"name": "Calls", "aggregation": "count"}));
    post("/api/v1/test-data", json!({"name": "july", "events": [event("1", "anna", json!(1))]}));
    post(
        "/openmeter/api/v1/meters",
        json!({"slug": "om", "aggregation": "SUM", "eventType": "request", "valueProperty": "$.value", "groupBy": {"plan": "$.plan"}}),
    );
    post("/openmeter/api/v1/subjects", json!([{"key": "anna", "displayName": "Anna"}]));
    let value: Value = serde_json::from_str("12345678901234567890.000000000000000001").unwrap();
    server.count(&[event("1", "anna", value), event("1", "anna", json!(1)), event("2", "bert", json!(1))]);
    post("/api/v1/clock", json!({"by": "2h"}));
    let jobs = json!({"action": "reprocess", "selector": {"ids": ["walk:0"]}});
    post("/api/v1/corrections/jobs", jobs);
    post("/api/v1/exports", json!({"selector": {"filter": {"pipeline": "walk"}}}));
    eventually("the export has a file", || items(&server.get("/api/v1/jobs"))[0]["file"].is_string().then_some(()));
    server
}

/// Returns the ids by which the paths of the walk are filled in.
fn ids(server: &Server) -> BTreeMap<&'static str, String> {
    let first = |path: &str, field: &str| {
        eventually(path, || {
            let found = items(&server.get(path));
            let text = found.first()?.pointer(field)?.as_str()?.to_owned();
            Some(text)
        })
    };
    BTreeMap::from([
        ("/api/v1/meters/{id}", first("/api/v1/meters?meterType=Walk", "/id")),
        ("/api/v1/records/{recordId}", first("/api/v1/records?pipeline=walk", "/meterMetaData/recordId")),
        ("/api/v1/deliveries/{id}", first("/api/v1/deliveries?pipeline=walk", "/id")),
        ("/api/v1/notifications/deliveries/{id}", first("/api/v1/notifications/deliveries", "/id")),
        ("/api/v1/corrections/groups/{id}", first("/api/v1/corrections/groups?state=all&pipeline=walk", "/groupId")),
        ("/api/v1/corrections/{id}", first("/api/v1/corrections?state=all&pipeline=walk", "/id")),
        ("/api/v1/jobs/{id}", items(&server.get("/api/v1/jobs"))[0]["jobId"].as_str().unwrap().to_owned()),
        ("/api/v1/sessions/{id}", "R-00000001".to_owned()),
        ("/api/v1/events/{id}", "1".to_owned()),
        ("/api/v1/pipelines/{idOrName}", "walk".to_owned()),
        ("/api/v1/meter-types/{idOrName}", "Walk".to_owned()),
        ("/api/v1/notifications/{idOrName}", "log".to_owned()),
        ("/api/v1/tables/{name}", "plans".to_owned()),
        ("/api/v1/test-data/{name}", "july".to_owned()),
        ("/api/v1/errors/{code}", "not_found".to_owned()),
        ("/openmeter/api/v1/meters/{idOrSlug}", "om".to_owned()),
        ("/openmeter/api/v1/subjects/{idOrKey}", "anna".to_owned()),
    ])
}

/// Returns the path of an endpoint with its parameters filled in.
fn filled(template: &str, ids: &BTreeMap<&str, String>) -> String {
    let known = ids.iter().filter(|(prefix, _)| template.starts_with(**prefix)).max_by_key(|(prefix, _)| prefix.len());
    let Some((prefix, id)) = known else { return template.to_owned() };
    let first = prefix.rfind('{').unwrap();
    let path = format!("{}{id}{}", &prefix[..first], &template[prefix.len()..]);
    path.replace("{groupByKey}", "plan").replace("{field}", "data.plan").replace("{version}", "1")
}

#[test]
fn every_endpoint_that_reads_answers_as_it_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = seeded(folder.path());
    let ids = ids(&server);
    let description = server.description().unwrap();
    let mut failed = Vec::new();
    for (template, item) in description.document()["paths"].as_object().unwrap() {
        if item.get("get").is_none() {
            continue;
        }
        let path = filled(template, &ids);
        if let Some((_, query, component)) = STREAMS.iter().find(|(stream, ..)| stream == template) {
            let mut lines = server.ask("GET", &format!("{path}{query}")).open().lines().map(Result::unwrap);
            if let Some(component) = component {
                let message = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
                description.check_message(component, &message.unwrap());
            }
            continue;
        }
        let answer = server.ask("GET", &path).send();
        if answer.status != 200 {
            failed.push(format!("{path}: {} {}", answer.status, answer.text()));
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    let paths = description.document()["paths"].as_object().unwrap().iter();
    let all = paths.filter(|(_, item)| item.get("get").is_some()).map(|(path, _)| format!("GET {path}"));
    let checked = description.checked();
    let forgotten: Vec<String> = all.filter(|endpoint| !checked.contains(endpoint)).collect();
    assert_eq!(forgotten, Vec::<String>::new(), "no answer of these was checked");
    let record = server.ask("GET", &format!("/api/v1/records/{}", ids["/api/v1/records/{recordId}"])).send().text();
    assert!(record.contains("12345678901234567890.000000000000000001"), "38 digits pass the check: {record}");
}

#[test]
fn lists_that_the_walk_reads_are_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let server = seeded(folder.path());
    let ids = ids(&server);
    let description = server.description().unwrap();
    // Nothing failed or reads files here.
    let empty = ["/api/v1/sessions/{id}/origins", "/api/v1/browser-sessions", "/api/v1/corrections/groups"];
    for (template, item) in description.document()["paths"].as_object().unwrap() {
        let answer = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        if answer.as_str().is_some_and(|name| name.ends_with("Page")) && !empty.contains(&template.as_str()) {
            let path = filled(template, &ids);
            assert!(!items(&server.get(&path)).is_empty(), "{path}");
        }
    }
}

#[test]
fn exchanges_that_are_not_as_described_fail_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("1", "anna", json!(1))]);
    let description = server.description().unwrap();
    let meters = server.get("/api/v1/meters");
    let changed = |pointer: &str, value: Value| {
        let mut changed = meters.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let mut longer = meters.clone();
    longer["items"][0]["more"] = json!(1);
    let (target, json, kind) = ("/api/v1/meters", "application/json", "application/json");
    let cases = [
        (target, 200, kind, meters.to_string(), None),
        (target, 200, kind, changed("/items/0/value", json!("1")), Some("/items/0/value")),
        (target, 200, kind, changed("/items/0/id", json!("x")), Some("/items/0/id")),
        (target, 200, kind, changed("/items/0/createdAt", json!("noon")), Some("/items/0/createdAt")),
        (target, 200, kind, json!({"items": []}).to_string(), Some("nextCursor")),
        (target, 200, kind, longer.to_string(), Some("more")),
        (target, 200, "text/plain", meters.to_string(), Some("`text/plain`")),
        (target, 418, kind, "{}".to_owned(), Some("no status 418")),
        (target, 404, "application/problem+json", "{}".to_owned(), Some("no status 404")),
        (target, 400, "application/problem+json", "{}".to_owned(), Some("required property")),
        ("/api/v1/meters?limit=many", 200, kind, meters.to_string(), Some("`limit`")),
        ("/api/v1/meters?limit=0", 200, kind, meters.to_string(), Some("`limit`")),
        ("/api/v1/no-endpoint", 200, "text/html", String::new(), None),
    ];
    let headers = [("content-type".to_owned(), json.to_owned())];
    for (target, status, content_type, answer, place) in cases {
        let answer = Some(answer.as_bytes());
        let exchange = Exchange { method: "GET", target, headers: &headers, request: None, status, content_type, answer };
        let verdict = description.verdict(&exchange);
        assert_eq!(verdict.is_err(), place.is_some(), "{target} {status}: {verdict:?}");
        assert!(verdict.err().unwrap_or_default().contains(place.unwrap_or_default()), "{target} {status} {place:?}");
    }
    let request = Some(&br#"{"userId": 1}"#[..]);
    let (method, target) = ("POST", "/api/v1/meters");
    let answer = meters["items"][0].to_string();
    let answer = Some(answer.as_bytes());
    let refused =
        description.verdict(&Exchange { method, target, headers: &headers, request, status: 201, content_type: kind, answer });
    assert!(refused.unwrap_err().contains("the accepted body: at `/userId`"));
}
