//! `flowmeter test`: a DEBUG session. Shows what would be delivered, and delivers nothing.

use std::process::ExitCode;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_connectors::services::HttpServices;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_engine::{Engine, Error, RecordSink, Totals};

use crate::args::{Form, Test};
use crate::clock::{Stopwatch, Wall};
use crate::failure::{self, PARKED};
use crate::journal::Journal;
use crate::load::{self, Loaded};
use crate::summary::Summary;
use crate::watch::Watch;

/// Records that would be flushed.
#[derive(Default)]
struct Kept {
    records: Vec<String>,
    record_count: u64,
    threshold_count: u64,
}

/// The maximum of records that are shown.
const SHOWN: usize = 100;

impl Kept {
    fn show(&mut self, json: &[u8]) {
        if self.records.len() < SHOWN {
            self.records.push(String::from_utf8_lossy(json).into_owned());
        }
    }
}

impl RecordSink for Kept {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.record_count += 1;
        self.show(json);
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.threshold_count += 1;
        self.show(json);
        Ok(())
    }
}

pub(crate) fn test(test: &Test) -> anyhow::Result<ExitCode> {
    let loaded = load::pipeline(&test.pipeline)?;
    let mut journal = Journal::new(1, &loaded.plan, RunType::Debug, test.events.as_deref())?;
    let mut watch = Watch::new(None, test.samples)?;
    let mut kept = Kept::default();
    let stopwatch = Stopwatch::start();
    journal.step(Trigger::Start)?;
    let (totals, outcome) = session(test, &loaded, &mut watch, &mut kept);
    watch.finish()?;
    match &outcome {
        Ok(()) => journal.step(Trigger::TestEnded)?,
        Err(Stopped::Failed(why) | Stopped::Broken(why)) => {
            journal.fail(why)?;
            eprintln!("error: {why:#}");
        }
    }
    journal.operators(&loaded.plan, &totals)?;
    let summary = Summary {
        plan: &loaded.plan,
        journal: &journal,
        totals: &totals,
        all: None,
        watch: &watch,
        records: kept.record_count,
        thresholds: kept.threshold_count,
        elapsed: stopwatch.elapsed(),
    };
    match test.output {
        Form::Table => failure::print(&summary.test_table(&kept.records))?,
        Form::Json => failure::print(&format!("{}\n", summary.test_json(&kept.records)))?,
    };
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::Failed(_)) => ExitCode::from(PARKED),
        Err(Stopped::Broken(why)) => ExitCode::from(failure::code(&why)),
    })
}

/// The reason why a test did not pass.
enum Stopped {
    /// The session finished, and events were not as expected.
    Failed(anyhow::Error),
    /// The session could not finish: wrong input, or a failure.
    Broken(anyhow::Error),
}

fn broken(why: impl Into<anyhow::Error>) -> Stopped {
    Stopped::Broken(why.into())
}

fn session(test: &Test, loaded: &Loaded, watch: &mut Watch, kept: &mut Kept) -> (Totals, Result<(), Stopped>) {
    let start = || {
        let as_of = load::as_of(&test.input)?;
        let files = Files::new(Arc::clone(&loaded.plan), &test.input.input)?;
        let mut engine = Engine::new(&loaded.plan, load::settings(&test.input, test.samples))?;
        flowmeter_connectors::tables::load(&loaded.plan, &mut engine)?;
        if let Some(services) = HttpServices::open_for_debug(&loaded.plan, Arc::new(Wall))? {
            engine.use_services(services);
        }
        Ok::<_, anyhow::Error>((as_of, files, engine))
    };
    let (as_of, mut files, mut engine) = match start() {
        Ok(started) => started,
        Err(why) => return (Totals::default(), Err(broken(why))),
    };
    engine.open_declared(as_of);
    let mut run = |engine: &mut Engine| {
        engine.ingest(&mut files, as_of, kept, watch).map_err(broken)?;
        (watch.unseen, watch.warnings) = (engine.unseen(), files.warnings());
        let checked = flowmeter_connectors::bounded::check(&loaded.plan, &engine.totals().tally);
        checked.map_err(|why| Stopped::Failed(why.into()))?;
        engine.tick(as_of, kept, watch).map_err(broken)?;
        engine.flush_open(as_of, kept, watch).map_err(broken)?;
        let parked = engine.totals().tally.parked_total();
        match (test.strict && parked > 0, test.strict && !watch.unseen.is_empty()) {
            (true, _) => Err(Stopped::Failed(anyhow::anyhow!("{parked} events were parked"))),
            (false, true) => Err(Stopped::Failed(anyhow::anyhow!("{}", watch.unseen.join("; ")))),
            (false, false) => Ok(()),
        }
    };
    let outcome = run(&mut engine);
    (engine.totals(), outcome)
}
