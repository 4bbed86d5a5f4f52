//! `cargo xtask bench notifications`: the cost of a thousand sessions and a hundred thousand
//! notifications for ingestion at the same time.

#![allow(clippy::disallowed_methods)] // measuring is what it is for: it may look at clocks

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::ingest::{Load, Server, load, rate};

/// Statuses of a batch session, each an event.
const STATUSES: u64 = 6;
/// Notifications that subscribe to each of them.
const NOTIFICATIONS: u64 = 17;

/// Events of a request.
const BATCH: u32 = 500;

/// Pause before each part, so that none pays for the writes of the previous one.
const REST: Duration = Duration::from_secs(4);

/// Measurements of ingestion with sessions, and as many without.
const ROUNDS: u64 = 6;

/// Measures ingestion with sessions and notifications and without, in turns: ingestion slows down
/// as state grows, and machines differ from minute to minute. Prints the table.
pub(crate) fn notifications(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let events: u64 = option("--events").unwrap_or("60000000").parse().context("--events takes a number")?;
    let sessions: u64 = option("--sessions").unwrap_or("1000").parse().context("--sessions takes a number")?;
    super::run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    let receiver = Receiver::start()?;
    // In whole requests.
    let events = (events / ROUNDS).next_multiple_of(u64::from(BATCH));
    let mut stage = Stage::new(root, events, receiver)?;
    let first = stage.quiet()?;
    // Evenly over the expected time of the events.
    let each = sessions.div_ceil(ROUNDS);
    let between = first.div_f64(each as f64);
    println!("| round | without, events/s | with sessions, events/s | of without | sent after s |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let per_second = |took: Duration| events as f64 / took.as_secs_f64();
    let (mut quiet, mut beside) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=ROUNDS {
        // The order alternates.
        let busy_first = if round % 2 == 0 { Some(stage.busy(each, between)?) } else { None };
        let without = stage.quiet()?;
        let (with, told) = busy_first.map_or_else(|| stage.busy(each, between), Ok)?;
        let (without_rate, with_rate) = (per_second(without), per_second(with));
        let share = with_rate * 100.0 / without_rate;
        println!("| {round} | {without_rate:.0} | {with_rate:.0} | {share:.1}% | {:.1} |", told.as_secs_f64());
        (quiet, beside) = (quiet + without, beside + with);
    }
    let share = quiet.as_secs_f64() * 100.0 / beside.as_secs_f64();
    println!("| all | {:.0} | {:.0} | {share:.1}% | |", per_second(quiet / ROUNDS as u32), per_second(beside / ROUNDS as u32));
    println!("\n{} sessions, one each {:.0} ms, and {} notifications", each * ROUNDS, between.as_secs_f64() * 1e3, stage.told);
    stage.server.stop();
    Ok(())
}

/// A running server, and the receivers of its notifications.
struct Stage<'r> {
    root: &'r Path,
    server: Server,
    receiver: Receiver,
    /// Events of a part.
    events: u64,
    sent: u64,
    told: u64,
}

impl<'r> Stage<'r> {
    fn new(root: &'r Path, events: u64, receiver: Receiver) -> anyhow::Result<Stage<'r>> {
        let folder = root.join("bench-data/notifications");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder)?;
        let allowed = ["--set", "notifications.allow_private=true"];
        let server = Server::start_set(root, &folder.join("data"), &root.join("benches/ingest.yaml"), &allowed)?;
        batch_pipeline(root, &server)?;
        notify(root, &server, receiver.address)?;
        Ok(Stage { root, server, receiver, events, sent: 0, told: 0 })
    }

    /// Sends some events without sessions, until they are counted.
    fn quiet(&mut self) -> anyhow::Result<Duration> {
        let part = Load { events: self.events, first: self.sent, batch: BATCH, users: 10_000, late_percent: 0 };
        std::thread::sleep(REST);
        let report = load(self.root, &self.server, &part)?;
        self.sent += self.events;
        self.server.wait_counted(self.sent)?;
        Ok(Duration::from_secs_f64(self.events as f64 / rate(&report)))
    }

    /// Sends as many while sessions run. Also returns when the last of their notifications was
    /// accepted.
    fn busy(&mut self, sessions: u64, between: Duration) -> anyhow::Result<(Duration, Duration)> {
        let part = Load { events: self.events, first: self.sent, batch: BATCH, users: 10_000, late_percent: 0 };
        std::thread::sleep(REST);
        let begun = Instant::now();
        let took = std::thread::scope(|scope| -> anyhow::Result<Duration> {
            let running = scope.spawn(|| run_sessions(&self.server, sessions, between));
            let report = load(self.root, &self.server, &part)?;
            running.join().map_err(|_| anyhow::anyhow!("the sessions ended in a panic"))??;
            Ok(Duration::from_secs_f64(self.events as f64 / rate(&report)))
        })?;
        self.sent += self.events;
        self.server.wait_counted(self.sent)?;
        self.told += sessions * STATUSES * NOTIFICATIONS;
        while self.receiver.count() < self.told {
            let (arrived, expected) = (self.receiver.count(), self.told);
            ensure!(begun.elapsed() < Duration::from_secs(300), "{arrived} of {expected} notifications arrived in five minutes");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok((took, begun.elapsed()))
    }
}

fn run_sessions(server: &Server, sessions: u64, between: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    for n in 0..sessions {
        std::thread::sleep((begun + between * n as u32).saturating_duration_since(Instant::now()));
        server.post("/api/v1/pipelines/llm-usage/run", "application/json", "{}")?;
    }
    Ok(())
}

/// Creates notifications that subscribe to every status.
fn notify(root: &Path, server: &Server, address: SocketAddr) -> anyhow::Result<()> {
    let secret = root.join("bench-data/notifications/secret");
    std::fs::write(&secret, format!("whsec_{}", "A".repeat(32)))?;
    for n in 0..NOTIFICATIONS {
        let body = format!(
            r#"{{"name":"n{n}","eventType":"meter.session.status","conditions":{{"all":[{{"field":"sessionRunType","op":"=","value":"NORMAL"}}]}},"channels":[{{"type":"webhook","url":"http://{address}/{n}","secrets":["${{file:{}}}"]}}]}}"#,
            secret.display()
        );
        server.post("/api/v1/notifications", "application/json", &body)?;
    }
    Ok(())
}

/// Makes a pipeline over the first example, which each session reads once; its records go nowhere.
fn batch_pipeline(root: &Path, server: &Server) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(root.join("examples/llm-usage.yaml"))?;
    let events = root.join("examples/llm-usage.ndjson");
    let document = document.replace("llm-usage.ndjson }", &format!("'{}' }}", events.display()));
    server.post("/api/v1/pipelines", "application/yaml", &format!("{document}targets:\n  - none: {{}}\n"))
}

/// A receiver that accepts and counts notifications.
struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Receiver { address: listener.local_addr()?, count: Arc::default() };
        let count = Arc::clone(&receiver.count);
        std::thread::spawn(move || {
            // It represents another machine: its processor time is not Flowmeter's.
            #[cfg(target_os = "linux")]
            let _may_not = rustix::process::setpriority_process(None, 19);
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                // The sender opens a broken connection again.
                std::thread::spawn(move || drop(serve(&stream, &count)));
            }
        });
        Ok(receiver)
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, count: &AtomicU64) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(told) = lower.strip_prefix("content-length:") {
                length = told.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        std::io::copy(&mut lines.by_ref().take(length), &mut std::io::sink())?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        count.fetch_add(1, Ordering::Relaxed);
    }
}
