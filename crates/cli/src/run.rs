//! `flowmeter run`: one session over files.

mod kept;
mod tables;

use std::process::ExitCode;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_engine::{Engine, Totals};

use crate::args::Run;
use crate::clock::{Stopwatch, Wall};
use crate::failure::{self, PARKED};
use crate::form::Form;
use crate::journal::Journal;
use crate::load::{self, Loaded};
use crate::summary::Summary;
use crate::watch::Watch;
use flowmeter_connectors::push::Push;
use flowmeter_connectors::services::{HttpServices, Waits};
use kept::Kept;

/// The parsed values of `--output`.
struct Output<'a> {
    file: Option<&'a str>,
    form: Form,
}

impl<'a> Output<'a> {
    fn of(given: &'a [String]) -> Output<'a> {
        let mut output = Output { file: None, form: Form::Table };
        for value in given {
            match value.as_str() {
                "table" => output.form = Form::Table,
                "json" => output.form = Form::Json,
                file => output.file = Some(file),
            }
        }
        output
    }
}

pub(crate) fn run(run: &Run) -> anyhow::Result<ExitCode> {
    let loaded = load::pipeline(&run.pipeline)?;
    let output = Output::of(&run.output);
    let kept = run.data.as_deref().map(|data| Kept::open(data, run, &loaded)).transpose()?;
    let number = kept.as_ref().map_or(1, Kept::run);
    let mut journal = Journal::new(number, &loaded.plan, RunType::Normal, run.events.as_deref())?;
    let mut watch = Watch::new(run.parked.as_deref(), 0)?;
    run.derived.iter().for_each(|path| watch.keep_derived(path));
    let stopwatch = Stopwatch::start();
    journal.step(Trigger::Start)?;
    let outcome = match kept {
        Some(kept) => kept.session(run, &loaded, output.file, &mut journal, &mut watch),
        None => session(run, &loaded, output.file, &mut journal, &mut watch),
    };
    watch.finish()?;
    let (totals, all, push) = match outcome {
        Ok(done) => done,
        Err(why) => {
            journal.fail(&why)?;
            eprintln!("{}  {}  {}", journal.session.pipeline_name, journal.session.id, journal.session.status());
            return Ok(failure::report(&why));
        }
    };
    journal.operators(&loaded.plan, &totals)?;
    let summary = Summary {
        plan: &loaded.plan,
        journal: &journal,
        totals: &totals,
        all: all.as_ref(),
        watch: &watch,
        records: push.record_count(),
        thresholds: push.threshold_count(),
        elapsed: stopwatch.elapsed(),
    };
    match output.form {
        Form::Table => eprint!("{}", summary.table()),
        // Results go to standard output, unless records do already.
        Form::Json if push.is_stdout() => eprintln!("{}", summary.json()),
        Form::Json => drop(failure::print(&format!("{}\n", summary.json()))?),
    }
    let is_clean = totals.tally.parked_total() == 0 && watch.unseen.is_empty();
    Ok(if run.strict && !is_clean { ExitCode::from(PARKED) } else { ExitCode::SUCCESS })
}

/// Runs a session whose meters live as long as it does.
fn session(
    run: &Run,
    loaded: &Loaded,
    output: Option<&str>,
    journal: &mut Journal,
    watch: &mut Watch,
) -> anyhow::Result<(Totals, Option<Totals>, Push)> {
    let plan = &loaded.plan;
    let as_of = load::as_of(&run.input)?;
    let mut files = Files::new(Arc::clone(plan), &run.input.input)?;
    let mut push = Push::open(&plan.name, &loaded.targets, output, Arc::new(Wall), watch.printer())?;
    let mut engine = Engine::new(plan, load::settings(&run.input, 0))?;
    flowmeter_connectors::tables::load(plan, &mut engine, crate::clock::now())?;
    if let Some(services) = HttpServices::open(plan, None, Arc::new(Wall), Waits::default())? {
        engine.use_services(services);
    }
    engine.open_declared(as_of);
    journal.step(Trigger::Ready)?;
    engine.ingest(&mut files, as_of, &mut push, watch)?;
    (watch.unseen, watch.warnings) = (engine.unseen(), files.warnings());
    flowmeter_connectors::completeness::check(plan, &engine.totals().tally)?;
    journal.step(Trigger::Finish)?;
    engine.tick(as_of, &mut push, watch)?;
    if run.flush_open {
        engine.flush_open(as_of, &mut push, watch)?;
    }
    let totals = engine.totals();
    push.accept()?;
    journal.step(Trigger::AllAccepted)?;
    push.confirm()?;
    journal.step(Trigger::AllConfirmed)?;
    journal.step(Trigger::WrapUp)?;
    // The process ends now: freeing the meters one by one would be a waste.
    std::mem::forget(engine);
    Ok((totals, None, push))
}
