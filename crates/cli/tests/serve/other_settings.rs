//! A start with other settings: noted in the audit, marked in the history, and a suspect of what is
//! parked shortly after. And the bounds of jobs, which are settings.

use serde_json::{Value, json};

use crate::support::server::{Server, eventually, items};

/// An event without a user, which is parked.
fn lost(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/a", "type": "api.request"})
}

#[test]
fn settings_that_a_start_changes_are_told_where_numbers_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(items(&server.get("/api/v1/audit?action=settings.")), Vec::<Value>::new(), "a first start changes nothing");
    server.stop();
    let server = Server::start(folder.path(), &["--set", "sessions.silence=1h", "--set", "jobs.kept_max=2"]);
    let entries = items(&server.get("/api/v1/audit?action=settings."));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0]["who"], &entries[0]["object"]), (&json!("settings"), &json!("settings")));
    assert_eq!(entries[0]["before"], json!({"jobs.kept_max": "200", "sessions.silence": "none"}));
    assert_eq!(entries[0]["after"], json!({"jobs.kept_max": "2", "sessions.silence": "1h"}));

    server.count(&[lost("1")]);
    let group = eventually("a group of parked events", || items(&server.get("/api/v1/corrections/groups")).pop());
    let suspects = group["suspects"].as_array().unwrap();
    let suspect = suspects.iter().find(|one| one["kind"] == "settings").unwrap_or_else(|| panic!("{group}"));
    assert_eq!(suspect["names"], "jobs.kept_max, sessions.silence");
    // The change is noted first, then its entry of the audit is made.
    assert!(suspect["at"].as_str() <= entries[0]["at"].as_str(), "{suspect} {entries:?}");
    let history = server.get("/api/v1/history?of=namespace");
    let marks = history["marks"].as_array().unwrap();
    assert!(marks.iter().any(|mark| mark["kind"] == "settings" && mark["at"] == suspect["at"]), "{marks:?}");

    // The same settings once more: nothing to note.
    server.stop();
    let server = Server::start(folder.path(), &["--set", "sessions.silence=1h", "--set", "jobs.kept_max=2"]);
    assert_eq!(items(&server.get("/api/v1/audit?action=settings.")), entries);
    let exports: Vec<Value> = (0..3)
        .map(|_| {
            let begun = server.post("/api/v1/exports", &json!({"format": "csv"})).json();
            let path = format!("/api/v1/jobs/{}", begun["jobId"].as_str().unwrap());
            eventually("the export has ended", || {
                let job = server.get(&path);
                job["endedAt"].is_string().then_some(job["jobId"].clone())
            })
        })
        .collect();
    let kept: Vec<Value> = items(&server.get("/api/v1/jobs")).iter().map(|job| job["jobId"].clone()).collect();
    assert_eq!(kept, [exports[2].clone(), exports[1].clone()], "the newest two");
}

#[test]
fn one_job_more_than_may_run_is_refused_until_one_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "jobs.running_max=1"]);
    let many: Vec<Value> = (0..5_000).map(|id| lost(&id.to_string())).collect();
    server.count(&many);
    let discard = json!({"action": "discard", "selector": {"filter": {"pipeline": "default"}}, "reason": "test"});
    let begun = server.post("/api/v1/corrections/jobs", &discard).json();
    let refused = server.post("/api/v1/exports", &json!({"format": "csv"}));
    assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("overloaded")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("jobs.running_max"));
    let path = format!("/api/v1/jobs/{}", begun["jobId"].as_str().unwrap());
    eventually("the job has ended", || server.get(&path)["endedAt"].is_string().then_some(()));
    assert_eq!(server.post("/api/v1/exports", &json!({"format": "csv"})).status, 202);
}
