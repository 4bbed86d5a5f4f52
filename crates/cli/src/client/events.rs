//! `flowmeter events send`: sends a file of events in batches, each durable before the next. Events
//! that are sent again after an interruption count once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::commands::SendEvents;
use super::connection::{Answer, Connection, Server, refusal};
use crate::failure::{self, PARKED, Wrong};
use crate::form::Form;

/// Bytes of a batch: well within a server's bounds, and more would gain little.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_EVENTS: usize = 10_000;
/// Attempts for a busy server, and the longest pause between them.
const TRIES_MAX: u32 = 20;
const WAIT_S_MAX: u64 = 30;

#[derive(Default)]
struct Sent {
    events: u64,
    requests: u64,
    verdicts: Map<String, Value>,
}

pub(super) fn send(server: &Server, send: &SendEvents) -> anyhow::Result<ExitCode> {
    let connection = Connection::new(&server.address)?;
    let mut sent = Sent::default();
    for file in &send.files {
        of_file(&connection, send, file, &mut sent)?;
    }
    let parked = sent.verdicts.get("parked").and_then(Value::as_u64).unwrap_or(0);
    let report = json!({"sent": sent.events, "requests": sent.requests, "verdicts": sent.verdicts});
    match server.output {
        Form::Json => failure::print(&format!("{report}\n"))?,
        Form::Table if send.wait => {
            let verdicts: String = sent.verdicts.iter().map(|(word, count)| format!("{word:10}  {count}\n")).collect();
            failure::print(&format!("sent        {}\n{verdicts}", sent.events))?
        }
        Form::Table => failure::print(&format!("{} events are durable\n", sent.events))?,
    };
    Ok(if send.strict && parked > 0 { ExitCode::from(PARKED) } else { ExitCode::SUCCESS })
}

fn of_file(connection: &Connection, send: &SendEvents, file: &Path, sent: &mut Sent) -> anyhow::Result<()> {
    let unreadable = |why: std::io::Error| Wrong(format!("{}: {why}", file.display()));
    let mut lines: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(std::fs::File::open(file).map_err(unreadable)?)),
    };
    let (mut batch, mut events, mut line_number, mut first) = (Vec::new(), 0, 0u64, 1);
    loop {
        let start = batch.len();
        let is_end = lines.read_until(b'\n', &mut batch).map_err(unreadable)? == 0;
        if !is_end {
            line_number += 1;
            if batch.last() != Some(&b'\n') {
                batch.push(b'\n');
            }
            events += usize::from(!batch[start..].iter().all(u8::is_ascii_whitespace));
        }
        if events > 0 && (is_end || batch.len() >= BATCH_BYTES || events >= BATCH_EVENTS) {
            let told = of_batch(connection, send, &batch);
            let told = told.map_err(|why| why.context(format!("{}, lines {first} to {line_number}", file.display())))?;
            sent.events += events as u64;
            sent.requests += 1;
            count(&told, &mut sent.verdicts);
            (events, first) = (0, line_number + 1);
            batch.clear();
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Sends a batch until it is durable.
fn of_batch(connection: &Connection, send: &SendEvents, lines: &[u8]) -> anyhow::Result<Vec<u8>> {
    let path = if send.wait { "/api/v1/events?wait=counted" } else { "/api/v1/events" };
    let mut tries = 0;
    loop {
        let Answer { status, retry_after_s, .. } = match connection.ask("POST", path, Some(("application/x-ndjson", lines)))? {
            answer if (200..300).contains(&answer.status) => return Ok(answer.body),
            answer if !matches!(answer.status, 429 | 503) || tries >= TRIES_MAX => return Err(refusal(&answer)),
            answer => answer,
        };
        tries += 1;
        let wait_s = retry_after_s.unwrap_or(1).clamp(1, WAIT_S_MAX);
        eprintln!("the server answered {status}; next attempt in {wait_s} s");
        std::thread::park_timeout(Duration::from_secs(wait_s));
    }
}

/// Adds up the verdicts of an answer, if it has any.
fn count(answer: &[u8], verdicts: &mut Map<String, Value>) {
    let told: Value = serde_json::from_slice(answer).unwrap_or_default();
    for event in told["events"].as_array().into_iter().flatten() {
        let word = event["verdict"].as_str().unwrap_or("accepted");
        let known = verdicts.get(word).and_then(Value::as_u64).unwrap_or(0);
        verdicts.insert(word.to_owned(), json!(known + 1));
    }
}
