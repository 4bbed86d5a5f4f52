//! Tables of a server: rows that are put, refused, put in force at a place of the log, and kept.

use serde_json::{Value, json};

use crate::support::server::{Answer, Server, event, eventually, items};

const DOCUMENT: &str = "pipeline: plans
source: { http: {} }
tables: [{ name: plans, key: [customer], validFrom: since }]
operators:
  - enrich: { table: plans, on: { customer: subject }, set: { data.plan: plan } }
  - meter:
      key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c02
      rules: [{ category: plans, value: data.value, groupBy: [data.plan] }]
meterTypes: [{ name: Plans, category: plans, resetSchedule: never }]
";

fn put(server: &Server, rows: &str, content_type: &str) -> Answer {
    server.ask("PUT", "/api/v1/tables/plans/rows").header("content-type", content_type).body(rows).send()
}

fn start(data: &std::path::Path) -> Server {
    let server = Server::start(data, &[]);
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(DOCUMENT).send().ok();
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    server
}

/// The groups of the meter of a user, by plan.
fn groups(server: &Server, user: &str) -> Value {
    let meters: Vec<Value> = items(&server.get(&format!("/api/v1/meters?userId={user}&meterType=Plans")));
    let meter = server.get(&format!("/api/v1/meters/{}", meters[0]["id"].as_str().unwrap()));
    let groups = meter["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["key"].as_str().unwrap().to_owned(), group["value"].clone()));
    Value::Object(groups.collect())
}

#[test]
fn an_event_belongs_to_the_version_of_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let first = put(&server, "{\"customer\":\"anna\",\"plan\":\"gold\"}\n", "application/x-ndjson").ok();
    assert_eq!(first, json!({"version": 1, "changed": true}));
    server.count(&[event("1", "anna", json!(1))]);
    let second = put(&server, "customer,plan\nanna,free\nbert,gold\n", "text/csv").ok();
    assert_eq!(second, json!({"version": 2, "changed": true}));
    let same = put(&server, "customer,plan\nbert,gold\nanna,free\n", "text/csv; charset=utf-8").ok();
    assert_eq!(same, json!({"version": 2, "changed": false}), "the order of rows makes no version");
    server.count(&[event("2", "anna", json!(2)), event("3", "bert", json!(4)), event("4", "carl", json!(8))]);
    let expected = json!({"data.plan:free": 2, "data.plan:gold": 1});
    assert_eq!(groups(&server, "anna"), expected);
    let parked: Vec<Value> = items(&server.get("/api/v1/corrections?pipeline=plans"));
    assert_eq!((parked.len(), &parked[0]["reason"]), (1, &json!("no_match")));
    // After a crash the log gives the same rows to the same events.
    server.crash();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("5", "anna", json!(16))]);
    assert_eq!(groups(&server, "anna"), json!({"data.plan:free": 18, "data.plan:gold": 1}));
    let versions: Vec<Value> = items(&server.get("/api/v1/tables/plans/versions"));
    assert_eq!(versions.iter().map(|version| &version["version"]).collect::<Vec<_>>(), [&json!(2), &json!(1)]);
    let rows: Vec<Value> = items(&server.get("/api/v1/tables/plans/rows?key=bert"));
    assert_eq!(rows, [json!({"customer": "bert", "plan": "gold"})]);
    let shown = server.get("/api/v1/tables/plans");
    assert_eq!(
        (&shown["version"], &shown["rows"], &shown["origin"], &shown["error"]),
        (&json!(2), &json!(2), &json!("put"), &Value::Null)
    );
}

#[test]
fn rows_that_do_not_fit_leave_the_version_before_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    put(&server, "{\"customer\":\"anna\",\"plan\":\"gold\"}\n", "application/x-ndjson").ok();
    let cases = [
        ("{\"plan\":\"x\"}\n", "application/x-ndjson", 1),
        ("{\"customer\":\"a\",\"plan\":\"x\"}\n{\"customer\":\"a\",\"plan\":\"y\"}\n", "application/x-ndjson", 2),
        ("{\"customer\":\"a\"}\n[1]\n", "application/x-ndjson", 2),
        ("customer,plan\na,x\nb\n", "text/csv", 3),
    ];
    for (rows, content_type, line) in cases {
        let answer = put(&server, rows, content_type);
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"], &problem["line"]),
            (422, &json!("table_refused"), &json!(line)),
            "{rows}: {problem}"
        );
    }
    let shown = server.get("/api/v1/tables/plans");
    assert_eq!((&shown["version"], shown["error"]["line"].as_u64()), (&json!(1), Some(3)), "{shown}");
    server.count(&[event("1", "anna", json!(1))]);
    assert_eq!(groups(&server, "anna"), json!({"data.plan:gold": 1}));
    let unknown = server.ask("PUT", "/api/v1/tables/other/rows").header("content-type", "text/csv").body("a\n1\n").send();
    assert_eq!(unknown.status, 404);
    let refresh = server.post("/api/v1/tables/plans/refresh", &json!({}));
    assert_eq!(refresh.status, 409, "its rows come from no file");
}

#[test]
fn a_table_in_a_file_is_read_when_a_session_starts_and_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.csv");
    std::fs::write(&file, "customer,plan\nanna,gold\n").unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let document = DOCUMENT.replace("key: [customer]", &format!("key: [customer], file: {{path: {}}}", file.display()));
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    std::fs::write(&file, "customer,plan\nanna,free\n").unwrap();
    assert_eq!(server.post("/api/v1/tables/plans/refresh", &json!({})).ok(), json!({"version": 2, "changed": true}));
    server.count(&[event("2", "anna", json!(2))]);
    assert_eq!(groups(&server, "anna"), json!({"data.plan:free": 2, "data.plan:gold": 1}));
    std::fs::write(&file, "customer,plan\n,free\n").unwrap();
    assert_eq!(server.post("/api/v1/tables/plans/refresh", &json!({})).status, 422);
    assert_eq!(put(&server, "customer,plan\nanna,x\n", "text/csv").status, 409, "the rows come from the file");
}

#[test]
fn a_running_pipeline_adopts_a_version_with_a_new_table_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.csv");
    std::fs::write(&file, "customer,plan\nanna,gold\nanna,free\n").unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let newer = DOCUMENT.replace("key: [customer]", &format!("key: [customer], file: {{path: {}}}", file.display()));
    let without = |line: &&str| !line.starts_with("tables:") && !line.contains("enrich:");
    let older = newer.lines().filter(without).collect::<Vec<_>>().join("\n");
    let made = server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(older).send();
    let etag = made.header("etag").unwrap().to_owned();
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    let adopt = || {
        let put = server.ask("PUT", "/api/v1/pipelines/plans").header("content-type", "application/yaml");
        put.header("if-match", &etag).body(newer.as_str()).send()
    };
    let refused = adopt();
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"], &problem["line"]), (422, &json!("table_refused"), &json!(3)), "{problem}");
    std::fs::write(&file, "customer,plan\nanna,gold\n").unwrap();
    adopt().ok();
    server.count(&[event("2", "anna", json!(2))]);
    assert_eq!(groups(&server, "anna")["data.plan:gold"], json!(2));
}

#[test]
fn pipelines_that_share_a_table_in_a_file_get_each_version() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.csv");
    std::fs::write(&file, "customer,plan\nanna,gold\n").unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let shared = DOCUMENT.replace("key: [customer]", &format!("key: [customer], file: {{path: {}}}", file.display()));
    let other = shared
        .replace("pipeline: plans", "pipeline: others")
        .replace("f9f1c02", "f9f1c03")
        .replace("category: plans", "category: others");
    let other = other.replace("name: Plans", "name: Others");
    let create = |document: &str| {
        server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    };
    create(&shared);
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    // The second pipeline starts with another content of the file: it is the first one's too.
    std::fs::write(&file, "customer,plan\nanna,free\n").unwrap();
    create(&other);
    server.post("/api/v1/pipelines/others/run", &json!({})).ok();
    server.count(&[event("2", "anna", json!(2))]);
    assert_eq!(groups(&server, "anna"), json!({"data.plan:free": 2, "data.plan:gold": 1}));
}

#[test]
fn an_explanation_uses_the_version_of_the_events_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T00:00:00Z"]);
    let document = DOCUMENT.replace("resetSchedule: never", "resetSchedule: monthly");
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    for (id, customer) in [("1", "bert"), ("2", "anna")] {
        server.post("/api/v1/clock", &json!({"by": "1m"})).ok();
        put(&server, &format!("customer,plan\n{customer},free\n"), "text/csv").ok();
        let mut sent = event(id, "anna", json!(1));
        sent["time"] = json!("2026-01-05T00:00:00Z");
        server.count(&[sent]);
    }
    server.post("/api/v1/clock", &json!({"to": "2026-02-01T00:00:00Z"})).ok();
    let records: Vec<Value> = items(&server.get("/api/v1/records?pipeline=plans"));
    let record = &records[0];
    assert_eq!(record["value"], json!(1), "the first event had no row when it came");
    let path = format!("/api/v1/records/{}/explain", record["meterMetaData"]["recordId"].as_str().unwrap());
    // The event store files events a little later than they are counted.
    let recount = eventually("the recount", || Some(server.get(&path)["recount"].clone()).filter(|recount| !recount.is_null()));
    assert_eq!(recount, json!({"eventCount": 1, "equal": true, "value": 1}));
}
