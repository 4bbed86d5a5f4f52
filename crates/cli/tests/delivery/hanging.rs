//! Targets that take a request and never answer.

use serde_json::json;

use crate::receivers::{event, pipeline, start};
use crate::services::receiver::{Receiver, Reply};
use crate::support::server::{Server, eventually, items};

const HUNG: &str = "timeout: 10m, parallel: 1";

#[test]
fn a_server_with_hanging_targets_stops_within_its_drain_and_sends_again_under_the_same_keys() {
    let receivers: Vec<Receiver> = (0..3).map(|_| Receiver::start()).collect();
    let hangs: Vec<_> = receivers.iter().map(Receiver::hangs).collect();
    receivers.iter().for_each(|receiver| receiver.reply(&[Reply::Hung]));
    let target = |(at, receiver): (usize, &Receiver)| {
        format!("  - {{ name: t{at}, webhook: {{ url: '{}', {HUNG} }} }}\n", receiver.url("/u"))
    };
    let targets: String = receivers.iter().enumerate().map(target).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.yaml");
    std::fs::write(&file, pipeline(&targets)).unwrap();
    let data = folder.path().join("data");
    let with = ["--pipeline", file.to_str().unwrap(), "--set", "shutdown.drain=1s"];
    let mut server = Server::start(&data, &with);
    server.count(&[event(0, 0, 3)]);
    hangs.iter().for_each(|hangs| hangs.recv().unwrap());
    server.terminate();
    let status = eventually("the server has ended", || server.has_ended());
    assert!(status.success(), "{status}");
    drop(server);
    let _server = Server::start(&data, &with);
    for receiver in &receivers {
        let keys = eventually("the record has arrived", || {
            let requests = receiver.requests();
            (requests.len() == 2)
                .then(|| requests.iter().map(|request| request.headers["idempotency-key"].clone()).collect::<Vec<_>>())
        });
        assert_eq!(keys[0], keys[1]);
        assert_eq!(receiver.order(), keys[1..]);
    }
}

#[test]
fn a_pipeline_with_a_hanging_target_is_changed_canceled_and_deleted_all_the_same() {
    let receiver = Receiver::start();
    let hangs = receiver.hangs();
    receiver.reply(&[Reply::Hung, Reply::Hung]);
    let folder = tempfile::tempdir().unwrap();
    let target = |more: &str| format!("  - webhook: {{ url: '{}', {HUNG}{more} }}\n", receiver.url("/u"));
    let server = start(folder.path(), &target(""));
    server.count(&[event(0, 0, 3)]);
    hangs.recv().unwrap();
    // Each answer must come within the minute that the client waits.
    let session = items(&server.get("/api/v1/sessions?status=RUNNING"))[0]["sessionId"].as_str().unwrap().to_owned();
    let act = |what: &str| server.ask("POST", &format!("/api/v1/sessions/{session}/{what}")).send().ok();
    assert_eq!(act("pause")["sessionStatus"], "PAUSED");
    assert_eq!(act("resume")["sessionStatus"], "RUNNING");
    let etag = server.ask("GET", "/api/v1/pipelines/usage").send().headers["etag"].to_str().unwrap().to_owned();
    let put = server.ask("PUT", "/api/v1/pipelines/usage").header("if-match", &etag);
    put.header("content-type", "application/yaml").body(pipeline(&target(", headers: { x-new: y }"))).send().ok();
    // The new version sends the same record, and hangs again.
    hangs.recv().unwrap();
    let keys: Vec<_> = receiver.requests().iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
    assert_eq!(receiver.requests()[1].headers["x-new"], "y");
    assert_eq!(act("cancel")["sessionStatus"], "CANCELED");
    let etag = server.ask("GET", "/api/v1/pipelines/usage").send().headers["etag"].to_str().unwrap().to_owned();
    let deleted = server.ask("DELETE", "/api/v1/pipelines/usage").header("if-match", &etag).send();
    assert!((200..300).contains(&deleted.status), "{deleted:?}");
}

#[test]
fn a_session_is_canceled_while_a_target_does_not_answer_what_it_holds() {
    let receiver = Receiver::start();
    let hangs = receiver.hangs();
    let folder = tempfile::tempdir().unwrap();
    let read_back = format!("readBack: {{ url: '{}/{{{{meterMetaData.recordId}}}}' }}", receiver.url("/asked"));
    let server = start(folder.path(), &format!("  - webhook: {{ url: '{}', {HUNG}, {read_back} }}\n", receiver.url("/u")));
    receiver.hang("/asked");
    server.count(&[event(0, 0, 3)]);
    let session = items(&server.get("/api/v1/sessions?status=RUNNING"))[0]["sessionId"].as_str().unwrap().to_owned();
    let url = server.url.clone();
    let path = format!("{url}/api/v1/sessions/{session}/finish");
    // The request to finish waits for the target.
    std::thread::spawn(move || drop(ureq::post(&path).send_empty()));
    hangs.recv().unwrap();
    let canceled = server.ask("POST", &format!("/api/v1/sessions/{session}/cancel")).send();
    assert!(canceled.status == 200 || canceled.status == 409, "{canceled:?}");
    // Everything else continues.
    assert_eq!(server.post("/api/v1/meter-types", &json!({"name": "other"})).status / 100, 2);
}
