//! `flowmeter test`: a DEBUG session. Nothing is pushed; what would be is shown.

use std::process::ExitCode;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_engine::{Engine, Error, RecordSink, Totals};

use crate::args::{Form, Test};
use crate::clock::Stopwatch;
use crate::failure::{self, PARKED, Wrong};
use crate::journal::Journal;
use crate::load::{self, Loaded};
use crate::summary::Summary;
use crate::watch::Watch;

/// Records that would be flushed, to be shown.
#[derive(Default)]
struct Kept {
    records: Vec<String>,
    record_count: u64,
    threshold_count: u64,
}

/// Records that are shown.
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
    match outcome {
        Ok(()) => journal.step(Trigger::TestEnded)?,
        Err(why) => {
            journal.fail(&why)?;
            eprintln!("error: {why:#}");
        }
    }
    journal.operators(&loaded.plan, &totals)?;
    let summary = Summary {
        plan: &loaded.plan,
        journal: &journal,
        totals: &totals,
        watch: &watch,
        records: kept.record_count,
        thresholds: kept.threshold_count,
        elapsed: stopwatch.elapsed(),
    };
    match test.output {
        Form::Table => failure::print(&summary.test_table(&kept.records))?,
        Form::Json => failure::print(&format!("{}\n", summary.test_json(&kept.records)))?,
    };
    Ok(if journal.session.error.is_some() { ExitCode::from(PARKED) } else { ExitCode::SUCCESS })
}

fn session(test: &Test, loaded: &Loaded, watch: &mut Watch, kept: &mut Kept) -> (Totals, anyhow::Result<()>) {
    let start = || {
        let as_of = load::as_of(&test.input)?;
        let files = Files::new(Arc::clone(&loaded.plan), &test.input.input)?;
        let engine = Engine::new(&loaded.plan, load::settings(&test.input, test.samples))?;
        Ok::<_, anyhow::Error>((as_of, files, engine))
    };
    let (as_of, mut files, mut engine) = match start() {
        Ok(started) => started,
        Err(why) => return (Totals::default(), Err(why)),
    };
    engine.open_declared(as_of);
    let mut run = |engine: &mut Engine| {
        engine.ingest(&mut files, as_of, kept, watch)?;
        flowmeter_connectors::bounded::check(&loaded.plan, &engine.totals().tally)?;
        engine.tick(as_of, kept)?;
        engine.flush_open(as_of, kept)?;
        let parked = engine.totals().tally.parked_total();
        match test.strict && parked > 0 {
            true => Err(Wrong(format!("{parked} events were parked")).into()),
            false => Ok(()),
        }
    };
    let outcome = run(&mut engine);
    (engine.totals(), outcome)
}
