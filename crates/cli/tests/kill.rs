//! The server, killed with SIGKILL at moments that a seed chooses, again and again: what it
//! acknowledged is counted, once, whatever its senders send again.
//!
//! `FLOWMETER_KILLS=100` kills more often; `FLOWMETER_SEED` chooses other moments.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "support/chance.rs"]
#[allow(unreachable_pub, missing_docs)]
mod chance;
#[path = "support/http.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // each test file uses its part
mod http;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use chance::Chance;
use http::Client;
use serde_json::Value;

const SENDERS: usize = 2;
/// Every event brings this much.
const VALUE: u64 = 3;
const PIPELINE: &str = r#"
pipeline: killed
source: { http: {} }
operators:
  - dedupe: { key: [source, id], window: 32d }
  - meter:
      key: 00000000-0000-4000-8000-00000000000d
      user: subject
      rules: [{ category: all, value: data.n }]
meterTypes:
  - { name: total, category: all, aggregation: sum, resetSchedule: never }
  - { name: events, category: all, aggregation: increment, resetSchedule: never }
"#;

struct Server {
    process: Child,
    address: String,
    /// Kept open: it says more than where it listens.
    _words: Lines<BufReader<ChildStdout>>,
}

impl Server {
    fn spawn(folder: &std::path::Path) -> Child {
        let pipeline = folder.join("killed.yaml");
        std::fs::write(&pipeline, PIPELINE).unwrap();
        Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .args(["serve", "--listen", "127.0.0.1:0", "--set", "checkpoint.interval=1s", "--data"])
            .arg(folder.join("data"))
            .arg("--pipeline")
            .arg(pipeline)
            // Those are this test's: the server would refuse settings it does not know.
            .env_remove("FLOWMETER_KILLS")
            .env_remove("FLOWMETER_SEED")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts it and reads where it listens.
    fn start(folder: &std::path::Path) -> Server {
        let mut process = Server::spawn(folder);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().expect("it ended without a word").unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned();
        Server { process, address, _words: lines }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A sender: it records sent and acknowledged events.
struct Producer {
    name: usize,
    chance: Chance,
    next: u64,
    /// First and last id (exclusive) of a batch, and whether it was acknowledged.
    batches: Vec<(u64, u64, bool)>,
}

impl Producer {
    fn body(&self, from: u64, to: u64) -> Vec<u8> {
        let line = |id: u64| {
            format!(
                r#"{{"specversion":"1.0","type":"use","source":"s{}","id":"{id}","subject":"user-{}","data":{{"n":{VALUE}}}}}"#,
                self.name,
                id % 7
            )
        };
        (from..to).map(|id| line(id) + "\n").collect::<String>().into_bytes()
    }

    /// Sends unanswered events again, then new events, until the server is gone.
    fn send_until_killed(&mut self, address: &str, news: &Sender<()>) {
        let Ok(mut client) = Client::connect(address) else { return };
        for place in 0..self.batches.len() {
            // Acknowledged events are sometimes sent again too.
            if (!self.batches[place].2 || self.chance.below(20) == 0) && !self.send(place, &mut client, news) {
                return;
            }
        }
        loop {
            let count = 1 + self.chance.below(200);
            self.batches.push((self.next, self.next + count, false));
            self.next += count;
            if !self.send(self.batches.len() - 1, &mut client, news) {
                return;
            }
        }
    }

    fn send(&mut self, place: usize, client: &mut Client, news: &Sender<()>) -> bool {
        let (from, to, _) = self.batches[place];
        match client.post("/api/v1/events", "application/x-ndjson", &self.body(from, to)) {
            Ok(answer) if answer.status == 204 => self.batches[place].2 = true,
            // Busy: it may come again.
            Ok(answer) if answer.status == 429 || answer.status == 503 => {}
            Ok(answer) => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(_) => return false,
        }
        news.send(()).is_ok()
    }

    fn events(&self, acknowledged: bool) -> u64 {
        self.batches.iter().filter(|batch| batch.2 || !acknowledged).map(|(from, to, _)| to - from).sum()
    }
}

/// Waits for so many answers, then a moment that has to do with nothing, without a clock.
fn moment(chance: &mut Chance, news: &Receiver<()>) {
    for _ in 0..1 + chance.below(60) {
        if news.recv().is_err() {
            break;
        }
    }
    for turn in 0..chance.below(2_000_000) {
        std::hint::black_box(turn);
    }
}

/// Sums of all users: value, and events.
fn totals(client: &mut Client) -> (u64, u64) {
    let answer = client.get("/api/v1/meters?limit=1000").unwrap();
    assert_eq!(answer.status, 200);
    let meters: Value = serde_json::from_slice(&answer.body).unwrap();
    let meters = meters["items"].as_array().or(meters["data"].as_array()).expect("a list of meters").clone();
    let sum = |name: &str| {
        let of_type = meters.iter().filter(|meter| meter["meterTypeName"] == name || meter["meterType"] == name);
        of_type.map(|meter| meter["value"].as_u64().expect("a whole number")).sum()
    };
    (sum("total"), sum("events"))
}

#[test]
fn acknowledged_events_are_counted_once_however_often_the_server_is_killed() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("FLOWMETER_KILLS", 20), number("FLOWMETER_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance(seed);
    let sender = |name: usize| Producer { name, chance: Chance(seed + 1 + name as u64), next: 0, batches: Vec::new() };
    let mut senders: Vec<Producer> = (0..SENDERS).map(sender).collect();
    for kill in 0..kills {
        if chance.below(5) == 0 {
            // Killed while it begins.
            let mut process = Server::spawn(folder.path());
            for turn in 0..chance.below(20_000_000) {
                std::hint::black_box(turn);
            }
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let server = Server::start(folder.path());
        let mut client = Client::connect(&server.address).unwrap();
        let (acknowledged, sent): (u64, u64) =
            (senders.iter().map(|s| s.events(true)).sum(), senders.iter().map(|s| s.events(false)).sum());
        if acknowledged > 0 {
            let events = counted(&mut client);
            assert!((acknowledged..=sent).contains(&events), "kill {kill}: {events} of {acknowledged} to {sent} are counted");
        }
        let (news, heard) = channel();
        let address = server.address.clone();
        std::thread::scope(|scope| {
            for sender in &mut senders {
                let (news, address) = (news.clone(), &address);
                scope.spawn(move || sender.send_until_killed(address, &news));
            }
            drop(news);
            moment(&mut chance, &heard);
            server.kill();
        });
    }
    let server = Server::start(folder.path());
    let mut client = Client::connect(&server.address).unwrap();
    for sender in &senders {
        for (from, to, _) in &sender.batches {
            let answer = client.post("/api/v1/events", "application/x-ndjson", &sender.body(*from, *to)).unwrap();
            assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
        }
    }
    let events = counted(&mut client);
    assert_eq!(events, senders.iter().map(|sender| sender.events(false)).sum::<u64>());
    println!("{kills} kills, {events} events");
    server.kill();
}

/// Events counted, once the pipeline has taken everything: an event that is filtered from
/// all sums, a duplicate for ever, comes behind all others.
fn counted(client: &mut Client) -> u64 {
    let last = br#"{"specversion":"1.0","type":"use","source":"last","id":"1","data":{"n":0}}"#;
    let answer = client.post("/api/v1/events?wait=counted", "application/cloudevents+json", last).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let (total, events) = totals(client);
    assert_eq!(total, events * VALUE);
    events
}
