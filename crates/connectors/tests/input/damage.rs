//! Good files, damaged in the ways of the field: no event that stayed whole is lost, and no value
//! is counted that no good row has.
//!
//! `FLOWMETER_DAMAGED_FILES=100000` sets how many files of each format are damaged.

use std::sync::atomic::{AtomicU64, Ordering};

use super::session::{document, run};

const AS_OF: &str = "2026-03-01T00:00:00Z";
const ROWS: usize = 60;

/// Calls a check with every seed, on two threads: as many as the environment says, or else a few.
pub(super) fn with_seeds(few: u64, check: impl Fn(u64) + Sync) {
    let chosen = std::env::var("FLOWMETER_DAMAGED_FILES").ok().and_then(|text| text.parse().ok());
    let (next, end) = (AtomicU64::new(0), chosen.unwrap_or(few));
    let work = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < end => check(seed),
                _ => return,
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

/// A reproducible choice: Knuth's linear congruential generator.
pub(super) struct Choice(pub(super) u64);

impl Choice {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// Row `i` has a user of its own and the value 2 to the power of nothing else: its own number.
fn row(i: usize) -> String {
    let note = if i.is_multiple_of(7) { format!("\"note {i}, with \"\"quotes\"\"\"") } else { format!("note {i}") };
    format!("2026-01-01T00:00:00Z,user{i},{note},{}", i + 1)
}

/// Damages a line: a stray quote at its beginning, middle or end, a field cut off or doubled, bytes
/// that are no character, a line cut short.
pub(super) fn damage(line: &str, choice: &mut Choice) -> Vec<u8> {
    let at = 1 + choice.below(line.len() - 1);
    match choice.below(7) {
        0 => format!("{}\"{}", &line[..at], &line[at..]).into_bytes(),
        1 => line.replace(",note", ",\"note").into_bytes(),
        2 => format!("{line}\"").into_bytes(),
        3 => line.as_bytes()[..at].to_vec(),
        4 => format!("{line},{line}").into_bytes(),
        5 => [&line.as_bytes()[..at], b"\xff\xfe\x00".as_slice(), &line.as_bytes()[at..]].concat(),
        _ => line.replacen(',', "", 1).into_bytes(),
    }
}

#[test]
fn damaged_rows_cost_themselves_and_nothing_else() {
    let pipeline = document("path: DIR/a.csv", "match: first", "", "");
    with_seeds(150, |seed| {
        let mut choice = Choice(seed);
        let broken = choice.below(ROWS);
        let second = choice.below(ROWS);
        let mut text = b"time,userId,note,value\n".to_vec();
        for i in 0..ROWS {
            let line = row(i);
            let line = if i == broken || i == second { damage(&line, &mut choice) } else { line.into_bytes() };
            text.extend_from_slice(&line);
            text.extend_from_slice(if seed % 2 == 0 { b"\n" } else { b"\r\n" });
        }
        let outcome = run(&pipeline, &[("a.csv", &text)], AS_OF);
        assert_eq!(outcome.failure, None, "seed {seed}");
        for i in (0..ROWS).filter(|i| *i != broken && *i != second) {
            let user = format!("user{i}");
            let found = outcome.records.iter().find(|record| record["userId"] == user.as_str());
            let value = found.map(|record| record["value"].to_string());
            assert_eq!(value, Some((i + 1).to_string()), "seed {seed}: row {i} of {}", String::from_utf8_lossy(&text));
        }
        // Every line is an event, counted or parked; a note may have been cut into several lines.
        assert!(outcome.tally.received >= ROWS as u64 - 2, "seed {seed}");
    });
}

#[test]
fn damaged_lines_of_json_cost_themselves_and_nothing_else() {
    let pipeline = document("path: DIR/a.ndjson", "match: first", "", "");
    with_seeds(80, |seed| {
        let mut choice = Choice(seed);
        let broken = choice.below(ROWS);
        let mut text = Vec::new();
        for i in 0..ROWS {
            let line = format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"userId\":\"user{i}\",\"note\":\"x\",\"value\":{}}}", i + 1);
            let line = if i == broken { damage(&line, &mut choice) } else { line.into_bytes() };
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        let outcome = run(&pipeline, &[("a.ndjson", &text)], AS_OF);
        for i in (0..ROWS).filter(|i| *i != broken) {
            let user = format!("user{i}");
            let found = outcome.records.iter().find(|record| record["userId"] == user.as_str());
            assert_eq!(found.map(|record| record["value"].to_string()), Some((i + 1).to_string()), "seed {seed}: line {i}");
        }
        assert_eq!(outcome.tally.received, ROWS as u64, "seed {seed}");
    });
}

#[test]
fn damaged_lines_of_fixed_width_cost_themselves_and_nothing_else() {
    let columns = "format: fixed, columns: [{name: time, from: 1, to: 20}, {name: userId, from: 21, to: 26}, \
                   {name: value, from: 27, to: 31, type: number}, {name: end, from: 32, to: 32}]";
    let meter = ", when: 'end == \"E\"'";
    let pipeline = document(&format!("path: DIR/a.txt, {columns}"), "match: first", meter, "");
    with_seeds(80, |seed| {
        let mut choice = Choice(seed);
        let broken = choice.below(ROWS);
        let mut text = Vec::new();
        for i in 0..ROWS {
            let line = format!("2026-01-01T00:00:00Zuser{i:02}{:05}E", i + 1);
            let cut = 1 + choice.below(line.len() - 1);
            let line = if i == broken { &line.as_bytes()[..cut] } else { line.as_bytes() };
            text.extend_from_slice(line);
            text.extend_from_slice(if seed % 2 == 0 { b"\n" } else { b"\r\n" });
        }
        let outcome = run(&pipeline, &[("a.txt", &text)], AS_OF);
        for i in 0..ROWS {
            let user = format!("user{i:02}");
            let found = outcome.records.iter().find(|record| record["userId"] == user.as_str());
            let expected = (i != broken).then(|| (i + 1).to_string());
            assert_eq!(found.map(|record| record["value"].to_string()), expected, "seed {seed}: line {i}");
        }
        assert_eq!(outcome.tally.received, ROWS as u64, "seed {seed}");
    });
}
