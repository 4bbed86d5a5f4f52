//! Files and watched folders.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::support::server::{Server, eventually};
use crate::{completed, create, document, ended, events, expected, lines, origins, start, sums};

fn source(folder: &Path, options: &str) -> String {
    format!("source:\n  file: {{ path: '{}/*.ndjson*'{options} }}", folder.display())
}

#[test]
fn sessions_count_in_the_meters_of_the_pipeline_and_take_each_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..100);
    lines(&input.join("b.ndjson"), 100..200);
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&input, ""), ""));
    let first = completed(&server, &start(&server, &json!({})));
    assert_eq!(events(&first), [200, 200, 0, 0]);
    assert_eq!(sums(&server), expected(0..200));
    // A copy and a file that is as it was add nothing; another one amends the records.
    std::fs::copy(input.join("a.ndjson"), input.join("copy.ndjson")).unwrap();
    lines(&input.join("c.ndjson"), 200..230);
    let id = start(&server, &json!({}));
    let second = completed(&server, &id);
    assert_eq!(events(&second), [30, 30, 0, 0], "{second}");
    let found = origins(&server, &id);
    let state = |name: &str, state: &str, events: u64| (name.to_owned(), state.to_owned(), events);
    assert_eq!(found, [state("c.ndjson", "taken", 30), state("copy.ndjson", "skipped", 0)]);
    assert_eq!(sums(&server), expected(0..230));
}

#[test]
fn a_session_ends_as_of_an_instant_and_waits_with_records_until_its_input_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..90);
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&input, ""), ""));
    // In the middle of January nothing is due; a later session adds to the same period.
    completed(&server, &start(&server, &json!({"asOf": "2026-01-20T00:00:00Z"})));
    assert_eq!(sums(&server), []);
    lines(&input.join("b.ndjson"), 90..120);
    // A damaged file fails the session. The others are taken, and nothing leaves.
    let whole = std::process::Command::new("gzip").arg("-c").arg(input.join("a.ndjson")).output().unwrap().stdout;
    std::fs::write(input.join("d.ndjson.gz"), &whole[..whole.len() / 2]).unwrap();
    let id = start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"}));
    let failed = ended(&server, &id);
    assert_eq!(failed["sessionStatus"], "FAILED", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("1 of its files"), "{failed}");
    assert_eq!(sums(&server), []);
    let damaged = input.join("d.ndjson.gz");
    let skip = json!({"source": "source", "origin": damaged.to_str().unwrap(), "reason": "the sender gave it up"});
    assert_eq!(server.post(&format!("/api/v1/sessions/{id}/origins/skip"), &skip).status, 204);
    let last = completed(&server, &start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"})));
    assert_eq!(events(&last), [0, 0, 0, 0], "{last}");
    assert_eq!(sums(&server), expected(0..120));
}

#[test]
fn a_watched_folder_gives_whole_files_and_moves_them() {
    let folder = tempfile::tempdir().unwrap();
    let (input, done) = (folder.path().join("in"), folder.path().join("done"));
    std::fs::create_dir(&input).unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let options = format!(", mode: follow, interval: 100ms, settle: 500ms, after: {{ move: '{}' }}", done.display());
    create(&server, &document(&source(&input, &options), ""));
    let id = start(&server, &json!({}));
    let counted = |wanted: u64| {
        eventually("the events are counted", || {
            let session = server.get(&format!("/api/v1/sessions/{id}"));
            (session["counts"]["events"]["received"] == wanted).then_some(session)
        })
    };
    let mut half = std::fs::File::create(input.join("a.ndjson")).unwrap();
    for n in 0..60 {
        writeln!(half, "{}", crate::line(n)).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    drop(half);
    let session = counted(60);
    assert_eq!(session["sources"][0]["state"], "reading", "{session}");
    assert_eq!(session["sources"][0]["events"], 60, "{session}");
    // A file of the same name that comes later is another one.
    eventually("the file is moved", || done.join("a.ndjson").exists().then_some(()));
    lines(&input.join("a.ndjson"), 60..90);
    counted(90);
    eventually("the second file is moved", || done.join("a.ndjson.2").exists().then_some(()));
    assert!(!input.join("a.ndjson").exists());
}

#[test]
fn events_know_their_file_and_line_and_rows_that_cannot_be_read_are_parked() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("u.csv");
    std::fs::write(
        &input,
        "user,at,n,note\nu0,2026-01-15T10:00:00Z,1,\"two\nlines\"\nu0,2026-01-15T10:00:00Z\nu1,2026-01-15T10:00:00Z,2,ok\n",
    )
    .unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    let source = format!("source:\n  file: {{ path: '{}', id: content }}", input.display());
    create(&server, &document(&source, ""));
    let id = start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"}));
    let session = completed(&server, &id);
    assert_eq!(events(&session), [3, 2, 0, 1], "{session}");
    let found = crate::items(&server.get("/api/v1/events?pipeline=usage"));
    let places: Vec<_> = found.iter().map(|event| event["origin"]["line"].as_u64().unwrap()).collect();
    assert_eq!(places, [2, 4, 5], "{found:?}");
    assert_eq!(found[0]["event"]["note"], "two\nlines");
    let parked = crate::items(&server.get("/api/v1/corrections?pipeline=usage"));
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0]["reason"], "unreadable", "{parked:?}");
    // The row is corrected as any other event, and counts as those of its file do: however old it is.
    let event = json!({"event": {"user": "u1", "at": "2010-01-15T10:00:00Z", "n": 5}});
    let corrected = server.post(&format!("/api/v1/corrections/{}/correct", parked[0]["id"].as_str().unwrap()), &event);
    assert_eq!(corrected.status, 200, "{}", corrected.text());
    completed(&server, &start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"})));
    let sum = |user: &str, month: &str, sum: &str| (user.to_owned(), month.to_owned(), sum.to_owned());
    assert_eq!(sums(&server), [sum("u0", "2026-01", "1"), sum("u1", "2010-01", "5"), sum("u1", "2026-01", "2")]);
    let csv = server.ask("GET", &format!("/api/v1/sessions/{id}/origins?format=csv")).send();
    assert!(csv.text().lines().nth(1).unwrap().contains(",taken,3,2,0,0,1,0,"), "{}", csv.text());
}

#[test]
fn every_element_of_a_line_counts_once_with_id_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let element = |n: u64| json!({"user": format!("u{}", n % 3), "at": "2026-01-15T10:00:00Z", "n": n}).to_string();
    let list = (0..30).map(element).collect::<Vec<_>>().join(",");
    std::fs::write(input.join("a.ndjson"), format!("[{list}]\n{}\n", element(30))).unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&input, ", id: line"), ""));
    let session = completed(&server, &start(&server, &json!({})));
    assert_eq!(events(&session), [31, 31, 0, 0], "{session}");
    assert_eq!(sums(&server), expected(0..31));
}

#[test]
fn the_file_that_stops_a_session_is_listed_and_can_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    lines(&input.join("a.ndjson"), 0..10);
    std::fs::write(input.join("b.ndjson.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    lines(&input.join("c.ndjson"), 10..30);
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&input, ", onFailure: stop"), ""));
    let id = start(&server, &json!({}));
    let failed = ended(&server, &id);
    assert_eq!(failed["sessionStatus"], "FAILED", "{failed}");
    let error = failed["error"].as_str().unwrap();
    let damaged = input.join("b.ndjson.gz");
    assert_eq!(error.matches("b.ndjson.gz").count(), 1, "{error}");
    assert!(error.contains("onFailure: stop"), "{error}");
    let state = |name: &str, state: &str, events: u64| (name.to_owned(), state.to_owned(), events);
    assert_eq!(origins(&server, &id), [state("a.ndjson", "taken", 10), state("b.ndjson.gz", "failed", 0)]);
    let skip = json!({"source": "source", "origin": damaged.to_str().unwrap(), "reason": "the sender gave it up"});
    assert_eq!(server.post(&format!("/api/v1/sessions/{id}/origins/skip"), &skip).status, 204);
    completed(&server, &start(&server, &json!({})));
    assert_eq!(sums(&server), expected(0..30));
}
