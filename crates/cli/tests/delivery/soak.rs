//! A soak: periods of a minute in two pipelines, late and ancient events, restarts, kills and, as root,
//! a full disk now and then. At the end the sums of the records, taken by themselves, are those of the
//! events that were sent.
//!
//! `SOAK_SECONDS=3600` soaks for an hour; the default is a few seconds, without a full disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kill::number;
use crate::support::chance::Chance;
use crate::support::server::{Server, eventually, items};

const PIPELINES: [&str; 2] = ["alpha", "beta"];
/// Events that are sent at once.
const BATCH: u64 = 200;
const USERS: u64 = 50;

/// An event of a minute that is over, of this minute, or of last year.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    seconds_ago: u64,
    value: u64,
}

/// Events that ended longer ago than `amendWithin` allows are parked.
const ANCIENT: u64 = 400 * 86_400;

fn pipeline(name: &str, folder: &Path) -> String {
    let file = folder.join(format!("{name}.ndjson"));
    format!(
        "pipeline: {name}
source: {{ http: {{}} }}
operators:
  - dedupe: {{ key: [source, id], window: 30d }}
  - meter: {{ key: 00000000-0000-4000-8000-00000000000{}, user: subject, rules: [{{ category: {name}, value: data.n }}] }}
meterTypes:
  - name: {name}
    category: {name}
    resetSchedule: {{ minute: '*', hour: '*', day: '*', month: '*', weekday: '*' }}
    flushEmpty: false
    late: {{ amendWithin: 2h }}
targets:
  - file: {{ path: {} }}
",
        name.len(),
        file.display()
    )
}

/// A disk of its own for the data folder, which can be filled; only root can make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<SmallDisk> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4g", "none"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk(folder.to_owned()))
    }

    fn fill(&self) {
        let ballast = self.0.join("ballast");
        drop(Command::new("dd").args(["if=/dev/zero", "bs=1M", "status=none"]).arg(format!("of={}", ballast.display())).output());
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[allow(clippy::disallowed_methods)] // events have the time of the machine
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn is_ancient(sent: &&Sent) -> bool {
    sent.seconds_ago >= ANCIENT
}

/// The sums of what was sent. An event that is parked does not spend its identity, so an ancient one is parked each time
/// it is taken.
#[derive(Default)]
struct Ledger {
    value: u64,
    /// Ancient events in requests that were acknowledged, and in all requests.
    ancient: (u64, u64),
}

impl Ledger {
    /// Sends events in one request. Returns whether they were acknowledged: during a full disk the server
    /// refuses them.
    fn send(&mut self, server: &Server, events: &[Sent], at: u64) -> bool {
        let line = |sent: &Sent| {
            let time = flowmeter_core::time::Timestamp::from_nanos(((at - sent.seconds_ago) * 1_000_000_000) as i64);
            json!({
                "specversion": "1.0", "id": sent.id.to_string(), "source": "soak", "type": "use",
                "subject": format!("user{}", sent.id % USERS), "time": time.to_string(), "data": {"n": sent.value},
            })
        };
        let lines: String = events.iter().map(|sent| format!("{}\n", line(sent))).collect();
        let ask = server.ask("POST", "/api/v1/events").header("content-type", "application/x-ndjson").body(lines);
        let is_taken = ask.try_send().is_ok_and(|answer| answer.status == 204);
        let ancient = events.iter().filter(is_ancient).count() as u64;
        self.ancient.1 += ancient;
        self.ancient.0 += if is_taken { ancient } else { 0 };
        is_taken
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // it lasts as long as the setting says
fn sums_are_right_after_a_soak() {
    let seconds = number("SOAK_SECONDS", 8);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let disk = if seconds > 60 { SmallDisk::mount(&data) } else { None };
    if disk.is_none() && seconds > 60 {
        eprintln!("SKIPPED: a full disk, since no file system can be mounted here");
    }
    let start = || Server::start(&data, &["--set", "checkpoint.interval=2s", "--set", "log.retention=1m"]);
    let mut server = start();
    for name in PIPELINES {
        let document = pipeline(name, folder.path());
        server.ask("POST", "/api/v1/pipelines").header("content-type", "application/yaml").body(document).send().ok();
        server.post(&format!("/api/v1/pipelines/{name}/run"), &json!({})).ok();
    }
    let mut chance = Chance(number("SOAK_SEED", 1));
    let mut ledger = Ledger::default();
    let (mut next, mut restarts, mut full) = (0, 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let batch: Vec<Sent> = (next..next + BATCH)
            .map(|id| {
                let seconds_ago = match chance.below(20) {
                    0 => ANCIENT + chance.below(86_400),
                    1..4 => chance.below(600),
                    _ => chance.below(3),
                };
                Sent { id, seconds_ago, value: chance.below(100) }
            })
            .collect();
        next += BATCH;
        // The same request comes again until it is acknowledged, and sometimes once more.
        let at = now();
        eventually("the events are taken", || ledger.send(&server, &batch, at).then_some(()));
        if chance.below(10) == 0 {
            ledger.send(&server, &batch, at);
        }
        ledger.value += batch.iter().filter(|sent| !is_ancient(sent)).map(|sent| sent.value).sum::<u64>();
        if chance.below(1 + seconds.min(400)) == 0 || (restarts == 0 && begun.elapsed() > Duration::from_secs(seconds / 2)) {
            restarts += 1;
            match chance.below(2) {
                0 => drop(server.stop()),
                _ => server.crash(),
            }
            server = start();
        }
        if let Some(disk) = disk.as_ref().filter(|_| chance.below(2_000) == 0) {
            full += 1;
            disk.fill();
            for _ in 0..20 {
                // Refused or taken: the batch that follows shows it.
                ledger.send(&server, &batch, at);
                std::thread::park_timeout(Duration::from_millis(100));
            }
            disk.clear();
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let (value, (least, most)) = (ledger.value, ledger.ancient);
    for name in PIPELINES {
        let mut found = (0, 0);
        let mut looks = 0;
        while found.0 != value || !(least..=most).contains(&found.1) {
            looks += 1;
            assert!(looks < 1_000, "{name}: value and parked events are {found:?}, expected {value} and {least} to {most}");
            std::thread::park_timeout(Duration::from_millis(100));
            found = (sum(&server, name, folder.path()), parked(&server, name));
        }
    }
    println!("{seconds} s, {next} events, {least} ancient ones, {restarts} restarts, {full} times a full disk");
}

/// The sum of the newest revisions in the file of a pipeline, and of its open periods.
fn sum(server: &Server, name: &str, folder: &Path) -> u64 {
    let mut newest: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    let text = std::fs::read_to_string(folder.join(format!("{name}.ndjson"))).unwrap_or_default();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| record[name].as_str().unwrap().to_owned();
        let (revision, value) = (record["meterMetaData"]["revision"].as_u64().unwrap(), record["value"].as_u64().unwrap());
        let known = newest.entry((word("userId"), word("periodStart"))).or_insert((revision, value));
        assert!(revision != known.0 || value == known.1, "two records of one revision: {line}");
        *known = (*known).max((revision, value));
    }
    let meters = items(&server.get(&format!("/api/v1/meters?meterType={name}&limit=1000")));
    let open = meters.iter().filter(|meter| {
        let key = (meter["userId"].as_str().unwrap().to_owned(), meter["periodStart"].as_str().unwrap().to_owned());
        !newest.contains_key(&key)
    });
    let open: u64 = open.map(|meter| meter["value"].as_u64().unwrap_or_default()).sum();
    newest.values().map(|(_, value)| value).sum::<u64>() + open
}

/// The number of events in the correction queue of a pipeline.
fn parked(server: &Server, name: &str) -> u64 {
    let sessions = items(&server.get(&format!("/api/v1/sessions?pipeline={name}&limit=100")));
    let session = server.get(&format!("/api/v1/sessions/{}", sessions[0]["sessionId"].as_str().unwrap()));
    session["counts"]["events"]["parked"].as_u64().unwrap()
}
