//! The cases under `cases/operators`, each run straight, shuffled, split and recovered. Their
//! answers were computed by an independent program, except those of `own.json`.

#![allow(clippy::unwrap_used)] // a failed test panics

mod support;

use flowmeter_core::json::holds;
use flowmeter_engine::StateChoices;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use support::{Outcome, Step, at, run_every_way};

/// A case: settings, steps and expected results.
#[derive(Deserialize)]
struct Story {
    story: String,
    pipeline: Box<RawValue>,
    steps: Vec<Happening>,
    #[serde(default)]
    ordered: bool,
    via: Option<String>,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happening {
    at: String,
    events: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    flush: bool,
    table: Option<NewTable>,
    look: Option<Sums>,
    /// The next version of the document.
    pipeline: Option<Box<RawValue>>,
    /// Decisions about state that has no place in it.
    #[serde(default)]
    state: StateChoices,
    /// The answer to the request of a step: a refusal.
    answer: Option<Value>,
}

#[derive(Deserialize)]
struct NewTable {
    name: String,
    rows: Vec<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Sums {
    received: u64,
    derived: u64,
    counted: u64,
    late: u64,
    duplicate: u64,
    filtered: u64,
    split: u64,
    absorbed: u64,
    held: u64,
    cancelled: u64,
}

/// The expected results of a story.
struct Expect {
    sums: Sums,
    parked: Vec<String>,
    records: Vec<Value>,
    derived_events: Vec<Value>,
}

impl Expect {
    fn of(written: &Value) -> Expect {
        let list = |name: &str| written[name].as_array().cloned().unwrap_or_default();
        Expect {
            sums: serde_json::from_value(written.clone()).unwrap(),
            parked: list("parked").iter().map(|reason| reason.as_str().unwrap().to_owned()).collect(),
            records: list("records"),
            derived_events: list("derivedEvents"),
        }
    }
}

fn sums(tally: &flowmeter_core::verdict::Tally, held: u64) -> Sums {
    Sums {
        received: tally.received,
        derived: tally.derived,
        counted: tally.counted,
        late: tally.late,
        duplicate: tally.duplicate,
        filtered: tally.filtered,
        split: tally.split,
        absorbed: tally.absorbed,
        held,
        cancelled: tally.cancelled,
    }
}

fn outcome(story: &Story) -> Outcome {
    let line = |json: &RawValue| json.get().replace('\n', " ");
    let step = |happening: &Happening| {
        let at = at(&happening.at);
        match happening {
            Happening { events: Some(events), .. } => Step::Events(at, events.iter().map(|event| line(event)).collect()),
            Happening { table: Some(table), .. } => {
                Step::Table(table.name.clone(), table.rows.iter().map(|row| line(row)).collect())
            }
            Happening { look: Some(_), .. } => Step::Look,
            Happening { pipeline: Some(document), answer: Some(_), .. } => Step::Refuse(document.get().to_owned()),
            Happening { pipeline: Some(document), state, .. } => Step::Adopt(at, document.get().to_owned(), state.clone()),
            Happening { flush: true, .. } => Step::Flush(at),
            Happening { .. } => Step::Tick(at),
        }
    };
    let steps: Vec<Step> = story.steps.iter().map(step).collect();
    run_every_way(story.pipeline.get(), &steps, story.ordered, story.via.as_deref() == Some("server"))
}

fn check(story: &Story) -> Result<(), String> {
    let outcome = outcome(story);
    let expect = &Expect::of(&story.expect);
    let found = sums(&outcome.tally, outcome.held);
    if found != expect.sums {
        return Err(format!("{found:?}, not {:?}; parked {:?}", expect.sums, outcome.parked));
    }
    let looks = story.steps.iter().filter_map(|step| step.look.as_ref());
    for (expected, (tally, held)) in looks.zip(&outcome.looks) {
        if sums(tally, *held) != *expected {
            return Err(format!("looked at: {:?}, not {expected:?}", sums(tally, *held)));
        }
    }
    // By verdict: an event that counts on another way is not among them.
    let reasons = outcome.tally.parked_by_reason();
    let mut parked: Vec<&str> = reasons.flat_map(|(reason, count)| std::iter::repeat_n(reason.code(), count as usize)).collect();
    parked.sort_unstable();
    if parked != expect.parked {
        return Err(format!("parked {:?}, not {:?}", outcome.parked, expect.parked));
    }
    let read = |texts: &[String]| texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect::<Vec<Value>>();
    let records = read(&outcome.records);
    each_is_held_by_one(&records, &expect.records)?;
    if records.len() != expect.records.len() {
        return Err(format!("{} records, not {}:\n{}", records.len(), expect.records.len(), outcome.records.join("\n")));
    }
    each_is_held_by_one(&read(&outcome.derived), &expect.derived_events)
}

/// Checks that each expected value is held by exactly one found value.
fn each_is_held_by_one(found: &[Value], expected: &[Value]) -> Result<(), String> {
    for expected in expected {
        let count = found.iter().filter(|found| holds(found, expected)).count();
        if count != 1 {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            return Err(format!("{expected} is held by {count} of\n{}", found.join("\n")));
        }
    }
    Ok(())
}

#[test]
fn every_case_of_operators_holds_every_way() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/operators");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    let (mut told, mut failures) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stories: Vec<Story> = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        for story in &stories {
            told += 1;
            let checked = std::panic::catch_unwind(|| check(story)).unwrap_or_else(|_| Err("panicked".to_owned()));
            if let Err(why) = checked {
                failures.push(format!("{}: {}: {why}", file.display(), story.story));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(told >= 57, "only {told} cases");
}
