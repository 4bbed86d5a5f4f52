//! Jobs over many parked events, deliveries and records: dry runs, progress, outcomes, files.

use serde_json::{Value, json};

use crate::periods::hours;
use crate::support::server::{Server, event, eventually, items};
use crate::support::service::Service;

const DIGITS: &str = "12345678901234567890.123456789012345678";

/// Starts a job and returns it once it has ended.
fn ended(server: &Server, path: &str, body: &Value) -> Value {
    let begun = server.post(path, body);
    assert_eq!(begun.status, 202, "{}", begun.text());
    let id = begun.json()["jobId"].as_str().unwrap().to_owned();
    eventually("the job has ended", || {
        let job = server.get(&format!("/api/v1/jobs/{id}"));
        job["endedAt"].is_string().then_some(job)
    })
}

fn without_user(id: &str, source: &str) -> Value {
    let mut one = event(id, "", json!("V"));
    one.as_object_mut().unwrap().remove("subject");
    one["source"] = json!(source);
    serde_json::from_str(&one.to_string().replace("\"V\"", DIGITS)).unwrap()
}

#[test]
fn parked_events_are_settled_by_filter_up_to_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-03-04T12:00:00Z"]);
    server.count(&[without_user("1", "/a"), without_user("2", "/b"), without_user("3", "/a")]);
    // An event is in the queue from the moment at which the queue is written or read.
    assert_eq!(items(&server.get("/api/v1/corrections")).len(), 3);
    server.post("/api/v1/clock", &json!({"to": "2026-03-05T12:00:00Z"})).ok();
    server.count(&[without_user("4", "/a")]);
    let path = "/api/v1/corrections/jobs";
    let selector = json!({"filter": {"pipeline": "default", "source": "/a"}, "upTo": "2026-03-04T18:00:00Z"});
    let job = |dry_run: bool| json!({"action": "reprocess", "selector": selector, "set": {"subject": "anna"}, "reason": "sender mended", "dryRun": dry_run});
    let rehearsed = server.post(path, &job(true));
    assert_eq!((rehearsed.status, &rehearsed.json()["matched"], &rehearsed.json()["state"]), (200, &json!(2), &json!("dry-run")));
    let done = ended(&server, path, &job(false));
    assert_eq!(
        (&done["state"], &done["done"], &done["byOutcome"]),
        (&json!("done"), &json!(2), &json!({"corrected": 2})),
        "{done}"
    );
    assert_eq!((&done["kind"], &done["by"], &done["reason"]), (&json!("corrections"), &json!("local"), &json!("sender mended")));
    let open: Vec<_> = items(&server.get("/api/v1/corrections")).iter().map(|one| one["event"]["id"].clone()).collect();
    assert_eq!(open, [json!("2"), json!("4")]);
    let sent = server.ask("GET", "/api/v1/events?subject=anna").send().text();
    assert!(sent.contains(DIGITS), "{sent}");
    let entries = items(&server.get("/api/v1/audit?action=correction"));
    assert!(entries.iter().any(|one| one["action"] == "correction.job" && one["reason"] == "sender mended"), "{entries:?}");
    assert!(entries.iter().any(|one| one["action"] == "correction.corrected" && one["reason"] == "sender mended"), "{entries:?}");

    let discarded = ended(&server, path, &json!({"action": "discard", "selector": {"ids": ["default:1", "default:1"]}}));
    assert_eq!((&discarded["matched"], &discarded["byOutcome"]), (&json!(1), &json!({"discarded": 1})), "{discarded}");
    assert_eq!(items(&server.get("/api/v1/jobs?limit=1"))[0]["jobId"], discarded["jobId"]);
    let canceled = server.post(&format!("/api/v1/jobs/{}/cancel", discarded["jobId"].as_str().unwrap()), &json!({})).ok();
    assert_eq!(canceled["state"], json!("done"), "a job that has ended stays as it is");
    let entries = items(&server.get("/api/v1/audit?action=job.cancel"));
    assert!(entries.is_empty(), "nothing was canceled: {entries:?}");
    let answer = server.ask("GET", "/api/v1/events?verdict=maybe").send().problem();
    assert_eq!((answer.0, answer.2.as_deref()), (400, Some("verdict")));

    let refused = [
        (json!({"action": "burn", "selector": {"ids": []}}), 400, "action"),
        (json!({"action": "discard"}), 400, "selector"),
        (json!({"action": "discard", "selector": {"ids": [], "groupId": "x"}}), 400, "selector"),
        (json!({"action": "discard", "selector": {"ids": []}}), 400, "selector.ids"),
        (json!({"action": "discard", "selector": {"filter": {}}}), 400, "selector.filter.pipeline"),
        (json!({"action": "discard", "selector": {"filter": {"colour": "red"}}}), 400, "selector.filter.colour"),
        (json!({"action": "discard", "selector": {"filter": {"pipeline": "default"}, "upTo": "noon"}}), 400, "selector.upTo"),
        (json!({"action": "discard", "selector": {"ids": ["default:2"]}, "set": {"a": 1}}), 400, "set"),
    ];
    for (body, status, field) in refused {
        let told = server.post(path, &body).problem();
        assert_eq!((told.0, told.2.as_deref()), (status, Some(field)), "{body}");
    }
    for job in ["J-99999999", "x"] {
        assert_eq!(server.ask("GET", &format!("/api/v1/jobs/{job}")).send().problem().0, 404);
    }
}

#[test]
fn fields_of_parked_events_are_renamed_converted_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--test-clock", "2026-03-04T12:00:00Z"]);
    let of_customer = |id: &str, value: &str| {
        let mut one = without_user(id, "/a");
        one["customer"] = json!("anna");
        one["data"]["value"] = json!(value);
        one["data"]["note"] = json!("x");
        one
    };
    server.count(&[of_customer("1", "1.234,50"), of_customer("2", "7,5"), of_customer("3", "none")]);
    let path = "/api/v1/corrections/jobs";
    let job = |dry_run: bool| {
        json!({
            "action": "reprocess", "selector": {"filter": {"pipeline": "default"}}, "dryRun": dry_run,
            "convert": {"data.value": {"number": {"decimal": ",", "group": "."}}}, "rename": {"customer": "subject"}, "remove": ["data.note"]
        })
    };
    let rehearsed = server.post(path, &job(true)).ok();
    let sample = &rehearsed["sample"];
    assert_eq!((&rehearsed["matched"], sample["changed"].as_array().unwrap().len()), (&json!(3), 2), "{rehearsed}");
    assert_eq!((&sample["changed"][0]["subject"], &sample["changed"][0]["data"]), (&json!("anna"), &json!({"value": 1234.5})));
    assert_eq!(sample["notChanged"][0]["detail"], "`data.value` is \"none\", which does not read as a number");
    let done = ended(&server, path, &job(false));
    assert_eq!((&done["byOutcome"], &done["failed"]), (&json!({"corrected": 2, "not_changed": 1}), &json!(1)), "{done}");
    let left = items(&server.get("/api/v1/corrections?state=open"));
    assert_eq!((left.len(), &left[0]["event"]["id"]), (1, &json!("3")), "what cannot be changed stays parked as it came");
    for (body, field) in [
        (json!({"convert": {"a": "date"}}), "convert.a"),
        (json!({"convert": {"a": {"number": {"decimal": ",", "group": ","}}}}), "convert.a"),
        (json!({"rename": {"a": 5}}), "rename.a"),
        (json!({"remove": ["a..b"]}), "remove"),
        (json!({"convert": {"a": {"number": {"decimal": "5"}}}}), "convert.a"),
    ] {
        let mut wish = json!({"action": "reprocess", "selector": {"ids": ["default:1"]}});
        wish.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        assert_eq!(server.post(path, &wish).problem().2.as_deref(), Some(field), "{body}");
    }
}

/// Serves a pipeline by the hour whose records go to a service.
fn delivering(folder: &std::path::Path, address: &str) -> Server {
    delivering_with(folder, address, &[])
}

fn delivering_with(folder: &std::path::Path, address: &str, more: &[&str]) -> Server {
    let document = folder.join("hours.yaml");
    let text =
        hours(std::path::Path::new("unused")).replace("file: { path: unused }", "webhook: { url: 'URL/hook', parallel: 1 }");
    std::fs::write(&document, text.replace("URL", address)).unwrap();
    let mut arguments = vec!["--pipeline", document.to_str().unwrap()];
    arguments.extend(more);
    Server::start(&folder.join("data"), &arguments)
}

/// Attempts have the time of the machine, whatever the clock of the engine shows.
#[test]
fn a_job_on_a_test_clock_takes_the_deliveries_of_now() {
    let service = Service::default();
    let address = service.start();
    service.answer("/hook", 422, "no such account");
    let folder = tempfile::tempdir().unwrap();
    let server = delivering_with(folder.path(), &address, &["--test-clock", "2024-05-01T12:00:00Z"]);
    server.count(&[past("1", "anna")]);
    server.post("/api/v1/clock", &json!({"by": "1h"})).ok();
    eventually("a dead delivery", || Some(items(&server.get("/api/v1/deliveries?state=dead"))).filter(|found| found.len() == 1));
    let filter = json!({"pipeline": "hours", "state": "dead"});
    let rehearsed = json!({"action": "resend", "selector": {"filter": filter}, "dryRun": true});
    assert_eq!(server.post("/api/v1/deliveries/jobs", &rehearsed).ok()["matched"], 1);
}

fn past(id: &str, user: &str) -> Value {
    let mut one = event(id, user, json!("V"));
    one["time"] = json!("2024-05-01T10:15:00Z");
    serde_json::from_str(&one.to_string().replace("\"V\"", DIGITS)).unwrap()
}

/// A target that is overloaded takes none of a window: its records have no deliveries of their own.
#[test]
fn records_of_an_overloaded_target_are_skipped_and_sent_at_once() {
    let service = Service::default();
    let address = service.start();
    service.answer("/hook", 503, "try later");
    let folder = tempfile::tempdir().unwrap();
    let server = delivering(folder.path(), &address);
    server.count(&[past("1", "anna"), past("2", "bo"), past("3", "cid")]);
    let retrying = eventually("three deliveries that are tried again", || {
        let found = items(&server.get("/api/v1/deliveries?state=retrying"));
        (found.len() == 3 && found[0]["attempts"].as_u64() >= Some(1)).then_some(found)
    });
    assert!(retrying[0]["firstAttemptAt"].is_string() && retrying[0]["lastAttemptAt"].is_string(), "{}", retrying[0]);
    let row = &items(&server.get("/api/v1/deliveries/targets"))[0];
    assert_eq!((&row["retrying"], &row["sent"]), (&json!(3), &json!(0)), "{row}");
    let id = retrying[1]["id"].as_str().unwrap();
    let skipped = server.post(&format!("/api/v1/deliveries/{id}/skip"), &json!({"reason": "a test account"})).ok();
    assert_eq!((&skipped["state"], &skipped["recordId"]), (&json!("skipped"), &retrying[1]["recordId"]), "{skipped}");

    let filter = json!({"pipeline": "hours", "target": "webhook", "state": "retrying"});
    let path = "/api/v1/deliveries/jobs";
    let before = json!({"action": "resend", "selector": {"filter": filter, "upTo": "2024-01-01T00:00:00Z"}, "dryRun": true});
    assert_eq!(server.post(path, &before).ok()["matched"], 0);
    service.answer("/hook", 200, "thanks");
    let resent = ended(&server, path, &json!({"action": "resend", "selector": {"filter": filter}, "reason": "it is up again"}));
    assert_eq!(resent["matched"], 2, "{resent}");
    eventually("two accepted deliveries and a skipped one", || {
        let all = items(&server.get("/api/v1/deliveries"));
        let states: Vec<_> = all.iter().map(|one| one["state"].as_str().unwrap_or_default()).collect();
        (states == ["accepted", "skipped", "accepted"]).then_some(())
    });
}

#[test]
fn dead_deliveries_are_sent_again_with_their_attempts_kept() {
    let service = Service::default();
    let address = service.start();
    service.answer("/hook", 422, &"no such account ".repeat(400));
    let folder = tempfile::tempdir().unwrap();
    let server = delivering(folder.path(), &address);
    server.count(&[past("1", "anna"), past("2", "bo"), past("3", "cid")]);
    let dead = eventually("three dead deliveries", || {
        Some(items(&server.get("/api/v1/deliveries?state=dead"))).filter(|found| found.len() == 3)
    });
    let id = |at: usize| dead[at]["id"].as_str().unwrap().to_owned();
    let one = server.get(&format!("/api/v1/deliveries/{}", id(0)));
    let attempt = &one["attemptHistory"][0];
    assert_eq!((&attempt["status"], one["attemptHistory"].as_array().unwrap().len()), (&json!(422), 1), "{one}");
    assert!(attempt["at"].is_string() && attempt["ms"].is_u64(), "{attempt}");
    let length = attempt["answer"].as_str().unwrap().len();
    assert!((4_000..=4_096).contains(&length), "{length}");
    assert!(one["answer"].as_str().unwrap().len() <= 500);

    let path = "/api/v1/deliveries/jobs";
    let skip = json!({"action": "skip", "selector": {"ids": [id(2)]}});
    assert_eq!(server.post(path, &skip).problem().2.as_deref(), Some("reason"));
    let skipped = ended(&server, path, &json!({"action": "skip", "selector": {"ids": [id(2)]}, "reason": "a test account"}));
    assert_eq!((&skipped["state"], &skipped["byOutcome"]), (&json!("done"), &json!({"skipped": 1})), "{skipped}");
    assert!(server.get(&format!("/api/v1/deliveries/{}", id(2)))["answer"].as_str().unwrap().contains("a test account"));

    service.answer("/hook", 200, "thanks");
    let filter = json!({"pipeline": "hours", "state": "dead", "target": "webhook"});
    let before = json!({"action": "resend", "selector": {"filter": filter, "upTo": "2024-01-01T00:00:00Z"}, "dryRun": true});
    assert_eq!(server.post(path, &before).ok()["matched"], 0);
    let resent = ended(&server, path, &json!({"action": "resend", "selector": {"filter": filter}, "reason": "account opened"}));
    assert_eq!((&resent["matched"], &resent["byOutcome"]), (&json!(2), &json!({"resent": 2})), "{resent}");
    let accepted = eventually("accepted deliveries", || {
        let one = server.get(&format!("/api/v1/deliveries/{}", id(0)));
        (one["state"] == "accepted" || one["state"] == "confirmed").then_some(one)
    });
    let statuses: Vec<_> = accepted["attemptHistory"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [json!(422), json!(200)], "{accepted}");
    let again = ended(&server, path, &json!({"action": "resend", "selector": {"ids": [id(0)]}}));
    assert_eq!((&again["failed"], &again["byOutcome"]), (&json!(1), &json!({"not_waiting": 1})), "{again}");

    // The attempts outlive a restart.
    server.stop();
    let server = Server::start(&folder.path().join("data"), &[]);
    let one = eventually("the pipeline is loaded", || {
        let one = server.ask("GET", &format!("/api/v1/deliveries/{}", id(0))).send();
        (one.status == 200).then(|| one.json())
    });
    assert_eq!(one["attemptHistory"].as_array().unwrap().len(), 2, "{one}");
    for (body, field) in [
        (json!({"action": "resend", "selector": {"filter": {"pipeline": "hours", "state": "sent"}}}), "selector.filter.state"),
        (json!({"action": "resend", "selector": {"filter": {"pipeline": "hours", "from": "noon"}}}), "selector.filter.from"),
        (json!({"action": "resend", "selector": {"groupId": "x"}}), "selector"),
    ] {
        assert_eq!(server.post(path, &body).problem().2.as_deref(), Some(field), "{body}");
    }
    let nowhere = json!({"action": "resend", "selector": {"filter": {"pipeline": "hours", "target": "nowhere"}}});
    assert_eq!(server.post(path, &nowhere).problem().0, 404);
}

#[test]
fn records_are_exported_with_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("hours.yaml");
    std::fs::write(&document, hours(&folder.path().join("records.ndjson"))).unwrap();
    let server = Server::start(&folder.path().join("data"), &["--pipeline", document.to_str().unwrap()]);
    server.count(&[past("1", "anna"), past("2", "=cmd")]);
    eventually("two records", || (items(&server.get("/api/v1/records")).len() == 2).then_some(()));
    let path = "/api/v1/exports";
    let dry = server.post(path, &json!({"selector": {"filter": {"userId": "anna"}}, "dryRun": true}));
    assert_eq!((dry.status, &dry.json()["matched"]), (200, &json!(1)));
    for (format, kind) in [("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson")] {
        let job = ended(&server, path, &json!({"format": format, "reason": "for the audit"}));
        assert_eq!((&job["state"], &job["done"], &job["kind"]), (&json!("done"), &json!(2), &json!("export")), "{job}");
        let file = server.ask("GET", job["file"].as_str().unwrap()).send();
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)));
        assert_eq!(file.text().matches(DIGITS).count(), 2, "{}", file.text());
        assert_eq!(file.text().contains(",'=cmd,"), format == "csv", "{}", file.text());
    }
    let none = ended(&server, path, &json!({"selector": {"filter": {"pipeline": "hours", "to": "2024-01-01T00:00:00Z"}}}));
    assert_eq!((&none["done"], &none["state"]), (&json!(0), &json!("done")), "{none}");
    for (body, field) in [
        (json!({"format": "pdf"}), "format"),
        (json!({"selector": {"ids": []}}), "selector"),
        (json!({"selector": {"filter": {"threshold": "maybe"}}}), "selector.filter.threshold"),
        (json!({"action": "export"}), "action"),
    ] {
        assert_eq!(server.post(path, &body).problem().2.as_deref(), Some(field), "{body}");
    }
}
