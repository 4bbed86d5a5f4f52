//! Usage queries and the OpenMeter API against a server of its own, with no client but
//! plain HTTP; `openmeter_sdk.rs` does it with OpenMeter's own clients.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/serving.rs"]
#[allow(dead_code, unreachable_pub)]
mod serving;

use serde_json::{Value, json};
use serving::Server;

const API: &str = "/openmeter/api/v1";
const BATCH: &str = "application/cloudevents-batch+json";
const ONE: &str = "application/cloudevents+json";

#[allow(clippy::needless_pass_by_value)] // a table reads better so
fn event(id: &str, kind: &str, subject: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "test", "type": kind, "subject": subject, "time": time, "data": data})
}

fn send(server: &Server, events: &[Value]) {
    let answer = server.ask("POST", &format!("{API}/events"), &[("Content-Type", BATCH)], &json!(events).to_string());
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
}

fn make(server: &Server, meter: &Value) -> Value {
    let answer = server.post(&format!("{API}/meters"), meter);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

/// Rows as `start | subject | groups | value`, the value as it is written.
fn rows(server: &Server, path: &str) -> Vec<String> {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let short = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        format!("{} | {} | {} | {}", text("windowStart").replace(".000Z", "Z"), text("subject"), row["groupBy"], row["value"])
    };
    answer.json()["data"].as_array().unwrap().iter().map(short).collect()
}

#[test]
fn the_first_program_of_openmeters_readme() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let made = make(
        &server,
        &json!({"slug": "tokens_total", "name": "Tokens", "aggregation": "SUM", "eventType": "prompt", "valueProperty": "$.tokens",
                "groupBy": {"model": "$.model", "kind": "$.type"}}),
    );
    assert_eq!(made["id"].as_str().unwrap().len(), 26);
    let data = |tokens: Value, model: &str| json!({"tokens": tokens, "model": model, "type": "input"});
    send(
        &server,
        &[
            event("1", "prompt", "a", "2024-01-01T00:00:00.123456Z", data(json!(10), "gpt-4o")),
            event("2", "prompt", "a", "2024-01-01T10:30:00Z", data(json!("2.5"), "gpt-4o")),
            event("3", "prompt", "b", "2024-01-02T23:59:59Z", data(json!(7), "o1")),
            event("3", "prompt", "b", "2024-01-02T23:59:59Z", data(json!(7), "o1")),
            event("4", "prompt", "b", "2024-01-03T00:00:00Z", json!({"tokens": 0.1})),
            event("5", "other", "b", "2024-01-03T00:00:00Z", json!({"tokens": 1_000})),
        ],
    );
    let query = |rest: &str| rows(&server, &format!("{API}/meters/tokens_total/query{rest}"));
    assert_eq!(query(""), [r#"2024-01-01T00:00:00Z | - | {} | 19.6"#]);
    let by_day =
        ["2024-01-01T00:00:00Z | - | {} | 12.5", "2024-01-02T00:00:00Z | - | {} | 7", "2024-01-03T00:00:00Z | - | {} | 0.1"];
    assert_eq!(query("?windowSize=DAY"), by_day);
    let by_model = [
        r#"2024-01-01T00:00:00Z | a | {"model":"gpt-4o"} | 12.5"#,
        r#"2024-01-02T00:00:00Z | b | {"model":"o1"} | 7"#,
        r#"2024-01-03T00:00:00Z | b | {"model":""} | 0.1"#,
    ];
    assert_eq!(query("?windowSize=DAY&groupBy=model&groupBy=subject"), by_model);
    assert_eq!(query("?subject=a"), ["2024-01-01T00:00:00Z | a | {} | 12.5"]);
    assert_eq!(query("?filterGroupBy[model]=o1"), ["2024-01-02T23:59:00Z | - | {} | 7"]);
    assert_eq!(query("?filterGroupBy=%7B%27model%27%3A%20%27o1%27%7D"), ["2024-01-02T23:59:00Z | - | {} | 7"]);
    assert_eq!(
        query("?windowSize=DAY&windowTimeZone=America/New_York&from=2024-01-01T05:00:00Z"),
        ["2024-01-01T05:00:00Z | - | {} | 2.5", "2024-01-02T05:00:00Z | - | {} | 7.1"],
    );
    let body = json!({"windowSize": "MONTH", "subject": ["b"], "groupBy": ["kind"], "filterGroupBy": {"model": ["o1", "x"]}});
    let answer = server.post(&format!("{API}/meters/tokens_total/query"), &body).json();
    assert_eq!(answer["windowSize"], "MONTH");
    assert_eq!(answer["data"][0]["groupBy"], json!({"kind": "input"}));
    assert_eq!(answer["data"][0]["value"], json!(7));
    let csv =
        server.ask("GET", &format!("{API}/meters/tokens_total/query?groupBy=model&subject=a"), &[("Accept", "text/csv")], "");
    assert!(csv.head.to_lowercase().contains("content-type: text/csv"), "{csv:?}");
    assert_eq!(
        csv.body,
        "window_start,window_end,subject,model,value\n2024-01-01T00:00:00Z,2024-01-01T10:31:00Z,a,gpt-4o,12.500000\n"
    );
    assert_eq!(server.get(&format!("{API}/meters/tokens_total/subjects")).json(), json!(["a", "b"]));
    assert_eq!(
        server.get(&format!("{API}/meters/{}/group-by/model/values", made["id"].as_str().unwrap())).json(),
        json!(["gpt-4o", "o1"])
    );
    let listed = server.get(&format!("{API}/events?limit=2")).json();
    assert_eq!(listed[0]["validationError"], "no meter found for event type: other");
    assert_eq!(listed[1]["event"]["id"], "4");
    // The same usage, asked for as a meter type's.
    let own = "/api/v1/meter-types/tokens_total/query";
    assert_eq!(
        rows(&server, &format!("{own}?groupBy=model&groupBy=data.type&subject=b")),
        [
            r#"2024-01-03T00:00:00Z | - | {"data.type":null,"model":null} | 0.1"#,
            r#"2024-01-02T23:59:00Z | - | {"data.type":"input","model":"o1"} | 7"#,
        ],
    );
    assert_eq!(server.get(&format!("{own}?groupBy=nothing")).status, 400);
}

#[test]
fn every_aggregation_and_what_is_wrong_with_requests() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let table = [
        ("SUM", json!(12)),
        ("COUNT", json!(4)),
        ("UNIQUE_COUNT", json!(3)),
        ("AVG", json!(3)),
        ("MIN", json!(1)),
        ("MAX", json!(6)),
        ("LATEST", json!(1)),
    ];
    for (aggregation, _) in &table {
        let mut meter = json!({"slug": aggregation.to_lowercase(), "aggregation": aggregation, "eventType": "t"});
        if *aggregation != "COUNT" {
            meter["valueProperty"] = json!("$.v");
        }
        assert_eq!(make(&server, &meter)["name"], aggregation.to_lowercase());
    }
    let at = |minute: u8| format!("2024-05-01T00:{minute:02}:00Z");
    let values = [("1", 1, json!(4)), ("2", 2, json!(6)), ("3", 4, json!(1)), ("4", 3, json!("1"))];
    let events: Vec<Value> =
        values.iter().map(|(id, minute, value)| event(id, "t", "u", &at(*minute), json!({"v": value}))).collect();
    send(&server, &events);
    for (aggregation, value) in &table {
        let answer = server.get(&format!("{API}/meters/{}/query", aggregation.to_lowercase())).json();
        assert_eq!(answer["data"][0]["value"], *value, "{aggregation}");
    }
    // Without its value an event counts where none is needed.
    send(&server, &[event("5", "t", "u", &at(5), json!({}))]);
    assert_eq!(server.get(&format!("{API}/meters/count/query")).json()["data"][0]["value"], 5);
    assert_eq!(server.get(&format!("{API}/meters/sum/query")).json()["data"][0]["value"], 12);
    assert_eq!(server.get(&format!("{API}/meters")).json().as_array().unwrap().len(), 7);

    let refused = |method: &str, path: &str, content: &str, body: &str| {
        let answer = server.ask(method, &format!("{API}{path}"), &[("Content-Type", content)], body);
        assert!(answer.status < 400 || answer.head.contains("application/problem+json"), "{answer:?}");
        answer.status
    };
    let json = "application/json";
    let no_subject = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    let table = [
        ("POST", "/events", ONE, "{}", 400),
        ("POST", "/events", ONE, no_subject, 400),
        ("POST", "/events", json, "{}", 400),
        ("POST", "/events", json, "[1]", 400),
        ("POST", "/events", BATCH, "{}", 400),
        ("POST", "/events", BATCH, "nonsense", 400),
        ("POST", "/events", "text/plain", "x", 415),
        ("POST", "/meters", json, r#"{"slug":"sum","aggregation":"COUNT","eventType":"t"}"#, 409),
        ("POST", "/meters", json, r#"{"slug":"Sum","aggregation":"COUNT","eventType":"t"}"#, 400),
        ("GET", "/meters/nothing", json, "", 404),
        ("DELETE", "/meters/nothing", json, "", 404),
        ("GET", "/meters/nothing/query", json, "", 404),
        ("GET", "/meters/sum/query?groupBy=x", json, "", 400),
        ("GET", "/meters/sum/query?windowSize=WEEK", json, "", 400),
        ("GET", "/meters/sum/query?windowTimeZone=Mars", json, "", 400),
        ("GET", "/meters/sum/query?from=now", json, "", 400),
        ("GET", "/meters/sum/query?from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", json, "", 400),
        ("POST", "/meters/sum/query", json, r#"{"groupBy":1}"#, 400),
    ];
    for (method, path, content, body, status) in table {
        assert_eq!(refused(method, path, content, body), status, "{method} {path} {body}");
    }
}

#[test]
fn meters_come_and_go_and_crashes_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let often = ["--set", "checkpoint.interval=1s"];
    let mut server = Server::start(folder.path(), &often);
    let meter = json!({"slug": "m", "aggregation": "SUM", "eventType": "t", "valueProperty": "$.v"});
    let value = |server: &Server| server.get(&format!("{API}/meters/m/query")).json()["data"][0]["value"].clone();
    let first = make(&server, &meter);
    let numbered = |n: usize| event(&n.to_string(), "t", &format!("u{}", n % 7), "2024-01-01T00:00:00Z", json!({"v": 1}));
    for round in 0..5 {
        send(&server, &(round * 100..round * 100 + 100).map(numbered).collect::<Vec<_>>());
        server.crash(&often);
        assert_eq!(value(&server), (round + 1) * 100);
    }
    let path = format!("{API}/meters/m");
    assert_eq!(server.ask("DELETE", &path, &[], "").status, 204);
    assert_eq!(server.get(&path).status, 404);
    assert_eq!(server.get(&format!("{path}/query")).status, 404);
    send(&server, &[numbered(1_000)]);
    // Under the same name, another meter: what was counted before is gone.
    let second = make(&server, &meter);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(value(&server), Value::Null);
    send(&server, &[numbered(1_001)]);
    server.crash(&often);
    assert_eq!(value(&server), 1);
    assert_eq!(server.ask("DELETE", &path, &[], "").status, 204);
    assert_eq!(server.get(&format!("{API}/meters")).json(), json!([]));
    let answer = server.ask("PUT", "/api/v1/pipelines/openmeter", &[], "pipeline: openmeter");
    assert_eq!(answer.status, 409, "{answer:?}");
}

/// The cases of OpenMeter's own tests that are about its API.
#[test]
fn queries_answer_as_openmeters_tests_expect() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    make(
        &server,
        &json!({"slug": "ingest_invalid", "aggregation": "SUM", "eventType": "ingest_invalid", "valueProperty": "$.duration_ms"}),
    );
    let cases = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/peers/peers.jsonl")).unwrap();
    let cases = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut ran = 0;
    for case in cases.filter(|case| case["scope"] == "openmeter_api") {
        let name = case["case"].as_str().unwrap();
        match case["kind"].as_str().unwrap() {
            "meter_definition" => {
                let answer = server.post(&format!("{API}/meters"), &case["definition"]);
                let expected = if case["expect"]["valid"] == true { 201 } else { 400 };
                assert_eq!(answer.status, expected, "{name}: {answer:?}");
            }
            "http" => {
                let request = &case["request"];
                let path = format!("/openmeter{}", request["path"].as_str().unwrap());
                let content = request["headers"]["Content-Type"].as_str().unwrap();
                // The case writes one id for all its events; each is an event of its own.
                let mut body = request["body"].clone();
                body["id"] = json!(name);
                let answer = server.ask("POST", &path, &[("Content-Type", content)], &body.to_string());
                assert_eq!(json!(answer.status), case["expect"]["status"], "{name}: {answer:?}");
                assert_eq!(case["expect"]["counted"], false, "{name}");
            }
            other => panic!("{name}: a case of a kind that is not run: {other}"),
        }
        ran += 1;
    }
    assert_eq!(ran, 10);
    let counted = event("good", "ingest_invalid", "ingest_invalid", "2024-01-01T00:00:00Z", json!({"duration_ms": "100"}));
    send(&server, &[counted]);
    let answer = server.get(&format!("{API}/meters/ingest_invalid/query")).json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 1);
    assert_eq!(answer["data"][0]["value"], 100);
    let errors = server.get(&format!("{API}/events?hasError=true")).json();
    assert_eq!(errors.as_array().unwrap().len(), 3);
}

#[test]
fn events_are_judged_and_listed_as_openmeter_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for slug in ["b_meter", "a_meter"] {
        make(&server, &json!({"slug": slug, "name": format!("of {slug}"), "aggregation": "COUNT", "eventType": "t"}));
    }
    let with = |members: Value| {
        let mut one = event("x", "t", "u", "2024-01-01T00:00:00Z", json!({"a": 1}));
        one.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        one
    };
    for (label, wrong, told) in [
        ("text", json!({"data": "text"}), "`data` is to be a JSON object"),
        ("a list", json!({"data": [1]}), "`data` is to be a JSON object"),
        ("XML", json!({"data": "<a/>", "datacontenttype": "application/xml"}), "`datacontenttype` is `application/xml`"),
        ("XML that is an object", json!({"datacontenttype": "application/xml"}), "`datacontenttype` is `application/xml`"),
    ] {
        let answer = server.ask("POST", &format!("{API}/events"), &[("Content-Type", ONE)], &with(wrong).to_string());
        assert_eq!(answer.status, 400, "{label}: {answer:?}");
        assert!(answer.body.contains(told), "{label}: {answer:?}");
    }
    send(
        &server,
        &[event("new", "t", "u", "2024-01-03T00:00:00Z", json!({})), event("old", "t", "u", "2024-01-01T00:00:00Z", json!({}))],
    );
    send(&server, &[event("middle", "t", "u", "2024-01-02T00:00:00Z", json!({}))]);
    let ids = |query: &str| {
        let listed = server.get(&format!("{API}/events{query}")).json();
        listed.as_array().unwrap().iter().map(|one| one["event"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(""), ["new", "middle", "old"]);
    assert_eq!(ids("?limit=2"), ["new", "middle"]);
    assert!(ids("?ingestedAtFrom=2124-01-01T00:00:00Z").is_empty());
    assert!(ids("?ingestedAtTo=2024-01-01T00:00:00Z").is_empty());
    assert_eq!(ids("?ingestedAtFrom=2024-06-01T00:00:00Z").len(), 3);
    let refused = server.get(&format!("{API}/events?customerId=c"));
    assert!(refused.status == 400 || refused.status == 422, "{refused:?}");
    let slugs = |query: &str| {
        let listed = server.get(&format!("{API}/meters{query}")).json();
        listed.as_array().unwrap().iter().map(|one| one["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(slugs("?orderBy=name"), ["a_meter", "b_meter"]);
    assert_eq!(slugs("?orderBy=key&order=DESC"), ["b_meter", "a_meter"]);
    assert_eq!(slugs("?orderBy=createdAt"), ["b_meter", "a_meter"]);
    assert_ne!(server.get(&format!("{API}/meters?orderBy=colour")).status, 200);
}

#[test]
fn subjects_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let subjects = format!("{API}/subjects");
    let made = server.post(&subjects, &json!([{"key": "b", "displayName": "Bee"}, {"key": "a", "metadata": {"plan": "pro"}}]));
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(made.json()[0]["displayName"], "Bee");
    server.post(&subjects, &json!([{"key": "b", "metadata": {"n": 1}}]));
    let listed = server.get(&subjects).json();
    assert_eq!(listed[0]["metadata"], json!({"plan": "pro"}));
    assert_eq!((listed[1]["key"].clone(), listed[1]["displayName"].clone()), (json!("b"), json!("Bee")));
    assert_eq!(server.get(&format!("{subjects}/b")).json()["metadata"], json!({"n": 1}));
    assert_eq!(server.ask("DELETE", &format!("{subjects}/b"), &[], "").status, 204);
    assert_eq!(server.get(&format!("{subjects}/b")).status, 404);
    assert_ne!(server.post(&subjects, &json!([{"displayName": "no key"}])).status, 200);
}
