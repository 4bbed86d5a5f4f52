//! The engine of a DEBUG session: takes events, closes every period, keeps the records.

use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_connectors::given::Given;
use flowmeter_connectors::services::{HttpServices, Waits};
use flowmeter_core::event::Block;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Engine, Error, Received, RecordSink, Settings, Source, Totals};

use serde_json::Value;

use crate::clock::Wall;
use crate::watch::Watch;

/// Records that would be flushed.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) records: Vec<String>,
    pub(super) record_count: u64,
    pub(super) threshold_count: u64,
    /// The maximum of records that are kept; all are counted.
    records_max: usize,
    /// Whether records without events are left out if their period has not ended.
    skips_empty: bool,
    /// Whether the periods that are flushed have not ended.
    is_open: bool,
}

impl Kept {
    /// Keeps so many records, to be shown.
    pub(super) fn shown(records_max: usize) -> Kept {
        Kept { records_max, ..Kept::default() }
    }

    /// Keeps all records, to be compared. The period after the last event is no result of the
    /// events: a record of a period that has not ended is left out if it has no events.
    pub(super) fn compared() -> Kept {
        Kept { records_max: usize::MAX, skips_empty: true, ..Kept::default() }
    }

    fn keep(&mut self, json: &[u8]) {
        let is_skipped = self.skips_empty && self.is_open && has_no_events(json);
        if self.records.len() < self.records_max && !is_skipped {
            self.records.push(String::from_utf8_lossy(json).into_owned());
        }
    }
}

fn has_no_events(json: &[u8]) -> bool {
    let record: Value = serde_json::from_slice(json).unwrap_or_default();
    record["meterMetaData"]["eventCount"] == 0
}

impl RecordSink for Kept {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.record_count += 1;
        self.keep(json);
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.threshold_count += 1;
        self.keep(json);
        Ok(())
    }
}

/// The events of a session.
pub(super) enum Events {
    Files(Files),
    Given(Given),
}

impl Source for Events {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        match self {
            Events::Files(files) => files.receive(block),
            Events::Given(given) => given.receive(block),
        }
    }

    fn progress(&self) -> (u64, Option<u64>) {
        match self {
            Events::Files(files) => files.progress(),
            Events::Given(given) => given.progress(),
        }
    }
}

impl Events {
    fn warnings(&self) -> Vec<String> {
        match self {
            Events::Files(files) => files.warnings(),
            Events::Given(_) => Vec::new(),
        }
    }
}

/// The reason why a test did not pass.
pub(super) enum Stopped {
    /// The session finished, and events were not as expected.
    Failed(anyhow::Error),
    /// The session could not finish: wrong input, or a failure.
    Broken(anyhow::Error),
}

impl Stopped {
    pub(super) fn why(&self) -> &anyhow::Error {
        match self {
            Stopped::Failed(why) | Stopped::Broken(why) => why,
        }
    }
}

pub(super) fn broken(why: impl Into<anyhow::Error>) -> Stopped {
    Stopped::Broken(why.into())
}

/// The options of a session.
pub(super) struct Session<'s> {
    pub(super) plan: &'s Arc<Plan>,
    pub(super) as_of: Timestamp,
    pub(super) settings: Settings,
    /// Whether a parked event fails the test.
    pub(super) is_strict: bool,
}

impl Session<'_> {
    /// Counts all events and flushes every period, also those that have not ended.
    pub(super) fn run(&self, events: &mut Events, watch: &mut Watch, kept: &mut Kept) -> (Totals, Result<(), Stopped>) {
        let start = || {
            let mut engine = Engine::new(self.plan, self.settings)?;
            flowmeter_connectors::tables::load(self.plan, &mut engine, crate::clock::now())?;
            if let Some(services) = HttpServices::open_for_debug(self.plan, Arc::new(Wall), Waits::default())? {
                engine.use_services(services);
            }
            Ok::<_, anyhow::Error>(engine)
        };
        let mut engine = match start() {
            Ok(engine) => engine,
            Err(why) => return (Totals::default(), Err(broken(why))),
        };
        engine.open_declared(self.as_of);
        let outcome = self.lead(&mut engine, events, watch, kept);
        (engine.totals(), outcome)
    }

    fn lead(&self, engine: &mut Engine, events: &mut Events, watch: &mut Watch, kept: &mut Kept) -> Result<(), Stopped> {
        engine.ingest(events, self.as_of, kept, watch).map_err(broken)?;
        (watch.unseen, watch.warnings) = (engine.unseen(), events.warnings());
        let checked = flowmeter_connectors::completeness::check(self.plan, &engine.totals().tally);
        checked.map_err(|why| Stopped::Failed(why.into()))?;
        engine.tick(self.as_of, kept, watch).map_err(broken)?;
        kept.is_open = true;
        engine.flush_open(self.as_of, kept, watch).map_err(broken)?;
        let parked = engine.totals().tally.parked_total();
        match (self.is_strict && parked > 0, self.is_strict && !watch.unseen.is_empty()) {
            (true, _) => Err(Stopped::Failed(anyhow::anyhow!("{parked} events were parked"))),
            (false, true) => Err(Stopped::Failed(anyhow::anyhow!("{}", watch.unseen.join("; ")))),
            (false, false) => Ok(()),
        }
    }
}
