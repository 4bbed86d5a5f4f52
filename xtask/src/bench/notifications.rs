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

/// Measures ingestion before, meanwhile and afterwards, and prints the table.
pub(crate) fn notifications(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let events: u64 = option("--events").unwrap_or("40000000").parse().context("--events takes a number")?;
    let sessions: u64 = option("--sessions").unwrap_or("1000").parse().context("--sessions takes a number")?;
    super::run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    let folder = root.join("bench-data/notifications");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder)?;
    let receiver = Receiver::start()?;
    let allowed = ["--set", "notifications.allow_private=true"];
    let mut server = Server::start_set(root, &folder.join("data"), &root.join("benches/ingest.yaml"), &allowed)?;
    batch_pipeline(root, &server)?;
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("whsec_{}", "A".repeat(32)))?;
    for n in 0..NOTIFICATIONS {
        let body = format!(
            r#"{{"name":"n{n}","eventType":"meter.session.status","conditions":{{"all":[{{"field":"sessionRunType","op":"=","value":"NORMAL"}}]}},"channels":[{{"type":"webhook","url":"http://{}/{n}","secrets":["${{file:{}}}"]}}]}}"#,
            receiver.address,
            secret.display()
        );
        server.post("/api/v1/notifications", "application/json", &body)?;
    }
    let mut sent = 0;
    let mut step = |server: &Server| -> anyhow::Result<f64> {
        let part = Load { events, first: sent, batch: 500, users: 10_000, late_percent: 0 };
        let report = load(root, server, &part)?;
        sent += events;
        server.wait_counted(sent)?;
        Ok(rate(&report))
    };
    let before = step(&server)?;
    // Evenly over the time the events should take.
    let between = Duration::from_secs_f64(events as f64 / before / sessions as f64);
    let expected = sessions * STATUSES * NOTIFICATIONS;
    let begun = Instant::now();
    let meanwhile = std::thread::scope(|scope| -> anyhow::Result<f64> {
        let server = &server;
        let running = scope.spawn(move || -> anyhow::Result<()> {
            for n in 0..sessions {
                std::thread::sleep((begun + between * n as u32).saturating_duration_since(Instant::now()));
                server.post("/api/v1/pipelines/llm-usage/run", "application/json", "{}")?;
            }
            Ok(())
        });
        let rate = step(server)?;
        running.join().map_err(|_| anyhow::anyhow!("the sessions ended in a panic"))??;
        Ok(rate)
    })?;
    while receiver.count() < expected {
        let waited = begun.elapsed();
        ensure!(waited < Duration::from_secs(600), "{} of {expected} notifications arrived in 10 minutes", receiver.count());
        std::thread::sleep(Duration::from_millis(10));
    }
    let arrived = begun.elapsed();
    let after = step(&server)?;
    println!("| ingestion | events/s | of before |");
    println!("| --- | ---: | ---: |");
    for (name, rate) in [("before", before), ("meanwhile", meanwhile), ("afterwards", after)] {
        println!("| {name} | {rate:.0} | {:.1}% |", rate * 100.0 / before);
    }
    println!(
        "\n{sessions} sessions and {expected} notifications, the last accepted {:.1} s after the first session began: {:.0} a second",
        arrived.as_secs_f64(),
        expected as f64 / arrived.as_secs_f64()
    );
    server.stop();
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
