//! The dashboard: its files, the sign-in of browsers, and what its pages read.

use std::io::{BufRead, Read};

use serde_json::{Value, json};

use crate::support::server::{Server, event, eventually, items};

const KEY: &str = "fm_00000000000000aa_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn guarded(data: &std::path::Path) -> Server {
    let set = ["--set", "auth.required=true", "--set", "auth.bootstrap_key=${env:TEST_KEY}"];
    Server::start_in(data, &set, &[("TEST_KEY", KEY)])
}

#[test]
fn pages_are_served_under_a_strict_policy_and_the_api_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for path in ["/", "/pipelines/a%2Fb:c/live", "/events/x.y", "/no/such/page"] {
        let page = server.ask("GET", path).send();
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let page = server.ask("GET", "/").send().text();
    let script = page.split('"').find(|text| text.starts_with("/assets/") && text.ends_with(".js")).unwrap();
    let asset = server.ask("GET", script).send();
    assert_eq!((asset.status, asset.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let etag = asset.header("etag").unwrap();
    assert_eq!(server.ask("GET", script).header("if-none-match", etag).send().status, 304);
    for (path, status) in [("/api/v1/nothing", 404), ("/api", 404), ("/openmeter/x", 404), ("/assets/nothing.js", 404)] {
        assert_eq!(server.ask("GET", path).send().status, status, "{path}");
    }
    assert_eq!(server.ask("POST", "/").send().status, 404, "pages are only read");
    let off = tempfile::tempdir().unwrap();
    let without = Server::start(off.path(), &["--set", "dashboard.enabled=false"]);
    assert_eq!(without.ask("GET", "/").send().status, 404);
}

#[test]
fn a_browser_signs_in_with_a_key_and_keeps_a_cookie_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path());
    let same = |method, path| server.ask(method, path).header("sec-fetch-site", "same-origin");
    assert_eq!(server.get("/ui/session")["signedIn"], json!(false));

    let wrong = same("POST", "/ui/session").json(&json!({"key": KEY.replace("ff", "00")})).send();
    assert_eq!(wrong.problem().1, "key_unknown");
    let elsewhere = server.ask("POST", "/ui/session").header("sec-fetch-site", "cross-site").json(&json!({"key": KEY})).send();
    assert_eq!(elsewhere.problem().1, "host_refused");

    let signed_in = same("POST", "/ui/session").json(&json!({"key": KEY})).send();
    let cookie = signed_in.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict; Path=/") && !cookie.contains("Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("flowmeter-") && cookie.len() > 64, "{cookie}");
    let session = signed_in.ok();
    assert_eq!(session["name"], json!("bootstrap"));
    let csrf = session["csrf"].as_str().unwrap().to_owned();

    // Reading needs the cookie alone.
    let read = server.ask("GET", "/api/v1/meters").header("cookie", &cookie).send();
    assert_eq!((read.status, read.header("cache-control")), (200, Some("no-store")));
    assert_eq!(server.ask("GET", "/api/v1/meters").header("cookie", "flowmeter-1=x").send().problem().1, "key_missing");

    // A change needs the page's origin and the token.
    let make = |site: &str, token: &str| {
        let ask = server.ask("POST", "/api/v1/keys").header("cookie", &cookie).header("sec-fetch-site", site);
        ask.header("x-flowmeter-csrf", token).json(&json!({"name": "reader", "scopes": ["read"]})).send()
    };
    assert_eq!(make("same-origin", "").problem().1, "host_refused");
    assert_eq!(make("same-site", &csrf).problem().1, "host_refused", "another port of this machine");
    let reader = make("same-origin", &csrf);
    assert_eq!(reader.status, 201, "{}", reader.text());

    // Events are sent with keys of their own, except for a first one.
    let sent = event("1", "anna", json!(1)).to_string();
    let send = |first: bool| {
        let ask = server.ask("POST", "/api/v1/events").header("cookie", &cookie).header("x-flowmeter-csrf", &csrf);
        let ask = ask.header("sec-fetch-site", "same-origin").header("content-type", "application/cloudevents+json");
        let ask = if first { ask.header("x-flowmeter-start", "1") } else { ask };
        ask.body(sent.as_str()).send()
    };
    assert_eq!(send(false).problem().1, "scope_missing");
    assert_eq!(send(true).status, 204);

    // Signing out ends the session, here and in the list.
    let listed = server.ask("GET", "/api/v1/browser-sessions").header("cookie", &cookie).send().ok();
    assert_eq!(items(&listed).len(), 1);
    let out = |csrf: &str| same("DELETE", "/ui/session").header("cookie", &cookie).header("x-flowmeter-csrf", csrf).send();
    assert_eq!(out("").problem().1, "host_refused");
    let mut live = server.ask("GET", "/api/v1/stream").header("cookie", &cookie).open();
    live.read_line(&mut String::new()).unwrap();
    assert_eq!(out(&csrf).status, 204);
    // The stream of the browser ends with its session.
    let mut rest = String::new();
    live.read_to_string(&mut rest).unwrap();
    assert_eq!(server.ask("GET", "/api/v1/meters").header("cookie", &cookie).send().status, 401);
}

#[test]
fn a_browser_acts_in_one_of_its_namespaces_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .args(["keys", "create", "--name", "second", "--scope", "admin", "--namespace", "second", "--output", "json", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let second: Value = serde_json::from_slice(&made.stdout).unwrap();
    let server = guarded(&data);
    let cookie_of =
        |answer: &crate::support::server::Answer| answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let same =
        |method, path, cookie: &str| server.ask(method, path).header("sec-fetch-site", "same-origin").header("cookie", cookie);
    let first = same("POST", "/ui/session", "x=y").json(&json!({"key": KEY})).send();
    let cookie = cookie_of(&first);
    assert_eq!((&first.ok()["namespace"], &first.ok()["others"]), (&json!("default"), &json!([])));
    let both = same("POST", "/ui/session", &cookie).json(&json!({"key": second["secret"]})).send();
    assert_eq!(same("GET", "/ui/session", &cookie).send().ok()["signedIn"], false, "the cookie was replaced");
    let cookie = cookie_of(&both);
    let session = both.ok();
    assert_eq!(session["namespace"], "second");
    assert_eq!(session["others"], json!([{"namespace": "default", "name": "bootstrap"}]));
    let csrf = session["csrf"].as_str().unwrap();

    let switch = |namespace: &str, csrf: &str| {
        let ask = same("PUT", "/ui/session", &cookie).header("x-flowmeter-csrf", csrf);
        ask.json(&json!({"namespace": namespace})).send()
    };
    assert_eq!(switch("default", "").problem().1, "host_refused");
    assert_eq!(switch("third", csrf).problem().1, "namespace_forbidden");
    let switched = switch("default", csrf).ok();
    assert_eq!((&switched["namespace"], &switched["others"][0]["namespace"]), (&json!("default"), &json!("second")));
    let pipelines = |cookie: &str| items(&same("GET", "/api/v1/pipelines", cookie).send().ok()).len();
    assert_eq!(pipelines(&cookie), 1);
    switch("second", csrf).ok();
    assert_eq!(pipelines(&cookie), 0, "the other namespace has none");
    let audit = same("GET", "/api/v1/audit", &cookie).send().ok();
    assert!(items(&audit).iter().any(|entry| entry["action"] == "browser.switch"), "{audit}");

    assert_eq!(same("DELETE", "/ui/session", &cookie).header("x-flowmeter-csrf", csrf).send().status, 204);
    assert_eq!(same("GET", "/ui/session", &cookie).send().ok()["signedIn"], false);
}

#[test]
fn sessions_of_browsers_outlive_a_restart_and_end_with_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path()).with_key(KEY);
    let made = server.post("/api/v1/keys", &json!({"name": "kari", "scopes": ["read"]})).ok();
    let (id, secret) = (made["id"].as_str().unwrap().to_owned(), made["secret"].clone());
    let sign_in = server.ask("POST", "/ui/session").header("sec-fetch-site", "same-origin").json(&json!({"key": secret})).send();
    let value = sign_in.header("set-cookie").unwrap().split([';', '=']).nth(1).unwrap().to_owned();
    server.stop();

    let server = guarded(folder.path());
    let name = |server: &Server| {
        let fresh = server.ask("POST", "/ui/session").header("sec-fetch-site", "same-origin").json(&json!({"key": KEY})).send();
        fresh.header("set-cookie").unwrap().split('=').next().unwrap().to_owned()
    };
    let cookie = format!("{}={value}", name(&server));
    assert_eq!(server.ask("GET", "/api/v1/meters").header("cookie", &cookie).send().status, 200);
    let server = server.with_key(KEY);
    assert_eq!(server.ask("DELETE", &format!("/api/v1/keys/{id}")).send().status, 200);
    let session = server.ask("GET", "/ui/session").header("cookie", &cookie).send().ok();
    assert_eq!(session["signedIn"], json!(false), "the key was revoked");
}

#[test]
fn the_overview_adds_up_and_names_what_needs_attention() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[
        event("1", "anna", json!(1)),
        event("1", "anna", json!(1)),
        event("2", "", json!(2)),
        event("3", "bo", json!(3)),
    ]);
    let overview = eventually("the overview has four events", || {
        let overview = server.get("/api/v1/overview");
        (overview["totals"]["received"] == json!(4) && overview["corrections"]["open"] == json!(1)).then_some(overview)
    });
    let totals = &overview["totals"];
    assert_eq!(overview["balanced"], json!(true));
    assert_eq!((&totals["counted"], &totals["duplicate"], &totals["parked"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(overview["needs"][0]["kind"], json!("parked"), "{overview}");
    assert_eq!(overview["closings"][0]["meterType"], json!("Events"));

    let groups = server.get("/api/v1/corrections/groups");
    let group = &items(&groups)[0];
    assert_eq!((&group["reason"], &group["open"]), (&json!("no_user"), &json!(1)));
    let id = group["groupId"].as_str().unwrap();
    let found = server.get(&format!("/api/v1/corrections?groupId={id}&order=desc"));
    assert_eq!(items(&found)[0]["id"], json!("default:0"));

    // A job names what it takes before it takes it.
    let job = |dry: bool| json!({"action": "discard", "selector": {"groupId": id}, "reason": "a test", "dryRun": dry});
    let rehearsed = server.post("/api/v1/corrections/jobs", &job(true)).ok();
    assert_eq!((&rehearsed["matched"], &rehearsed["state"]), (&json!(1), &json!("dry-run")));
    assert_eq!(server.post("/api/v1/corrections/jobs", &job(false)).status, 202);
    eventually("the job is done", || (items(&server.get("/api/v1/jobs"))[0]["state"] == json!("done")).then_some(()));
    assert_eq!(items(&server.get("/api/v1/corrections")).len(), 0);
    let actions = server.get("/api/v1/audit?action=correction");
    assert!(items(&actions).iter().any(|one| one["reason"] == json!("a test")), "{actions}");
}

#[test]
fn lists_go_backwards_with_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let digits = "1842.00000000000000025";
    for number in 0..25 {
        let text = event(&format!("e{number}"), "anna", json!("V")).to_string().replace("\"V\"", digits);
        let ask = server.ask("POST", "/api/v1/events?wait=counted").header("content-type", "application/cloudevents+json");
        assert_eq!(ask.body(text).send().status, 200);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.ask("GET", &format!("/api/v1/events?order=desc&limit=10{cursor}")).send();
        assert!(page.text().contains(digits));
        let page: Value = page.ok();
        seen.extend(items(&page).iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|number| format!("e{number}")).collect();
    assert_eq!(seen, expected);
    assert_eq!(server.ask("GET", "/api/v1/events?order=down").send().problem().1, "invalid");
}

#[test]
fn the_live_stream_begins_with_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut lines = server.ask("GET", "/api/v1/live?topic=overview&topic=pipeline:default").open().lines();
    let mut topics = Vec::new();
    while topics.len() < 2 {
        let line = lines.next().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            topics.push(data["topic"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(topics, ["overview", "pipeline:default"]);
    assert_eq!(server.ask("GET", "/api/v1/live?topic=weather").send().problem().1, "invalid");
}

#[test]
fn a_new_version_is_rehearsed_without_being_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let made = "pipeline: p\nsource: { http: {} }\noperators:\n  - meter: { key: 5b0f3a1e-6f0d-4d0b-9a55-5d9a0c1f7a11, \
                rules: [{ name: r, category: c, value: '1' }] }\nmeterTypes:\n  - { name: T, category: c, resetSchedule: monthly }\n";
    assert_eq!(server.ask("POST", "/api/v1/pipelines").body(made).send().status, 201);
    let next = made.replace("monthly", "daily");
    let told = server.ask("PUT", "/api/v1/pipelines/p?dryRun=true").body(next).send().ok();
    assert_eq!((&told["accepted"], &told["schedulesChange"][0]["meterType"]), (&json!(true), &json!("T")));
    assert_eq!(server.get("/api/v1/pipelines/p")["version"], json!(1));
    let graph = server.get("/api/v1/pipelines/p/graph");
    let of_kind = |kind: &str| graph["nodes"].as_array().unwrap().iter().filter(|node| node["kind"] == json!(kind)).count();
    assert_eq!((of_kind("source"), of_kind("operator") > 0), (1, true), "{graph}");
}

#[test]
fn edges_of_a_branch_have_names_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("ways.yaml");
    let text = "pipeline: ways
source: { http: {} }
operators:
  - id: where
    branch: { routes: [{ name: eu, when: 'data.region == \"eu\"' }, { name: us, when: 'data.region == \"us\"' }] }
  - { id: a, from: where.eu, meter: { key: 5b0f3a1e-6f0d-4d0b-9a55-5d9a0c1f7a11, rules: [{ category: c, value: '1' }] } }
meterTypes: [{ name: T, category: c, resetSchedule: monthly }]
";
    std::fs::write(&document, text).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    let of = |id: &str, region: &str| {
        let mut one = event(id, "anna", json!(1));
        one["data"]["region"] = json!(region);
        one
    };
    server.count(&[of("1", "eu"), of("2", "eu"), of("3", "us"), of("4", "no")]);
    let graph = server.get("/api/v1/pipelines/ways/graph");
    let edge = |to: &str| {
        let edges = graph["edges"].as_array().unwrap();
        let edge = edges.iter().find(|edge| edge["to"] == to).unwrap_or_else(|| panic!("{graph}"));
        (edge["output"].clone(), edge["count"].clone())
    };
    assert_eq!(edge("operator:where"), (json!(null), json!(4)), "{graph}");
    assert_eq!(edge("operator:a"), (json!("eu"), json!(2)), "{graph}");
    let session = items(&server.get("/api/v1/sessions"))[0]["sessionId"].as_str().unwrap().to_owned();
    let rows = items(&server.get(&format!("/api/v1/sessions/summary?session={session}")));
    let outputs = &rows.iter().find(|row| row["operatorId"] == "where").unwrap()["outputs"];
    assert_eq!(outputs, &json!({"eu": 2, "us": 1, "default": 1}), "{rows:?}");
    assert_eq!(server.ask("GET", "/api/v1/sessions/summary?session=R-99999999").send().problem().0, 404);
}

#[test]
fn a_search_finds_an_event_only_if_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.count(&[event("order-17", "anna", json!(1))]);
    let kinds = |server: &Server, text: &str| {
        let hits = items(&server.get(&format!("/api/v1/search?q={text}")));
        hits.iter().map(|hit| hit["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&server, "zzzz"), [""; 0]);
    assert_eq!(kinds(&server, "order-1"), [""; 0]);
    assert_eq!(kinds(&server, "order-17"), ["event"]);
    // A server that stops writes its events to files.
    server.stop();
    let server = Server::start(folder.path(), &[]);
    assert_eq!((kinds(&server, "order-17"), kinds(&server, "order-18")), (vec!["event".to_owned()], Vec::new()));
}

#[test]
fn a_sample_is_sent_over_each_channel_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let notification = json!({
        "name": "failures", "eventType": "meter.session.status",
        "channels": [{"type": "log", "name": "one"}, {"type": "log", "name": "two"}],
    });
    assert_eq!(server.post("/api/v1/notifications", &notification).status, 201);
    let path = "/api/v1/notifications/failures/send-sample";
    let attempts = items(&server.post(path, &json!({})).ok());
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(attempts.iter().all(|one| one["accepted"] == true && one["at"].is_string()), "{attempts:?}");
    let one = items(&server.post(path, &json!({"channel": "two"})).ok());
    assert_eq!((one.len(), &one[0]["channel"]), (1, &json!("two")));
    for body in [json!({"channel": "three"}), json!({"channel": 3}), json!({"chanel": "one"})] {
        assert_eq!(server.post(path, &body).problem().0, 400, "{body}");
    }
    assert_eq!(server.post("/api/v1/notifications/nothing/send-sample", &json!({})).problem().0, 404);
    assert_eq!(items(&server.get("/api/v1/notifications/deliveries")).len(), 0, "a sample is not stored");
    let audited = items(&server.get("/api/v1/audit?action=notification.sample"));
    assert_eq!(audited[0]["object"], json!("failures"));
}
