//! Lists and lookups of meters, records and events of sessions: every page of them, by index.

use serde_json::{Value, json};

use super::periods::hours;
use crate::support::server::{Server, event, eventually, items};

/// Returns all items of a list, page by page.
fn pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = server.get(&format!("{path}{joint}limit={limit}{cursor}"));
        found.extend(items(&page));
        assert!(items(&page).len() <= limit);
        match page["nextCursor"].as_str() {
            Some(next) => {
                let next: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
                cursor = format!("&cursor={next}");
            }
            None => return found,
        }
    }
}

fn users(meters: &[Value]) -> Vec<(&str, &str)> {
    meters.iter().map(|meter| (meter["userId"].as_str().unwrap(), meter["meterTypeName"].as_str().unwrap())).collect()
}

#[test]
fn meters_are_listed_and_found_while_they_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    let text = hours(&folder.path().join("records.ndjson"));
    let two = text
        .replace("      rules:", "      match: all\n      rules:")
        .replace("value: data.value }", "value: data.value }, { category: calls, value: data.value }")
        .replace("targets:", "  - { name: Calls, category: calls, unit: calls, resetSchedule: monthly }\ntargets:");
    std::fs::write(&document, &two).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let names = |numbers: std::ops::Range<usize>| numbers.map(|n| format!("user-{n:03}"));
    let events: Vec<Value> = names(0..300).map(|user| event(&user, &user, json!(1))).collect();
    server.count(&events);
    for limit in [1000, 100, 7] {
        let all = pages(&server, "/api/v1/meters", limit);
        let expected: Vec<String> = names(0..300).collect();
        let expected: Vec<(&str, &str)> = expected.iter().flat_map(|user| [(&**user, "Calls"), (&**user, "Use")]).collect();
        assert_eq!(users(&all), expected, "{limit}");
        let mut backwards = pages(&server, "/api/v1/meters?order=desc", limit);
        backwards.reverse();
        assert_eq!(users(&backwards), expected, "{limit}, backwards");
    }
    let some = pages(&server, "/api/v1/meters?prefix=user-29&meterType=Calls", 3);
    assert_eq!(some.len(), 10);
    assert!(users(&some).iter().all(|(user, kind)| user.starts_with("user-29") && *kind == "Calls"));
    let mut backwards = pages(&server, "/api/v1/meters?prefix=user-29&meterType=Calls&order=desc", 4);
    backwards.reverse();
    assert_eq!(backwards, some);
    assert_eq!(users(&pages(&server, "/api/v1/meters?userId=user-007", 1)), [("user-007", "Calls"), ("user-007", "Use")]);
    assert_eq!(pages(&server, "/api/v1/meters?userId=user-007&prefix=user-1", 5).len(), 0);

    // One that was just opened is there at once; one that was deleted is not.
    server.count(&[event("new", "user-0075", json!(2))]);
    let opened = items(&server.get("/api/v1/meters?prefix=user-0075&meterType=Use"));
    let id = opened[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/api/v1/meters/{id}"))["value"], 2);
    assert_eq!(server.ask("DELETE", &format!("/api/v1/meters/{id}")).send().status, 204);
    assert_eq!(server.ask("GET", &format!("/api/v1/meters/{id}")).send().status, 404);
    assert_eq!(users(&items(&server.get("/api/v1/meters?prefix=user-0075"))), [("user-0075", "Calls")]);
    server.count(&[event("again", "user-0075", json!(5))]);
    assert_eq!(server.get(&format!("/api/v1/meters/{id}"))["value"], 5);
    let given = "0190b6d4-3c5e-7a10-8d8e-9a1b2c3d4e5f";
    let made = server.post("/api/v1/meters", &json!({"userId": "zoë", "meterType": "Use", "id": given}));
    assert_eq!(made.status, 201);
    assert_eq!(server.get(&format!("/api/v1/meters/{given}"))["userId"], "zoë");

    // Another version moves meters; another type has meters of its own.
    let changed = two.replace("unit: calls", "unit: call");
    let saved = server.ask("PUT", "/api/v1/pipelines/hours").header("content-type", "application/yaml").header("if-match", "*");
    assert_eq!(saved.body(changed).send().status, 200);
    assert_eq!(server.get(&format!("/api/v1/meters/{given}"))["userId"], "zoë");
    assert_eq!(server.get(&format!("/api/v1/meters/{id}"))["value"], 5);
    assert_eq!(pages(&server, "/api/v1/meters", 50).len(), 603);
}

#[test]
fn records_are_found_by_id_user_and_meter() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, hours(&folder.path().join("records.ndjson"))).unwrap();
    let data = folder.path().join("data");
    let arguments = ["--pipeline", document.to_str().unwrap()];
    let server = Server::start(&data, &arguments);
    let mut events = Vec::new();
    for n in 0..240 {
        let mut past = event(&format!("e{n}"), ["anna", "bob", "c:d/e"][n % 3], json!(n));
        past["time"] = json!(format!("2024-05-{:02}T{:02}:15:00Z", 1 + n / 24, n % 24));
        events.push(past);
    }
    server.count(&events);
    eventually("all records", || Some(()).filter(|()| pages(&server, "/api/v1/records", 100).len() == 240));
    let check = |server: &Server| {
        let all = pages(server, "/api/v1/records", 50);
        for user in ["anna", "bob", "c:d/e"] {
            let expected: Vec<&Value> = all.iter().filter(|record| record["userId"] == user).collect();
            assert_eq!(expected.len(), 80);
            let (path, meter) = (format!("/api/v1/records?userId={user}"), expected[0]["id"].as_str().unwrap());
            for limit in [1000, 9] {
                assert_eq!(pages(server, &path, limit).iter().collect::<Vec<_>>(), expected);
                let mut backwards = pages(server, &format!("{path}&order=desc"), limit);
                backwards.reverse();
                assert_eq!(backwards.iter().collect::<Vec<_>>(), expected);
            }
            assert_eq!(pages(server, &format!("/api/v1/records?meterId={meter}"), 33).iter().collect::<Vec<_>>(), expected);
            let some = pages(server, &format!("{path}&from=2024-05-03T00:00:00Z&to=2024-05-04T00:00:00Z"), 5);
            assert_eq!(some.len(), 8);
        }
        for record in all.iter().step_by(17) {
            let id = record["meterMetaData"]["recordId"].as_str().unwrap();
            assert_eq!(server.get(&format!("/api/v1/records/{id}")), *record);
            let explained = server.get(&format!("/api/v1/records/{id}/explain"));
            assert_eq!((&explained["recount"]["equal"], explained["events"].as_array().unwrap().len()), (&json!(true), 1));
        }
        assert_eq!(pages(server, "/api/v1/records?userId=unknown", 10).len(), 0);
    };
    check(&server);
    server.crash();
    let server = Server::start(&data, &arguments);
    check(&server);
    // Without its index, which may be removed at any time.
    drop(server.stop());
    let pipelines = std::fs::read_dir(data.join("pipelines")).unwrap();
    for pipeline in pipelines {
        let _may_be_missing = std::fs::remove_dir_all(pipeline.unwrap().path().join("records-index"));
    }
    let server = Server::start(&data, &arguments);
    check(&server);
    assert_eq!(server.post("/api/v1/exports", &json!({"format": "csv"})).status, 202);
    eventually("the export", || Some(()).filter(|()| server.get("/api/v1/jobs")["items"][0]["state"] == "done"));
    drop(server.stop());
    let verified = crate::support::flowmeter(&["verify", "--data", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", crate::support::stderr(&verified));
    assert_eq!(std::fs::read_dir(data.join("exports")).unwrap().count(), 1, "a file beside the work is nothing wrong");
}

#[test]
fn events_of_a_session_come_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, hours(&folder.path().join("records.ndjson"))).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let session = items(&server.get("/api/v1/sessions"))[0]["sessionId"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        for act in ["pause", "resume"] {
            assert!(server.post(&format!("/api/v1/sessions/{session}/{act}"), &json!({})).status < 300);
        }
    }
    let path = format!("/api/v1/sessions/{session}/events");
    let all = pages(&server, &path, 1000);
    assert!(all.len() >= 10, "{}", all.len());
    assert!(all.iter().all(|event| event["payload"]["sessionId"] == json!(session)));
    assert!(all.is_sorted_by_key(|event| event["number"].as_u64()));
    assert_eq!(pages(&server, &path, 3), all);
}
