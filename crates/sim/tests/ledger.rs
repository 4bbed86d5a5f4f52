//! Runs that continue the previous one, with a crash at every call of the disk.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::event::{Batch, Block, Origin};
use flowmeter_core::mediation::{Decoder, Tap};
use flowmeter_core::source::Format;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_document::Pipeline;
use flowmeter_engine::ledger::{Ledger, LedgerSettings};
use flowmeter_engine::{Error, Observer, ParkedEvent, Received, Settings, Source};
use flowmeter_store::disk::Disk;
use serde_json::{Value, json};
use sim::disk::{Faults, SimDisk};
use sim::random::Random;

const DOCUMENT: &str = "
pipeline: runs
source: { file: { path: events.ndjson } }
operators:
  - meter:
      key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7
      rules: [{ category: calls, value: data.calls }]
meterTypes:
  - { name: calls, category: calls, resetSchedule: daily, thresholds: [{ name: many, value: 30 }] }
";
const DAYS: u64 = 4;

struct Lines(Option<String>, Arc<Decoder>);

impl Source for Lines {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        let Some(text) = self.0.take() else { return Ok(Received::End) };
        block.open().extend_from_slice(text.as_bytes());
        block.seal();
        block.origin = Origin { name: "day".into(), source: 0, columns: None };
        Ok(Received::Block(Arc::clone(&self.1)))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}

struct Nobody;

impl Observer for Nobody {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        panic!("{event:?}")
    }
    fn tapped(&mut self, _tap: &Tap, _line: u64) {}
    fn judged(&mut self, _batch: &Batch, _verdicts: &[Verdict]) {}
    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}

/// Returns the events of a day, and again the last one of the day before.
fn day(day: u64) -> String {
    let event = |day: u64, n: u64| {
        json!({ "id": format!("{day}-{n}"), "source": "s", "type": "t", "subject": format!("u{}", n % 3),
                "time": format!("2024-01-0{day}T{:02}:00:00Z", n % 24), "data": { "calls": n } })
    };
    let again = (15..20).filter(|_| day > 1).map(|n| event(day - 1, n));
    again.chain((0..20).map(|n| event(day, n))).map(|event| format!("{event}\n")).collect()
}

/// Records at a target, by id. Another content under the same id is an error.
type Held = BTreeMap<String, Value>;

/// Runs a day. The state that the target remembers says how far it is.
fn run(disk: &SimDisk, number: u64, held: &mut Held) -> Result<Tally, Error> {
    let Pipeline { plan, .. } = &Pipeline::read(DOCUMENT).unwrap();
    let plan = Arc::new(plan.clone());
    let settings = LedgerSettings { engine: Settings { threads: 1, partitions: 2, taps_max: 0 }, identities_bytes: 1 << 20 };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut ledger, mut engine) = Ledger::open(disk, &plan, DOCUMENT, settings)?;
    // It is unknown whether the run completed; if so, its events are duplicates now.
    let at = Timestamp::parse_rfc3339(format!("2024-01-0{}T12:00:00Z", number + 1).as_bytes()).unwrap();
    let decoder = Arc::new(plan.sources[0].decoder(&plan, Format::Ndjson, &[]));
    engine.ingest(&mut Lines(Some(day(number)), decoder), at, ledger.spool()?, &mut Nobody)?;
    engine.tick(at, ledger.spool()?, &mut Nobody)?;
    let tally = engine.totals().tally;
    ledger.close(&mut engine, at)?;
    ledger.begin_to_send(at)?;
    ledger.undelivered(&mut |owed| {
        let record: Value = serde_json::from_slice(owed.json).unwrap();
        let id = if owed.is_threshold { record.to_string() } else { record["meterMetaData"]["recordId"].to_string() };
        let before = held.insert(id, record.clone());
        assert!(before.is_none() || owed.in_doubt.is_some(), "sent before, and believed not to be: {record}");
        assert!(before.is_none_or(|before| before == record), "another content under the same id: {record}");
        Ok(())
    })?;
    ledger.delivered(json!(ledger.run()))?;
    Ok(tally)
}

#[test]
fn a_run_that_ends_at_any_call_happens_once() {
    let mut expected = Held::new();
    let calm = SimDisk::new(Random::new(0));
    for number in 1..=DAYS {
        let tally = run(&calm, number, &mut expected).unwrap();
        assert_eq!((tally.counted, tally.duplicate), (20, if number > 1 { 5 } else { 0 }));
    }
    // A record of each of three users a day, and a threshold of each.
    assert_eq!(expected.len() as u64, DAYS * 3 * 2);
    let calls = calm.calls();
    assert!(calls > 100);
    for seed in 0..calls * 2 {
        let disk = SimDisk::new(Random::new(seed));
        disk.set_faults(Faults { crash_in: Some(seed / 2), ..Faults::default() });
        let mut held = Held::new();
        for number in 1..=DAYS {
            if let Err(why) = run(&disk, number, &mut held) {
                assert!(disk.is_down(), "seed {seed}, day {number}: {why}");
                if seed % 2 == 0 {
                    disk.lose_power();
                } else {
                    disk.restart();
                }
                run(&disk, number, &mut held).unwrap_or_else(|why| panic!("seed {seed}, day {number}, again: {why}"));
            }
        }
        assert_eq!(held, expected, "seed {seed}");
    }
}
