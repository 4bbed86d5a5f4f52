//! The stories under `cases/stories`, each run straight, shuffled, and split.

#![allow(clippy::unwrap_used)] // a failed test panics

mod support;

use flowmeter_engine::StateChoices;
use serde::Deserialize;
use serde_json::value::RawValue;
use support::{Step, at, holds, run_all_ways};

/// A story: settings, steps and expected results.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Story {
    story: String,
    pipeline: Box<RawValue>,
    steps: Vec<Happening>,
    #[serde(default)]
    ordered: bool,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happening {
    at: String,
    events: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    flush: bool,
    /// The user whose meters are opened by a command.
    open: Option<String>,
    /// The user whose meters are deleted.
    delete: Option<String>,
    /// The next version of the document.
    pipeline: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    counted: u64,
    #[serde(default)]
    late: u64,
    #[serde(default)]
    duplicate: u64,
    #[serde(default)]
    filtered: u64,
    #[serde(default)]
    parked: Vec<String>,
    records: Vec<Box<RawValue>>,
    #[serde(default)]
    thresholds: Vec<Box<RawValue>>,
}

fn check(story: &Story) -> Result<(), String> {
    let line = |event: &RawValue| event.get().replace('\n', " ");
    let step = |happening: &Happening| {
        let at = at(&happening.at);
        match happening {
            Happening { events: Some(events), .. } => Step::Events(at, events.iter().map(|event| line(event)).collect()),
            Happening { open: Some(user), .. } => Step::Open(at, user.clone()),
            Happening { delete: Some(user), .. } => Step::Delete(at, user.clone()),
            Happening { pipeline: Some(document), .. } => Step::Adopt(at, document.get().to_owned(), StateChoices::new()),
            Happening { flush: true, .. } => Step::Flush(at),
            Happening { .. } => Step::Tick(at),
        }
    };
    let steps: Vec<Step> = story.steps.iter().map(step).collect();
    let outcome = run_all_ways(story.pipeline.get(), &steps, story.ordered);
    let expect = &story.expect;
    let parked: Vec<&str> = outcome.parked.iter().map(|(reason, _)| reason.as_str()).collect();
    let tally = (outcome.tally.counted, outcome.tally.late, outcome.tally.duplicate, outcome.tally.filtered);
    let wanted = (expect.counted, expect.late, expect.duplicate, expect.filtered);
    if tally != wanted || parked != expect.parked {
        return Err(format!("counted, late, duplicate, filtered {tally:?}, parked {:?}", outcome.parked));
    }
    same("record", &outcome.records, &expect.records)?;
    same("threshold", &outcome.thresholds, &expect.thresholds)
}

fn same(what: &str, actual: &[String], expected: &[Box<RawValue>]) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!("{} {what}s, not {}:\n{}", actual.len(), expected.len(), actual.join("\n")));
    }
    for (actual, expected) in actual.iter().zip(expected) {
        let raw: Box<RawValue> = serde_json::from_str(actual).map_err(|why| format!("{actual}: {why}"))?;
        holds(&raw, expected).map_err(|why| format!("{why} in {actual}"))?;
    }
    Ok(())
}

#[test]
fn every_story_holds_every_way() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/stories");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut told = 0;
    let mut failures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stories: Vec<Story> = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        for story in &stories {
            told += 1;
            if let Err(why) = check(story) {
                failures.push(format!("{}: {}: {why}", file.display(), story.story));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(told >= 20, "only {told} stories");
}
