//! A session over files, from their bytes to its outcome.

use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_core::mediation::Tap;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_document::Pipeline;
use flowmeter_engine::{Engine, Error, Observer, ParkedEvent, RecordSink, Settings};
use serde_json::Value;

/// The outcome of a session.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Line, reason, detail and remedy.
    pub(crate) parked: Vec<(u64, String, String, String)>,
    /// Parked events as they came in.
    pub(crate) raws: Vec<Vec<u8>>,
    pub(crate) records: Vec<Value>,
    /// The error that ended the session.
    pub(crate) failure: Option<String>,
    pub(crate) unseen: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) timed_by_receipt: u64,
}

impl Outcome {
    /// Returns the records as `user start value`, and parked events as `line reason`.
    pub(crate) fn shown(&self) -> Vec<String> {
        if let Some(failure) = &self.failure {
            return vec![failure.clone()];
        }
        let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let record =
            |record: &Value| format!("{} {} {}", text(record, "userId"), &text(record, "periodStart")[..10], record["value"]);
        let parked = self.parked.iter().map(|(line, reason, ..)| format!("{line} {reason}"));
        self.records.iter().map(record).chain(parked).collect()
    }
}

impl RecordSink for Outcome {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.push(serde_json::from_slice(json).unwrap());
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, _json: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Default)]
struct Watching {
    parked: Vec<(u64, String, String, String)>,
    raws: Vec<Vec<u8>>,
}

impl Observer for Watching {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        let (reason, remedy) = (event.reason.code().to_owned(), event.reason.remedy().to_owned());
        self.parked.push((event.line, reason, event.detail.to_owned(), remedy));
        self.raws.push(event.raw.to_vec());
        Ok(())
    }

    fn tapped(&mut self, _tap: &Tap, _line: u64) {}

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}

/// Runs a pipeline over files in a temporary folder, as of an instant, to its last open period.
/// `DIR` in the document is replaced by the folder.
pub(crate) fn run(document: &str, files: &[(&str, &[u8])], as_of: &str) -> Outcome {
    run_after(document, &[], files, as_of)
}

/// Runs a pipeline as [`run`] does, after sessions over other files. The periods of each have
/// ended before the next begins.
pub(crate) fn run_after(document: &str, before: &[(&str, &[u8])], files: &[(&str, &[u8])], as_of: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in before.iter().chain(files) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let document = document.replace("DIR", &folder.path().display().to_string());
    let plan = match Pipeline::read(&document) {
        Ok(pipeline) => Arc::new(pipeline.plan),
        Err(problems) => return Outcome { failure: Some(problems.to_string()), ..Outcome::default() },
    };
    let at = Timestamp::parse_rfc3339(as_of.as_bytes()).unwrap();
    let mut engine = Engine::new(&plan, Settings { threads: 1, partitions: 2, taps_max: 0 }).unwrap();
    let (mut outcome, mut watching) = (Outcome::default(), Watching::default());
    for (name, _) in before {
        let path = folder.path().join(name).display().to_string();
        let mut earlier = Files::new(Arc::clone(&plan), &[path]).unwrap();
        engine.ingest(&mut earlier, at, &mut outcome, &mut watching).unwrap();
        engine.tick(at, &mut outcome, &mut watching).unwrap();
    }
    let ended = Files::new(plan, &[]).and_then(|mut files| {
        engine.ingest(&mut files, at, &mut outcome, &mut watching)?;
        outcome.warnings = files.warnings();
        engine.tick(at, &mut outcome, &mut watching)?;
        engine.flush_open(at, &mut outcome, &mut watching)
    });
    let totals = engine.totals();
    assert!(totals.tally.is_complete(), "{:?}", totals.tally);
    outcome.unseen = engine.unseen();
    (outcome.parked, outcome.raws) = (watching.parked, watching.raws);
    outcome.failure = ended.err().map(|why| why.to_string().replace(&folder.path().display().to_string(), "DIR"));
    (outcome.tally, outcome.timed_by_receipt) = (totals.tally, totals.timed_by_receipt);
    outcome
}

/// Returns a pipeline over one file, with the fields of the source, of the meter operator, of its
/// rule, and of the meter type.
pub(crate) fn document(source: &str, meter: &str, rule: &str, kind: &str) -> String {
    format!(
        "pipeline: p\nsource: {{file: {{{source}}}}}\ndedupe: off\noperators:\n  - meter:\n      key: \
         00000000-0000-4000-8000-000000000001\n      {meter}\n      rules:\n        - {{name: r{rule}}}\nmeterTypes:\n  - \
         {{name: m, flushEmpty: false{kind}}}\n"
    )
}
