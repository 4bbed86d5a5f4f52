//! Formats that were ever written can be read for ever: the log, checkpoints, and the streams of
//! records, parked events, verdicts and notes, from a data directory kept under `fixtures/formats`.
//!
//! `UPDATE=1` creates the missing directory of the newest format: for a new format, under a new
//! name.
#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};
use flowmeter_document::Pipeline;
use flowmeter_engine::live::{
    Arrivals, Beginning, DerivedItem, Fed, Home, Letter, Live, LiveSettings, LogCommand, MeterName, NoteKind, Stream,
    derived_item, folder_of, items, note_item, parked_item, record_item,
};
use flowmeter_engine::{Error, Settings, StateChoices};
use flowmeter_store::disk::{Disk, LocalDisk, Overlay};
use flowmeter_store::log::{self, Encoded, EntryKind, Log, Reader};

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

/// A pipeline whose operator makes events.
const SPLITTING: &str = "
pipeline: kept
source: { http: {} }
operators:
  - split: { path: lines, into: line }
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      value: line
      rules: [{}]
meterTypes:
  - { name: Calls, resetSchedule: hourly }
";

fn plan() -> Arc<Plan> {
    Arc::new(Pipeline::read(PIPELINE).unwrap().plan)
}

fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/formats/pipeline-{format}"))
}

fn settings() -> LiveSettings {
    LiveSettings {
        rollups_bytes: Some(1 << 20),
        engine: Settings { threads: 1, partitions: 2, taps_max: 0 },
        identities_bytes: 1 << 20,
        paced: true,
        keeps_derived: true,
        outlet: log_settings(),
    }
}

fn log_settings() -> log::Settings {
    log::Settings { reserve_bytes: 0, ..log::Settings::default() }
}

fn open(disk: &Arc<dyn Disk>) -> (Log, Live) {
    open_with(disk, &plan_of)
}

fn open_with(disk: &Arc<dyn Disk>, plan_of: &dyn Fn(u32) -> Result<Arc<Plan>, Error>) -> (Log, Live) {
    let (log, recovered) = Log::open(Arc::clone(disk), "log", log_settings()).unwrap();
    assert_eq!(recovered.torn_bytes, 0);
    let beginning = Beginning { namespace: "default".into(), version: 1, position: 0, at: at("2024-05-01T10:00:00Z") };
    let live = Live::open(Home::local(disk, &folder_of(plan().id)), &beginning, plan_of, settings()).unwrap();
    (log, live)
}

/// The second version has another schedule.
#[allow(clippy::unnecessary_wraps)] // the signature of the callback for plans
fn plan_of(version: u32) -> Result<Arc<Plan>, Error> {
    let schedule = if version == 1 { "hourly" } else { "daily" };
    Ok(Arc::new(Pipeline::read(&PIPELINE.replace("hourly", schedule)).unwrap().plan))
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

fn events(time: &str, lines: &[String]) -> Encoded {
    let mut letter = Vec::new();
    let lines = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    Letter::open("default", lines.as_bytes()).write_to(&mut letter);
    Encoded::new(EntryKind::Events, at(time).nanos(), 1, &letter)
}

fn event(id: u32, user: &str, time: &str, n: u32) -> String {
    format!(r#"{{"id":"{id}","source":"s","subject":"{user}","time":"2024-05-01T{time}:00Z","n":{n},"kind":"a"}}"#)
}

fn command(time: &str, command: &LogCommand) -> Encoded {
    Encoded::new(EntryKind::Command, at(time).nanos(), 0, &command.to_json())
}

fn meter_of_ann() -> MeterName {
    MeterName {
        user_id: "ann".to_owned(),
        meter_type_id: plan().meter_types[0].id,
        meter_key: plan().processors[0].key,
        id: None,
        delete_on_reset: false,
        custom_fields: serde_json::Map::new(),
        limits: serde_json::Map::new(),
        timezone: None,
        created_at: None,
    }
}

/// Writes a data directory with a subscription to meter events, a meter that is deleted after its
/// flush, a changed schedule, a checkpoint and, after it, an event for a period that the deleted
/// meter flushed, and ticks.
fn make(folder: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder).unwrap());
    let (mut log, mut live) = open(&disk);
    let ann = meter_of_ann();
    let pipeline = plan().id;
    let first = [event(1, "ann", "10:10", 3), event(2, "bob", "10:10", 1), event(3, "bob", "11:01", 2)];
    for entry in [
        command("2024-05-01T10:00:00Z", &LogCommand::Listen { pipeline, listens: true }),
        events("2024-05-01T10:59:00Z", &first),
        command("2024-05-01T11:00:00Z", &LogCommand::Tick),
        command("2024-05-01T11:10:00Z", &LogCommand::Delete { pipeline, meter: ann }),
        command("2024-05-01T11:20:00Z", &LogCommand::Adopt { pipeline, version: 2, document: None, state: StateChoices::new() }),
        events("2024-05-01T11:30:00Z", &[event(4, "ann", "10:20", 4), event(5, "bob", "13:00", 5)]),
        events("2024-05-01T13:00:00Z", &[event(6, "bob", "13:00", 6)]),
        command("2024-05-02T00:00:00Z", &LogCommand::Tick),
    ] {
        log.append(&entry).unwrap();
    }
    log.commit().unwrap();
    catch_up(&log, &mut live, 5);
    live.checkpoint().unwrap();
    catch_up(&log, &mut live, 8);
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

/// Returns the files under `fixtures`, with a temporary folder for new writes.
fn kept(format: &str) -> (Arc<dyn Disk>, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let below = Arc::new(LocalDisk::new(&folder(format)).unwrap());
    let disk: Arc<dyn Disk> = Arc::new(Overlay::new(below, Arc::new(LocalDisk::new(scratch.path()).unwrap())));
    (disk, scratch)
}

#[test]
fn format_1_can_be_read() {
    let (disk, _scratch) = kept("1");
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
    let mut arrivals =
        Arrivals::open(&disk, (0, Box::new(Reader::beside(Arc::clone(&disk), "log", 0, 3).unwrap())), &pipeline, 2, 3).unwrap();
    let part = arrivals.read(true).unwrap().unwrap();
    assert_eq!((part.entry.position, part.skip, part.first), (0, 2, 2), "from the middle of an entry");
    assert_eq!(part.verdicts, [Verdict::Counted, Verdict::Parked(Reason::BadValue)]);
    assert_eq!(part.parked[&3].reason, Reason::BadValue);
    let last = arrivals.read(true).unwrap().unwrap();
    assert_eq!((last.entry.position, last.skip, last.first), (2, 0, 4));
    assert_eq!(last.at(), at("2024-05-01T11:00:01Z"));
    assert!(arrivals.read(true).unwrap().is_none());
}

#[test]
fn format_2_can_be_read() {
    reads_on("2", [7, 4]);
}

#[test]
fn format_3_can_be_read() {
    if std::env::var_os("UPDATE").is_some() && !folder("3").exists() {
        make(&folder("3"));
    }
    let live = reads_on("3", [8, 5]);
    assert!(live.listens(), "the checkpoint says who listens");
    let notes: Vec<(NoteKind, u64)> =
        texts(live.outlet().notes()).iter().map(|item| note_item(item).map(|note| (note.kind, note.before)).unwrap()).collect();
    assert_eq!(notes, [(NoteKind::Opened, 0), (NoteKind::Opened, 0), (NoteKind::Deleted, 2)]);
}

/// Writes a data directory with events that a source read: some before the checkpoint, some after.
fn make_fed(folder: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder).unwrap());
    let (mut log, mut live) = open(&disk);
    for (first, time) in [(1_u32, "2024-05-01T10:10:00Z"), (3, "2024-05-01T10:20:00Z")] {
        let mut fed = Fed { source: "source".to_owned(), as_of: None, ..Fed::default() };
        fed.add(&"usage.csv".into(), u64::from(first) + 1);
        fed.add(&"usage.csv".into(), u64::from(first) + 4);
        fed.taken.push(("item:usage.csv".to_owned(), Some(format!("{{\"events\":{}}}", first + 1))));
        let lines: String = (first..first + 2).map(|id| format!("{}\n", event(id, "ann", "10:05", id))).collect();
        let letter = Letter { pipeline: Some(plan().id), fed: Some(fed), ..Letter::open("default", lines.as_bytes()) };
        let mut bytes = Vec::new();
        letter.write_to(&mut bytes);
        log.append(&Encoded::new(EntryKind::Events, at(time).nanos(), 2, &bytes)).unwrap();
        log.commit().unwrap();
        if first == 1 {
            catch_up(&log, &mut live, 1);
            live.checkpoint().unwrap();
        }
    }
}

#[test]
fn format_6_can_be_read() {
    if std::env::var_os("UPDATE").is_some() && !folder("6").exists() {
        make_fed(&folder("6"));
    }
    let (disk, _scratch) = kept("6");
    let (log, mut live) = open(&disk);
    assert_eq!(live.position(), 1, "the checkpoint");
    assert_eq!(live.taken("source").values().collect::<Vec<_>>(), ["{\"events\":2}"]);
    catch_up(&log, &mut live, 2);
    assert_eq!(live.taken("source").values().collect::<Vec<_>>(), ["{\"events\":4}"]);
    let origins = live.outlet().origins();
    let count = origins[&("source".to_owned(), "usage.csv".to_owned())];
    assert_eq!((count.received, count.counted), (4, 4));
    let entry = log.reader(1).unwrap().read().unwrap().unwrap();
    let fed = Letter::read(&entry.bytes).unwrap().fed.unwrap();
    assert_eq!([fed.place_of(0), fed.place_of(1), fed.place_of(2)], [Some(("usage.csv", 4)), Some(("usage.csv", 7)), None]);
}

#[allow(clippy::unnecessary_wraps)] // the signature of the callback for plans
fn splitting(_version: u32) -> Result<Arc<Plan>, Error> {
    Ok(Arc::new(Pipeline::read(SPLITTING).unwrap().plan))
}

fn order(id: &str, lines: &str) -> String {
    format!(r#"{{"id":"{id}","source":"s","subject":"ann","time":"2024-05-01T10:10:00Z","lines":{lines}}}"#)
}

fn catch_up_splitting(log: &Log, live: &mut Live) {
    let mut reader = log.reader(live.position()).unwrap();
    while let Some(entry) = reader.read().unwrap() {
        live.take(&[Arc::new(entry)], &splitting).unwrap();
    }
}

/// Writes a data directory with events that an operator made, before the checkpoint and after it.
fn make_split(folder: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder).unwrap());
    let (mut log, mut live) = open_with(&disk, &splitting);
    for (id, lines) in [("a", "[1, 2]"), ("b", "[3, true]")] {
        log.append(&events("2024-05-01T10:20:00Z", &[order(id, lines)])).unwrap();
        log.commit().unwrap();
        catch_up_splitting(&log, &mut live);
        match id {
            "a" => live.checkpoint().map(drop).unwrap(),
            _ => live.commit().unwrap(),
        }
    }
}

#[test]
fn format_7_can_be_read() {
    if std::env::var_os("UPDATE").is_some() && !folder("7").exists() {
        make_split(&folder("7"));
    }
    let (disk, _scratch) = kept("7");
    let (log, mut live) = open_with(&disk, &splitting);
    assert_eq!((live.position(), live.outlet().derived().next()), (1, 2), "the checkpoint");
    catch_up_splitting(&log, &mut live);
    live.commit().unwrap();
    let there = texts(live.outlet().derived());
    let read: Vec<DerivedItem<'_>> = there.iter().map(|item| derived_item(item).unwrap()).collect();
    let parents: Vec<(Option<u64>, Verdict)> = read.iter().map(|item| (item.arrival, item.verdict)).collect();
    let refused = Verdict::Parked(Reason::BadValue);
    let counted = |parent| (Some(parent), Verdict::Counted);
    assert_eq!(parents, [counted(0), counted(0), counted(1), (Some(1), refused)]);
    let last = read[3];
    assert_eq!((last.made_by, last.at), ("split", at("2024-05-01T10:20:00Z")));
    assert!(last.operator == "meter" && !last.detail.is_empty(), "{last:?}");
    assert!(last.json.starts_with(br#"{"id":"b/split/1""#), "{}", String::from_utf8_lossy(last.json));
}

/// Writes a data directory with a meter that has a capacity and thresholds of its own: half of the
/// capacity was reached before the checkpoint.
fn make_limited(folder: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder).unwrap());
    let (mut log, mut live) = open(&disk);
    let limits = r#"{"capacity": 1.5, "thresholds": [{"name": "half", "percentOfCapacity": 50, "customFields": {"a": 1.50}}, {"name": "all", "value": 2}]}"#;
    let meter = MeterName { limits: serde_json::from_str(limits).unwrap(), ..meter_of_ann() };
    let pipeline = plan().id;
    for entry in [
        command("2024-05-01T10:00:00Z", &LogCommand::Open { pipeline, meter }),
        events("2024-05-01T10:10:00Z", &[event(1, "ann", "10:05", 1)]),
        events("2024-05-01T10:20:00Z", &[event(2, "ann", "10:06", 1)]),
    ] {
        log.append(&entry).unwrap();
    }
    log.commit().unwrap();
    catch_up(&log, &mut live, 2);
    live.checkpoint().unwrap();
}

#[test]
fn limits_of_meters_can_be_read() {
    if std::env::var_os("UPDATE").is_some() && !folder("6-limits").exists() {
        make_limited(&folder("6-limits"));
    }
    let (disk, _scratch) = kept("6-limits");
    let (log, mut live) = open(&disk);
    assert_eq!(live.position(), 2, "the checkpoint");
    let shown = live.meters().next().unwrap().1.limits().unwrap().settings();
    let expected = r#"{"capacity":1.5,"thresholds":[{"customFields":{"a":1.50},"name":"half","percentOfCapacity":50},{"name":"all","value":2}]}"#;
    assert_eq!(serde_json::Value::Object(shown).to_string(), expected);
    catch_up(&log, &mut live, 3);
    live.commit().unwrap();
    let records = texts(live.outlet().records());
    let name = |item: &Vec<u8>| {
        let record: serde_json::Value = serde_json::from_slice(record_item(item).unwrap().json).unwrap();
        record["threshold"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(records.iter().map(name).collect::<Vec<_>>(), ["half", "all"], "each once");
}

/// Continues from a checkpoint to the end of its log and checks the results.
fn reads_on(format: &str, [end, position]: [u64; 2]) -> Live {
    let (disk, _scratch) = kept(format);
    let (log, mut live) = open(&disk);
    assert_eq!((log.next(), live.position(), live.version()), (end, position, 2), "the checkpoint");
    assert_eq!((live.meter_count(), live.remembered()), (1, (1, 0)), "a meter is gone");
    catch_up(&log, &mut live, end);
    live.commit().unwrap();
    let records = texts(live.outlet().records());
    let shown = |item: &Vec<u8>| {
        let record: serde_json::Value = serde_json::from_slice(record_item(item).unwrap().json).unwrap();
        let text = |name: &str| record[name].as_str().unwrap()[8..16].to_owned();
        let meta = &record["meterMetaData"];
        format!(
            "{} {}-{} {} r{}",
            record["userId"].as_str().unwrap(),
            text("periodStart"),
            text("periodEnd"),
            record["value"],
            meta["revision"]
        )
    };
    assert_eq!(
        records.iter().map(shown).collect::<Vec<_>>(),
        [
            "ann 01T10:00-01T11:00 3 r0",
            "bob 01T10:00-01T11:00 1 r0",
            "ann 01T10:00-01T11:00 7 r1",
            "bob 01T11:00-01T12:00 2 r0",
            "bob 01T12:00-02T00:00 6 r0",
        ]
    );
    // An event too far in the future.
    assert_eq!((live.tally().counted, live.tally().parked_total()), (5, 1));
    live
}
