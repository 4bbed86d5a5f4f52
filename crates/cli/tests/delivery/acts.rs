//! Killed with SIGKILL while senders send and people act: they correct and discard events, change a
//! meter type, finish and start sessions, and send dead records again. An answered act holds, an act
//! without an answer is done or not, and every event counts once at the receiver.
//!
//! `ACT_KILLS=200` kills more often; `ACT_SEED` chooses other moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kill::{number, past_day};
use crate::services::receiver::{Receiver, Reply};
use crate::support::chance::Chance;
use crate::support::server::{Answer, Server, eventually, items};

/// The value of every event, corrected ones included.
const VALUE: u64 = 3;
/// One event of so many cannot be counted as it is sent.
const BAD_EVERY: u64 = 25;
/// One of so many of those is discarded, the others are corrected.
const DISCARDED_EVERY: u64 = 3;
const USERS: u64 = 5;
const SCHEDULES: [&str; 3] = ["hourly", "daily", "monthly"];

/// A sender of events with the ids 0, 1, 2 and so on.
struct Sender {
    chance: Chance,
    day: String,
    sent: u64,
}

fn is_bad(id: u64) -> bool {
    id.is_multiple_of(BAD_EVERY)
}

fn is_discarded(id: u64) -> bool {
    is_bad(id) && (id / BAD_EVERY).is_multiple_of(DISCARDED_EVERY)
}

#[allow(clippy::needless_pass_by_value)] // a table reads better so
fn event(id: u64, day: &str, n: Value) -> Value {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "s", "type": "use", "subject": format!("user{}", id % USERS),
        "time": format!("{day}T12:00:00Z"), "data": {"n": n},
    })
}

impl Sender {
    fn line(&self, id: u64) -> Value {
        event(id, &self.day, if is_bad(id) { json!("three") } else { json!(VALUE) })
    }

    /// Sends events in one request. Returns whether they are acknowledged; `None`: the server is gone.
    fn send(&self, server: &Server, ids: &[u64]) -> Option<bool> {
        let lines: String = ids.iter().map(|id| format!("{}\n", self.line(*id))).collect();
        let ask = server.ask("POST", "/api/v1/events").header("content-type", "application/x-ndjson").body(lines);
        let answer = ask.try_send().ok()?;
        assert!([204, 429, 503].contains(&answer.status), "{answer:?}");
        Some(answer.status == 204)
    }

    fn send_until(&mut self, server: &Server, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Acquire) {
            let count = 1 + self.chance.below(20);
            let mut ids: Vec<u64> = (self.sent..self.sent + count).collect();
            self.sent += count;
            // Some come again.
            ids.push(self.chance.below(self.sent));
            if self.send(server, &ids).is_none() {
                return;
            }
            // People settle one event at a time, so senders do not run ahead.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// The people, and the answers they got.
struct People {
    chance: Chance,
    day: String,
    /// Schedules that the shared type may have.
    schedules: Vec<&'static str>,
    /// Corrections that were answered, by id, with their state.
    settled: BTreeMap<String, &'static str>,
}

impl People {
    fn act_until(&mut self, server: &Server, receiver: &Receiver, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Acquire) {
            let went_on = match self.chance.below(8) {
                0..4 => self.correct_some(server),
                4 => self.change_type(server),
                5 => self.finish_or_run(server),
                6 => {
                    let replies =
                        [Reply::Status(400, "no such account", &[]), Reply::Status(503, "", &[]), Reply::TakenInSilence];
                    receiver.reply(&replies[self.chance.below(3) as usize..][..1]);
                    Some(())
                }
                _ => try_ask(server, "POST", "/api/v1/deliveries/resend", &json!({"pipeline": "usage"})).map(drop),
            };
            if went_on.is_none() {
                return;
            }
        }
    }

    /// Settles the first waiting events; `None`: the server is gone.
    fn correct_some(&mut self, server: &Server) -> Option<()> {
        let open = try_ask(server, "GET", "/api/v1/corrections?state=open&limit=50", &Value::Null)?;
        if open.status != 200 {
            return Some(());
        }
        for parked in items(&open.json()) {
            let key = parked["id"].as_str().unwrap().to_owned();
            let id: u64 = parked["event"]["id"].as_str().unwrap().parse().unwrap();
            assert!(is_bad(id), "{parked}");
            let (path, body, state) = match is_discarded(id) {
                true => (format!("/api/v1/corrections/{key}/discard"), Value::Null, "discarded"),
                false => {
                    let event = event(id, &self.day, json!(VALUE));
                    (format!("/api/v1/corrections/{key}/correct"), json!({ "event": event }), "corrected")
                }
            };
            let answer = try_ask(server, "POST", &path, &body)?;
            match answer.status {
                200..300 => drop(self.settled.insert(key, state)),
                // Settled meanwhile, or the pipeline does not run.
                409 | 429 | 503 => {}
                _ => panic!("{answer:?}"),
            }
        }
        Some(())
    }

    fn change_type(&mut self, server: &Server) -> Option<()> {
        let schedule = SCHEDULES[self.chance.below(3) as usize];
        let body = shared_type(schedule);
        self.schedules.push(schedule);
        let answer = try_ask(server, "PUT", "/api/v1/meter-types/shared", &body)?;
        match answer.status {
            200..300 => self.schedules = vec![schedule],
            // A refused change has no effect; an unanswered one may have.
            429 | 503 => drop(self.schedules.pop()),
            _ => panic!("{answer:?}"),
        }
        Some(())
    }

    fn finish_or_run(&mut self, server: &Server) -> Option<()> {
        let running = try_ask(server, "GET", "/api/v1/sessions?status=RUNNING", &Value::Null)?;
        let running = if running.status == 200 { items(&running.json()) } else { Vec::new() };
        let path = match running.first() {
            Some(session) => format!("/api/v1/sessions/{}/finish", session["sessionId"].as_str().unwrap()),
            None => "/api/v1/pipelines/usage/run".to_owned(),
        };
        try_ask(server, "POST", &path, &json!({})).map(drop)
    }

    /// Checks after a start that answered acts hold.
    fn check(&mut self, server: &Server) {
        let found = server.get("/api/v1/meter-types/shared")["resetSchedule"].as_str().unwrap().to_owned();
        let holds = self.schedules.iter().copied().find(|schedule| *schedule == found);
        self.schedules = vec![holds.unwrap_or_else(|| panic!("the type resets {found}, expected one of {:?}", self.schedules))];
        for (key, state) in self.settled.iter().rev().take(30) {
            let shown = server.get(&format!("/api/v1/corrections/{key}"));
            assert_eq!(shown["state"], *state, "{shown}");
        }
    }
}

fn shared_type(schedule: &str) -> Value {
    json!({"name": "shared", "category": "all", "resetSchedule": schedule, "flushEmpty": false, "late": {"amendWithin": "400d"}})
}

fn try_ask(server: &Server, method: &'static str, path: &str, body: &Value) -> Option<Answer> {
    let ask = server.ask(method, path);
    let ask = if body.is_null() { ask } else { ask.json(body) };
    ask.try_send().ok()
}

/// Starts the pipeline if no session of it runs.
fn run(server: &Server) {
    eventually("a session runs", || {
        if items(&server.get("/api/v1/sessions?status=RUNNING")).is_empty() {
            drop(try_ask(server, "POST", "/api/v1/pipelines/usage/run", &json!({})));
            return None;
        }
        Some(())
    });
}

#[test]
fn answered_acts_hold_however_often_the_server_is_killed() {
    let (kills, seed) = (number("ACT_KILLS", 8), number("ACT_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let document = folder.path().join("usage.yaml");
    let targets = format!("  - webhook: {{ url: '{}', batch: 20 }}\n", receiver.url("/u"));
    let pipeline = crate::receivers::pipeline(&targets)
        .replace("operators:\n", "operators:\n  - dedupe: { key: [source, id], window: 400d }\n");
    std::fs::write(&document, pipeline).unwrap();
    let data = folder.path().join("data");
    let start = || Server::start(&data, &["--pipeline", document.to_str().unwrap(), "--set", "checkpoint.interval=1s"]);
    let day = past_day(3);
    let mut sender = Sender { chance: Chance(seed), day: day.clone(), sent: 0 };
    let mut people = People { chance: Chance(seed + 1), day, schedules: vec!["daily"], settled: BTreeMap::new() };
    let mut chance = Chance(seed + 2);
    let server = start();
    server.post("/api/v1/meter-types", &shared_type("daily")).ok();
    server.crash();
    for _ in 0..kills {
        let server = start();
        people.check(&server);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send_until(&server, &is_over));
            scope.spawn(|| people.act_until(&server, &receiver, &is_over));
            // A moment that has to do with nothing but the seed.
            std::thread::park_timeout(Duration::from_millis(50 + chance.below(1500)));
            assert!(std::process::Command::new("kill").args(["-KILL", &server.pid().to_string()]).status().unwrap().success());
            is_over.store(true, Ordering::Release);
        });
        server.crash();
    }
    let server = start();
    people.check(&server);
    run(&server);
    let ids: Vec<u64> = (0..sender.sent).collect();
    for ids in ids.chunks(500) {
        // Events that came while no session ran, or were not acknowledged, count now; all others once.
        eventually("the events are taken", || sender.send(&server, ids).expect("the server runs").then_some(()));
    }
    eventually("everything is settled and delivered", || {
        people.correct_some(&server).unwrap();
        drop(try_ask(&server, "POST", "/api/v1/deliveries/resend", &json!({"pipeline": "usage"})));
        let open = items(&server.get("/api/v1/corrections?state=open&limit=1"));
        (open.is_empty() && newest_at(&receiver) == expected(sender.sent)).then_some(())
    });
    assert_eq!(newest_at(&receiver), expected(sender.sent), "{} events of {kills} kills", sender.sent);
    println!("{kills} kills, {} events, {} settled by answer", sender.sent, people.settled.len());
}

/// The value of each user by the newest revision of the record at the receiver.
fn newest_at(receiver: &Receiver) -> BTreeMap<String, u64> {
    let mut newest: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for body in receiver.taken().values() {
        for record in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
            if record["meterTypeName"] != "total" {
                continue;
            }
            let (revision, value) = (record["meterMetaData"]["revision"].as_u64().unwrap(), record["value"].as_u64().unwrap());
            let known = newest.entry(record["userId"].as_str().unwrap().to_owned()).or_insert((revision, value));
            *known = (*known).max((revision, value));
        }
    }
    newest.into_iter().map(|(user, (_, value))| (user, value)).collect()
}

/// The value of each user if every event counts once.
fn expected(sent: u64) -> BTreeMap<String, u64> {
    let mut values = BTreeMap::new();
    for id in (0..sent).filter(|id| !is_discarded(*id)) {
        *values.entry(format!("user{}", id % USERS)).or_default() += VALUE;
    }
    values
}
