//! Keys: access, scopes, namespaces and rates.

use std::io::{BufRead, Read};

use serde_json::{Value, json};

use crate::support::server::{Server, command, event, items};

/// A key of the form the server makes, chosen by the tests.
const BOOTSTRAP: &str = "fm_00000000000000aa_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn guarded(data: &std::path::Path, more: &[&str]) -> Server {
    let mut set = vec!["--set", "auth.required=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}"];
    set.extend(more);
    Server::start_in(data, &set, &[("TEST_KEY", BOOTSTRAP)])
}

fn key(server: &Server, name: &str, scopes: &[&str]) -> String {
    let made = server.post("/api/v1/keys", &json!({"name": name, "scopes": scopes}));
    made.ok()["secret"].as_str().unwrap().to_owned()
}

fn as_key<'s>(server: &'s Server, key: &str, method: &'static str, path: &str) -> crate::support::server::Ask<'s> {
    server.ask(method, path).header("authorization", &format!("Bearer {key}"))
}

#[test]
fn keys_and_their_scopes() {
    let folder = tempfile::tempdir().unwrap();
    let open = guarded(folder.path(), &[]);
    let wrong = BOOTSTRAP.replace("ff", "00");
    for (header, code) in [
        (None, "key_missing"),
        (Some("Bearer nonsense"), "key_malformed"),
        (Some(wrong.as_str()), "key_unknown"),
        (Some("Basic dXNlcjpwYXNz"), "key_malformed"),
    ] {
        let ask = open.ask("GET", "/api/v1/meters");
        let answer = match header {
            Some(header) => ask.header("authorization", header).send(),
            None => ask.send(),
        };
        assert_eq!((answer.problem().0, answer.problem().1.as_str()), (401, code), "{header:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"flowmeter\""));
    }
    // Health and metrics need no key.
    for path in ["/health/live", "/health/ready", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(open.ask("GET", path).send().status, 200, "{path}");
    }
    let server = open.with_key(BOOTSTRAP);
    let (ingest, read, operate) =
        (key(&server, "sender", &["ingest"]), key(&server, "viewer", &["read"]), key(&server, "operator", &["operate"]));
    let open = server;
    let sent = event("1", "anna", json!(1)).to_string();
    let cases = [
        (&ingest, "POST", "/api/v1/events", 204),
        (&ingest, "GET", "/api/v1/meters", 403),
        (&ingest, "POST", "/api/v1/meter-types", 403),
        (&read, "GET", "/api/v1/meters", 200),
        (&read, "POST", "/api/v1/events", 403),
        (&read, "POST", "/api/v1/sessions/R-00000001/pause", 403),
        (&read, "GET", "/api/v1/audit", 403),
        (&operate, "POST", "/api/v1/sessions/R-00000001/pause", 200),
        (&operate, "POST", "/api/v1/sessions/R-00000001/resume", 200),
        (&operate, "GET", "/api/v1/keys", 403),
    ];
    for (key, method, path, status) in cases {
        let ask = bare(&open, key, method, path).header("content-type", "application/cloudevents+json");
        let answer = if method == "POST" { ask.body(sent.as_str()).send() } else { ask.send() };
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.problem().1, "scope_missing");
            assert!(answer.json()["scope"].is_string());
        }
    }
    // The audit has the name of the key, and never secrets.
    let audit = open.get("/api/v1/audit").to_string();
    assert!(audit.contains("\"who\":\"operator\"") && audit.contains("session.pause"), "{audit}");
    let list = open.get("/api/v1/keys").to_string();
    assert!(!list.contains("secret") && !list.contains("hash"), "{list}");
}

/// Asked with another key than the server's own.
fn bare<'s>(server: &'s Server, key: &str, method: &'static str, path: &str) -> crate::support::server::Ask<'s> {
    as_key(server, key, method, path).only_last("authorization")
}

#[test]
fn keys_rotated_revoked_and_expired() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path(), &[]).with_key(BOOTSTRAP);
    let made = server.post("/api/v1/keys", &json!({"name": "sender", "scopes": ["read"]})).ok();
    let (id, old) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let code = |key: &str| {
        let answer = bare(&server, key, "GET", "/api/v1/meters").send();
        if answer.status == 200 { "ok".to_owned() } else { answer.problem().1 }
    };
    let rotated = server.post(&format!("/api/v1/keys/{id}/rotate"), &json!({})).ok();
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!((code(old).as_str(), code(new).as_str()), ("ok", "ok"), "the old one works for a day");
    let rotated = server.post(&format!("/api/v1/keys/{}/rotate", rotated["id"].as_str().unwrap()), &json!({"grace": "0s"})).ok();
    assert_eq!((code(new).as_str(), code(rotated["secret"].as_str().unwrap()).as_str()), ("key_expired", "ok"));
    assert_eq!(server.ask("DELETE", &format!("/api/v1/keys/{}", rotated["id"].as_str().unwrap())).send().status, 200);
    assert_eq!(code(rotated["secret"].as_str().unwrap()), "key_revoked");
    let cases = [
        (json!({"scopes": ["read"]}), Some("name")),
        (json!({"name": "x", "scopes": []}), Some("scopes")),
        (json!({"name": "x", "scopes": ["everything"]}), Some("scopes")),
        (json!({"name": "x", "scopes": ["read"], "expiresAt": "soon"}), Some("expiresAt")),
        (json!({"name": "x", "scopes": ["read"], "expiresAt": "2001-01-01T00:00:00Z"}), Some("expiresAt")),
    ];
    for (body, field) in cases {
        let told = server.post("/api/v1/keys", &body).problem();
        assert_eq!((told.0, told.1.as_str(), told.2.as_deref()), (400, "invalid", field), "{body}");
    }
    assert_eq!(server.ask("DELETE", "/api/v1/keys/0000000000000001").send().problem().0, 404);
}

#[test]
fn namespaces_never_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    // A namespace is that of the key: two bootstrap keys of two, one start after another.
    let other_key = BOOTSTRAP.replace("00000000000000aa", "00000000000000bb");
    let start = |namespace: &str, key: &str| {
        let set = format!("namespace.default={namespace}");
        let more = ["--set", "auth.required=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}", "--set", set.as_str()];
        Server::start_in(folder.path(), &more, &[("TEST_KEY", key)]).with_key(key)
    };
    let server = start("blue", &other_key);
    let blue = key(&server, "blue", &["admin"]);
    server.count(&[event("1", "anna", json!(1)), event("2", "anna", json!(1)), event("3", "bella", json!(1))]);
    server.post("/api/v1/meter-types", &json!({"name": "Blue"})).ok();
    server.stop();
    let server = start("red", BOOTSTRAP);
    let red = key(&server, "red", &["admin"]);
    server.count(&[event("1", "anna", json!(1))]);
    let get = |key: &str, path: &str| bare(&server, key, "GET", path).send();
    let value = |key: &str| items(&get(key, "/api/v1/meters?userId=anna&meterType=Events").ok())[0]["value"].clone();
    assert_eq!((value(&blue), value(&red)), (json!(2), json!(1)));
    let id_of = |path: &str, name: &str| items(&get(&blue, path).ok())[0][name].as_str().unwrap().to_owned();
    let hidden = [
        format!("/api/v1/meters/{}", id_of("/api/v1/meters?userId=bella", "id")),
        "/api/v1/meter-types/Blue".to_owned(),
        format!("/api/v1/meter-types/{}", id_of("/api/v1/meter-types", "id")),
        format!("/api/v1/pipelines/{}", id_of("/api/v1/pipelines", "id")),
        format!("/api/v1/sessions/{}", id_of("/api/v1/sessions", "sessionId")),
    ];
    for path in &hidden {
        assert_eq!((get(&blue, path).status, get(&red, path).status), (200, 404), "{path}");
    }
    // The audit of the default namespace says that its name changed.
    for path in [
        "/api/v1/audit?action=key",
        "/api/v1/audit?action=pipeline",
        "/api/v1/keys",
        "/api/v1/sessions",
        "/api/v1/meter-types",
        "/api/v1/pipelines",
    ] {
        let seen = get(&red, path).text();
        assert!(!seen.contains("lue"), "{path}: {seen}");
    }
    // Acts on every namespace are for the keys of the default one.
    let ask = |key: &str, path: &str| bare(&server, key, "POST", path).json(&json!({})).send().problem();
    assert_eq!(ask(&blue, "/api/v1/backup").1, "scope_missing");
    assert_eq!(ask(&red, "/api/v1/backup").2.as_deref(), Some("to"));
    assert_eq!(ask(&blue, "/api/v1/clock").1, "scope_missing");
    assert_eq!((get(&blue, "/api/v1/settings").status, get(&red, "/api/v1/settings").status), (403, 200));
    let pipelines = |key: &str| get(key, "/api/v1/system").ok()["pipelines"].as_array().unwrap().len();
    assert_eq!((pipelines(&blue), pipelines(&red)), (1, 1));
    let blue_key = id_of("/api/v1/keys", "id");
    assert_eq!(bare(&server, &red, "DELETE", &format!("/api/v1/keys/{blue_key}")).send().status, 404);
}

#[test]
fn too_fast_is_told_when_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "rate.requests_per_second=1", "--set", "rate.burst=1s"];
    let server = Server::start(folder.path(), &set);
    let answers: Vec<_> = (0..20).map(|_| server.ask("GET", "/api/v1/sessions").send()).collect();
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.problem().1, "rate_limited");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(server.ask("GET", "/health/live").send().status, 200, "health has no rate");
}

#[test]
fn off_this_machine_only_with_keys() {
    let folder = tempfile::tempdir().unwrap();
    // The later of two flags is the one that holds.
    let cases: [(&[&str], &str); 2] = [
        (&["--set", "listen=0.0.0.0:0"], "auth.required"),
        (&["--set", "listen=0.0.0.0:0", "--set", "auth.required=true"], "flowmeter keys create"),
    ];
    for (more, advice) in cases {
        let output = command(folder.path(), more, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(said.contains(advice), "{said}");
    }
}

#[test]
fn a_browser_s_page_from_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let told = server.ask("GET", "/api/v1/meters").header(name, value).send().problem();
        assert_eq!((told.0, told.1.as_str()), (403, "host_refused"), "{name}");
    }
    let answer = server.ask("GET", "/api/v1/docs").send();
    for header in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
        assert!(answer.header(header).is_some(), "{header}");
    }
}

#[test]
fn tls_with_a_certificate_of_one_s_own() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, private) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
    let set = [format!("tls.cert={}", cert.display()), format!("tls.key={}", private.display())];
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--set", &set[0], "--set", &set[1]]);
    assert!(server.url.starts_with("https://"));
    assert!(server.ask("GET", "/health/ready").try_send().is_err(), "no client trusts it yet");
    let server = server.trusting(&made.cert.pem());
    let ready: Value = server.get("/health/ready");
    assert_eq!(ready["status"], "ready");
    server.count(&[event("1", "anna", json!(1))]);
    let plain = server.url.replace("https://", "http://");
    assert!(ureq::get(format!("{plain}/health/live")).call().is_err());
}

#[test]
fn a_key_that_is_not_understood_names_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path(), &[]).with_key(BOOTSTRAP);
    for (body, field) in [
        (json!({"scopes": ["read"]}), "name"),
        (json!({"name": 5, "scopes": ["read"]}), "name"),
        (json!({"name": "x".repeat(201), "scopes": ["read"]}), "name"),
        (json!({"name": "x"}), "scopes"),
        (json!({"name": "x", "scopes": []}), "scopes"),
        (json!({"name": "x", "scopes": ["all"]}), "scopes"),
        (json!({"name": "x", "scopes": ["read"], "expiresAt": "soon"}), "expiresAt"),
        (json!({"name": "x", "scopes": ["read"], "expiresAt": "2001-01-01T00:00:00Z"}), "expiresAt"),
        (json!({"name": "x", "scopes": ["read"], "expires": "2099-01-01T00:00:00Z"}), "expires"),
    ] {
        let told = server.post("/api/v1/keys", &body).problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some(field)), "{body}");
    }
    assert_eq!(items(&server.get("/api/v1/keys")).len(), 1);
}

#[test]
fn a_stream_ends_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path(), &[]).with_key(BOOTSTRAP);
    let made = server.post("/api/v1/keys", &json!({"name": "viewer", "scopes": ["read"]})).ok();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let streams = ["/api/v1/stream", "/api/v1/live?topic=overview", "/api/v1/events/tail"];
    let mut open = streams.map(|path| bare(&server, secret, "GET", path).open());
    for stream in &mut open {
        stream.read_line(&mut String::new()).unwrap();
    }
    server.ask("DELETE", &format!("/api/v1/keys/{id}")).send().ok();
    for mut stream in open {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
    }
}
