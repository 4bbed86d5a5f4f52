//! `flowmeter demo`: a server with sample pipelines, live sample events and some failures.
//!
//! Everything goes through the same doors as in production: documents are served, events come over
//! HTTP, records leave for a file and a webhook. The webhook is a listener of this process that
//! refuses some records for good and is away for some seconds of every few minutes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use flowmeter_core::time::Timestamp;
use flowmeter_node::settings::{Flag, Layers, Settings};
use flowmeter_server::run::Document;

use crate::args::Demo;
use crate::failure::Wrong;
use crate::{clock, serve};

const DOCUMENTS: [(&str, &str); 3] = [
    ("llm-usage.yaml", include_str!("../../../examples/demo/llm-usage.yaml")),
    ("mobile-data.yaml", include_str!("../../../examples/demo/mobile-data.yaml")),
    ("electricity.yaml", include_str!("../../../examples/demo/electricity.yaml")),
];
const MODELS: [&str; 8] = ["m-large", "m-large", "m-small", "m-small", "m-code", "m-code", "m-vision", "m-embed"];
const CUSTOMERS: [&str; 8] = ["anna@shop", "acme", "bergen-ai", "contoso", "fjord", "hansa", "initech", "jotun"];
/// Number of requests in each second.
const REQUESTS: u32 = 4;
/// Days before today for which events are sent at first, so that charts have a past.
const PAST_DAYS: i64 = 10;
/// Events of each of those days.
const PAST_EVENTS: u64 = 400;
const DAY: i64 = 86_400_000_000_000;
/// The webhook is away for the first seconds of each of these spans.
const AWAY_SECONDS: i64 = 25;
const AWAY_EVERY_SECONDS: i64 = 180;
/// Bytes of an answer of the server that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a request to the webhook that are read.
const REQUEST_BYTES_MAX: u64 = 8 << 20;

pub(crate) fn demo(demo: &Demo) -> anyhow::Result<ExitCode> {
    let data = match &demo.data {
        Some(data) => data.clone(),
        None => std::env::temp_dir().join(format!("flowmeter-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(data.join("records")).with_context(|| data.display().to_string())?;
    let layers = Layers {
        file: None,
        environment: Vec::new(),
        other_variables: &[],
        flags: vec![
            Flag::named("--data", "data", data.join("server").to_string_lossy()),
            Flag::named("--listen", "listen", &demo.listen),
            Flag::named("demo", "tracing.level", "warn"),
        ],
    };
    let settings = Settings::read(&layers).map_err(|problems| Wrong(problems.to_string()))?;
    serve::log(&settings, None);
    let biller = biller()?;
    let documents = DOCUMENTS.iter().map(|(name, text)| document(name, text, &data, &biller)).collect();
    let rate = demo.rate;
    serve::work(settings, documents, None, (None, None), move |address| {
        let address = address.to_owned();
        let sending = std::thread::Builder::new().name("demo".to_owned()).spawn(move || send(&address, rate));
        if let Err(why) = sending {
            tracing::error!("no sample events: {why}");
        }
    })
}

fn document(name: &str, text: &str, data: &Path, biller: &str) -> Document {
    let text = text.replace("{{data}}", &data.display().to_string()).replace("{{biller}}", biller);
    Document { name: name.to_owned(), text }
}

/// SplitMix64: the same events every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn of<'l>(&mut self, list: &[&'l str]) -> &'l str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// Sends sample events for as long as the server takes them.
fn send(address: &str, rate: u32) {
    let began = clock::now();
    let mut chance = Chance(began.nanos().unsigned_abs());
    let mut number = 0_u64;
    for days in (1..=PAST_DAYS).rev() {
        let batch: Vec<String> = (0..PAST_EVENTS)
            .map(|_| {
                number += 1;
                let at = began.nanos() - days * DAY + i64::try_from(chance.below(DAY.unsigned_abs())).unwrap_or(0);
                event(&mut chance, began, number, Timestamp::from_nanos(at), true)
            })
            .collect();
        if post(address, &batch).is_err() {
            return;
        }
    }
    loop {
        let size = u64::from(rate.div_ceil(REQUESTS).max(1));
        // The load rises and falls within some minutes.
        let wave = (clock::now().nanos() / 1_000_000_000).rem_euclid(240);
        let size = size / 2 + size * u64::try_from((wave - 120).abs()).unwrap_or(0) / 120;
        let batch: Vec<String> = (0..size.max(1))
            .map(|_| {
                number += 1;
                event(&mut chance, began, number, clock::now(), false)
            })
            .collect();
        if post(address, &batch).is_err() {
            return;
        }
        #[allow(clippy::disallowed_methods)] // a sender that waits, not a test
        std::thread::sleep(Duration::from_millis(1_000 / u64::from(REQUESTS)));
    }
}

/// Sends a batch and waits for the answer. The server is this process: a client as small as this
/// is enough, and an answer that refuses some events is part of the show.
fn post(address: &str, events: &[String]) -> std::io::Result<()> {
    let host = address.trim_start_matches("http://");
    let body = format!("[{}]", events.join(","));
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "POST /api/v1/events?partial=true HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map(drop)
}

/// An event of one of the pipelines. Some have no user, a bad value or no source, and some come
/// twice.
fn event(chance: &mut Chance, began: Timestamp, number: u64, at: Timestamp, is_past: bool) -> String {
    let kind = chance.below(100);
    let twice = if !is_past && number > 50 && chance.below(60) == 0 { number - 1 - chance.below(40) } else { number };
    let id = format!("{:x}-{twice}", began.nanos() / 1_000_000);
    let head = |source: &str, kind: &str, subject: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{kind}","subject":"{subject}","time":"{at}","data":"#
        )
    };
    match kind {
        0..55 => {
            let user = match chance.below(3) {
                0 => chance.of(&CUSTOMERS).to_owned(),
                _ => format!("user-{:03}", chance.below(120)),
            };
            let source = if chance.below(2) == 0 { "/gateway-eu-1" } else { "/gateway-eu-2" };
            let is_bad = !is_past && source.ends_with('2') && chance.below(90) == 0;
            let user = if is_bad { String::new() } else { user };
            let status = if chance.below(16) == 0 { "error" } else { "ok" };
            let tokens = match chance.below(700) {
                0 if !is_past => "\"12,5\"".to_owned(),
                1 => "1842.00000000000000025".to_owned(),
                _ => (10 + chance.below(4_000)).to_string(),
            };
            let model = chance.of(&MODELS);
            if chance.below(10) == 0 {
                let bytes = 1_000 + chance.below(9_000_000);
                return format!(r#"{}{{"status":"{status}","bytes":{bytes}}}}}"#, head(source, "storage", &user));
            }
            format!(r#"{}{{"status":"{status}","model":"{model}","tokens":{tokens}}}}}"#, head(source, "llm.completion", &user))
        }
        55..90 => {
            let subscriber = format!("+4790{:06}", chance.below(400));
            let (whole, part, cell) = (chance.below(50), chance.below(1_000), chance.below(12));
            format!(r#"{}{{"mb":{whole}.{part:03},"cell":"cell-{cell}"}}}}"#, head("/packet-core", "cdr", &subscriber))
        }
        90..99 => {
            let household = format!("household-{}", chance.below(40));
            format!(r#"{}{{"kwh":0.{:04}}}}}"#, head("/meters", "reading", &household), chance.below(10_000))
        }
        _ if is_past || chance.below(20) > 0 => {
            format!(r#"{}{{"value":1}}}}"#, head("/elsewhere", "ping", "unknown"))
        }
        // Not a CloudEvent: rejected at the door.
        _ => format!(r#"{{"id":"{id}"}}"#),
    }
}

/// Starts the webhook that takes records. Returns its address.
fn biller() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a listener for the sample webhook")?;
    let address = format!("http://{}", listener.local_addr()?);
    std::thread::Builder::new().name("biller".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let answering = std::thread::Builder::new().spawn(move || drop(answer(stream)));
            drop(answering);
        }
    })?;
    Ok(address)
}

/// Answers requests of one connection.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut line, mut length) = (String::new(), 0_u64);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length.min(REQUEST_BYTES_MAX)).read_to_end(&mut body)?;
        let text = String::from_utf8_lossy(&body);
        let second = clock::now().nanos() / 1_000_000_000;
        let (status, said) = if second.rem_euclid(AWAY_EVERY_SECONDS) < AWAY_SECONDS {
            ("503 Service Unavailable", "upstream unavailable")
        } else if text.contains("\"user-013\"") || text.contains("\"user-077\"") {
            ("422 Unprocessable Content", "no such customer")
        } else {
            ("200 OK", "thanks")
        };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{said}", said.len())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_events_are_json_and_sample_pipelines_compile() {
        let mut chance = Chance(7);
        for number in 1..2_000 {
            let text = event(&mut chance, Timestamp::from_nanos(5), number, Timestamp::from_nanos(9), number % 2 == 0);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
        for (name, text) in DOCUMENTS {
            let document = document(name, text, Path::new("/data"), "http://127.0.0.1:9");
            let read = flowmeter_document::Pipeline::read(&document.text);
            assert!(read.is_ok(), "{name}: {:?}", read.err());
        }
    }
}
