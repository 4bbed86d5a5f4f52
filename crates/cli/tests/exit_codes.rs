//! The exit codes of every command: 0 ok, 1 something was parked or a test failed, 2 wrong
//! input, 3 failure.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use support::{flowmeter, stderr};

const PIPELINE: &str = "pipeline: p
source: { file: { path: events.ndjson } }
dedupe: off
operators:
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      rules: [{ value: data.n }, { name: never }]
meterTypes: [{ name: m }]
";
const EVENT: &str = "{\"subject\":\"a\",\"time\":\"2024-01-01T00:00:00Z\",\"data\":{\"n\":2}}\n";
/// An address without a server.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Files to work on.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("p.yaml", PIPELINE);
        place.write("sound.yaml", &PIPELINE.replace(", { name: never }", ""));
        place.write("wrong.yaml", &PIPELINE.replace("operators", "operatrs"));
        place.write("strict.yaml", &PIPELINE.replace("pipeline: p", "pipeline: p\nmaxErrorPercent: 10"));
        place.write("events.ndjson", EVENT);
        place.write("parked.ndjson", &format!("{EVENT}nonsense\n"));
        place.write("text.json", "{}");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

/// A server that answers every request with this.
fn answers(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 16 << 10];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        }
    });
    url
}

/// Runs a command line; a word with `@` before it is a file of the place.
fn check(place: &Place, line: &str, code: i32) {
    let arguments: Vec<String> = line.split(' ').map(|word| named(place, word)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = flowmeter(&arguments);
    assert_eq!(output.status.code(), Some(code), "flowmeter {line}: {}", stderr(&output));
    if code > 1 {
        assert!(!output.stderr.is_empty(), "flowmeter {line} says why");
    }
}

fn named(place: &Place, word: &str) -> String {
    let name = word.strip_prefix('@').map(|name| place.path(name));
    name.as_deref().map(Path::to_string_lossy).map_or_else(|| word.to_owned(), std::borrow::Cow::into_owned)
}

#[test]
fn commands_over_files() {
    let place = Place::new();
    let cases = [
        ("check @sound.yaml", 0),
        ("check @p.yaml", 0),
        ("check --strict @sound.yaml", 0),
        ("check --strict @p.yaml", 1),
        ("check --strict @p.yaml @wrong.yaml", 2),
        ("check @wrong.yaml", 2),
        ("check @none.yaml", 2),
        ("check @", 2),
        ("check", 2),
        ("run @sound.yaml --as-of 2024-02-01T00:00:00Z", 0),
        ("run @sound.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson", 0),
        ("run @sound.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson --strict", 1),
        ("run @strict.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson", 3),
        ("run @sound.yaml --as-of yesterday", 2),
        ("run @sound.yaml --input @none.ndjson", 2),
        ("run @sound.yaml --input @", 2),
        ("run @wrong.yaml", 2),
        ("run @none.yaml", 2),
        ("run @sound.yaml --no-such-flag", 2),
        ("run @sound.yaml --threads 0", 2),
        ("test @sound.yaml --as-of 2024-02-01T00:00:00Z", 0),
        ("test @sound.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson", 0),
        ("test @sound.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson --strict", 1),
        ("test @strict.yaml --as-of 2024-02-01T00:00:00Z --input @parked.ndjson", 1),
        ("test @sound.yaml --as-of yesterday", 2),
        ("test @sound.yaml --input @none.ndjson", 2),
        ("test @wrong.yaml", 2),
        ("periods --schedule monthly", 0),
        ("periods --schedule montly", 2),
        ("periods --schedule monthly --timezone Mars/Base", 2),
        ("periods --schedule monthly --at noon", 2),
        ("schema", 0),
        ("completions tcsh", 2),
        ("no-such-command", 2),
        ("verify --data @none", 2),
        ("restore --from @none --data @new", 2),
        ("backup --data @none --to @new", 2),
        ("serve --data @data --set no.such=1", 2),
        ("serve --data @data --config @none.yaml", 2),
        ("serve --data @data --listen nowhere", 2),
        ("serve --data @data --listen 127.0.0.1:0 @wrong.yaml", 2),
        ("keys create --name x --scope everything --data @data", 2),
    ];
    cases.iter().for_each(|(line, code)| check(&place, line, *code));
}

#[test]
fn commands_that_ask_a_server() {
    const PROBLEM: &str = "{\"code\":\"c\",\"detail\":\"d\",\"remedy\":\"r\"}";
    let place = Place::new();
    let lines = [
        "meters list",
        "meter-types list",
        "meter-types create @text.json",
        "sessions list",
        "sessions watch R-00000001",
        "pipelines list",
        "pipelines create @p.yaml",
        "events send @events.ndjson",
        "corrections list",
        "deliveries list",
        "records list",
        "notifications list",
        "keys list",
        "audit list",
        "explain some-event",
        "backup --to @new",
    ];
    let servers = [
        (NOWHERE.to_owned(), 3),
        ("nonsense".to_owned(), 2),
        ("ftp://127.0.0.1:1".to_owned(), 2),
        (answers(400, PROBLEM), 2),
        (answers(404, PROBLEM), 2),
        (answers(500, PROBLEM), 3),
        (answers(502, "bad gateway"), 3),
    ];
    for (url, code) in servers {
        lines.iter().for_each(|line| check(&place, &format!("{line} --url {url}"), code));
    }
    // Too much at once is no wrong input. (Sending events waits and tries again.)
    let limited = answers(429, PROBLEM);
    for line in ["meters list", "explain some-event", "backup --to @new"] {
        check(&place, &format!("{line} --url {limited}"), 3);
    }
    for line in
        ["meters list --no-such-flag", "meter-types create @none.json", "events send @none.ndjson", "meters", "sessions pause"]
    {
        check(&place, &format!("{line} --url {NOWHERE}"), 2);
    }
}
