//! The running event store and its users: search, trace, explain, verify, backup and
//! restore, on a server in a process of its own.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "event_store/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use server::{Server, ask, flowmeter};

const PIPELINE: &str = "
pipeline: usage
source: { http: {} }
operators:
  - id: real
    filter: { when: 'data.test != true' }
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      rules:
        - { name: calls, category: calls, value: data.n, groupBy: [[data.kind]] }
meterTypes:
  - { name: Calls, category: calls, unit: s, aggregation: sum, resetSchedule: hourly, flushEmpty: false,
      late: { amendWithin: 3650d } }
";

fn event(id: &str, subject: &str, time: &str, data: &Value) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": "call", "subject": subject, "time": time, "data": data,
    });
    format!("{event}\n")
}

/// An event of a long past hour, so that its period is flushed at once; and others.
fn story(factor: u64) -> String {
    [
        event("1", "alice", "2024-05-01T10:10:00Z", &json!({"n": 5 * factor, "kind": "a"})),
        event("2", "alice", "2024-05-01T10:20:00Z", &json!({"n": "7", "kind": "a"})),
        event("1", "alice", "2024-05-01T10:10:00Z", &json!({"n": 5 * factor, "kind": "a"})),
        event("3", "alice", "2024-05-01T10:30:00Z", &json!({"n": 0.1, "kind": "b"})),
        event("4", "bob", "2024-05-01T10:30:00Z", &json!({"n": 1, "kind": "b", "test": true})),
        event("5", "bob", "2024-05-01T10:30:00Z", &json!({"n": 9, "kind": "b"})),
    ]
    .concat()
}

fn pipeline_in(folder: &Path, schedule: &str) -> PathBuf {
    let file = folder.join("usage.yaml");
    std::fs::write(&file, PIPELINE.replace("hourly", schedule)).unwrap();
    file
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn verify(data: &Path) -> Output {
    flowmeter(&["verify", "--data", &data.display().to_string()])
}

#[test]
fn events_are_found_traced_explained_and_filed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "hourly"));
    let server = Server::start(&data, Some(&file), &[]);
    let (status, answer) = server.post("/api/v1/events?wait=counted", &story(1));
    assert_eq!(status, 200, "{answer}");
    let records = server.until("/api/v1/records", |body| body["items"].as_array().unwrap().len() == 2);

    // Search, before anything is in files.
    let verdicts = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap().iter();
        items.map(|item| format!("{} {}", item["id"].as_str().unwrap(), item["verdict"].as_str().unwrap())).collect()
    };
    let all = ["1 counted", "2 parked", "1 duplicate", "3 counted", "4 filtered", "5 counted"];
    let (_, body) = server.get("/api/v1/events");
    assert_eq!(verdicts(&body), all);
    assert_eq!(body["items"][1]["reason"], "bad_value");
    assert!(body["items"][1]["detail"].as_str().unwrap().contains("data.n"), "{body}");
    for (query, expected) in [
        ("id=1", &["1 counted", "1 duplicate"][..]),
        ("verdict=parked", &["2 parked"]),
        ("subject=bob&verdict=counted", &["5 counted"]),
        ("source=/other", &[]),
        ("from=2024-01-01T00:00:00Z&subject=bob", &["4 filtered", "5 counted"]),
        ("to=2024-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(verdicts(&server.get(&format!("/api/v1/events?{query}")).1), expected, "{query}");
    }
    let mut paged = Vec::new();
    let mut cursor = String::new();
    for _ in 0..4 {
        let (_, body) = server.get(&format!("/api/v1/events?limit=2{cursor}"));
        paged.extend(verdicts(&body));
        let Some(next) = body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);

    // Trace.
    let (_, body) = server.get("/api/v1/events/3/trace");
    let way = &body["events"][0];
    let steps: Vec<&str> = way["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["received", "dedupe", "filter", "meter"], "{body}");
    assert_eq!(way["steps"].as_array().unwrap().last().unwrap()["outcome"], "counted");
    let counted = &way["counted"][0];
    assert_eq!(
        (&counted["rule"], &counted["meterType"], &counted["userId"]),
        (&json!("calls"), &json!("Calls"), &json!("alice"))
    );
    assert_eq!(counted["periodStart"], "2024-05-01T10:00:00.000Z");
    let (_, body) = server.get("/api/v1/events/2/trace");
    assert_eq!((&body["events"][0]["verdict"], &body["events"][0]["counted"]), (&json!("parked"), &json!([])));
    assert_eq!(server.get("/api/v1/events/none/trace").0, 404);

    // Explain.
    let alice = records["items"].as_array().unwrap().iter().find(|record| record["userId"] == "alice").unwrap();
    let id = alice["meterMetaData"]["recordId"].as_str().unwrap();
    let (_, body) = server.get(&format!("/api/v1/records/{id}/explain"));
    assert_eq!(body["recount"], json!({"value": 5.1, "eventCount": 2, "equal": true}), "{body}");
    let ids: Vec<&str> = body["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "3"]);
    let explained = flowmeter(&["explain", id, "--url", &server.url()]);
    assert!(told(&explained).contains("added up   equal"), "{}", told(&explained));
    let explained = flowmeter(&["explain", "4", "--url", &server.url()]);
    assert!(told(&explained).contains("verdict    filtered"), "{}", told(&explained));

    // One program at a time.
    let refused = verify(&data);
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains("is in use by another flowmeter"), "{}", told(&refused));

    // After a crash the events are found all the same; after a stop they are in files.
    server.kill();
    let server = Server::start(&data, None, &[]);
    assert_eq!(verdicts(&server.get("/api/v1/events").1), all);
    server.stop();
    let equal = verify(&data);
    assert!(equal.status.success() && told(&equal).contains("6 events counted again"), "{}", told(&equal));
    read_with_duckdb(&data);
    let server = Server::start(&data, None, &[]);
    assert_eq!(verdicts(&server.get("/api/v1/events").1), all, "from files");
    assert_eq!(verdicts(&server.get("/api/v1/events?id=1&verdict=duplicate").1), ["1 duplicate"]);
}

fn read_with_duckdb(data: &Path) {
    let files = data.join("events/*/*.parquet").display().to_string();
    let python = |code: &str| Command::new("python3").args(["-c", code, &files]).output();
    if !python("import duckdb").is_ok_and(|run| run.status.success()) {
        eprintln!("skipped: python3 with the module duckdb is not here, so nothing but this program read the files");
        return;
    }
    let query = "import duckdb, sys; print(duckdb.sql(f\"SELECT verdict, count(*), min(subject) \
                 FROM read_parquet('{sys.argv[1]}') GROUP BY ALL ORDER BY ALL\").fetchall())";
    let run = python(query).unwrap();
    assert!(run.status.success(), "{}", told(&run));
    let expected = "[('counted', 3, 'alice'), ('duplicate', 1, 'alice'), ('filtered', 1, 'bob'), ('parked', 1, 'alice')]";
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), expected);
}

#[test]
fn an_explanation_has_events_with_and_without_a_subject() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "hourly"));
    let server = Server::start(&data, Some(&file), &[]);
    let first = event("1", "zoe", "2024-05-01T10:10:00Z", &json!({"n": 1}));
    let second = event("2", "zoe", "2024-05-01T10:20:00Z", &json!({"n": 2})).replace("\"subject\"", "\"userId\"");
    assert_eq!(server.post("/api/v1/events?wait=counted", &[first, second].concat()).0, 200);
    let records = server.until("/api/v1/records", |body| body["items"].as_array().unwrap().len() == 1);
    let id = records["items"][0]["meterMetaData"]["recordId"].as_str().unwrap();
    let check = |server: &Server| {
        let (_, body) = server.get(&format!("/api/v1/records/{id}/explain"));
        assert_eq!(body["recount"], json!({"value": 3, "eventCount": 2, "equal": true}), "{body}");
    };
    check(&server);
    server.stop();
    check(&Server::start(&data, None, &[]));
}

/// In files with and without an index, in the log with and without known keys: a user's events are found
/// and explained.
#[test]
fn events_of_a_user_are_found_wherever_they_are() {
    const EVENTS: usize = 6_000;
    const USERS: [usize; 4] = [0, 1, 801, 1_498];
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("usage.yaml"));
    let by_account = "\n      user: data.account\n      rules:";
    std::fs::write(&file, PIPELINE.replace("\n      rules:", by_account)).unwrap();
    let line = |n: usize| {
        let (account, value) = (format!("a{}", n % 1_500), if n % 1_500 == 7 { json!("x") } else { json!(n) });
        let data = json!({"n": value, "account": account});
        event(&n.to_string(), if n.is_multiple_of(2) { "shared" } else { &account }, "2024-05-01T10:10:00Z", &data)
    };
    let check = |server: &Server, files: usize| {
        for user in USERS {
            let expected: Vec<String> = (0..4).map(|nth| (user + nth * 1_500).to_string()).collect();
            if user % 2 == 1 {
                let (_, body) = server.get(&format!("/api/v1/events?subject=a{user}"));
                let ids: Vec<&str> = body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
                assert_eq!(ids, expected);
            }
            let (_, records) = server.get(&format!("/api/v1/records?userId=a{user}"));
            let newest = records["items"].as_array().unwrap().last().unwrap();
            let id = newest["meterMetaData"]["recordId"].as_str().unwrap();
            let (_, body) = server.get(&format!("/api/v1/records/{id}/explain"));
            assert_eq!((&body["recount"]["equal"], &body["eventsFound"]), (&json!(true), &json!(4)), "{body}");
            let ids: Vec<&str> = body["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
            assert_eq!(ids, expected);
        }
        let (_, body) = server.get("/api/v1/events?subject=a7&verdict=parked");
        let parked = body["items"].as_array().unwrap();
        assert!(parked.len() == 4 && parked.iter().all(|one| one["detail"].as_str().unwrap().contains("data.n")), "{body}");
        let indexes = |folder: PathBuf| std::fs::read_dir(folder.join("events-index")).map_or(0, Iterator::count);
        let found: usize = std::fs::read_dir(data.join("events")).unwrap().map(|entry| indexes(entry.unwrap().path())).sum();
        assert_eq!(found, files);
    };
    let server = Server::start(&data, Some(&file), &[]);
    let mut sent = 0;
    for batch in [1, 1, 500, 3, 1_900, 1, 700].into_iter().cycle() {
        let until = EVENTS.min(sent + batch);
        assert_eq!(server.post("/api/v1/events?wait=counted", &(sent..until).map(line).collect::<String>()).0, 200);
        sent = until;
        if sent == EVENTS {
            break;
        }
    }
    // The last revision of each record has all events.
    let is_whole =
        |body: &Value| body["items"].as_array().unwrap().last().is_some_and(|last| last["meterMetaData"]["eventCount"] == 4);
    for user in USERS {
        server.until(&format!("/api/v1/records?userId=a{user}"), is_whole);
    }
    check(&server, 0);
    // The event store reads them within a second.
    std::thread::park_timeout(std::time::Duration::from_millis(1_500));
    check(&server, 0);
    server.kill();
    let server = Server::start(&data, None, &[]);
    check(&server, 0);
    server.stop();
    let server = Server::start(&data, None, &[]);
    check(&server, 2);
    for entry in std::fs::read_dir(data.join("events")).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path().join("events-index")).unwrap();
    }
    check(&server, 0);
    server.stop();
    let equal = verify(&data);
    assert!(equal.status.success(), "{}", told(&equal));
}

/// Its records and events stay, and are read as those of a deleted pipeline.
#[test]
fn a_deleted_pipeline_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "hourly"));
    let server = Server::start(&data, Some(&file), &[]);
    assert_eq!(server.post("/api/v1/events?wait=counted", &story(1)).0, 200);
    server.until("/api/v1/records", |body| body["items"].as_array().unwrap().len() == 2);
    assert_eq!(server.post("/api/v1/sessions/R-00000001/cancel", "").0, 200);
    assert_eq!(ask(&server.address, "DELETE", "/api/v1/pipelines/usage", "", "").unwrap().0, 204);
    server.stop();
    let equal = verify(&data);
    assert!(equal.status.success(), "{}", told(&equal));
    let stranger = data.join("pipelines/00000000-0000-4000-8000-0000000000ff");
    std::fs::create_dir_all(&stranger).unwrap();
    std::fs::write(stranger.join("file"), "x").unwrap();
    assert_eq!(verify(&data).status.code(), Some(3), "of no pipeline that ever was");
}

/// The state of another history is reported, whatever its counts.
#[test]
fn differences_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = pipeline_in(folder.path(), "hourly");
    for factor in [1, 2] {
        let data = folder.path().join(factor.to_string());
        let server = Server::start(&data, Some(&file), &[]);
        assert_eq!(server.post("/api/v1/events?wait=counted", &story(factor)).0, 200);
        server.until("/api/v1/records", |body| body["items"].as_array().unwrap().len() == 2);
        server.stop();
        assert!(verify(&data).status.success());
    }
    let pipelines = |data: &str| folder.path().join(data).join("pipelines");
    std::fs::remove_dir_all(pipelines("1")).unwrap();
    std::fs::rename(pipelines("2"), pipelines("1")).unwrap();
    let differs = verify(&folder.path().join("1"));
    assert_eq!(differs.status.code(), Some(3), "{}", told(&differs));
    assert!(told(&differs).contains("usage: record 0: stored"), "{}", told(&differs));
}

/// Where the log no longer reaches back, the files do.
#[test]
fn events_that_the_log_removed_are_counted_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "never"));
    let settings = ["log.retention=0", "log.segment_bytes=1MiB", "checkpoint.bytes=1MiB", "checkpoint.interval=1s"];
    let segments = || std::fs::read_dir(data.join("log")).unwrap().count();
    let first_segment = data.join("log/00000000000000000000.seg");
    let pad =
        |number: u64| (1..6).map(|nth| format!("{:016x}", number.wrapping_mul(nth * 2 + 1).rotate_left(29))).collect::<String>();
    for run in 0..4 {
        let server = Server::start(&data, Some(&file), &settings);
        for batch in 0..3_u64 {
            // Numbers that look drawn, so that the log grows.
            let number = |nth: u64| (run * 1_000_000 + batch * 10_000 + nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let lines = (0..4_000).map(|nth| {
                let id = format!("{run}-{batch}-{nth}-{:016x}", number(nth));
                event(
                    &id,
                    &format!("user-{}", number(nth) % 50),
                    "2024-05-01T10:10:00Z",
                    &json!({"n": number(nth) % 1_000, "pad": pad(number(nth))}),
                )
            });
            assert_eq!(server.post("/api/v1/events", &lines.collect::<String>()).0, 204);
        }
        server.stop();
    }
    assert!(segments() > 1 || !first_segment.exists());
    // A server with everything in files removes old entries of the log.
    let server = Server::start(&data, None, &settings);
    assert_eq!(server.post("/api/v1/events", &event("last", "user-1", "2024-05-01T10:10:00Z", &json!({"n": 1}))).0, 204);
    server.until("/api/v1/events?id=last", |_| !first_segment.exists());
    server.stop();
    let equal = verify(&data);
    assert!(equal.status.success() && told(&equal).contains("48001 events counted again"), "{}", told(&equal));
}

#[test]
fn a_backup_taken_beside_the_work_restores() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "hourly"));
    let server = Server::start(&data, Some(&file), &["log.segment_bytes=1MiB", "checkpoint.interval=1s"]);
    let batch = |number: usize| -> String {
        let id = |nth: usize| format!("{number}-{nth}");
        let one = |nth| event(&id(nth), &format!("u{}", nth % 7), "2024-05-01T10:10:00Z", &json!({"n": nth, "kind": number % 3}));
        (0..200).map(one).collect()
    };
    let ended = Arc::new(AtomicBool::new(false));
    let (address, ending) = (server.address.clone(), Arc::clone(&ended));
    let sending = std::thread::spawn(move || {
        let mut sent = 0;
        while !ending.load(Ordering::Acquire) {
            match ask(&address, "POST", "/api/v1/events", "application/x-ndjson", &batch(sent)) {
                Some((204, _)) => sent += 1,
                other => panic!("{other:?}"),
            }
        }
        sent
    });
    server.until("/api/v1/events?limit=1000&id=9-199", |body| !body["items"].as_array().unwrap().is_empty());
    let backup = folder.path().join("backup");
    let to = backup.display().to_string();
    let made = flowmeter(&["backup", "--url", &server.url(), "--to", &to]);
    assert!(made.status.success(), "{}", told(&made));
    ended.store(true, Ordering::Release);
    let sent = sending.join().unwrap();
    server.kill();

    let restored = folder.path().join("restored");
    let there = restored.display().to_string();
    let done = flowmeter(&["restore", "--from", &to, "--data", &there]);
    assert!(done.status.success(), "{}", told(&done));
    let again = flowmeter(&["restore", "--from", &to, "--data", &there]);
    assert_eq!(again.status.code(), Some(2), "{}", told(&again));

    let equal = verify(&restored);
    assert!(equal.status.success(), "{}", told(&equal));
    let server = Server::start(&restored, None, &[]);
    let (_, body) = server.get("/api/v1/events?id=9-199");
    assert_eq!(body["items"][0]["verdict"], "counted", "{body}");
    // Everything once more: what is there is a duplicate, what came after the backup counts.
    for number in 0..sent {
        let (status, answer) = server.post("/api/v1/events?wait=counted", &batch(number));
        assert_eq!(status, 200);
        let verdicts = answer["events"].as_array().unwrap();
        assert!(number > 9 || verdicts.iter().all(|event| event["verdict"] == "duplicate"), "batch {number}: {answer}");
    }
    let (_, answer) = server.post("/api/v1/events?wait=counted", &batch(sent - 1));
    assert!(answer["events"].as_array().unwrap().iter().all(|event| event["verdict"] == "duplicate"));
    server.stop();
    let equal = verify(&restored);
    assert!(equal.status.success(), "{}", told(&equal));

    // Also of a stopped server; and changed bytes are reported.
    let second = folder.path().join("second");
    let at_rest = flowmeter(&["backup", "--data", &there, "--to", &second.display().to_string()]);
    assert!(at_rest.status.success(), "{}", told(&at_rest));
    let log = second.join("log");
    let segment = std::fs::read_dir(&log).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let third = folder.path().join("third").display().to_string();
    let refused = flowmeter(&["restore", "--from", &second.display().to_string(), "--data", &third]);
    assert!(!refused.status.success() && told(&refused).contains("is not what was backed up"), "{}", told(&refused));
}

/// A bit is turned over in one file after the other: each is reported, with its name.
#[test]
fn a_byte_that_changed_is_reported_whatever_file_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), pipeline_in(folder.path(), "hourly"));
    let settings = ["log.segment_bytes=1MiB", "checkpoint.interval=1s"];
    let batch = |run: u64| -> String {
        let one = |nth: u64| event(&format!("{run}-{nth}"), &format!("u{}", nth % 9), "2024-05-01T10:10:00Z", &json!({"n": nth}));
        (0..20_000).map(one).collect()
    };
    // Two runs leave two checkpoints.
    for run in 0..4 {
        let server = Server::start(&data, Some(&file), &settings);
        assert_eq!(server.post("/api/v1/events?wait=counted", &story(run + 1)).0, 200);
        assert_eq!(server.post("/api/v1/events", &batch(run)).0, 204);
        server.stop();
    }
    let whole = verify(&data);
    assert!(whole.status.success(), "{}", told(&whole));
    let files = files_of(&data);
    let kinds = ["log/", "/records/", "/parked/", "/verdicts/", ".ckpt", ".run", ".rollup", ".parquet"];
    for kind in kinds {
        let of_kind: Vec<&PathBuf> = files.iter().filter(|path| path.display().to_string().contains(kind)).collect();
        assert!(!of_kind.is_empty(), "no file of the kind {kind}: {files:?}");
        // The oldest is the one that nothing else asks for.
        let path = of_kind[0];
        let bytes = std::fs::read(path).unwrap();
        let offsets = [0, 9, bytes.len() / 3, bytes.len() / 2, bytes.len() - 30, bytes.len() - 1];
        for at in offsets {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(path, &damaged).unwrap();
            let differs = verify(&data);
            let said = told(&differs);
            assert_eq!(differs.status.code(), Some(3), "{} at {at} of {}: {said}", path.display(), bytes.len());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(said.contains(name), "{} at {at}: {said}", path.display());
        }
        std::fs::write(path, &bytes).unwrap();
    }
    damaged_text_of_the_catalog_is_reported(&data);
    // A file that is none of ours is reported as not read.
    std::fs::write(data.join("events/notes.txt"), "mine").unwrap();
    let unread = verify(&data);
    assert_eq!(unread.status.code(), Some(3));
    assert!(told(&unread).contains("events/notes.txt: not read"), "{}", told(&unread));
    std::fs::remove_file(data.join("events/notes.txt")).unwrap();
    assert!(verify(&data).status.success());
}

/// The file holds older copies of a text where they are free for others: all are changed.
fn damaged_text_of_the_catalog_is_reported(data: &Path) {
    let path = data.join("catalog.redb");
    let bytes = std::fs::read(&path).unwrap();
    for text in ["resetSchedule", "\"sessionRunType\"", "session.start"] {
        let mut damaged = bytes.clone();
        let found: Vec<usize> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
        assert!(!found.is_empty(), "{text}");
        found.into_iter().for_each(|at| damaged[at] ^= 1);
        std::fs::write(&path, damaged).unwrap();
        let differs = verify(data);
        assert_eq!(differs.status.code(), Some(3), "{text}: {}", told(&differs));
        assert!(told(&differs).contains("catalog.redb"), "{text}: {}", told(&differs));
    }
    std::fs::write(&path, bytes).unwrap();
}

fn files_of(data: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![data.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
