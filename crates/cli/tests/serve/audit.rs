//! The audit: reasons, the request of a change, its way, and tables.

use serde_json::{Value, json};

use crate::support::server::{Server, event, items};

const DIGITS: &str = "12345678901234567890.123456789012345678";

fn without_user(id: &str, value: &str) -> Value {
    let mut one = event(id, "", json!("V"));
    one.as_object_mut().unwrap().remove("subject");
    serde_json::from_str(&one.to_string().replace("\"V\"", value)).unwrap()
}

#[test]
fn entries_have_the_reason_and_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[without_user("1", DIGITS), without_user("2", "2")]);
    let discard = |at: u32| server.ask("POST", &format!("/api/v1/corrections/default:{at}/discard"));
    discard(0).header("x-request-id", "r-77").json(&json!({"reason": "=a test account"})).send().ok();
    discard(1).header("x-flowmeter-reason", "pr%C3%B8ve").send().ok();
    let wrong = discard(1).header("x-flowmeter-reason", "%FF").send().problem();
    assert_eq!((wrong.0, wrong.2.as_deref()), (400, Some("x-flowmeter-reason")));
    let long = discard(1).json(&json!({"reason": "x".repeat(1_001)})).send().problem();
    assert_eq!((long.0, long.2.as_deref()), (400, Some("reason")));

    let answer = server.ask("GET", "/api/v1/audit?action=correction").send();
    assert!(answer.text().contains(DIGITS), "{}", answer.text());
    let entries = items(&answer.ok());
    assert_eq!((&entries[1]["reason"], &entries[1]["requestId"]), (&json!("=a test account"), &json!("r-77")));
    assert_eq!((&entries[0]["reason"], entries[0]["requestId"].is_string()), (&json!("prøve"), true));
    assert_eq!(entries[0].get("via"), None, "no key was needed");

    let table =
        |query: &str| server.ask("GET", &format!("/api/v1/audit?action=correction{query}")).header("accept", "text/csv").send();
    let text = table("").text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("number,at,who,via,action,object,reason,requestId,before,after"));
    assert_eq!(lines.clone().count(), 2, "{text}");
    assert!(text.contains(",'=a test account,r-77,") && text.contains(DIGITS), "{text}");
    let first = table("&limit=1");
    let next = first.header("x-next-cursor").unwrap();
    assert_eq!(table(&format!("&limit=1&cursor={next}")).text().lines().count(), 2);
}

#[test]
fn entries_say_whether_a_key_or_a_browser_made_the_change() {
    const KEY: &str = "fm_00000000000000aa_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "auth.required=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}"];
    let server = Server::start_in(folder.path(), &set, &[("TEST_KEY", KEY)]);
    let session = server.ask("POST", "/ui/session").header("sec-fetch-site", "same-origin").json(&json!({"key": KEY})).send();
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let csrf = session.ok()["csrf"].as_str().unwrap().to_owned();
    let make = |name: &str| server.ask("POST", "/api/v1/keys").json(&json!({"name": name, "scopes": ["read"]}));
    let of_browser = make("one").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    assert_eq!(of_browser.header("x-flowmeter-csrf", &csrf).send().status, 201);
    assert_eq!(make("two").header("authorization", &format!("Bearer {KEY}")).send().status, 201);
    let server = server.with_key(KEY);
    let entries = items(&server.get("/api/v1/audit?action=key.create"));
    let ways: Vec<_> = entries.iter().map(|entry| &entry["via"]).collect();
    assert_eq!(ways[..2], [&json!("key"), &json!("browser")], "{entries:?}");
}

#[test]
fn entries_of_sessions_and_keys_say_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for act in ["pause", "resume", "cancel"] {
        server.post(&format!("/api/v1/sessions/R-00000001/{act}"), &json!({"reason": format!("to {act}")})).ok();
    }
    let wrong = server.post("/api/v1/sessions/R-00000001/cancel", &json!({"reason": 5})).problem();
    assert_eq!((wrong.0, wrong.2.as_deref()), (400, Some("reason")));
    let entries = items(&server.get("/api/v1/audit?object=R-00000001"));
    let shown: Vec<(&str, &Value, &Value, &Value)> = entries
        .iter()
        .filter(|one| one["action"] != "session.start")
        .map(|one| (one["action"].as_str().unwrap(), &one["before"]["status"], &one["after"]["status"], &one["reason"]))
        .collect();
    let expected = [
        ("session.cancel", json!("RUNNING"), json!("CANCELED"), json!("to cancel")),
        ("session.resume", json!("PAUSED"), json!("RUNNING"), json!("to resume")),
        ("session.pause", json!("RUNNING"), json!("PAUSED"), json!("to pause")),
    ];
    let expected: Vec<(&str, &Value, &Value, &Value)> = expected.iter().map(|(a, b, c, d)| (*a, b, c, d)).collect();
    assert_eq!(shown, expected);

    let end = "2099-01-01T00:00:00Z";
    let key = server.post("/api/v1/keys", &json!({"name": "k", "scopes": ["read", "operate"], "expiresAt": end})).ok();
    let entry = items(&server.get("/api/v1/audit?action=key.create")).remove(0);
    let after = &entry["after"];
    assert_eq!((&after["id"], &after["scopes"]), (&key["id"], &key["scopes"]));
    assert!(after["expiresAt"].as_str().unwrap().starts_with("2099-01-01"), "{entry}");
    let text = entry.to_string();
    assert!(!text.contains("secret") && !text.contains("hash") && !text.contains("salt"), "{text}");
}
