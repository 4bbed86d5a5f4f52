//! An engine fed from memory, and its results.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // each test file uses its part

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::event::{Batch, Block, Origin};
use flowmeter_core::mediation::{Decoder, Tap};
use flowmeter_core::partition::{Command, RecordKey};
use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::source::Format;
use flowmeter_core::table::{Content, Row};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_document::Pipeline;
use flowmeter_engine::{
    DerivedEvent, Displaced, Engine, Error, Observer, ParkedEvent, Received, RecordSink, Settings, Source, StateChoices,
    Superseded,
};
use serde_json::value::RawValue;

/// The steps of a run, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lines are received while the clock shows this time.
    Events(Timestamp, Vec<String>),
    /// The clock reaches this time.
    Tick(Timestamp),
    /// Open periods are flushed.
    Flush(Timestamp),
    /// The meters of a user are opened by a command.
    Open(Timestamp, String),
    /// The meters of a user are deleted.
    Delete(Timestamp, String),
    /// Another version of the document is adopted, with what becomes of state without a place.
    Adopt(Timestamp, String, StateChoices),
    /// Another version of the document has no place for state.
    Refuse(String),
    /// A table has these rows from now on, if they are valid.
    Table(String, Vec<String>),
    /// The sums so far are noted.
    Look,
}

/// The layout of a run. No result may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub threads: usize,
    pub partitions: usize,
    /// Lines of a block.
    pub lines: usize,
    /// Seed of a shuffle within each step.
    pub shuffle: Option<u64>,
    /// Whether the whole state is serialized and read back before every step.
    pub recover: bool,
    /// Whether watermarks wait for later events, as in a server.
    pub follows: bool,
}

pub const STRAIGHT: Layout = Layout { threads: 1, partitions: 1, lines: 1000, shuffle: None, recover: false, follows: false };

/// The layouts in which a story is run besides straight.
pub const LAYOUTS: [Layout; 6] = [
    Layout { threads: 2, partitions: 2, lines: 3, shuffle: None, recover: false, follows: false },
    Layout { threads: 1, partitions: 7, lines: 1, shuffle: None, recover: false, follows: false },
    Layout { threads: 1, partitions: 1, lines: 1000, shuffle: Some(1), recover: false, follows: false },
    Layout { threads: 2, partitions: 3, lines: 2, shuffle: Some(2), recover: false, follows: false },
    Layout { threads: 1, partitions: 1, lines: 1, shuffle: None, recover: true, follows: false },
    Layout { threads: 2, partitions: 3, lines: 2, shuffle: Some(3), recover: true, follows: false },
];

/// The results of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub records: Vec<String>,
    pub thresholds: Vec<String>,
    pub tally: Tally,
    /// Reason and detail, in order.
    pub parked: Vec<(String, String)>,
    /// The verdict of each event, in order.
    pub verdicts: Vec<Verdict>,
    /// Parked events and the events that took their places, by their numbers.
    pub superseded: Vec<(u64, u64)>,
    /// Events that operators made, as JSON, sorted.
    pub derived: Vec<String>,
    /// Events that operators hold.
    pub held: u64,
    /// Sums and held events, at each [`Step::Look`].
    pub looks: Vec<(Tally, u64)>,
}

impl RecordSink for Outcome {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.push(String::from_utf8(json.to_vec()).unwrap());
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.thresholds.push(String::from_utf8(json.to_vec()).unwrap());
        Ok(())
    }
}

#[derive(Default)]
struct Watching {
    parked: Vec<(String, String)>,
    verdicts: Vec<Verdict>,
    superseded: Vec<(u64, u64)>,
    derived: Vec<String>,
}

impl Observer for Watching {
    fn wants_derived(&self) -> bool {
        true
    }

    fn derived(&mut self, event: &DerivedEvent<'_>) -> Result<(), Error> {
        self.derived.push(String::from_utf8(event.json.to_vec()).unwrap());
        Ok(())
    }

    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        self.parked.push((event.reason.code().to_owned(), event.detail.to_owned()));
        Ok(())
    }

    fn judged(&mut self, _batch: &Batch, verdicts: &[Verdict]) {
        self.verdicts.extend_from_slice(verdicts);
    }

    fn superseded(&mut self, superseded: Superseded) -> Result<(), Error> {
        self.superseded.push((superseded.parked, superseded.by));
        Ok(())
    }

    fn tapped(&mut self, _tap: &Tap, _line: u64) {}

    fn progress(&mut self, tally: &Tally, _bytes: (u64, Option<u64>)) {
        assert!(tally.is_complete(), "{tally:?}");
    }
}

/// Lines from memory, a few at a time.
struct Lines {
    lines: Vec<String>,
    at: usize,
    per_block: usize,
    decoder: Arc<Decoder>,
}

impl Source for Lines {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        let end = (self.at + self.per_block).min(self.lines.len());
        if self.at == end {
            return Ok(Received::End);
        }
        let text = self.lines[self.at..end].join("\n");
        block.open().extend_from_slice(text.as_bytes());
        block.seal();
        block.first_line = self.at as u64 + 1;
        block.origin = Origin { name: "story".into(), source: 0, columns: None };
        self.at = end;
        Ok(Received::Block(Arc::clone(&self.decoder)))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}

fn plan_of(document: &str) -> Arc<Plan> {
    Arc::new(Pipeline::read(document).unwrap_or_else(|problems| panic!("{problems}\n{document}")).plan)
}

/// Runs a pipeline document through steps.
pub fn run(document: &str, steps: &[Step], layout: Layout) -> Outcome {
    let mut plan = plan_of(document);
    let settings = Settings { threads: layout.threads, partitions: layout.partitions, taps_max: 0 };
    let mut engine = Engine::new(&plan, settings).unwrap();
    let mut tables: Vec<(usize, Arc<Content>)> = Vec::new();
    layout.follows.then(|| engine.follow_watermarks(true));
    let mut decoder = Arc::new(plan.sources[0].decoder(&plan, Format::Ndjson, &[]));
    let mut outcome = Outcome::default();
    let mut watching = Watching::default();
    let first = steps.iter().map(|step| match step {
        Step::Events(at, _) | Step::Tick(at) | Step::Flush(at) => *at,
        Step::Open(at, _) | Step::Delete(at, _) | Step::Adopt(at, ..) => *at,
        Step::Table(..) | Step::Look | Step::Refuse(_) => Timestamp::MAX,
    });
    engine.open_declared(first.min().unwrap());
    for step in steps {
        if layout.recover {
            let (images, totals) = (engine.images(), engine.totals());
            engine = Engine::read(Arc::clone(&plan), settings, &images, engine.into_identities()).unwrap();
            engine.set_totals(totals);
            assert_eq!(engine.images(), images, "read and written again it is the same");
            tables.iter().for_each(|(at, content)| engine.set_table(*at, Some(Arc::clone(content))));
            layout.follows.then(|| engine.follow_watermarks(true));
        }
        match step {
            Step::Events(at, lines) => {
                let mut lines = lines.clone();
                if let Some(seed) = layout.shuffle {
                    shuffle(&mut lines, seed);
                }
                let mut source = Lines { lines, at: 0, per_block: layout.lines, decoder: Arc::clone(&decoder) };
                engine.ingest(&mut source, *at, &mut outcome, &mut watching).unwrap();
            }
            Step::Tick(at) => engine.tick(*at, &mut outcome, &mut watching).unwrap(),
            Step::Flush(at) => engine.flush_open(*at, &mut outcome, &mut watching).unwrap(),
            Step::Table(name, rows) => {
                if let Some((at, content)) = content_of(&plan, name, rows) {
                    tables.retain(|(known, _)| *known != at);
                    tables.push((at, Arc::clone(&content)));
                    engine.set_table(at, Some(content));
                }
            }
            Step::Look => outcome.looks.push((engine.totals().tally, held(&engine))),
            Step::Open(at, user) => {
                declared(&plan, user).iter().for_each(|meter| drop(engine.apply(user.as_bytes(), Command::Open(meter), *at)));
            }
            Step::Delete(at, user) => {
                declared(&plan, user).iter().for_each(|meter| drop(engine.apply(user.as_bytes(), Command::Delete(meter), *at)));
            }
            Step::Adopt(at, document, state) => {
                plan = plan_of(document);
                assert_eq!(Displaced::open(&engine.displaced(&plan, state).unwrap()), None, "{document}");
                engine.adopt(&plan, state, *at, &mut outcome, &mut watching).unwrap();
                decoder = Arc::new(plan.sources[0].decoder(&plan, Format::Ndjson, &[]));
            }
            Step::Refuse(document) => {
                let displaced = engine.displaced(&plan_of(document), &StateChoices::new()).unwrap();
                assert!(Displaced::open(&displaced).is_some(), "{document}");
            }
        }
    }
    (outcome.tally, outcome.held) = (engine.totals().tally, held(&engine));
    let Watching { parked, verdicts, superseded, mut derived } = watching;
    derived.sort();
    outcome.derived = derived;
    (outcome.parked, outcome.verdicts, outcome.superseded) = (parked, verdicts, superseded);
    assert_ids_are_unique(&[outcome.records.as_slice(), &outcome.thresholds].concat());
    outcome
}

/// Returns the content of a table with these rows; none if it is refused.
fn content_of(plan: &Plan, name: &str, rows: &[String]) -> Option<(usize, Arc<Content>)> {
    let at = plan.tables.iter().position(|table| table.name == name).unwrap();
    let row = |(line, text): (u64, &String)| match serde_json::from_str(text).unwrap() {
        serde_json::Value::Object(columns) => Row { line, columns: Ok(columns) },
        other => panic!("{other}"),
    };
    let content = Content::new(&plan.tables[at], (1..).zip(rows).map(row).collect()).ok()?;
    Some((at, Arc::new(content)))
}

fn held(engine: &Engine) -> u64 {
    engine.totals().operators.iter().map(flowmeter_core::mediation::OperatorCount::held).sum()
}

/// Returns a meter of every type, by name.
fn declared(plan: &Plan, user: &str) -> Vec<DeclaredMeter> {
    let of = |meter_type| DeclaredMeter { user: user.to_owned(), meter_type, ..DeclaredMeter::default() };
    (0..plan.meter_types.len() as u16).map(of).collect()
}

/// Checks that no two records have the same id.
fn assert_ids_are_unique(records: &[String]) {
    let mut known = BTreeMap::new();
    for record in records {
        let read: BTreeMap<String, Box<RawValue>> = serde_json::from_str(record).unwrap();
        let meta: BTreeMap<String, Box<RawValue>> = serde_json::from_str(read["meterMetaData"].get()).unwrap();
        if let Some(before) = known.insert(meta["recordId"].get().to_owned(), record) {
            panic!("two records have one id:\n{before}\n{record}");
        }
    }
}

/// Runs the steps straight and in every other layout; all results must be identical to the byte.
pub fn run_all_ways(document: &str, steps: &[Step], ordered: bool) -> Outcome {
    run_every_way(document, steps, ordered, false)
}

/// Runs all layouts, with watermarks as in a server or as at the end of input.
pub fn run_every_way(document: &str, steps: &[Step], ordered: bool, follows: bool) -> Outcome {
    let straight = run(document, steps, Layout { follows, ..STRAIGHT });
    for layout in LAYOUTS.iter().filter(|layout| !(ordered && layout.shuffle.is_some())) {
        let layout = &Layout { follows, ..*layout };
        let other = run(document, steps, *layout);
        assert_eq!(other.records, straight.records, "{layout:?}\n{document}");
        assert_eq!(other.tally, straight.tally, "{layout:?}\n{document}");
        assert_eq!(other.derived, straight.derived, "{layout:?}\n{document}");
        assert_eq!((other.held, &other.looks), (straight.held, &straight.looks), "{layout:?}\n{document}");
        if layout.shuffle.is_none() {
            assert_eq!(other.thresholds, straight.thresholds, "{layout:?}\n{document}");
            assert_eq!(other.parked, straight.parked, "{layout:?}\n{document}");
        }
    }
    straight
}

/// Shuffles lines by the method of Fisher and Yates, with its own small generator.
fn shuffle(lines: &mut [String], seed: u64) {
    let mut state = seed;
    for i in (1..lines.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        lines.swap(i, (state >> 33) as usize % (i + 1));
    }
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
}

pub type Members<'a> = BTreeMap<String, &'a RawValue>;

pub fn members(json: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(json.get()).ok()
}

/// Whether every expected member is present, with the same text for numbers.
pub fn holds(actual: &RawValue, expected: &RawValue) -> Result<(), String> {
    if let (Some(actual), Some(expected)) = (members(actual), members(expected)) {
        for (name, wanted) in expected {
            let found = actual.get(&name).ok_or_else(|| format!("no {name}"))?;
            holds(found, wanted).map_err(|why| format!("{name}: {why}"))?;
        }
        return Ok(());
    }
    let list = |json: &RawValue| serde_json::from_str::<Vec<Box<RawValue>>>(json.get()).ok();
    if let (Some(actual), Some(expected)) = (list(actual), list(expected)) {
        if actual.len() != expected.len() {
            return Err(format!("{} items, not {}", actual.len(), expected.len()));
        }
        return actual.iter().zip(&expected).try_for_each(|(actual, expected)| holds(actual, expected));
    }
    match actual.get() == expected.get() {
        true => Ok(()),
        false => Err(format!("{} is not {}", actual.get(), expected.get())),
    }
}
