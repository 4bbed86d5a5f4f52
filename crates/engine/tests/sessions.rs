//! Sessions over bounded sources, on the log: the stories under `cases/`, given to a pipeline as a
//! source gives them, with a crash before every step. The records are those of a run, byte for byte.

#![allow(clippy::unwrap_used)] // a failed test panics

mod support;

use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_engine::live::{Beginning, Fed, Home, Letter, Live, LiveSettings, LogCommand, items, record_item};
use flowmeter_engine::{Error, Settings};
use flowmeter_store::disk::{Disk, LocalDisk};
use flowmeter_store::log::{self, Entry, EntryKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use support::{STRAIGHT, Step, at, run};

/// The part of a story that sessions need.
#[derive(Deserialize)]
struct Story {
    story: String,
    pipeline: Box<RawValue>,
    steps: Vec<Happening>,
}

#[derive(Deserialize)]
struct Happening {
    at: String,
    events: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    flush: bool,
    open: Option<Box<RawValue>>,
    delete: Option<Box<RawValue>>,
    pipeline: Option<Box<RawValue>>,
}

/// Returns the steps of a story, if it has only events and ticks.
fn steps(story: &Story) -> Option<Vec<Step>> {
    let line = |event: &RawValue| event.get().replace('\n', " ");
    let step = |happening: &Happening| {
        let is_plain = !happening.flush && happening.open.is_none() && happening.delete.is_none() && happening.pipeline.is_none();
        let at = at(&happening.at);
        is_plain.then(|| match &happening.events {
            Some(events) => Step::Events(at, events.iter().map(|event| line(event)).collect()),
            None => Step::Tick(at),
        })
    };
    story.steps.iter().map(step).collect()
}

/// A pipeline on a log in memory, whose files are in a folder.
struct Stage {
    disk: Arc<dyn Disk>,
    plan: Arc<Plan>,
    log: Vec<Arc<Entry>>,
    begun: Timestamp,
}

impl Stage {
    fn open(&self) -> Live {
        let plan = Arc::clone(&self.plan);
        let settings = LiveSettings {
            engine: Settings { threads: 1, partitions: 2, taps_max: 0 },
            identities_bytes: 1 << 20,
            rollups_bytes: None,
            paced: true,
            keeps_derived: true,
            outlet: log::Settings { reserve_bytes: 0, ..log::Settings::default() },
        };
        let beginning = Beginning { namespace: "default".into(), version: 1, position: 0, at: self.begun };
        Live::open(Home::local(&self.disk, "p"), &beginning, &move |_| Ok(Arc::clone(&plan)), settings).unwrap()
    }

    fn append(&mut self, kind: EntryKind, items: u32, bytes: Vec<u8>) {
        let position = self.log.len() as u64;
        // The time of receipt is today, whatever the clock of the session is.
        let at = 1_790_000_000_000_000_000 + position as i64;
        self.log.push(Arc::new(Entry { kind, at, items, position, first_item: 0, bytes }));
    }

    /// Appends events as a source gives them, in batches of three.
    fn give(&mut self, as_of: Timestamp, lines: &[String], line: &mut u64) {
        for batch in lines.chunks(3) {
            let mut fed = Fed { source: self.plan.sources[0].id.clone(), as_of: Some(as_of), ..Fed::default() };
            for _ in batch {
                *line += 1;
                fed.add(&"story".into(), *line);
            }
            fed.taken.push(("line".to_owned(), Some(line.to_string())));
            let text: String = batch.iter().map(|line| format!("{line}\n")).collect();
            let letter = Letter { pipeline: Some(self.plan.id), fed: Some(fed), ..Letter::open("default", text.as_bytes()) };
            let mut bytes = Vec::new();
            letter.write_to(&mut bytes);
            self.append(EntryKind::Events, batch.len() as u32, bytes);
        }
    }

    /// Applies the rest of the log after a crash.
    fn follow(&self) -> Live {
        let mut live = self.open();
        let plan = Arc::clone(&self.plan);
        let plan_of = move |_| Ok::<_, Error>(Arc::clone(&plan));
        live.take(&self.log[live.position() as usize..], &plan_of).unwrap();
        live
    }
}

fn records(live: &Live) -> Vec<String> {
    let mut reader = live.outlet().records().reader(0).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        let all = items(&entry).filter_map(|(_, item)| record_item(item)).filter(|item| !item.is_threshold);
        found.extend(all.map(|item| String::from_utf8(item.json.to_vec()).unwrap()));
    }
    found
}

/// Returns whether a story was compared.
fn compare(story: &Story) -> Result<bool, String> {
    let Some(steps) = steps(story) else { return Ok(false) };
    let compiled = Pipeline::read(story.pipeline.get()).map_err(|why| why.to_string())?;
    let wanted = run(story.pipeline.get(), &steps, STRAIGHT);
    // The end of a session sends revisions at once, not after two seconds.
    if !compiled.plan.is_bounded() || wanted.tally.late > 0 {
        return Ok(false);
    }
    let folder = tempfile::tempdir().unwrap();
    let begun = steps.iter().map(|step| match step {
        Step::Events(at, _) | Step::Tick(at) => *at,
        _ => Timestamp::MAX,
    });
    let begun = begun.min().unwrap_or_default();
    let disk = Arc::new(LocalDisk::new(folder.path()).unwrap());
    let mut stage = Stage { disk, plan: Arc::new(compiled.plan), log: Vec::new(), begun };
    let mut line = 0;
    for (nth, step) in steps.iter().enumerate() {
        match step {
            Step::Events(at, lines) => stage.give(*at, lines, &mut line),
            Step::Tick(at) => {
                let close = LogCommand::Close { pipeline: stage.plan.id, at: at.nanos() };
                stage.append(EntryKind::Command, 0, close.to_json());
            }
            _ => {}
        }
        let mut live = stage.follow();
        live.commit().map_err(|why| why.to_string())?;
        if nth % 2 == 1 {
            live.checkpoint().map_err(|why| why.to_string())?;
        }
        let taken = live.taken(&stage.plan.sources[0].id).get("line").cloned();
        if taken != (line > 0).then(|| line.to_string()) {
            return Err(format!("taken {taken:?} after line {line}"));
        }
    }
    let live = stage.follow();
    let count = live.outlet().origins().values().map(|count| count.received).sum::<u64>();
    if count != wanted.tally.received {
        return Err(format!("{count} events by origin, not {}", wanted.tally.received));
    }
    let found = records(&live);
    match found == wanted.records {
        true => Ok(true),
        false => Err(format!("records\n{}\nnot\n{}", found.join("\n"), wanted.records.join("\n"))),
    }
}

#[test]
fn stories_on_the_log_give_the_records_of_a_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/stories");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut compared, mut failures) = (0, Vec::new());
    for file in files {
        let stories: Vec<Story> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for story in &stories {
            match compare(story) {
                Ok(is_compared) => compared += u32::from(is_compared),
                Err(why) => failures.push(format!("{}: {}: {why}", file.display(), story.story)),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(compared >= 15, "only {compared} stories are compared");
}
