//! The `tests` of a document: each runs in a session of its own, and prints a line.

use std::process::ExitCode;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_connectors::given::Given;
use flowmeter_core::plan::Plan;
use flowmeter_core::verdict::Tally;
use flowmeter_document::{TestCase, TestData};
use serde_json::{Value, json};

use super::compare::{Comparison, compare};
use super::expected;
use super::session::{Events, Kept, Session, Stopped};
use crate::args::Test;
use crate::failure::{self, DIFFERENT};
use crate::form::Form;
use crate::load::{self, Loaded};
use crate::watch::Watch;

/// The result of a test.
struct Outcome {
    comparison: Comparison,
    stopped: Option<Stopped>,
    tally: Tally,
    watch: Watch,
}

impl Outcome {
    fn is_ok(&self) -> bool {
        self.stopped.is_none() && self.comparison.is_equal()
    }
}

/// Runs all tests of a document.
pub(super) fn run_all(test: &Test, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    let (mut failed, mut code) = (0, 0);
    for case in &loaded.tests {
        let outcome = run(test, loaded, case);
        let (is_ok, name) = (matches!(&outcome, Ok(outcome) if outcome.is_ok()), &case.name);
        failed += usize::from(!is_ok);
        code = code.max(match &outcome {
            Err(why) | Ok(Outcome { stopped: Some(Stopped::Broken(why)), .. }) => failure::code(why),
            Ok(_) if is_ok => 0,
            Ok(_) => DIFFERENT,
        });
        match test.output {
            Form::Table => failure::print(&text(name, &outcome))?,
            Form::Json => {
                reports.push(report(name, &outcome));
                ExitCode::SUCCESS
            }
        };
    }
    if test.output == Form::Json {
        let report = json!({"pipeline": loaded.plan.name, "passed": failed == 0, "tests": reports});
        failure::print(&format!("{report}\n"))?;
    }
    if failed > 0 {
        eprintln!("{failed} of {} tests failed", loaded.tests.len());
    }
    Ok(ExitCode::from(code))
}

fn run(test: &Test, loaded: &Loaded, case: &TestCase) -> anyhow::Result<Outcome> {
    let wanted = expected::of_test(&case.expect)?;
    let as_of = case.as_of.map_or_else(|| load::as_of(&test.input), Ok)?;
    let mut events = events(&loaded.plan, &case.input)?;
    let mut watch = Watch::new(None, 0)?;
    let mut kept = Kept::compared();
    let settings = load::settings(&test.input, 0);
    let session = Session { plan: &loaded.plan, as_of, settings, is_strict: test.strict };
    let (totals, outcome) = session.run(&mut events, &mut watch, &mut kept);
    watch.finish()?;
    let comparison = compare(&wanted, &expected::found(&kept.records)?);
    Ok(Outcome { comparison, stopped: outcome.err(), tally: totals.tally, watch })
}

/// Returns the events of a test. Files of other sources than the first are not read.
fn events(plan: &Arc<Plan>, input: &TestData) -> anyhow::Result<Events> {
    Ok(match input {
        TestData::Items(items) => {
            let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
            Events::Given(Given::new(plan, lines.into_bytes(), false))
        }
        TestData::File(file) => {
            let mut plan = Plan::clone(plan);
            plan.sources.iter_mut().for_each(|source| source.paths.clear());
            Events::Files(Files::new(Arc::new(plan), std::slice::from_ref(file))?)
        }
    })
}

fn text(name: &str, outcome: &anyhow::Result<Outcome>) -> String {
    match outcome {
        Ok(outcome) if outcome.is_ok() => format!("ok      {name}\n"),
        Ok(outcome) => {
            let why = match &outcome.stopped {
                Some(stopped) => format!("{:#}", stopped.why()),
                None => expected::counts(&outcome.comparison),
            };
            let lines = match &outcome.stopped {
                Some(Stopped::Broken(_)) => String::new(),
                Some(Stopped::Failed(_)) | None => expected::lines(&outcome.comparison),
            };
            format!("FAILED  {name}: {why}\n{lines}{}", expected::parked(&outcome.tally, &outcome.watch))
        }
        Err(why) => format!("FAILED  {name}: {why:#}\n"),
    }
}

fn report(name: &str, outcome: &anyhow::Result<Outcome>) -> Value {
    let mut report = match outcome {
        Ok(outcome) => expected::json(&outcome.comparison),
        Err(_) => json!({}),
    };
    let error = match outcome {
        Ok(outcome) => outcome.stopped.as_ref().map(|stopped| format!("{:#}", stopped.why())),
        Err(why) => Some(format!("{why:#}")),
    };
    report["name"] = json!(name);
    report["passed"] = json!(matches!(outcome, Ok(outcome) if outcome.is_ok()));
    report["error"] = json!(error);
    report
}
