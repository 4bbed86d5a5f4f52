//! Events at the door: five forms, refusals, and the answers to senders.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::server::{Answer, Server, event, items};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

fn events_of(server: &Server, user: &str) -> u64 {
    let meters = items(&server.get(&format!("/api/v1/meters?userId={}&meterType=Events", user.replace(' ', "%20"))));
    meters.first().map_or(0, |meter| meter["value"].as_u64().unwrap())
}

fn send(server: &Server, query: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    server.ask("POST", &format!("/api/v1/events{query}")).header("content-type", content_type).body(body).send()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn five_forms_are_counted_alike() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let one = |id: &str| event(id, "anna", json!(1)).to_string();
    let spread = serde_json::to_string_pretty(&event("s-2", "anna", json!(1))).unwrap();
    let cases: &[(&str, String, u64)] = &[
        (STRUCTURED, one("s-1"), 1),
        ("application/cloudevents+json; charset=utf-8", spread, 1),
        (BATCHED, format!("[{},{}]", one("b-1"), one("b-2")), 2),
        (BATCHED, "[]".to_owned(), 0),
        ("application/json", one("j-1"), 1),
        ("application/json", format!("[{},{},{}]", one("j-2"), one("j-3"), one("j-4")), 3),
        (LINES, format!("{}\n\n{}\r\n", one("l-1"), one("l-2")), 2),
    ];
    let mut expected = 0;
    for (content_type, body, count) in cases {
        let answer = send(&server, "", content_type, body.as_str());
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{content_type} {body}: {answer:?}");
        expected += count;
    }
    // Binary: attributes in headers, what is not ASCII as %XX.
    let binary = server.ask("POST", "/api/v1/events?wait=counted");
    let binary = binary.header("ce-specversion", "1.0").header("ce-id", "h-1").header("ce-source", "/tests");
    let binary = binary.header("ce-type", "request").header("ce-subject", "J%C3%BCrgen%20%22J%22");
    let answer = binary.header("content-type", "application/json").body("{\"value\": 1}").send();
    assert_eq!((answer.status, answer.json()["events"][0]["verdict"].clone()), (200, json!("counted")));
    let meters = items(&server.get("/api/v1/meters?meterType=Events"));
    let user = meters.iter().find(|meter| meter["userId"] == "Jürgen \"J\"");
    assert_eq!(user.unwrap()["value"], 1, "{meters:?}");
    server.count(&[event("last", "anna", json!(1))]);
    assert_eq!(events_of(&server, "anna"), expected + 1);
}

#[test]
fn refusals_have_a_reason_and_take_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "limits.body_bytes_max=8KiB", "--set", "limits.batch_events_max=10"];
    let server = Server::start(folder.path(), &set);
    let good = event("g", "bob", json!(1)).to_string();
    let no_id = good.replace("\"id\":\"g\"", "\"id\":\"\"");
    let eleven = format!("{good}\n").repeat(11);
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(9_000));
    let cases: &[(&str, &str, u16, &str, Option<&str>)] = &[
        (STRUCTURED, "", 400, "bad_json", None),
        (STRUCTURED, "{\"specversion\":", 400, "events_rejected", Some("[0]")),
        (
            STRUCTURED,
            "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
            400,
            "events_rejected",
            Some("[0]"),
        ),
        (STRUCTURED, &no_id, 400, "events_rejected", Some("[0]")),
        (BATCHED, &good, 400, "bad_json", None),
        (BATCHED, &format!("[{good},{no_id}]"), 400, "events_rejected", Some("[1]")),
        (LINES, &format!("{good}\nnonsense\n"), 400, "events_rejected", Some("[1]")),
        (LINES, &eleven, 413, "too_many", None),
        (LINES, &large, 413, "too_large", None),
        ("text/plain", &good, 415, "unsupported_media_type", Some("content-type")),
        ("application/xml", "<a/>", 415, "unsupported_media_type", Some("content-type")),
    ];
    for (content_type, body, status, code, field) in cases {
        let answer = send(&server, "", content_type, *body);
        let told = answer.problem();
        assert_eq!((told.0, told.1.as_str(), told.2.as_deref()), (*status, *code, *field), "{content_type} {body}");
    }
    let answer = send(&server, "", BATCHED, format!("[{good},{no_id}]"));
    let verdicts = answer.json()["verdicts"].clone();
    assert_eq!((&verdicts[0]["index"], &verdicts[0]["reason"]), (&json!(1), &json!("not_cloudevent")));
    // A promise of too much is refused before any of it came.
    let answer = server.ask("POST", "/api/v1/events").header("content-type", LINES).body(vec![b' '; 10_000]).send();
    assert_eq!(answer.problem().1, "too_large");
    server.count(&[event("after", "bob", json!(1))]);
    assert_eq!(events_of(&server, "bob"), 1, "nothing of what was refused was counted");
}

#[test]
fn verdicts_for_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let good = event("1", "carl", json!(2));
    let nobody = json!({"specversion": "1.0", "id": "2", "source": "/tests", "type": "request"});
    let body = format!("{good}\nnonsense\n{good}\n{nobody}\n");
    // Durable at once, and rejected events are reported.
    let answer = send(&server, "?partial=true", LINES, body.as_str());
    let told = answer.json();
    assert_eq!((answer.status, &told["accepted"], &told["rejected"]), (207, &json!(3), &json!(1)));
    assert_eq!(told["events"][1]["reason"], "not_json");
    // The verdict of each, after counting.
    let told = send(&server, "?partial=true&wait=counted", LINES, body.replace("\"1\"", "\"3\"")).json();
    let words: Vec<&str> = told["events"].as_array().unwrap().iter().map(|event| event["verdict"].as_str().unwrap()).collect();
    assert_eq!(words, ["counted", "rejected", "duplicate", "parked"], "{told}");
    let told = send(&server, "?wait=counted", LINES, nobody.to_string().replace("\"2\"", "\"4\"")).json();
    assert_eq!((&told["events"][0]["verdict"], &told["events"][0]["reason"]), (&json!("parked"), &json!("no_user")), "{told}");
    assert_eq!(events_of(&server, "carl"), 2);
}

#[test]
fn bodies_compressed_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let lines: String = (0..100).map(|n| format!("{}\n", event(&n.to_string(), &format!("user {n:03}"), json!(n)))).collect();
    let half = lines.len() / 2;
    let half = half + lines[half..].find('\n').unwrap() + 1;
    let post = |coding: &str, body: Vec<u8>| {
        let ask = server.ask("POST", "/api/v1/events").header("content-type", LINES);
        ask.header("content-encoding", coding).body(body).send()
    };
    assert_eq!(post("gzip", gzip(&lines.as_bytes()[..half])).status, 204);
    assert_eq!(post("zstd", zstd::encode_all(&lines.as_bytes()[half..], 3).unwrap()).status, 204);
    let bomb = vec![b' '; 64 << 20];
    let refused = [
        ("gzip", gzip(&bomb), 413, "too_large"),
        ("zstd", zstd::encode_all(bomb.as_slice(), 3).unwrap(), 413, "too_large"),
        ("gzip", b"no gzip".to_vec(), 400, "bad_encoding"),
        ("zstd", gzip(b"{}"), 400, "bad_encoding"),
        ("br", b"{}".to_vec(), 415, "unsupported_encoding"),
        ("gzip, gzip", gzip(&gzip(b"{}")), 415, "unsupported_encoding"),
    ];
    for (coding, body, status, code) in refused {
        let told = post(coding, body).problem();
        assert_eq!((told.0, told.1.as_str()), (status, code), "{coding}");
    }
    server.count(&[event("last", "user 000", json!(0))]);

    let path = "/api/v1/meters?limit=1000&meterType=Events";
    let plain = server.ask("GET", path).send();
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    assert_eq!(items(&plain.json()).len(), 100);
    for (accepted, coding) in [("gzip", "gzip"), ("gzip, zstd", "zstd"), ("zstd;q=0.1, gzip;q=0.9", "gzip")] {
        let answer = server.ask("GET", path).header("accept-encoding", accepted).send();
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accepted}");
        assert!(answer.body.len() * 4 < plain.body.len());
        let mut whole = Vec::new();
        match coding {
            "gzip" => drop(std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut whole).unwrap()),
            _ => whole = zstd::decode_all(&answer.body[..]).unwrap(),
        }
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), plain.json());
    }
    // Not for what fits into a packet anyway.
    let small = server.ask("GET", "/health/live").header("accept-encoding", "gzip, zstd").send();
    assert_eq!((small.status, small.header("content-encoding")), (200, None));
}

#[test]
fn every_request_has_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let given = server.ask("GET", "/api/v1/nothing").header("x-request-id", "order-7").send();
    assert_eq!(given.problem(), (404, "not_found".to_owned(), None));
    assert_eq!((given.header("x-request-id"), &given.json()["requestId"]), (Some("order-7"), &json!("order-7")));
    assert_eq!(given.json()["instance"], "/api/v1/nothing");
    let names: Vec<String> =
        (0..2).map(|_| server.ask("GET", "/health/live").send().header("x-request-id").unwrap().to_owned()).collect();
    assert_ne!(names[0], names[1]);
}

#[test]
fn digits_of_numbers_are_not_lost_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.post("/api/v1/meter-types", &json!({"name": "Spend", "unit": "EUR"})).ok();
    let exact = "12345678901234567890.123456789012345678";
    let line = event("1", "dora", json!(0)).to_string().replace("\"value\":0", &format!("\"value\":{exact}"));
    assert_eq!(send(&server, "?wait=counted", LINES, line).json()["events"][0]["verdict"], "counted");
    let list = server.ask("GET", "/api/v1/meters?meterType=Spend").send().text();
    assert!(list.contains(&format!("\"value\":{exact}")), "{list}");
    let id = items(&serde_json::from_str(&list).unwrap())[0]["id"].as_str().unwrap().to_owned();
    assert!(server.ask("GET", &format!("/api/v1/meters/{id}")).send().text().contains(exact));
}
