//! `flowmeter bench`: the load generator behind the published figures.
//!
//! It sends events to a server as fast as the server answers, over a number of connections with one
//! running request each. The time of a request is from its first byte sent to its answer read, at
//! which all of it is durable.

mod events;
mod report;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::args::BenchIngest;
use crate::clock::Stopwatch;
use crate::failure;
use events::Events;
use report::Report;

/// State shared by all connections.
struct Shared {
    /// Requests not yet started.
    left: AtomicU64,
    /// Number of started requests, so that ids never repeat.
    begun: AtomicU64,
    path: String,
    host: String,
    key: Option<String>,
}

pub(crate) fn ingest(bench: &BenchIngest) -> anyhow::Result<ExitCode> {
    let host = bench.url.strip_prefix("http://").context("--url: the load generator supports http:// only")?;
    let host = host.trim_end_matches('/').to_owned();
    let address: SocketAddr = host.parse().with_context(|| format!("{host}: write an address and a port"))?;
    ensure!(bench.batch > 0 && bench.connections > 0, "--batch and --connections are above zero");
    let requests = bench.events.div_ceil(u64::from(bench.batch));
    let shared = Arc::new(Shared {
        left: AtomicU64::new(requests),
        begun: AtomicU64::new(bench.first / u64::from(bench.batch)),
        path: "/api/v1/events".to_owned(),
        host,
        key: bench.key.clone(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(bench.threads).enable_all().build()?;
    let stopwatch = Stopwatch::start();
    let times = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..bench.connections {
            tasks.spawn(connection(Arc::clone(&shared), address, Events::new(bench)));
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            all.extend(done.context("a connection")??);
        }
        anyhow::Ok(all)
    })?;
    let report = Report::new(bench, times, stopwatch.elapsed());
    failure::print(&format!("{}\n", report.json()))
}

/// Sends requests one after the other, and returns the duration of each.
async fn connection(shared: Arc<Shared>, address: SocketAddr, mut events: Events) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let mut answer = vec![0; 16 << 10];
    let authorization = shared.key.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let mut request = Vec::new();
    loop {
        let taken = shared.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if taken.is_err() {
            return Ok(times);
        }
        let body = events.body(shared.begun.fetch_add(1, Ordering::AcqRel));
        request.clear();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-ndjson\r\n{authorization}content-length: {}\r\n\r\n",
            shared.path,
            shared.host,
            body.len()
        );
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
        let stopwatch = Stopwatch::start();
        stream.write_all(&request).await?;
        let read = read_head(&mut stream, &mut answer).await?;
        times.push(stopwatch.elapsed());
        if !answer[..read].starts_with(b"HTTP/1.1 204") {
            bail!("the server answered {}", String::from_utf8_lossy(&answer[..read]));
        }
    }
}

/// Reads to the end of the head: a 204 has no body.
async fn read_head(stream: &mut TcpStream, answer: &mut [u8]) -> anyhow::Result<usize> {
    let mut read = 0;
    loop {
        let more = stream.read(&mut answer[read..]).await?;
        ensure!(more > 0, "the server closed the connection: {}", String::from_utf8_lossy(&answer[..read]));
        read += more;
        if answer[..read].ends_with(b"\r\n\r\n") || !answer[..read].starts_with(b"HTTP/1.1 204") || read == answer.len() {
            return Ok(read);
        }
    }
}
