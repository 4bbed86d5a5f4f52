//! Killed with SIGKILL while records leave: each is at each target, once.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use crate::services::kafka::Kafka;
use crate::services::moto::Moto;
use crate::services::postgres::Postgres;
use crate::services::receiver::Receiver;
use crate::support::chance::Chance;
use crate::support::server::{Server, items};

/// A day of last year, so that its period is over whenever this runs, and may be amended.
pub(crate) fn past_day(day: u64) -> String {
    let today = std::process::Command::new("date").args(["-u", "-d", &format!("{} days ago", 40 - day), "+%F"]).output().unwrap();
    String::from_utf8(today.stdout).unwrap().trim().to_owned()
}

pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_flush_that_is_killed_again_and_again_leaves_each_target_with_the_right_set() {
    let (records, kills) = (number("FLUSH_RECORDS", 20_000), number("FLUSH_KILLS", 12));
    let folder = tempfile::tempdir().unwrap();
    let what = "a_flush_that_is_killed";
    let (postgres, moto) = (Postgres::start(what), Moto::start(what, "usage"));
    let kafka = if cfg!(feature = "kafka") { Kafka::start(what) } else { None };
    let receiver = Receiver::start();
    let file = folder.path().join("out.ndjson");
    let mut targets = format!("  - file: {{ path: {} }}\n", file.display());
    targets += &format!("  - file: {{ path: '{}/{{window}}.parquet' }}\n", folder.path().join("parquet").display());
    targets += &format!("  - webhook: {{ url: '{}', batch: 100 }}\n", receiver.url("/u"));
    if let Some(postgres) = &postgres {
        targets += &format!("  - postgres: {{ url: '{}' }}\n", postgres.url());
    }
    if let Some(moto) = &moto {
        let options =
            format!("endpoint: '{}', region: us-east-1, access_key_id: a, secret_access_key: b, allow_http: 'true'", moto.url());
        targets +=
            &format!("  - objectStorage: {{ url: 's3://usage/flow', path: '{{window}}.ndjson', options: {{ {options} }} }}\n");
    }
    if let Some(kafka) = &kafka {
        kafka.create("usage", 3);
        targets += &format!("  - kafka: {{ brokers: '{}', topic: usage, timeout: 5s }}\n", kafka.brokers());
    }
    let document = folder.path().join("usage.yaml");
    std::fs::write(&document, crate::receivers::pipeline(&targets)).unwrap();
    let data = folder.path().join("data");
    // Those are this test's: the server would refuse settings it does not know.
    let start = || {
        let more = ["--pipeline", document.to_str().unwrap(), "--set", "checkpoint.interval=1s"];
        Server::start(&data, &more)
    };
    let server = start();
    let day = past_day(3);
    let mut body = Vec::new();
    for n in 0..records {
        let line = json!({
            "specversion": "1.0", "id": n.to_string(), "source": "s", "type": "use", "subject": format!("user{n}"),
            "time": format!("{day}T12:00:00Z"), "data": {"n": n},
        });
        writeln!(body, "{line}").unwrap();
        if body.len() > 4 << 20 || n + 1 == records {
            let lines = std::mem::take(&mut body);
            let sent = server.ask("POST", "/api/v1/events").header("content-type", "application/x-ndjson").body(lines).send();
            assert_eq!(sent.status, 204, "{sent:?}");
        }
    }
    server.crash();
    let mut chance = Chance(number("FLUSH_SEED", 1));
    for turn in 0..kills {
        let server = start();
        if let Some(kafka) = kafka.as_ref().filter(|_| turn % 3 == 1) {
            kafka.kill();
        }
        // A moment that has to do with nothing but the seed.
        std::thread::park_timeout(std::time::Duration::from_millis(chance.below(400 + records / 200)));
        server.crash();
        if let Some(kafka) = &kafka {
            kafka.go();
        }
    }
    let server = start();
    let all = || {
        let targets: Vec<Value> = items(&server.get("/api/v1/deliveries/targets"));
        assert!(targets.iter().all(|target| target["dead"] == 0), "{targets:?}");
        !targets.is_empty() && targets.iter().all(|target| target["deliveredTo"] == records && target["retrying"] == 0)
    };
    let mut looks = 0;
    while !all() {
        looks += 1;
        assert!(looks < 30_000, "{:?}", items(&server.get("/api/v1/deliveries/targets")));
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    // The right set: every user once, with the right value.
    let right: BTreeSet<(String, u64)> = (0..records).map(|n| (format!("user{n}"), n)).collect();
    let pair = |record: &Value| (record["userId"].as_str().unwrap().to_owned(), record["value"].as_u64().unwrap());
    let check = |name: &str, found: Vec<(String, u64)>| {
        assert_eq!(found.len() as u64, records, "{name} has some twice or not at all");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), right, "{name}");
    };
    let lines = std::fs::read_to_string(&file).unwrap();
    check("the file", lines.lines().map(|line| pair(&serde_json::from_str(line).unwrap())).collect());
    let requests = receiver.taken();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut at_receiver = Vec::new();
    for body in requests.values() {
        for record in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
            // A request that is made of other records after a crash has another key; each
            // record has its own.
            if taken.insert(record["meterMetaData"]["recordId"].as_str().unwrap().to_owned()) {
                at_receiver.push(pair(&record));
            }
        }
    }
    check("the receiver", at_receiver);
    if let Some(postgres) = &postgres {
        let rows = postgres.ask("select user_id || ' ' || value from metered_records");
        let row = |line: &str| line.split_once(' ').map(|(user, value)| (user.to_owned(), value.parse().unwrap())).unwrap();
        check("Postgres", rows.lines().map(row).collect());
    }
    if let Some(kafka) = &kafka {
        let messages = kafka.values("usage");
        check("Kafka", messages.iter().map(|message| pair(&serde_json::from_str(message).unwrap())).collect());
    }
    // Every target is read back and agrees, those that can be.
    let report = server.post("/api/v1/deliveries/reconcile", &json!({"pipeline": "usage"})).ok();
    let names = |target: &&Value| target["agrees"] == false;
    let wrong: Vec<&Value> = report["targets"].as_array().unwrap().iter().filter(names).map(|target| &target["target"]).collect();
    assert_eq!((&report["agrees"], wrong.len()), (&json!(true), 0), "{wrong:?}");
    let read = report["targets"].as_array().unwrap().iter().filter(|target| target["asked"] == true).count();
    assert_eq!(read, 2 + [postgres.is_some(), moto.is_some(), kafka.is_some()].map(usize::from).iter().sum::<usize>());
    println!("{records} records, {kills} kills");
}
