//! Formats that were ever written are read for ever: the log, checkpoints, and the streams of
//! records, parked events and verdicts, from a data directory kept under `fixtures/formats`.
//!
//! `UPDATE=1` makes the directory where there is none: for a new format, under a new name.
#![allow(clippy::unwrap_used)] // a test that cannot go on stops

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowmeter_core::pipeline::Pipeline;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};
use flowmeter_engine::live::{
    Arrivals, Beginning, Letter, Live, LiveSettings, LogCommand, Stream, folder_of, items, parked_item, record_item,
};
use flowmeter_engine::{Error, Settings};
use flowmeter_store::disk::{Disk, LocalDisk, Overlay};
use flowmeter_store::log::{self, Encoded, EntryKind, Log};

const PIPELINE: &str = "
pipeline: kept
source: { http: {} }
operators:
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      rules: [{ name: all, category: calls, value: n, groupBy: [[kind]] }]
meterTypes:
  - { name: Calls, category: calls, aggregation: sum, resetSchedule: hourly }
";

fn plan() -> Arc<Plan> {
    Arc::new(Pipeline::read(PIPELINE).unwrap().plan)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/formats/pipeline-1")
}

fn settings() -> LiveSettings {
    LiveSettings {
        rollups_bytes: Some(1 << 20),
        engine: Settings { threads: 1, partitions: 2, taps_max: 0 },
        identities_bytes: 1 << 20,
        paced: true,
        outlet: log_settings(),
    }
}

fn log_settings() -> log::Settings {
    log::Settings { reserve_bytes: 0, ..log::Settings::default() }
}

fn open(disk: &Arc<dyn Disk>) -> (Log, Live) {
    let (log, recovered) = Log::open(Arc::clone(disk), "log", log_settings()).unwrap();
    assert_eq!(recovered.torn_bytes, 0);
    let beginning = Beginning { namespace: "default".into(), version: 1, position: 0, at: at("2024-05-01T10:00:00Z") };
    let live = Live::open(Arc::clone(disk), &folder_of(plan().id), &beginning, &plan_of, settings()).unwrap();
    (log, live)
}

#[allow(clippy::unnecessary_wraps)] // as a pipeline at work asks for plans
fn plan_of(_version: u32) -> Result<Arc<Plan>, Error> {
    Ok(plan())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_bytes()).unwrap()
}

fn catch_up(log: &Log, live: &mut Live, until: u64) {
    let mut reader = log.reader(live.position()).unwrap();
    while live.position() < until {
        let entry = reader.read().unwrap().unwrap();
        live.take(&[Arc::new(entry)], &plan_of).unwrap();
    }
}

/// Some events, a tick that flushes, a checkpoint, and an event behind it.
fn make(folder: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder).unwrap());
    let (mut log, mut live) = open(&disk);
    let events = |time: &str, lines: &[&str]| {
        let mut letter = Vec::new();
        let lines = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Letter { namespace: "default", pipeline: None, again: false, lines: lines.as_bytes() }.write_to(&mut letter);
        Encoded::new(EntryKind::Events, at(time).nanos(), 1, &letter)
    };
    let event = |id: u32, n: &str| {
        format!(
            r#"{{"id":"{id}","source":"s","subject":"ann","time":"2024-05-01T10:10:00Z","n":{n},"kind":"long enough to be compressed {id}"}}"#
        )
    };
    let first = [event(1, "1.5"), event(1, "1.5"), event(2, "2"), event(3, "\"x\"")];
    log.append(&events("2024-05-01T10:10:01Z", &first.each_ref().map(String::as_str))).unwrap();
    let tick = at("2024-05-01T11:00:00Z").nanos();
    log.append(&Encoded::new(EntryKind::Command, tick, 0, &LogCommand::Tick.to_json())).unwrap();
    log.append(&events("2024-05-01T11:00:01Z", &[&event(4, "4").replace("T10:10", "T11:00")])).unwrap();
    log.commit().unwrap();
    catch_up(&log, &mut live, 2);
    live.checkpoint().unwrap();
    catch_up(&log, &mut live, 3);
    live.commit().unwrap();
}

fn texts(stream: &Stream) -> Vec<Vec<u8>> {
    let mut reader = stream.reader(stream.first()).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        found.extend(items(&entry).map(|(_, item)| item.to_vec()));
    }
    found
}

#[test]
fn what_was_written_is_read_for_ever() {
    if std::env::var_os("UPDATE").is_some() && !folder().exists() {
        make(&folder());
    }
    let scratch = tempfile::tempdir().unwrap();
    let below = Arc::new(LocalDisk::new(&folder()).unwrap());
    let disk: Arc<dyn Disk> = Arc::new(Overlay::new(below, Arc::new(LocalDisk::new(scratch.path()).unwrap())));
    let (log, mut live) = open(&disk);
    assert_eq!((log.first(), log.next(), live.position()), (0, 3, 2), "the checkpoint");
    catch_up(&log, &mut live, 3);
    live.commit().unwrap();
    let tally = live.tally();
    assert_eq!((tally.received, tally.counted, tally.duplicate, tally.parked_total()), (5, 3, 1, 1));

    let records = texts(live.outlet().records());
    let record = record_item(&records[0]).unwrap();
    let json = String::from_utf8(record.json.to_vec()).unwrap();
    assert!(records.len() == 1 && !record.is_threshold && json.contains("\"value\":3.5}"), "{json}");
    let parked = texts(live.outlet().parked());
    let parked = parked_item(&parked[0]).unwrap();
    assert_eq!((parked.arrival, parked.reason, parked.operator.is_empty()), (3, Reason::BadValue, false));
    assert!(parked.raw.starts_with(br#"{"id":"3""#));

    let pipeline = folder_of(plan().id);
    let mut arrivals = Arrivals::open(&disk, "log", &pipeline, 2, 3).unwrap();
    let part = arrivals.read(true).unwrap().unwrap();
    assert_eq!((part.entry.position, part.skip, part.first), (0, 2, 2), "from the middle of an entry");
    assert_eq!(part.verdicts, [Verdict::Counted, Verdict::Parked(Reason::BadValue)]);
    assert_eq!(part.parked[&3].reason, Reason::BadValue);
    let last = arrivals.read(true).unwrap().unwrap();
    assert_eq!((last.entry.position, last.skip, last.first), (2, 0, 4));
    assert_eq!(last.at(), at("2024-05-01T11:00:01Z"));
    assert!(arrivals.read(true).unwrap().is_none());
}
