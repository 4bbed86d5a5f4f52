//! Tables whose rows a service or a real Postgres is asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::services::postgres::Postgres;
use crate::support::server::{Server, event, eventually, items};

/// A service with one answer: status, type, body.
struct Service {
    address: String,
    answer: Arc<Mutex<(u16, &'static str, String)>>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(Mutex::new((200, "application/x-ndjson", String::new())));
        let given = Arc::clone(&answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map(Result::unwrap)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let is_known = head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer abc"));
                let (status, kind, body) = if is_known { given.lock().unwrap().clone() } else { (401, "", String::new()) };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Service { address, answer }
    }

    fn answers(&self, status: u16, kind: &'static str, body: &str) {
        *self.answer.lock().unwrap() = (status, kind, body.to_owned());
    }
}

fn document(source: &str, rows: &str) -> String {
    format!(
        "pipeline: plans\nsource: {source}\ntables: [{{ name: plans, key: [customer], {rows} }}]\noperators:\n  - enrich: {{ table: \
         plans, on: {{ customer: subject }}, set: {{ data.plan: plan }} }}\n  - meter:\n      key: \
         3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c02\n      rules: [{{ category: plans, value: data.value, groupBy: [data.plan] \
         }}]\nmeterTypes: [{{ name: Plans, category: plans, resetSchedule: never }}]\ntargets: [{{ file: {{ path: out.ndjson }} \
         }}]\n"
    )
}

/// Runs a pipeline over one event of anna. Returns the key of the group of its record, or the error.
fn run(folder: &Path, rows: &str) -> Result<String, String> {
    std::fs::write(folder.join("p.yaml"), document("{ file: { path: in.ndjson } }", rows)).unwrap();
    let mut sent = event("1", "anna", json!(1));
    sent["time"] = json!("2026-01-05T00:00:00Z");
    std::fs::write(folder.join("in.ndjson"), format!("{sent}\n")).unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .args(["run", "p.yaml", "--flush-open", "--as-of", "2026-02-01T00:00:00Z"])
        .current_dir(folder)
        .output()
        .unwrap();
    if !ended.status.success() {
        return Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)));
    }
    let record: Value = serde_json::from_slice(&std::fs::read(folder.join("out.ndjson")).unwrap()).unwrap();
    std::fs::remove_file(folder.join("out.ndjson")).unwrap();
    Ok(record["groups"][0]["key"].as_str().unwrap().to_owned())
}

#[test]
fn a_run_asks_a_service_for_the_rows_of_a_table() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let rows = |more: &str| format!("http: {{ url: 'http://{}/plans?secret=1', {more} }}", service.address);
    let token = "auth: { bearer: abc }";
    for (kind, body) in [
        ("application/x-ndjson", "{\"customer\":\"anna\",\"plan\":\"gold\"}\n{\"customer\":\"bert\",\"plan\":\"free\"}\n"),
        ("application/json; charset=utf-8", "[\n {\"customer\": \"anna\",\n  \"plan\": \"gold\"}, {\"customer\": \"bert\"}]"),
        ("text/csv", "customer,plan\nanna,gold\nbert,free\n"),
    ] {
        service.answers(200, kind, body);
        assert_eq!(run(folder.path(), &rows(token)).as_deref(), Ok("data.plan:gold"), "{kind}");
    }
    for (status, body, why) in [
        (500, "", ["exit status: 3", "500"]),
        (200, "[1]", ["exit status: 2", "line 1: not a JSON object"]),
        (200, "", ["exit status: 3", "no rows"]),
        (200, "{\"customer\":\"a\"}\n{\"customer\":\"a\",\"plan\":\"x\"}\n", ["exit status: 2", "line 2"]),
    ] {
        service.answers(status, "text/plain", body);
        let told = run(folder.path(), &rows(token)).unwrap_err();
        assert!(why.iter().all(|why| told.contains(why)) && !told.contains("secret"), "{told}");
    }
    let told = run(folder.path(), &rows("")).unwrap_err();
    assert!(["exit status: 2", "401", "auth"].iter().all(|why| told.contains(why)), "{told}");
}

#[test]
fn a_server_asks_again_at_intervals_and_keeps_the_version_before() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--test-clock", "2026-01-05T00:00:00Z"]);
    let rows = format!("refresh: 15m, http: {{ url: 'http://{}/', auth: {{ bearer: abc }}, format: csv }}", service.address);
    let document = document("{ http: {} }", &rows).replace("file: { path: out.ndjson }", "none: {}");
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    service.answers(503, "", "");
    assert_eq!(server.post("/api/v1/pipelines/plans/run", &json!({})).status, 422, "there are no rows yet");
    service.answers(200, "", "customer,plan\nanna,gold\n");
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    server.count(&[event("1", "anna", json!(1))]);
    let advance = |to: &str| server.post("/api/v1/clock", &json!({"to": to})).ok();
    let shown = || server.get("/api/v1/tables/plans");
    service.answers(200, "", "customer,plan\nanna,free\n");
    advance("2026-01-05T00:14:00Z");
    assert_eq!(shown()["version"], 1, "the interval is not over");
    advance("2026-01-05T00:15:00Z");
    eventually("another version", || (shown()["version"] == 2).then_some(()));
    server.count(&[event("2", "anna", json!(2))]);
    service.answers(200, "", "customer,plan\nanna,a\nanna,b\n");
    advance("2026-01-05T00:31:00Z");
    eventually("a refusal", || (shown()["error"]["line"] == 3).then_some(()));
    assert_eq!(shown()["version"], 2, "the version before stays in force");
    service.answers(200, "", "customer,plan\nanna,free\n");
    advance("2026-01-05T00:47:00Z");
    eventually("the rows are good again", || shown()["error"].is_null().then_some(()));
    server.crash();
    let server = Server::start(&data, &["--test-clock", "2026-01-05T00:50:00Z"]);
    server.count(&[event("3", "anna", json!(4))]);
    let meter = items(&server.get("/api/v1/meters?userId=anna&meterType=Plans"))[0].clone();
    let groups: Vec<_> = meter["groups"].as_array().unwrap().iter().map(|group| (&group["key"], &group["value"])).collect();
    assert_eq!(groups, [(&json!("data.plan:free"), &json!(6)), (&json!("data.plan:gold"), &json!(1))]);
}

#[test]
fn a_table_is_a_query_of_postgres() {
    let Some(postgres) = Postgres::start("a_table_is_a_query_of_postgres") else { return };
    postgres.ask("CREATE TABLE plans (customer text, plan text, since timestamptz, until timestamptz)");
    let (free, gold) = ("'anna', 'free', '2026-01-01', '2026-01-04T00:00:00Z'", "'anna', 'gold', '2026-01-04T00:00:00Z', NULL");
    postgres.ask(&format!("INSERT INTO plans VALUES ({free}), ({gold})"));
    let folder = tempfile::tempdir().unwrap();
    let rows =
        |query: &str| format!("validFrom: since, validTo: until, postgres: {{ url: '{}', query: '{query}' }}", postgres.url());
    let found = run(folder.path(), &rows("SELECT customer, plan, since, until FROM plans;"));
    assert_eq!(found.as_deref(), Ok("data.plan:gold"), "the row that holds on the fifth");
    let told = run(folder.path(), &rows("SELECT nothing FROM plans")).unwrap_err();
    assert!(told.contains("nothing"), "{told}");

    let server = Server::start(&folder.path().join("data"), &["--test-clock", "2026-01-05T00:00:00Z"]);
    let document = document("{ http: {} }", &rows("SELECT * FROM plans")).replace("file: { path: out.ndjson }", "none: {}");
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    server.post("/api/v1/pipelines/plans/run", &json!({})).ok();
    postgres.ask("UPDATE plans SET plan = 'platinum' WHERE plan = 'gold'");
    let refreshed = server.post("/api/v1/tables/plans/refresh", &json!({})).ok();
    assert_eq!(refreshed, json!({"version": 2, "changed": true}));
    let rows = server.get("/api/v1/tables/plans/rows?key=anna");
    assert_eq!(items(&rows).iter().map(|row| &row["plan"]).collect::<Vec<_>>(), ["free", "platinum"], "{rows}");
}
