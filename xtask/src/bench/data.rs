//! The benchmark's events: CloudEvents, one a line, the same on every machine.
//!
//! 100,000 users, three months in order of time with a minute's disorder, five models; one event in
//! ten failed, and one in a hundred repeats an earlier one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const USERS: u64 = 100_000;
/// The first instant, 2026-01-01T00:00:00Z, in milliseconds.
const START: u64 = 1_767_225_600_000;
/// Milliseconds from January to March.
const SPAN: u64 = 90 * 86_400_000;
const MODELS: [&str; 5] = ["sonnet-large", "haiku-small", "opus-xl", "embed-v3", "rerank-2"];
/// The maximum distance between an event and its repetition.
const REPEATED_FROM: usize = 50_000;

/// A random generator: SplitMix64, small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(super) fn write(path: &Path, events: u64) -> anyhow::Result<()> {
    let mut random = Random(20_260_101);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut recent: Vec<String> = Vec::new();
    for i in 0..events {
        if !recent.is_empty() && random.below(100) == 0 {
            let again = random.below(recent.len() as u64) as usize;
            out.write_all(recent[again].as_bytes())?;
            continue;
        }
        let line = event(&mut random, START + SPAN / events.max(1) * i);
        out.write_all(line.as_bytes())?;
        match recent.len() {
            REPEATED_FROM => recent[(i % REPEATED_FROM as u64) as usize] = line,
            _ => recent.push(line),
        }
    }
    out.flush()?;
    Ok(())
}

fn event(random: &mut Random, at: u64) -> String {
    let (a, b) = (random.next(), random.next());
    let user = random.below(USERS);
    let model = MODELS[random.below(5) as usize];
    let status = if random.below(10) == 0 { "error" } else { "ok" };
    let tokens = random.below(100_000_000);
    let time = timestamp((at + random.below(60_000)).min(START + SPAN - 1));
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}\",\"source\":\"/gateway/eu-{}\",\"type\":\"llm.usage\",\"subject\":\"customer-{user:06}\",\"time\":\"{time}\",\"data\":{{\"model\":\"{model}\",\"status\":\"{status}\",\"tokens\":{}.{:04}}}}}\n",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff,
        a % 4,
        tokens / 10_000,
        tokens % 10_000,
    )
}

/// Formats a time from January to March 2026; there are no others.
fn timestamp(millis: u64) -> String {
    let (days, rest) = ((millis - START) / 86_400_000, (millis - START) % 86_400_000);
    let (month, day) = match days {
        0..31 => (1, days + 1),
        31..59 => (2, days - 30),
        _ => (3, days - 58),
    };
    let second = rest / 1000;
    format!("2026-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", second / 3600, second / 60 % 60, second % 60, rest % 1000)
}
