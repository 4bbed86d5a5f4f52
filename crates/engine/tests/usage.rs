//! Usage rolled up by a running pipeline: an event that counts in meters is in the rollups, exactly
//! once, whatever crashes and however often checkpoints are made.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_engine::live::{Beginning, Home, Letter, Live, LiveSettings, LogCommand};
use flowmeter_engine::{Error, Settings};
use flowmeter_store::disk::{Disk, LocalDisk};
use flowmeter_store::log::{self, Entry, EntryKind};
use flowmeter_store::rollups::{Query, Row, SUBJECT};

const DOCUMENT: &str = "
pipeline: usage
source: { http: {} }
operators:
  - meter:
      key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7
      match: all
      rules:
        - { category: tokens, value: data.tokens, groupBy: [[data.model], [data.region, data.model]] }
        - { category: events }
meterTypes:
  - { name: tokens, category: tokens, aggregation: sum }
  - { name: events, category: events, aggregation: increment }
";

struct Stage {
    disk: Arc<dyn Disk>,
    plan: Arc<Plan>,
    settings: LiveSettings,
    log: Vec<Arc<Entry>>,
}

impl Stage {
    fn new(folder: &std::path::Path, paced: bool, rollups_bytes: Option<usize>) -> Stage {
        Stage {
            disk: Arc::new(LocalDisk::new(folder).unwrap()),
            plan: Arc::new(Pipeline::read(DOCUMENT).unwrap().plan),
            settings: LiveSettings {
                engine: Settings { threads: 2, partitions: 3, taps_max: 0 },
                identities_bytes: 16 << 20,
                rollups_bytes,
                paced,
                keeps_derived: true,
                outlet: log::Settings { segment_bytes: 1 << 20, reserve_bytes: 0 },
            },
            log: Vec::new(),
        }
    }

    fn open(&self) -> Live {
        let beginning = Beginning { namespace: "n".to_owned(), version: 1, position: 0, at: Timestamp::default() };
        let plan_of = self.plan_of();
        Live::open(Home::local(&self.disk, "p"), &beginning, &plan_of, self.settings).unwrap()
    }

    fn plan_of(&self) -> impl Fn(u32) -> Result<Arc<Plan>, Error> + use<> {
        let plan = Arc::clone(&self.plan);
        move |_| Ok(Arc::clone(&plan))
    }

    fn append(&mut self, kind: EntryKind, items: u32, bytes: Vec<u8>) {
        let position = self.log.len() as u64;
        let at = 1_700_000_000_000_000_000 + position as i64;
        self.log.push(Arc::new(Entry { kind, at, items, position, first_item: 0, bytes }));
    }

    /// Appends an entry of events of one token each.
    fn events(&mut self, first: u32, count: u32) {
        let lines: String = (first..first + count)
            .map(|n| {
                let (user, minute, model, region) = (n % 11, n % 50, n % 3, n % 2);
                format!("{{\"id\":\"{n}\",\"source\":\"s\",\"subject\":\"u{user}\",\"time\":\"2023-11-01T00:{minute:02}:00Z\",\"data\":{{\"tokens\":1,\"model\":\"m{model}\",\"region\":{region}}}}}\n")
            })
            .collect();
        let mut bytes = Vec::new();
        Letter::open("n", lines.as_bytes()).write_to(&mut bytes);
        self.append(EntryKind::Events, count, bytes);
    }

    fn take(&self, live: &mut Live) {
        live.take(&self.log[live.position() as usize..], &self.plan_of()).unwrap();
    }

    fn rows(&self, live: &mut Live, meter_type: usize, group_by: &[&str]) -> Vec<Row> {
        let kind = &self.plan.meter_types[meter_type];
        let group_by = group_by.iter().map(|&field| field.to_owned()).collect();
        let query = Query { group_by, ..Query::of(kind.id, kind.aggregation) };
        let mut parts = live.usage(&query).unwrap().into_iter().map(|part| part.answer().unwrap());
        let Some(mut sum) = parts.next() else { return Vec::new() };
        parts.for_each(|part| sum.merge(part).unwrap());
        sum.into_rows()
    }

    fn total(&self, live: &mut Live, meter_type: usize) -> u64 {
        self.rows(live, meter_type, &[]).iter().map(|row| row.event_count).sum()
    }
}

#[test]
fn crashes_and_merges_double_nothing() {
    for (paced, bytes) in [(true, 1 << 20), (false, 1 << 20), (true, 3 << 10)] {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(folder.path(), paced, Some(bytes));
        let mut live = stage.open();
        for round in 0..40 {
            stage.events(round * 100, 60);
            stage.take(&mut live);
            if round % 3 != 1 {
                live.checkpoint().unwrap();
            }
            stage.events(round * 100 + 60, 40);
            stage.take(&mut live);
            if round % 5 == 0 {
                // Events after the checkpoint are processed again.
                drop(live);
                live = stage.open();
                stage.take(&mut live);
            }
            assert_eq!(stage.total(&mut live, 0), u64::from(round + 1) * 100, "round {round}, paced {paced}");
        }
        assert_eq!(stage.total(&mut live, 1), 4_000);
        assert_eq!(live.tally().counted, 4_000);
        let by_user = stage.rows(&mut live, 0, &[SUBJECT]);
        assert_eq!(by_user.len(), 11);
        // Every field of every breakdown, together.
        let by_all = stage.rows(&mut live, 0, &["data.region", "data.model"]);
        assert_eq!((by_all.len(), by_all.iter().map(|row| row.event_count).sum::<u64>()), (6, 4_000));
        // A rule without groups has none.
        assert_eq!(stage.rows(&mut live, 1, &["data.model"]).len(), 1);
    }
}

#[test]
fn a_type_is_forgotten_with_its_meters() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), true, Some(1 << 20));
    let (pipeline, meter_type) = (stage.plan.id, stage.plan.meter_types[0].id);
    let mut live = stage.open();
    stage.events(0, 50);
    stage.take(&mut live);
    live.checkpoint().unwrap();
    stage.events(50, 50);
    stage.append(EntryKind::Command, 0, LogCommand::Forget { pipeline, meter_type }.to_json());
    stage.take(&mut live);
    for again in [false, true] {
        if again {
            drop(live);
            live = stage.open();
            stage.take(&mut live);
        }
        assert_eq!((stage.total(&mut live, 0), stage.total(&mut live, 1)), (0, 100));
        assert_eq!(live.meter_count(), 11);
    }
    stage.events(100, 1);
    stage.take(&mut live);
    assert_eq!((stage.total(&mut live, 0), stage.total(&mut live, 1)), (1, 101));
}

#[test]
fn rollups_may_be_switched_off_and_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), true, None);
    let mut live = stage.open();
    stage.events(0, 10);
    stage.take(&mut live);
    assert_eq!(stage.total(&mut live, 1), 0);
    live.checkpoint().unwrap();
    drop(live);
    stage.settings.rollups_bytes = Some(1 << 20);
    let mut live = stage.open();
    stage.events(10, 5);
    stage.take(&mut live);
    live.checkpoint().unwrap();
    assert_eq!(stage.total(&mut live, 1), 5);
}
