//! Objects of an S3-compatible server.

use serde_json::json;

use crate::services::moto::Moto;
use crate::support::server::{Server, eventually};
use crate::{completed, create, document, events, expected, killed_until_it_completes, line, origins, start, sums};

fn source(moto: &Moto, more: &str) -> String {
    let options = format!(
        "{{ endpoint: '{}', region: us-east-1, access_key_id: a, secret_access_key: b, allow_http: 'true' }}",
        moto.url()
    );
    format!("source:\n  objectStorage: {{ url: 's3://usage/raw', glob: '**/*.ndjson', options: {options}{more} }}")
}

fn body(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.map(|n| format!("{}\n", line(n))).collect::<String>().into_bytes()
}

#[test]
fn objects_are_taken_once_followed_and_moved() {
    let Some(moto) = Moto::start("objects_are_taken_once_followed_and_moved", "usage") else { return };
    moto.put("/usage/raw/2026/01/a.ndjson", &body(0..50_000));
    moto.put("/usage/raw/2026/01/b.ndjson", &body(50_000..50_100));
    moto.put("/usage/raw/notes.txt", b"not an event");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&moto, ""), ""));
    let id = start(&server, &json!({"asOf": "2026-01-31T00:00:00Z"}));
    assert_eq!(events(&completed(&server, &id)), [50_100, 50_100, 0, 0]);
    let names: Vec<_> = origins(&server, &id).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a.ndjson", "b.ndjson"]);
    // A replaced object is taken as a new one: the events that it had before are duplicates.
    moto.put("/usage/raw/2026/01/b.ndjson", &body(50_000..50_200));
    let id = start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"}));
    assert_eq!(events(&completed(&server, &id)), [200, 100, 100, 0]);
    assert_eq!(sums(&server), expected(0..50_200));
}

#[test]
fn a_followed_prefix_gives_new_objects_and_survives_its_store() {
    let Some(moto) = Moto::start("a_followed_prefix_gives_new_objects", "usage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&moto, ", mode: follow, interval: 200ms, after: { move: done }"), ""));
    let id = start(&server, &json!({}));
    moto.put("/usage/raw/a.ndjson", &body(0..10));
    let counted = |wanted: u64| {
        eventually("the events are counted", || {
            let session = server.get(&format!("/api/v1/sessions/{id}"));
            (session["counts"]["events"]["received"] == wanted).then_some(())
        });
    };
    counted(10);
    eventually("the object is moved", || moto.get("/usage/done/a.ndjson").map(drop));
    moto.put("/usage/raw/a.ndjson", &body(10..30));
    counted(30);
    assert_eq!(server.get(&format!("/api/v1/sessions/{id}"))["sources"][0]["state"], "reading");
}

#[test]
fn a_server_that_is_killed_again_and_again_takes_every_object_once() {
    let Some(moto) = Moto::start("a_server_that_is_killed_takes_every_object_once", "usage") else { return };
    const OBJECTS: u64 = 10;
    const EVENTS: u64 = 20_000;
    for object in 0..OBJECTS {
        moto.put(&format!("/usage/raw/{object:02}.ndjson"), &body(object * EVENTS..(object + 1) * EVENTS));
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let more = ["--set", "checkpoint.interval=1s"];
    let server = Server::start(&data, &more);
    create(&server, &document(&format!("dedupe: off\n{}", source(&moto, "")), ""));
    let id = start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"}));
    server.crash();
    let server = killed_until_it_completes(&data, &more, &id, 11);
    assert_eq!(sums(&server), expected(0..OBJECTS * EVENTS));
}
