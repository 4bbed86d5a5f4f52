//! Requests as they come over the wire: CloudEvents, parameters, paths, origins.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::server::{Server, event, items};

const STRUCTURED: &str = "application/cloudevents+json";

/// Sends bytes as they are and returns the status and the body of the answer.
fn raw(server: &Server, request: &[u8]) -> (u16, Value) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_slice(&answer[end + 4..]).unwrap_or_default())
}

/// The value of each user, by name.
fn users(server: &Server) -> Vec<(String, i64)> {
    let meters = items(&server.get("/api/v1/meters?meterType=Events"));
    let mut users: Vec<(String, i64)> =
        meters.iter().map(|meter| (meter["userId"].as_str().unwrap().to_owned(), meter["value"].as_i64().unwrap())).collect();
    users.sort();
    users
}

#[test]
fn cloudevents_count_once_for_their_own_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let binary = |id: &str, subject: &str| {
        let ask = server.ask("POST", "/api/v1/events?wait=counted").header("ce-specversion", "1.0");
        let ask = ask.header("ce-id", id).header("ce-source", "/s").header("ce-type", "t").header("ce-subject", subject);
        ask.header("content-type", "application/json").body("{\"value\":1}").send()
    };
    // Ids that differ in quotes and escapes are different events; the same one is a repetition.
    for (id, verdict) in [
        ("a", "counted"),
        ("%22a%22", "counted"),
        ("\"\\\"a\"", "counted"),
        ("\"a\\\\\"", "counted"),
        ("\"a\"", "duplicate"),
        ("%61", "duplicate"),
    ] {
        assert_eq!(binary(id, "Zo%C3%AB").ok()["events"][0]["verdict"], verdict, "{id}");
    }
    // A name that is not ASCII is refused: a blank one would have no user.
    let head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nce-specversion: 1.0\r\nce-id: 9\r\nce-source: /s\r\nce-type: t\r\n";
    let request = [&head[..], b"ce-subject: Zo\xC3\xAB\r\nContent-Length: 0\r\n\r\n"].concat();
    let (status, told) = raw(&server, &request);
    assert_eq!((status, &told["code"], &told["field"]), (400, &json!("invalid"), &json!("ce-subject")), "{told}");
    // Without ce-specversion the body would count for the user it names.
    let ask = server.ask("POST", "/api/v1/events").header("ce-id", "10").header("ce-subject", "anna");
    let told = ask.json(&json!({"subject": "bob", "id": "10"})).send();
    assert_eq!(told.problem(), (400, "invalid".to_owned(), Some("ce-specversion".to_owned())));
    assert_eq!(users(&server), [("Zoë".to_owned(), 4)]);
}

#[test]
fn json_in_base64_is_counted_and_broken_data_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend", "unit": "EUR"})).ok();
    let send = |more: Value| {
        let mut event = event("1", "anna", json!(0));
        let members = event.as_object_mut().unwrap();
        members.remove("data");
        members.extend(more.as_object().unwrap().clone());
        let ask = server.ask("POST", "/api/v1/events?wait=counted").header("content-type", STRUCTURED);
        ask.body(event.to_string()).send()
    };
    // {"value": 12345678901234567890.10}, {"value":1} and `no JSON`.
    let (exact, one, no_json) = ("eyJ2YWx1ZSI6IDEyMzQ1Njc4OTAxMjM0NTY3ODkwLjEwfQ==", "eyJ2YWx1ZSI6MX0=", "bm8gSlNPTg==");
    let counted = send(json!({"datacontenttype": "application/json", "data_base64": exact}));
    assert_eq!(counted.ok()["events"][0]["verdict"], "counted");
    let meters = server.ask("GET", "/api/v1/meters?meterType=Spend").send().text();
    assert!(meters.contains("\"value\":12345678901234567890.1"), "{meters}");
    for more in [
        json!({"data": {"value": 1}, "data_base64": one}),
        json!({"data_base64": "not Base64"}),
        json!({"datacontenttype": "application/json", "data_base64": no_json}),
    ] {
        let told = send(more.clone());
        assert_eq!(told.problem(), (400, "events_rejected".to_owned(), Some("[0]".to_owned())), "{more}");
        assert_eq!(told.json()["verdicts"][0]["reason"], "not_cloudevent", "{more}");
    }
    // OpenMeter's door is the same.
    let mut event = event("2", "anna", json!(0));
    event["data_base64"] = json!("?");
    let told = server.ask("POST", "/openmeter/api/v1/events").header("content-type", STRUCTURED).body(event.to_string());
    assert_eq!(told.send().problem().0, 400);
}

#[test]
fn every_refusal_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes();
    for (request, status, code) in [
        (get("/api/v1/pipelines/%ff"), 400, "invalid"),
        (get("/api/v1/meter-types/%C0%A0/query"), 400, "invalid"),
        (get("/openmeter/api/v1/meters/%ff"), 400, "invalid"),
        (get("/api/v1/%ff"), 404, "not_found"),
        (get("/%ff"), 404, "not_found"),
        (get("/api/v1/pipelines?limit=%ff"), 400, "invalid"),
        (b"BREW /api/v1/pipelines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), 405, "method_not_allowed"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), 404, "not_found"),
    ] {
        let (told, body) = raw(&server, &request);
        let shown = String::from_utf8_lossy(&request);
        assert_eq!((told, &body["code"], &body["status"]), (status, &json!(code), &json!(status)), "{shown}: {body}");
        assert!(body["remedy"].is_string() && body["requestId"].is_string(), "{shown}: {body}");
    }
    let answer = server.ask("PATCH", "/api/v1/pipelines").send();
    assert!(answer.header("allow").unwrap().contains("GET"), "{answer:?}");
}

#[test]
fn parameters_that_an_endpoint_does_not_know_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("1", "anna", json!(1))]);
    for (path, field, advice) in [
        ("/api/v1/meters?userid=anna", "userid", "did you mean `userId`?"),
        ("/api/v1/records?form=2024-01-01T00:00:00Z", "form", "did you mean `from`?"),
        ("/api/v1/pipelines/default?version=1", "version", "this endpoint has none"),
        ("/api/v1/openapi.json?pretty=1", "pretty", "this endpoint has none"),
        ("/api/v1/meter-types/Events/query?filterGroupBy=x", "filterGroupBy", "did you mean `filterGroupBy[x]`?"),
        ("/api/v1/stream?types=a", "types", "did you mean `type`?"),
    ] {
        let told = server.ask("GET", path).send();
        assert_eq!(told.problem(), (400, "invalid".to_owned(), Some(field.to_owned())), "{path}");
        assert!(told.text().contains(advice), "{path}: {}", told.text());
    }
    let told = server.ask("POST", "/api/v1/events?partal=true").json(&event("2", "anna", json!(1))).send();
    assert_eq!(told.problem().2.as_deref(), Some("partal"));
    assert_eq!(users(&server), [("anna".to_owned(), 1)], "nothing of it was taken");
    assert_eq!(server.ask("GET", "/openmeter/api/v1/meters?unknown=1").send().status, 200);
    assert_eq!(server.ask("GET", "/health/ready?probe=1").send().status, 200);
}

#[test]
fn lists_go_on_from_page_to_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for n in 0..5 {
        server.post("/api/v1/meter-types", &json!({"name": format!("Type {n}"), "category": "c"})).ok();
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/v1/meter-types?limit=2{cursor}"));
        names.extend(items(&page).iter().map(|kind| kind["name"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["Type 0", "Type 1", "Type 2", "Type 3", "Type 4", "Events"]);
    assert_eq!(server.ask("GET", "/api/v1/meter-types?cursor=x").send().problem().1, "bad_cursor");
}

#[test]
fn pages_of_other_ports_of_this_machine_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let ask = |origin: &str| server.ask("POST", "/api/v1/events").header("origin", origin).json(&json!({"id": "1"})).send();
    assert_eq!(ask(&server.url).status, 204, "a page of the server itself");
    for origin in ["http://127.0.0.1:1", "http://localhost:5173", "null", &server.url.replace("http:", "https:")] {
        assert_eq!(ask(origin).problem(), (403, "host_refused".to_owned(), Some("Origin".to_owned())), "{origin}");
    }
}

#[test]
fn meter_types_of_pipelines_are_listed_with_their_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend"})).ok();
    let all = items(&server.get("/api/v1/meter-types"));
    let shown: Vec<(&str, &Value)> = all.iter().map(|kind| (kind["name"].as_str().unwrap(), &kind["pipeline"])).collect();
    assert_eq!(shown, [("Spend", &Value::Null), ("Events", &json!("default"))]);
    let declared = server.get("/api/v1/meter-types/Events");
    assert_eq!((&declared["pipeline"], &declared["id"]), (&json!("default"), &all[1]["id"]));
    let change = server.ask("PUT", "/api/v1/meter-types/Events").json(&json!({"name": "Events", "unit": "x"})).send();
    let removal = server.ask("DELETE", "/api/v1/meter-types/Events").send();
    for told in [change, removal] {
        assert_eq!((told.problem().0, told.json()["pipeline"].clone()), (409, json!("default")), "{}", told.text());
        assert!(told.json()["remedy"].as_str().unwrap().contains("PUT /api/v1/pipelines/default"), "{}", told.text());
    }
    for (method, path, list) in [
        ("DELETE", "/api/v1/meter-types/None", "GET /api/v1/meter-types"),
        ("GET", "/api/v1/meter-types/None", "GET /api/v1/meter-types"),
        ("GET", "/api/v1/pipelines/none", "GET /api/v1/pipelines"),
        ("GET", "/api/v1/nothing", "GET /api/v1/openapi.json"),
    ] {
        let told = server.ask(method, path).send();
        assert_eq!(told.problem().0, 404, "{path}");
        assert!(told.json()["remedy"].as_str().unwrap().starts_with(list), "{path}: {}", told.text());
        assert_eq!(server.ask("GET", list.split_once(' ').unwrap().1).send().status, 200, "the remedy of {path} is true");
    }
}

#[test]
fn warnings_of_a_document_are_in_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let document = "pipeline: calls\nsource: { http: {} }\noperators:\n  - meter:\n      key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01\n      rules:\n        - { name: all, category: calls }\n        - { name: never, category: calls }\nmeterTypes: [{ name: Calls, category: calls, aggregation: count }]\n";
    let send = |method: &'static str, path: &str, document: &str| {
        server.ask(method, path).header("content-type", "application/yaml").body(document).send().ok()
    };
    for (method, path) in [("POST", "/api/v1/pipelines/check"), ("POST", "/api/v1/pipelines"), ("PUT", "/api/v1/pipelines/calls")]
    {
        let told = send(method, path, document);
        let warnings = told["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{told}");
        let place = (&warnings[0]["line"], &warnings[0]["column"], &warnings[0]["field"]);
        assert_eq!(place, (&json!(8), &json!(11), &json!("operators[0].meter.rules[1]")), "{path}");
        assert!(warnings[0]["message"].as_str().unwrap().contains("match: all"), "{told}");
    }
    let sound = document.replace("name: all, category", "name: all, when: 'true == false', category");
    assert_eq!(send("POST", "/api/v1/pipelines/check", &sound)["warnings"], json!([]));
}

#[test]
fn unknown_words_of_lists_and_queries_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "limits.json_depth_max=8"]);
    for (path, code, field) in
        [("/api/v1/meters?cursor=xyz", "bad_cursor", "cursor"), ("/api/v1/corrections/groups?state=bogus", "invalid", "state")]
    {
        let told = server.ask("GET", path).send().problem();
        assert_eq!(told, (400, code.to_owned(), Some(field.to_owned())), "{path}");
    }
    let send = |query: &str, body: &str| {
        let ask = server.ask("POST", &format!("/api/v1/events{query}")).header("content-type", "application/x-ndjson");
        ask.body(body).send()
    };
    assert_eq!(send("?wait=foo", "{\"a\":1}\n").problem().2.as_deref(), Some("wait"));
    let deep = format!("{{\"a\":{}{}}}\n", "[".repeat(8), "]".repeat(8));
    let told = send("", &deep);
    assert_eq!((told.problem().1.as_str(), &told.json()["verdicts"][0]["reason"]), ("events_rejected", &json!("too_deep")));
    let flat = format!("{{\"a\":{}{}}}\n", "[".repeat(7), "]".repeat(7));
    assert_eq!(send("", &flat).status, 204);
}

#[test]
fn a_version_is_found_by_its_number_and_operators_by_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let document = "pipeline: calls\nsource: { http: {} }\noperators:\n  - filter: { when: 'true' }\n  - meter:\n      key: 3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01\n      rules: [{ category: calls }]\nmeterTypes: [{ name: Calls, category: calls, aggregation: count }]\n";
    server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
    let version = server.get("/api/v1/pipelines/calls/versions/1");
    assert_eq!((&version["version"], version["document"].as_str()), (&json!(1), Some(document)));
    for number in ["2", "x"] {
        assert_eq!(server.ask("GET", &format!("/api/v1/pipelines/calls/versions/{number}")).send().problem().0, 404);
    }
    let graph = server.get("/api/v1/pipelines/calls/graph");
    let line = |name: &str| {
        let nodes = graph["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["kind"] == "operator" && node["name"] == name).unwrap()["line"].clone()
    };
    assert_eq!((line("filter"), line("meter")), (json!(4), json!(5)), "{graph}");
}

#[test]
fn every_change_has_an_etag_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    // The clock stays where it is.
    let server = Server::start(folder.path(), &["--test-clock", "2026-01-05T10:00:00Z"]);
    let made = server.post("/api/v1/meter-types", &json!({"name": "Spend"}));
    let first = made.header("etag").unwrap().to_owned();
    let put = |unit: &str| {
        let ask = server.ask("PUT", "/api/v1/meter-types/Spend").header("if-match", &first);
        ask.json(&json!({"name": "Spend", "unit": unit})).send()
    };
    let changed = put("EUR");
    assert_ne!(changed.header("etag").unwrap(), first);
    assert_eq!(changed.status, 200);
    assert_eq!(put("USD").problem().1, "stale");
}
