//! `run --data`: runs that continue the previous one.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::chance::Chance;
use support::{records, stderr};

const PIPELINE: &str = "
pipeline: calls
source: { file: { path: events.ndjson } }
operators:
  - dedupe: {}
  - meter:
      key: 6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c11
      rules: [{ category: calls, value: data.n }]
meterTypes:
  - { name: calls, category: calls, resetSchedule: monthly }
";

struct Place(tempfile::TempDir);

impl Place {
    fn new(more: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(place.path("calls.yaml"), format!("{PIPELINE}{more}")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of events: user and value by day of a month of 2024.
    fn events(&self, name: &str, month: u64, days: std::ops::Range<u64>, users: u64) {
        let event = |day: u64, user: u64| {
            json!({ "id": format!("{month}-{day}-{user}"), "source": "s", "type": "call", "subject": format!("u{user}"),
                    "time": format!("2024-{month:02}-{day:02}T10:00:00Z"), "data": { "n": day } })
        };
        let lines = days.flat_map(|day| (0..users).map(move |user| format!("{}\n", event(day, user))));
        std::fs::write(self.path(name), lines.collect::<String>()).unwrap();
    }

    fn command(&self, input: &str, as_of: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.current_dir(self.0.path()).args(["run", "calls.yaml", "--data", "kept", "--input", input]);
        command.args(["--as-of", as_of, "--output", "json"]);
        command
    }

    fn run(&self, input: &str, as_of: &str) -> Output {
        self.command(input, as_of).output().unwrap()
    }

    /// The summary of a run that must succeed.
    fn summary(&self, input: &str, as_of: &str) -> Value {
        let output = self.run(input, as_of);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn held(&self, name: &str) -> Vec<Value> {
        records(&std::fs::read_to_string(self.path(name)).unwrap())
    }
}

fn values(records: &[Value]) -> Vec<(&str, &str, &Value)> {
    let mut values: Vec<_> = records
        .iter()
        .map(|record| (record["userId"].as_str().unwrap(), record["periodStart"].as_str().unwrap(), &record["value"]))
        .collect();
    values.sort_by_key(|value| (value.0, value.1));
    values
}

const TO_FILE: &str = "targets: [{ file: { path: out.ndjson } }]\n";

#[test]
fn a_month_in_two_runs_is_a_month_in_one() {
    let place = Place::new(TO_FILE);
    place.events("first.ndjson", 1, 1..15, 3);
    place.events("second.ndjson", 1, 14..32, 3);
    let first = place.summary("first.ndjson", "2024-01-15T00:00:00Z");
    assert_eq!((&first["events"]["counted"], &first["records"]), (&json!(42), &json!(0)));
    let second = place.summary("second.ndjson", "2024-02-01T00:00:00Z");
    // The fourteenth was there before.
    assert_eq!((&second["events"]["counted"], &second["events"]["duplicate"]), (&json!(51), &json!(3)));
    let held = place.held("out.ndjson");
    let sum = json!((1..32).sum::<u64>());
    let start = "2024-01-01T00:00:00.000Z";
    assert_eq!(values(&held), [("u0", start, &sum), ("u1", start, &sum), ("u2", start, &sum)]);
    // Everything again: nothing counts, nothing is flushed, the file stays as it is.
    let again = place.summary("first.ndjson", "2024-02-01T00:00:00Z");
    assert_eq!(
        (&again["events"]["counted"], &again["events"]["duplicate"], &again["records"]),
        (&json!(0), &json!(42), &json!(0))
    );
    // February's records come behind January's; that of a user who was not there is empty.
    place.events("third.ndjson", 2, 1..3, 2);
    place.summary("third.ndjson", "2024-03-01T00:00:00Z");
    assert_eq!(place.held("out.ndjson")[..3], held);
    let february = "2024-02-01T00:00:00.000Z";
    assert_eq!(
        values(&place.held("out.ndjson")[3..]),
        [("u0", february, &json!(3)), ("u1", february, &json!(3)), ("u2", february, &json!(0))]
    );
}

#[test]
fn a_run_without_a_checkpoint_has_not_happened_and_time_does_not_go_back() {
    let place = Place::new(TO_FILE);
    place.events("good.ndjson", 1, 1..3, 1);
    assert_eq!(place.run("no-such.ndjson", "2024-02-01T00:00:00Z").status.code(), Some(2));
    assert_eq!(place.summary("good.ndjson", "2024-02-01T00:00:00Z")["events"]["counted"], 2);
    let back = place.run("good.ndjson", "2024-01-31T00:00:00Z");
    assert_eq!(back.status.code(), Some(2));
    assert!(stderr(&back).contains("cannot go back"), "{}", stderr(&back));
    // A type that has meters must stay; another name for a rule's value may come.
    let document = std::fs::read_to_string(place.path("calls.yaml")).unwrap();
    std::fs::write(place.path("calls.yaml"), document.replace("name: calls", "name: minutes")).unwrap();
    let other = place.run("good.ndjson", "2024-02-02T00:00:00Z");
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("meters of the type `calls`"), "{}", stderr(&other));
    std::fs::write(place.path("calls.yaml"), document.replace("data.n", "data.m")).unwrap();
    assert_eq!(place.summary("good.ndjson", "2024-02-02T00:00:00Z")["events"]["duplicate"], 2);
}

#[test]
fn records_that_a_target_refused_are_delivered_by_the_next_run() {
    // A folder of that name is in the way: the file cannot be written.
    let place = Place::new("targets: [{ file: { path: 'out/{meterType}.ndjson' } }]\n");
    std::fs::create_dir_all(place.path("out/calls.ndjson")).unwrap();
    place.events("january.ndjson", 1, 1..3, 2);
    let mut stuck =
        place.command("january.ndjson", "2024-02-01T00:00:00Z").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    // It tries for minutes; the user stops it earlier. Files being written are `.new`.
    let kept = place.path("kept/runs");
    let has_happened = || {
        let runs = std::fs::read_dir(&kept).into_iter().flatten().flatten();
        let mut files = runs.flat_map(|run| std::fs::read_dir(run.path().join("checkpoints")).into_iter().flatten().flatten());
        files.any(|file| file.path().extension().is_none_or(|extension| extension != "new"))
    };
    support::server::eventually("the run has happened", || has_happened().then_some(()));
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    std::fs::remove_dir(place.path("out/calls.ndjson")).unwrap();
    place.events("february.ndjson", 2, 1..3, 2);
    let summary = place.summary("february.ndjson", "2024-03-01T00:00:00Z");
    assert_eq!(summary["records"], 4, "those of January are among them");
    let held = place.held("out/calls.ndjson");
    let starts: Vec<_> = held.iter().map(|record| record["periodStart"].as_str().unwrap()[..7].to_owned()).collect();
    assert_eq!(starts, ["2024-01", "2024-01", "2024-02", "2024-02"]);
}

#[test]
fn runs_that_are_killed_at_any_moment_and_repeated_end_right() {
    let (whole, killed) = (Place::new(TO_FILE), Place::new(TO_FILE));
    let mut chance = Chance(7);
    for month in 1..=4 {
        for place in [&whole, &killed] {
            place.events("month.ndjson", month, 1..28, 2_000);
        }
        let as_of = format!("2024-{:02}-01T00:00:00Z", month + 1);
        whole.summary("month.ndjson", &as_of);
        for _ in 0..6 {
            let mut run = killed.command("month.ndjson", &as_of).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::park_timeout(std::time::Duration::from_millis(chance.below(900)));
            run.kill().unwrap();
            run.wait().unwrap();
        }
        killed.summary("month.ndjson", &as_of);
    }
    let sorted = |place: &Place| place.held("out.ndjson").iter().map(Value::to_string).collect::<BTreeSet<_>>();
    assert_eq!(killed.held("out.ndjson").len(), 8_000);
    assert_eq!(sorted(&killed), sorted(&whole));
    // Merges of identities end with the program; the next one sweeps.
    let left = left(&killed.path("kept"));
    assert!(
        left.iter().all(|name| !name.ends_with("ndjson") && (!name.ends_with(".new") || name.contains("identities"))),
        "{left:?}"
    );
}

/// The files below a folder.
fn left(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { left(&entry.path()) } else { vec![entry.path().display().to_string()] })
        .collect()
}

#[test]
fn without_deduplication_a_content_counts_once_whatever_its_name() {
    let place = Place::new(TO_FILE);
    let document =
        format!("{}{TO_FILE}", PIPELINE.replace("  - dedupe: {}\n", "")).replace("operators:", "dedupe: off\noperators:");
    std::fs::write(place.path("calls.yaml"), document).unwrap();
    place.events("first.ndjson", 1, 1..15, 3);
    let read = |input: &str| {
        let summary = place.summary(input, "2024-01-20T00:00:00Z");
        let skipped = summary["warnings"].as_array().unwrap().iter().filter(|text| text.as_str().unwrap().contains("skipped"));
        (summary["events"]["received"].as_u64().unwrap(), summary["events"]["counted"].as_u64().unwrap(), skipped.count())
    };
    // A run that is not completed has taken nothing.
    std::fs::write(place.path("second.ndjson.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    assert!(!place.run("*.ndjson*", "2024-01-20T00:00:00Z").status.success());
    assert_eq!(read("first.ndjson"), (42, 42, 0));
    assert_eq!(read("first.ndjson"), (0, 0, 1), "again");
    std::fs::copy(place.path("first.ndjson"), place.path("copy.ndjson")).unwrap();
    assert_eq!(read("copy.ndjson"), (0, 0, 1), "under another name");
    place.events("more.ndjson", 1, 15..16, 3);
    std::fs::copy(place.path("more.ndjson"), place.path("more too.ndjson")).unwrap();
    assert_eq!(read("more*.ndjson"), (3, 3, 1), "twice in one run");
    // A file that has grown is another one.
    place.events("first.ndjson", 1, 1..16, 3);
    assert_eq!(read("first.ndjson"), (45, 45, 0));
    // The bytes on standard input are not known before they count.
    let pipe = |_: u32| {
        let mut command = place.command("-", "2024-01-20T00:00:00Z");
        command.stdin(std::fs::File::open(place.path("copy.ndjson")).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        summary["events"]["counted"].as_u64().unwrap()
    };
    assert_eq!([1, 2].map(pipe), [42, 42]);
}
