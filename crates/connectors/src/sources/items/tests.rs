//! A file counts once, also when it is damaged or changes while it is being taken.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use flowmeter_document::Pipeline;
use flowmeter_engine::live::Taken;

use super::*;
use crate::calls::Abandon;
use crate::sources::{Step, items_of, open};

/// Opens the files of a folder as a session does, with what was taken before.
fn reading(folder: &Path, taken: &Taken) -> Box<dyn Reading> {
    reading_with(folder, "", taken)
}

fn reading_with(folder: &Path, options: &str, taken: &Taken) -> Box<dyn Reading> {
    let document = format!(
        "pipeline: p\nsource: {{ file: {{ path: '{}/*'{options} }} }}\noperators:\n  - meter: {{ key: \
         00000000-0000-4000-8000-000000000001, rules: [{{ category: n }}] }}\nmeterTypes:\n  - {{ name: N, category: n, \
         aggregation: increment }}\n",
        folder.display()
    );
    let around = Surroundings {
        plan: Arc::new(Pipeline::read(&document).unwrap().plan),
        source: 0,
        session: 1,
        as_of: None,
        taken: taken.clone(),
        abandon: Abandon::default(),
        spool: folder.join("spool"),
        durable: Arc::new(|| Ok(())),
        wall: Arc::new(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
    };
    open(around).unwrap().unwrap()
}

/// Reads a source to its end; returns its lines, and the state of each file with its reason.
fn rest(folder: &Path, taken: &mut Taken) -> (Vec<String>, Vec<(ItemState, Option<String>)>) {
    let mut reading = reading(folder, taken);
    let mut lines = Vec::new();
    while let Step::Taken(batch) = reading.next().unwrap() {
        batch.fed.take(taken);
        lines.extend(String::from_utf8(batch.lines).unwrap().lines().map(str::to_owned));
    }
    (lines, items_of(taken).map(|(_, item)| (item.state, item.why)).collect())
}

fn numbered(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(80))).collect()
}

#[test]
fn a_file_that_changes_while_it_is_taken_is_continued_only_with_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.ndjson");
    let content = numbered(0..30_000);
    std::fs::write(&file, &content).unwrap();
    let mut taken = Taken::new();
    let Step::Taken(first) = reading(folder.path(), &taken).next().unwrap() else { panic!("nothing") };
    first.fed.take(&mut taken);
    let begun = first.fed.events() as usize;
    assert!((1..30_000).contains(&begun), "a part: {begun}");
    // However often the changed file is looked at, nothing of it is taken.
    std::fs::write(&file, numbered(0..40_000)).unwrap();
    for _ in 0..3 {
        let (lines, states) = rest(folder.path(), &mut taken);
        assert_eq!((lines.len(), states[0].0), (0, ItemState::Failed));
        assert!(states[0].1.as_ref().unwrap().contains(&format!("{begun} of its events count")), "{states:?}");
    }
    std::fs::write(&file, &content).unwrap();
    let (lines, states) = rest(folder.path(), &mut taken);
    let expected: Vec<&str> = content.lines().skip(begun).collect();
    assert_eq!(lines, expected);
    assert_eq!(states, [(ItemState::Taken, None)]);
    // Now another content is a new file.
    std::fs::write(&file, numbered(0..3)).unwrap();
    assert_eq!(rest(folder.path(), &mut taken).0.len(), 3);
}

#[test]
fn one_content_is_taken_once_whatever_its_names_and_times() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::write(folder.path().join(name), numbered(0..5)).unwrap();
    }
    let mut taken = Taken::new();
    let (lines, states) = rest(folder.path(), &mut taken);
    assert_eq!(lines.len(), 5);
    assert_eq!(states[0], (ItemState::Taken, None));
    assert_eq!(states[1].0, ItemState::Skipped);
    // Written again with the same content, it has another time.
    std::fs::write(folder.path().join("a"), numbered(0..5)).unwrap();
    assert_eq!(rest(folder.path(), &mut taken).0.len(), 0);
}

#[test]
fn a_damaged_file_gives_nothing_and_the_others_all() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    std::fs::write(folder.path().join("b"), numbered(0..2)).unwrap();
    let mut taken = Taken::new();
    let (lines, states) = rest(folder.path(), &mut taken);
    assert_eq!((lines.len(), states[0].0, states[1].0), (2, ItemState::Failed, ItemState::Taken));
    // A whole one in its place is taken.
    std::fs::write(folder.path().join("a.gz"), numbered(2..6)).unwrap();
    assert_eq!(rest(folder.path(), &mut taken).0.len(), 4);
}

#[test]
fn the_file_that_stops_a_source_is_remembered_as_failed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    std::fs::write(folder.path().join("b"), numbered(0..2)).unwrap();
    let mut taken = Taken::new();
    let mut source = reading_with(folder.path(), ", onFailure: stop", &taken);
    let Step::Taken(batch) = source.next().unwrap() else { panic!("nothing") };
    batch.fed.take(&mut taken);
    let states: Vec<ItemState> = items_of(&taken).map(|(_, item)| item.state).collect();
    assert_eq!(states, [ItemState::Failed]);
    let why = source.next().err().unwrap();
    assert_eq!(why.to_string().matches("a.gz").count(), 1, "{why}");
    assert!(why.to_string().contains("onFailure: stop"), "{why}");
}
