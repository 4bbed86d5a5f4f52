//! Dead deliveries, and the actions of people on them.

use serde_json::{Value, json};

use crate::receivers::{event, finish, pipeline, start};
use crate::services::receiver::{Receiver, Reply};
use crate::support::server::items;

#[test]
fn a_dead_delivery_fails_the_session_and_a_resend_and_finish_completes_a_new_one() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    receiver.reply(&[Reply::Status(400, "unknown account user0", &[])]);
    let read_back = format!("readBack: {{ url: '{}/{{{{meterMetaData.recordId}}}}' }}", receiver.url("/u"));
    let targets = format!("  - webhook: {{ url: '{}', parallel: 1, {read_back} }}\n", receiver.url("/u"));
    let server = start(folder.path(), &targets);
    server.count(&(0..6).map(|n| event(n, n, 3)).collect::<Vec<_>>());
    let session = finish(&server);
    assert_eq!(session["sessionStatus"], "FAILED", "{session}");
    assert!(
        session["error"].as_str().unwrap().contains("1 delivery is to target `webhook` dead")
            || session["error"].as_str().unwrap().contains("dead for good"),
        "{session}"
    );
    let dead = items(&server.get("/api/v1/deliveries?state=dead"));
    assert_eq!(dead.len(), 1);
    assert_eq!((&dead[0]["answer"], &dead[0]["attempts"]), (&json!("400: unknown account user0"), &json!(1)));
    // The target says why, and since when.
    let target = items(&server.get("/api/v1/deliveries/targets")).remove(0);
    assert_eq!((&target["dead"], &target["answer"]), (&json!(1), &json!("400: unknown account user0")));
    assert!(target["deadSince"].is_string(), "{target}");
    let need = server.get("/api/v1/overview")["needs"][0].clone();
    assert_eq!((&need["kind"], &need["count"], &need["since"]), (&json!("dead"), &json!(1), &target["deadSince"]));
    assert!(need["text"].as_str().unwrap().starts_with("It says: 400: unknown account user0."), "{need}");
    let id = dead[0]["id"].as_str().unwrap().to_owned();
    let shown = server.get(&format!("/api/v1/deliveries/{id}"));
    assert_eq!((&shown["record"]["userId"], &shown["record"]["value"]), (&json!("user0"), &json!(2)));
    let events = items(&server.get("/api/v1/sessions/R-00000001/events"));
    let told: Vec<&Value> = events.iter().filter(|event| event["eventType"] == "meter.delivery.dead").collect();
    assert_eq!(told.len(), 1, "{events:?}");
    assert_eq!((&told[0]["payload"]["target"], &told[0]["payload"]["recordId"]), (&json!("webhook"), &dead[0]["recordId"]));
    // A reason is asked for; what has gone is not sent again; nonsense is not found.
    assert_eq!(server.post(&format!("/api/v1/deliveries/{id}/skip"), &json!({})).problem().0, 400);
    let gone = items(&server.get("/api/v1/deliveries?state=accepted"))[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ask("POST", &format!("/api/v1/deliveries/{gone}/resend")).send().problem().0, 409);
    assert_eq!(server.ask("POST", "/api/v1/deliveries/x.1.webhook/resend").send().problem().0, 404);
    assert_eq!(server.ask("GET", "/api/v1/deliveries?state=lost").send().problem().0, 400);
    // Nothing of this was done, so the audit has none of it.
    let audit = || items(&server.get("/api/v1/audit"));
    let of_deliveries = || audit().into_iter().filter(|entry| entry["action"].as_str().unwrap().starts_with("delivery."));
    assert_eq!(of_deliveries().count(), 0, "{:?}", audit());
    // The account is made, the record sent again.
    assert_eq!(server.post("/api/v1/deliveries/resend", &json!({"pipeline": "usage"})).ok(), json!({"resent": 1}));
    let entries: Vec<Value> = of_deliveries().collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["after"], json!({"target": "webhook", "deliveries": 1}), "{entries:?}");
    let numbers: Vec<u64> = audit().iter().map(|entry| entry["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|newer, older| newer > older), "{numbers:?}");
    for _ in 0..1_000 {
        if receiver.taken().len() == 6 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    server.post("/api/v1/pipelines/usage/run", &json!({})).ok();
    let session = finish(&server);
    assert_eq!(session["sessionStatus"], "COMPLETED", "{session}");
    assert_eq!((receiver.taken().len(), receiver.order().len()), (6, 6));
}

#[test]
fn records_that_a_receiver_lost_are_reported_and_sent_again() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let read_back = format!("readBack: {{ url: '{}/{{{{meterMetaData.recordId}}}}', isRecord: true }}", receiver.url("/u"));
    let targets = format!("  - webhook: {{ url: '{}', {read_back} }}\n", receiver.url("/u"));
    let server = start(folder.path(), &targets);
    server.count(&(0..8).map(|n| event(n, n, 3 + n % 2)).collect::<Vec<_>>());
    let all = || receiver.taken().len() == 8;
    for _ in 0..1_000 {
        if all() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    let lost = receiver.order()[3].clone();
    receiver.lose(&lost);
    let ask = |mend: bool| server.post("/api/v1/deliveries/reconcile", &json!({"pipeline": "usage", "mend": mend})).ok();
    let report = ask(false);
    let target = &report["targets"][0];
    assert_eq!((&report["agrees"], &target["differenceCount"]), (&json!(false), &json!(1)), "{report}");
    assert_eq!(target["differences"][0]["recordId"], lost.as_str());
    let sum = |name: &str, what: &str| -> u64 {
        target["periods"].as_array().unwrap().iter().map(|period| period[name][what].as_u64().unwrap()).sum()
    };
    let arguments = ["deliveries", "reconcile", "--pipeline", "usage", "--url", &server.url];
    let shown = crate::support::stdout(&arguments);
    assert!(shown.starts_with("webhook: does not agree; records missing or different: 1\nMETER TYPE  "), "{shown}");
    assert!(shown.contains("\nRECORD  ") && shown.contains(&lost), "{shown}");
    assert_eq!(
        (sum("flushed", "records"), sum("held", "records"), sum("flushed", "value"), sum("held", "value")),
        (8, 7, 16, 14)
    );
    assert_eq!(ask(true)["targets"][0]["sentAgain"], 1);
    for _ in 0..1_000 {
        if all() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    assert_eq!(ask(false)["agrees"], true);
    // At the end of a session it is done without being asked.
    receiver.lose(&receiver.order()[5].clone());
    let session = finish(&server);
    let id = session["sessionId"].as_str().unwrap().to_owned();
    let mut shown = session;
    for _ in 0..1_000 {
        if shown["sessionEndTime"].is_string() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
        shown = server.get(&format!("/api/v1/sessions/{id}"));
    }
    assert_eq!(shown["sessionStatus"], "COMPLETED", "{shown}");
    assert!(all());
}

#[test]
fn a_target_can_be_changed_and_stays_the_same_target() {
    let (wrong, right) = (Receiver::start(), Receiver::start());
    let folder = tempfile::tempdir().unwrap();
    wrong.answer("/u", 404, "no such place");
    let document =
        |receiver: &Receiver| pipeline(&format!("  - {{ name: biller, webhook: {{ url: '{}' }} }}\n", receiver.url("/u")));
    let server = start(folder.path(), &format!("  - {{ name: biller, webhook: {{ url: '{}' }} }}\n", wrong.url("/u")));
    server.count(&(0..3).map(|n| event(n, n, 3)).collect::<Vec<_>>());
    let failing = || items(&server.get("/api/v1/deliveries/targets"))[0].clone();
    let mut shown = failing();
    for _ in 0..1_000 {
        if shown["failingSince"].is_string() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
        shown = failing();
    }
    assert_eq!((&shown["answer"], &shown["dead"]), (&json!("404: no such place"), &json!(0)), "nothing is given up for it");
    // A version whose target cannot be opened is refused, and nothing is changed by it.
    let etag = || server.ask("GET", "/api/v1/pipelines/usage").send().headers["etag"].to_str().unwrap().to_owned();
    let before = etag();
    let broken =
        pipeline("  - { name: biller, webhook: { url: 'https://x.example', auth: { bearer: '${env:NO_SUCH_SECRET_HERE}' } } }\n");
    let put = server.ask("PUT", "/api/v1/pipelines/usage").header("content-type", "application/yaml").header("if-match", &before);
    let refused = put.body(broken).send().problem();
    assert!(refused.0 == 409, "{refused:?}");
    assert_eq!((etag(), failing()["target"].clone()), (before, json!("biller")));
    let etag = server.ask("GET", "/api/v1/pipelines/usage").send().headers["etag"].to_str().unwrap().to_owned();
    let put = server.ask("PUT", "/api/v1/pipelines/usage").header("content-type", "application/yaml").header("if-match", &etag);
    put.body(document(&right)).send().ok();
    for _ in 0..1_000 {
        if right.taken().len() == 3 && failing()["accepted"] == 3 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    assert_eq!(right.taken().len(), 3);
    let targets: Vec<Value> = items(&server.get("/api/v1/deliveries/targets"));
    assert_eq!((targets.len(), &targets[0]["accepted"]), (1, &json!(3)));
}
