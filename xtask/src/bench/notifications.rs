//! `cargo xtask bench notifications`: what a thousand sessions and a hundred thousand
//! notifications cost those who send events meanwhile, and afterwards.

#![allow(clippy::disallowed_methods)] // measuring is what it is for: it may look at clocks

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::ingest::{Load, Server, load, rate};

/// Statuses a batch session goes through, each an event.
const STATUSES: u64 = 6;
/// Notifications that ask for each of them.
const NOTIFICATIONS: u64 = 17;

/// Measures ingestion before, meanwhile and afterwards, beside a server in which nothing of
/// the kind happens, and prints the table.
pub(crate) fn notifications(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let events: u64 = option("--events").unwrap_or("40000000").parse().context("--events takes a number")?;
    let sessions: u64 = option("--sessions").unwrap_or("1000").parse().context("--sessions takes a number")?;
    super::run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    // Without sessions first: as there is more to remember, ingestion slows down by itself.
    let alone = Stage::new(root)?.steps(events, None)?;
    let stage = Stage::new(root)?;
    let receiver = Receiver::start()?;
    batch_pipeline(root, &stage.server)?;
    notify(&stage, receiver.address)?;
    // Evenly over the time the events should take.
    let between = Duration::from_secs_f64(events as f64 / alone[1] / sessions as f64);
    let beside = Beside { sessions, between, receiver };
    let with = stage.steps(events, Some(&beside))?;
    println!("| ingestion | alone, events/s | with sessions, events/s | of alone |");
    println!("| --- | ---: | ---: | ---: |");
    for (name, (alone, with)) in ["before", "meanwhile", "afterwards"].iter().zip(alone.iter().zip(&with)) {
        println!("| {name} | {alone:.0} | {with:.0} | {:.1}% |", with * 100.0 / alone);
    }
    Ok(())
}

/// A server at work, and its folder.
struct Stage<'r> {
    root: &'r Path,
    server: Server,
}

/// Sessions that run while events come in, and who is told of them.
struct Beside {
    sessions: u64,
    between: Duration,
    receiver: Receiver,
}

impl<'r> Stage<'r> {
    fn new(root: &'r Path) -> anyhow::Result<Stage<'r>> {
        let folder = root.join("bench-data/notifications");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder)?;
        let allowed = ["--set", "notifications.allow_private=true"];
        let server = Server::start_set(root, &folder.join("data"), &root.join("benches/ingest.yaml"), &allowed)?;
        Ok(Stage { root, server })
    }

    /// Three loads, one after the other, each counted to the end; the second with what there
    /// is beside it.
    fn steps(mut self, events: u64, beside: Option<&Beside>) -> anyhow::Result<[f64; 3]> {
        let step = |number: u64| -> anyhow::Result<f64> {
            let part = Load { events, first: number * events, batch: 500, users: 10_000, late_percent: 0 };
            let report = load(self.root, &self.server, &part)?;
            Ok(rate(&report))
        };
        let counted = |number: u64| self.server.wait_counted((number + 1) * events);
        let before = step(0)?;
        counted(0)?;
        let begun = Instant::now();
        let meanwhile = std::thread::scope(|scope| -> anyhow::Result<f64> {
            let running = beside.map(|beside| scope.spawn(|| beside.run(&self.server)));
            let rate = step(1)?;
            match running.map(std::thread::ScopedJoinHandle::join) {
                None => {}
                Some(ran) => ran.map_err(|_| anyhow::anyhow!("the sessions ended in a panic"))??,
            }
            Ok(rate)
        })?;
        if let Some(beside) = beside {
            beside.wait(begun)?;
        }
        counted(1)?;
        let after = step(2)?;
        self.server.stop();
        Ok([before, meanwhile, after])
    }
}

impl Beside {
    fn run(&self, server: &Server) -> anyhow::Result<()> {
        let begun = Instant::now();
        for n in 0..self.sessions {
            std::thread::sleep((begun + self.between * n as u32).saturating_duration_since(Instant::now()));
            server.post("/api/v1/pipelines/llm-usage/run", "application/json", "{}")?;
        }
        Ok(())
    }

    fn wait(&self, begun: Instant) -> anyhow::Result<()> {
        let expected = self.sessions * STATUSES * NOTIFICATIONS;
        while self.receiver.count() < expected {
            let arrived = self.receiver.count();
            ensure!(
                begun.elapsed() < Duration::from_secs(900),
                "{arrived} of {expected} notifications arrived in a quarter of an hour"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        println!(
            "{} sessions, one each {:.0} ms, and {expected} notifications, the last accepted {:.1} s after the first session began\n",
            self.sessions,
            self.between.as_secs_f64() * 1e3,
            begun.elapsed().as_secs_f64(),
        );
        Ok(())
    }
}

/// Notifications that ask for every status.
fn notify(stage: &Stage<'_>, address: SocketAddr) -> anyhow::Result<()> {
    let secret = stage.root.join("bench-data/notifications/secret");
    std::fs::write(&secret, format!("whsec_{}", "A".repeat(32)))?;
    for n in 0..NOTIFICATIONS {
        let body = format!(
            r#"{{"name":"n{n}","eventType":"meter.session.status","conditions":{{"all":[{{"field":"sessionRunType","op":"=","value":"NORMAL"}}]}},"channels":[{{"type":"webhook","url":"http://{address}/{n}","secrets":["${{file:{}}}"]}}]}}"#,
            secret.display()
        );
        stage.server.post("/api/v1/notifications", "application/json", &body)?;
    }
    Ok(())
}

/// The first example, read once by each session; nobody wants its records.
fn batch_pipeline(root: &Path, server: &Server) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(root.join("examples/llm-usage.yaml"))?;
    let events = root.join("examples/llm-usage.ndjson");
    let document = document.replace("llm-usage.ndjson }", &format!("'{}' }}", events.display()));
    server.post("/api/v1/pipelines", "application/yaml", &format!("{document}targets:\n  - none: {{}}\n"))
}

/// Takes every notification and counts it.
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
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                // A connection that ends badly is made anew by whoever sends.
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
