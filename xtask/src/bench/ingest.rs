//! `cargo xtask bench ingest`: a real server, a real disk, a real network stack, and the load
//! generator beside it on the same cores.

#![allow(clippy::disallowed_methods)] // measuring is what it is for: it may look at clocks

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// A case of the benchmark.
struct Case {
    name: &'static str,
    events: u64,
    batch: u32,
    users: u64,
    late_percent: u32,
}

const CASES: [Case; 4] = [
    Case { name: "batch of 500, 10,000 users", events: 20_000_000, batch: 500, users: 10_000, late_percent: 0 },
    Case { name: "batch of 500, 1,000,000 users", events: 20_000_000, batch: 500, users: 1_000_000, late_percent: 0 },
    Case { name: "batch of 500, 10% late", events: 20_000_000, batch: 500, users: 10_000, late_percent: 10 },
    Case { name: "batch of 1, 10,000 users", events: 1_000_000, batch: 1, users: 10_000, late_percent: 0 },
];

/// Runs every case against a server of its own and prints the table.
pub(crate) fn ingest(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let scale: f64 = option("--scale").unwrap_or("1").parse().context("--scale takes a number")?;
    let only = option("--only");
    super::run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    let folder = root.join("bench-data/ingest");
    println!(
        "| case | durable events/s | durable and counted events/s | requests/s | p50 ms | p99 ms | log bytes/event | written bytes/event | peak MiB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in CASES.iter().filter(|case| only.is_none_or(|only| case.name.contains(only))) {
        let events = ((case.events as f64 * scale) as u64).max(u64::from(case.batch));
        one(root, &folder, case, events)?;
    }
    recovery(root, &folder, (100_000_000.0 * scale) as u64, only)
}

fn one(root: &Path, folder: &Path, case: &Case, events: u64) -> anyhow::Result<()> {
    let mut server = Server::start(root, folder, true)?;
    let begun = Instant::now();
    let report = load(root, &server, &case.load(events))?;
    server.wait_counted(events)?;
    let counted = events as f64 / begun.elapsed().as_secs_f64();
    let number = |name: &str| report.get(name).and_then(serde_json::Value::as_f64).unwrap_or_default();
    let (written, peak) = server.written_and_peak()?;
    println!(
        "| {} | {:.0} | {:.0} | {:.0} | {} | {} | {:.1} | {:.1} | {} |",
        case.name,
        number("eventsPerSecond"),
        counted,
        number("requestsPerSecond"),
        number("p50Millis"),
        number("p99Millis"),
        server.metric("flowmeter_log_bytes")? / events as f64,
        written as f64 / events as f64,
        peak >> 20,
    );
    server.stop();
    Ok(())
}

/// Measures the time to ready after a kill, with a number of received events.
fn recovery(root: &Path, folder: &Path, events: u64, only: Option<&str>) -> anyhow::Result<()> {
    if only.is_some_and(|only| !"ready".contains(only)) {
        return Ok(());
    }
    let case = Case { name: "ready", events, batch: 500, users: 10_000, late_percent: 0 };
    let mut server = Server::start(root, folder, true)?;
    load(root, &server, &case.load(events))?;
    server.child.kill()?;
    server.child.wait()?;
    let begun = Instant::now();
    let mut server = Server::start(root, folder, false)?;
    let ready = begun.elapsed();
    server.wait_counted(events)?;
    println!(
        "\nkilled after {events} events: ready in {:.2} s, all counted in {:.2} s",
        ready.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    server.stop();
    Ok(())
}

impl Case {
    fn load(&self, events: u64) -> Load {
        Load { events, first: 0, batch: self.batch, users: self.users, late_percent: self.late_percent }
    }
}

/// The requests of the load generator.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) events: u64,
    /// The number of the first event; ids depend on it.
    pub(super) first: u64,
    pub(super) batch: u32,
    pub(super) users: u64,
    pub(super) late_percent: u32,
}

/// Runs the load generator and returns its report.
pub(super) fn load(root: &Path, server: &Server, load: &Load) -> anyhow::Result<serde_json::Value> {
    let output = Command::new(root.join("target/release/flowmeter"))
        .args(["bench", "ingest", "--url", &format!("http://{}", server.address), "--events", &load.events.to_string()])
        .args(["--first", &load.first.to_string(), "--batch", &load.batch.to_string(), "--users", &load.users.to_string()])
        .args(["--late-percent", &load.late_percent.to_string()])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the events a second of a report.
pub(super) fn rate(report: &serde_json::Value) -> f64 {
    report.get("eventsPerSecond").and_then(serde_json::Value::as_f64).unwrap_or_default()
}

/// A server of the benchmark.
pub(super) struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(root: &Path, folder: &Path, fresh: bool) -> anyhow::Result<Server> {
        if fresh && folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        Server::start_with(root, folder, &root.join("benches/ingest.yaml"))
    }

    /// Starts a server with a running pipeline.
    pub(super) fn start_with(root: &Path, folder: &Path, pipeline: &Path) -> anyhow::Result<Server> {
        Server::start_set(root, folder, pipeline, &[])
    }

    /// Starts a server with a running pipeline and settings.
    pub(super) fn start_set(root: &Path, folder: &Path, pipeline: &Path, settings: &[&str]) -> anyhow::Result<Server> {
        let mut child = Command::new(root.join("target/release/flowmeter"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .arg("--pipeline")
            .arg(pipeline)
            .args(settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(',').next()).context("no address")?.to_owned();
        // A process without a reader stops writing soon.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Server { child, address })
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends a document; anything but success is an error.
    pub(super) fn post(&self, path: &str, kind: &str, body: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        let (address, length) = (&self.address, body.len());
        let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {kind}\r\n");
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "POST {path}: {answer}");
        Ok(())
    }

    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics")?;
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        let value = line.and_then(|line| line.rsplit(' ').next()).with_context(|| name.to_owned())?;
        Ok(value.parse()?)
    }

    /// Waits until a number of events is counted.
    pub(super) fn wait_counted(&self, events: u64) -> anyhow::Result<()> {
        for _ in 0..6_000 {
            let text = self.get("/metrics")?;
            let counted = text.lines().filter(|line| line.contains("count_events_total") && line.contains("verdict=\"counted\""));
            let counted: f64 = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            if counted >= events as f64 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{events} events were not counted in two minutes")
    }

    /// Returns the records of its first target, and all records.
    pub(super) fn delivered(&self) -> anyhow::Result<(u64, u64)> {
        let answer = self.get("/api/v1/deliveries/targets")?;
        let number = |name: &str| -> Option<u64> {
            let rest = answer.split(&format!("\"{name}\":")).nth(1)?;
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        };
        Ok((number("deliveredTo").unwrap_or(0), number("records").unwrap_or(0)))
    }

    /// Returns the bytes that the server has written, and its peak memory.
    fn written_and_peak(&self) -> anyhow::Result<(u64, u64)> {
        let read = |file: &str, name: &str| -> anyhow::Result<u64> {
            let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
            let line = text.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            Ok(digits.parse()?)
        };
        Ok((read("io", "write_bytes")?, read("status", "VmHWM")? << 10))
    }

    pub(super) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
