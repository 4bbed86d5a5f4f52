//! Jobs after the end of the server: shown as they ended, with what they found.

use serde_json::{Value, json};

use crate::periods::hours;
use crate::support::server::{Server, event, eventually, items};

/// Serves a pipeline by the hour whose records go to a file.
fn serve(folder: &std::path::Path) -> Server {
    let document = folder.join("hours.yaml");
    std::fs::write(&document, hours(&folder.join("records.ndjson"))).unwrap();
    Server::start(&folder.join("data"), &["--pipeline", document.to_str().unwrap()])
}

fn past(id: &str, hour: u8) -> Value {
    let mut one = event(id, "anna", json!(7));
    one["time"] = json!(format!("2024-05-01T{hour:02}:15:00Z"));
    one
}

fn ended(server: &Server, id: &str) -> Value {
    eventually("the job has ended", || {
        let job = server.get(&format!("/api/v1/jobs/{id}"));
        job["endedAt"].is_string().then_some(job)
    })
}

fn begun(server: &Server, path: &str, body: &Value) -> String {
    server.post(path, body).json()["jobId"].as_str().unwrap().to_owned()
}

#[test]
fn a_comparison_and_an_export_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    server.count(&[past("1", 10), past("2", 11)]);
    eventually("two deliveries", || (items(&server.get("/api/v1/deliveries?state=accepted")).len() == 2).then_some(()));
    let filter = json!({"pipeline": "hours", "to": "2024-05-01T12:00:00Z"});
    let reconcile = json!({"action": "reconcile", "selector": {"filter": filter}, "reason": "month end"});
    let compared = begun(&server, "/api/v1/deliveries/jobs", &reconcile);
    let exported = begun(&server, "/api/v1/exports", &json!({"format": "csv"}));
    let (comparison, export) = (ended(&server, &compared), ended(&server, &exported));
    assert_eq!(comparison["state"], "done", "{comparison}");
    // The period that ends at noon is not before noon.
    let periods = comparison["result"]["targets"][0]["periods"].as_array().unwrap();
    assert_eq!((periods.len(), &periods[0]["flushed"]["value"]), (1, &json!(7)), "{comparison}");
    let whole = server.post("/api/v1/deliveries/reconcile", &json!({"pipeline": "hours", "to": "2024-05-01T12:00:00Z"})).ok();
    assert_eq!(comparison["result"], whole, "a job finds what a request finds");
    let listed = items(&server.get("/api/v1/jobs"));
    assert!(listed.iter().all(|job| job.get("result").is_none()), "results are not in lists: {listed:?}");
    let file = server.ask("GET", export["file"].as_str().unwrap()).send().text();
    server.crash();

    std::fs::write(folder.path().join("data/exports/J-00000007.part"), "a part").unwrap();
    let server = serve(folder.path());
    assert_eq!(ended(&server, &compared), comparison);
    assert_eq!(server.ask("GET", export["file"].as_str().unwrap()).send().text(), file);
    assert_eq!(std::fs::read_dir(folder.path().join("data/exports")).unwrap().count(), 1, "a part that no job names is removed");
}

#[test]
fn a_job_that_the_end_of_the_server_cut_short_has_failed_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let lost: Vec<Value> =
        (0..20_000).map(|n| json!({"specversion": "1.0", "id": n.to_string(), "source": "/a", "type": "x"})).collect();
    for part in lost.chunks(5_000) {
        server.count(part);
    }
    let discard = json!({"action": "discard", "selector": {"filter": {"pipeline": "hours"}}});
    let id = begun(&server, "/api/v1/corrections/jobs", &discard);
    server.crash();

    let server = serve(folder.path());
    let job = ended(&server, &id);
    // It may have ended in the moment before.
    if job["state"] != "done" {
        assert_eq!(job["state"], "failed", "{job}");
        assert!(job["error"].as_str().unwrap().contains("begin a new job for the rest"), "{job}");
    }
    let rest = begun(&server, "/api/v1/corrections/jobs", &discard);
    assert_eq!(ended(&server, &rest)["state"], "done");
    assert_eq!(items(&server.get("/api/v1/corrections")).len(), 0);
    assert_eq!(server.get("/api/v1/corrections?state=discarded&limit=1")["items"][0]["state"], "discarded");
}

#[test]
fn lists_take_a_span_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let accepted = || items(&server.get("/api/v1/deliveries?state=accepted")).len();
    let flushed = |hour: u8, count: usize| {
        server.count(&[past(&hour.to_string(), hour)]);
        eventually("one delivery more", || (accepted() == count).then_some(()));
        let now = || server.get("/api/v1/overview")["at"].as_str().unwrap().to_owned();
        let before = now();
        eventually("the next millisecond", || Some(now()).filter(|now| *now != before))
    };
    let (first, second) = (flushed(10, 1), flushed(11, 2));
    flushed(12, 3);
    let numbers = |query: &str| -> Vec<u64> {
        let found = items(&server.get(&format!("/api/v1/deliveries?{query}")));
        found.iter().map(|one| one["recordNumber"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&format!("from={first}")), [1, 2], "{first}");
    assert_eq!(numbers(&format!("to={second}&order=desc")), [1, 0], "{second}");
    assert_eq!(numbers(&format!("from={first}&to={second}")), [1]);
    assert_eq!(numbers(&format!("from={first}&to={second}&limit=1")), [1]);
    assert_eq!(numbers("from=2199-06-01T00:00:00Z"), [0_u64; 0]);

    let sessions = |query: &str| items(&server.get(&format!("/api/v1/sessions?pipeline=hours&{query}"))).len();
    assert_eq!((sessions("type=NORMAL"), sessions("type=DEBUG")), (1, 0));
    assert_eq!((sessions("from=2199-05-01T12:00:00Z"), sessions("to=2024-05-01T09:00:00Z")), (1, 0));
    assert_eq!(server.ask("GET", "/api/v1/sessions?type=normal").send().problem().2.as_deref(), Some("type"));
}
