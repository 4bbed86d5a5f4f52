//! `flowmeter test`: a DEBUG session. Shows the records that would be delivered, or compares them
//! with expected ones. Delivers nothing.

mod cases;
mod compare;
mod expected;
mod session;

use std::process::ExitCode;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_engine::Totals;
use serde_json::Value;

use crate::args::Test;
use crate::clock::Stopwatch;
use crate::failure::{self, DIFFERENT, PARKED, Wrong};
use crate::form::Form;
use crate::journal::Journal;
use crate::load::{self, Loaded};
use crate::summary::Summary;
use crate::watch::Watch;
use session::{Events, Kept, Session, Stopped, broken};

/// The maximum of records that are shown.
const SHOWN: usize = 100;

pub(crate) fn test(test: &Test) -> anyhow::Result<ExitCode> {
    let loaded = load::pipeline(&test.pipeline)?;
    if !loaded.tests.is_empty() && test.input.input.is_empty() && test.expect.is_none() {
        if test.events.is_some() {
            let message = "--events writes the events of one session, and the document has `tests`; add --input FILE";
            return Err(Wrong(message.to_owned()).into());
        }
        return cases::run_all(test, &loaded);
    }
    let wanted = test.expect.as_deref().map(expected::of_file).transpose()?;
    let mut journal = Journal::new(1, &loaded.plan, RunType::Debug, test.events.as_deref())?;
    let mut watch = Watch::new(None, test.samples)?;
    let mut kept = if wanted.is_some() { Kept::compared() } else { Kept::shown(SHOWN) };
    let stopwatch = Stopwatch::start();
    journal.step(Trigger::Start)?;
    let (totals, outcome) = run(test, &loaded, &mut watch, &mut kept);
    watch.finish()?;
    match &outcome {
        Ok(()) => journal.step(Trigger::TestEnded)?,
        Err(stopped) => {
            journal.fail(stopped.why())?;
            eprintln!("error: {:#}", stopped.why());
        }
    }
    journal.operators(&loaded.plan, &totals)?;
    let code = match &outcome {
        Ok(()) => 0,
        Err(Stopped::Failed(_)) => PARKED,
        Err(Stopped::Broken(why)) => failure::code(why),
    };
    if let Some(wanted) = wanted {
        let is_broken = matches!(outcome, Err(Stopped::Broken(_)));
        let is_equal = is_broken || compare_with(test, &wanted, &kept, &totals, &watch)?;
        return Ok(ExitCode::from(if code == 0 && !is_equal { DIFFERENT } else { code }));
    }
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
    Ok(ExitCode::from(code))
}

fn run(test: &Test, loaded: &Loaded, watch: &mut Watch, kept: &mut Kept) -> (Totals, Result<(), Stopped>) {
    let start = || {
        let files = Files::new(Arc::clone(&loaded.plan), &test.input.input)?;
        Ok::<_, anyhow::Error>((load::as_of(&test.input)?, Events::Files(files)))
    };
    let (as_of, mut events) = match start() {
        Ok(started) => started,
        Err(why) => return (Totals::default(), Err(broken(why))),
    };
    let settings = load::settings(&test.input, test.samples);
    Session { plan: &loaded.plan, as_of, settings, is_strict: test.strict }.run(&mut events, watch, kept)
}

/// Prints how the records differ from the expected ones. Returns whether they are equal.
fn compare_with(test: &Test, wanted: &[Value], kept: &Kept, totals: &Totals, watch: &Watch) -> anyhow::Result<bool> {
    let comparison = compare::compare(wanted, &expected::found(&kept.records)?);
    let is_equal = comparison.is_equal();
    let text = match (test.output, is_equal) {
        (Form::Json, _) => format!("{}\n", expected::json(&comparison)),
        (Form::Table, true) => format!("ok      {}\n", expected::counts(&comparison)),
        (Form::Table, false) => {
            let (counts, lines) = (expected::counts(&comparison), expected::lines(&comparison));
            format!("FAILED  {counts}\n{lines}{}", expected::parked(&totals.tally, watch))
        }
    };
    failure::print(&text)?;
    Ok(is_equal)
}
