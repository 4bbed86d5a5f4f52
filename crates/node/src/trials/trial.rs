//! A DEBUG session: events are processed by a pipeline to show the results. Nothing is counted or
//! delivered; only the session and its events are stored.

use std::sync::Arc;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::services::{HttpServices, resolved};
use flowmeter_core::mediation::{ALL_STEPS, Stayed, Stopwatch, Tap};
use flowmeter_core::operator::{Node, Operator};
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::session::{RunType, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_document::Pipeline;
use flowmeter_engine::{Engine, Error, Kind, Observer, ParkedEvent, RecordSink, Totals};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::audit::Who;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::pipelines::services::waits;
use crate::refusal::{Refused, refusal_of};
use crate::sessions::counts;
use crate::trials::difference::difference;
use crate::trials::source::Given;
use crate::trials::steps::Steps;
use crate::verbatim::{self, Object};

/// Maximum of records and parked events that are shown; all are counted.
const SHOWN: usize = 100;
/// Records of each of two versions that are compared.
const COMPARED_MAX: usize = 10_000;

/// The options of a test.
#[derive(Clone, Debug)]
pub struct Trial {
    /// A document to use instead of the newest version: one that is being written.
    pub document: Option<String>,
    /// The source of events.
    pub given: Given,
    /// The clock of the engine; the present time by default.
    pub as_of: Option<Timestamp>,
    /// Events of each operator to show.
    pub samples: usize,
    /// Whether a parked event fails the test.
    pub is_strict: bool,
    /// Whether the steps of each event are shown.
    pub steps: bool,
    /// The version to compare the records with.
    pub against: Option<u32>,
}

impl Installation {
    /// Runs a DEBUG session. Returns the events that each operator received and passed on, the
    /// parked events, and the records that would be flushed.
    pub fn try_out(&self, who: &Who, pipeline: &KeptPipeline, trial: Trial) -> Result<Box<RawValue>, Refused> {
        let at = |why: Error| refusal_of(&why);
        let compiled: Pipeline = match &trial.document {
            Some(document) => self.check_document(&who.namespace, document)?,
            None => self.version(pipeline, pipeline.version)?.compile().map_err(at)?,
        };
        let mut plan = compiled.plan;
        plan.id = pipeline.id;
        let plan = Arc::new(plan);
        let other = trial.against.map(|number| self.other_plan(pipeline, number)).transpose()?;
        let mut session = {
            let _change = self.begin_change()?;
            let mut session = self.new_session(pipeline, RunType::Debug, None).map_err(at)?;
            let object = json!({"pipeline": pipeline.name});
            let audited = self.audited(who, "session.test", &session.session_id, Value::Null, object).map_err(at)?;
            self.step(&mut session, &plan, Trigger::Start, audited).map_err(at)?;
            session
        };
        let records_max = if other.is_some() { COMPARED_MAX } else { SHOWN };
        let mut seen = Seen::new(trial.samples, records_max, trial.steps.then(Steps::default));
        let now = self.now();
        let against = other.map(|(number, plan)| {
            let mut seen = Seen::new(0, COMPARED_MAX, None);
            let trial = Trial { samples: 0, steps: false, ..trial.clone() };
            let (totals, outcome) = self.lead(&who.namespace, &plan, trial, now, &mut seen);
            Against { version: number, events: counts(&plan, &totals)["events"].clone(), outcome, records: seen.records }
        });
        let (totals, outcome) = self.lead(&who.namespace, &plan, trial, now, &mut seen);
        session.counts = counts(&plan, &totals);
        let trigger = match outcome {
            Ok(()) => Trigger::TestEnded,
            Err(why) => {
                session.error = Some(why.to_string());
                Trigger::Fail
            }
        };
        self.step(&mut session, &plan, trigger, Vec::new()).map_err(at)?;
        Ok(seen.report(&plan, &session, against.as_ref()))
    }

    /// Returns the plan of another version of a pipeline.
    fn other_plan(&self, pipeline: &KeptPipeline, number: u32) -> Result<(u32, Arc<Plan>), Refused> {
        let version = self.version(pipeline, number).map_err(|refused| Box::new((*refused).field("against")))?;
        let mut plan = version.compile().map_err(|why| refusal_of(&why))?.plan;
        plan.id = pipeline.id;
        Ok((number, Arc::new(plan)))
    }

    /// Returns a plan, and the services that it asks in a test; their secrets are filled in.
    fn plan_to_try(&self, plan: &Arc<Plan>) -> Result<(Arc<Plan>, Option<Arc<HttpServices>>), Error> {
        let calls = |node: &Node| matches!(&node.operator, Operator::Http(http) if http.calls_in_debug);
        if !plan.nodes.iter().any(calls) {
            return Ok((Arc::clone(plan), None));
        }
        let plan = resolved(Arc::clone(plan))?;
        let services = HttpServices::open_for_debug(&plan, Arc::clone(&self.clock), waits(&Abandon::default()))?;
        Ok((plan, services))
    }

    fn lead(
        &self,
        namespace: &str,
        plan: &Arc<Plan>,
        trial: Trial,
        now: Timestamp,
        seen: &mut Seen,
    ) -> (Totals, Result<(), Error>) {
        let settings = flowmeter_engine::Settings {
            threads: 1,
            partitions: 1,
            taps_max: if trial.steps { ALL_STEPS } else { trial.samples },
        };
        let opened = self.plan_to_try(plan).and_then(|(plan, services)| Ok((Engine::new(&plan, settings)?, services)));
        let (mut engine, services) = match opened {
            Ok(opened) => opened,
            Err(why) => return (Totals::default(), Err(why)),
        };
        if let Some(services) = services {
            engine.use_services(services);
        }
        if trial.steps {
            let clock = Arc::clone(&self.clock);
            engine.use_stopwatch(&Stopwatch::new(move || clock.wall().nanos()));
        }
        let (as_of, is_strict) = (trial.as_of.unwrap_or(now), trial.is_strict);
        engine.open_declared(as_of);
        let tables = self.table_history(namespace, plan).and_then(|mut history| history.at(Timestamp::MAX));
        match tables {
            Ok(tables) => engine.use_tables(tables),
            Err(why) => return (Totals::default(), Err(why)),
        }
        let mut source = match trial.given.source(plan, self.settings.sessions.test_events_max) {
            Ok(source) => source,
            Err(why) => return (Totals::default(), Err(why)),
        };
        let mut records = Records { shown_max: seen.records.shown_max, ..Records::default() };
        let mut run = |engine: &mut Engine| {
            engine.ingest(&mut *source, as_of, &mut records, seen)?;
            seen.unseen = engine.unseen();
            flowmeter_connectors::completeness::check(plan, &engine.totals().tally)?;
            engine.tick(as_of, &mut records, seen)?;
            engine.flush_open(as_of, &mut records, seen)?;
            match engine.totals().tally.parked_total() {
                parked @ 1.. if is_strict => Err(Error::new(Kind::Invalid, format!("{parked} events were parked"))),
                _ if is_strict && !seen.unseen.is_empty() => Err(Error::new(Kind::Invalid, seen.unseen.join("; "))),
                _ => Ok(()),
            }
        };
        let outcome = run(&mut engine);
        seen.records = records;
        (engine.totals(), outcome)
    }
}

#[derive(Default)]
struct Records {
    shown_max: usize,
    shown: Vec<Box<RawValue>>,
    flushed: u64,
    thresholds: u64,
}

impl Records {
    fn show(&mut self, json: &[u8]) {
        if self.shown.len() < self.shown_max
            && let Ok(record) = serde_json::from_slice(json)
        {
            self.shown.push(record);
        }
    }
}

impl RecordSink for Records {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.flushed += 1;
        self.show(json);
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.thresholds += 1;
        self.show(json);
        Ok(())
    }
}

/// The results collected during the test.
#[derive(Default)]
struct Seen {
    samples_max: usize,
    samples: Vec<(u16, Box<RawValue>)>,
    parked: Vec<Value>,
    /// Fields that the pipeline names and that no event had.
    unseen: Vec<String>,
    records: Records,
    steps: Option<Steps>,
}

/// The results of another version with the same events.
struct Against {
    version: u32,
    events: Value,
    outcome: Result<(), Error>,
    records: Records,
}

impl Observer for Seen {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        if let Some(steps) = &mut self.steps {
            steps.parked(event);
        }
        if self.parked.len() < SHOWN {
            self.parked.push(json!({
                "event": event.line, "operator": event.operator, "reason": event.reason.code(), "detail": event.detail,
                "remedy": event.reason.remedy(),
            }));
        }
        Ok(())
    }

    fn stayed(&mut self, stayed: &Stayed, line: u64) {
        if let Some(steps) = &mut self.steps {
            steps.stayed(stayed, line);
        }
    }

    fn tapped(&mut self, tap: &Tap, line: u64) {
        if let Some(steps) = &mut self.steps {
            steps.passed(tap, line);
        }
        if self.samples.iter().filter(|(operator, _)| *operator == tap.operator).count() < self.samples_max {
            let fields = verbatim::sent(tap.fields.as_bytes());
            let sample = Object::of(&json!({"event": line})).with("fields", &fields).finish();
            self.samples.push((tap.operator, sample));
        }
    }

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}

impl Seen {
    fn new(samples_max: usize, records_max: usize, steps: Option<Steps>) -> Seen {
        Seen { samples_max, records: Records { shown_max: records_max, ..Records::default() }, steps, ..Seen::default() }
    }

    fn report(&self, plan: &Plan, session: &crate::sessions::KeptSession, against: Option<&Against>) -> Box<RawValue> {
        let counted = session.counts["operators"].as_array().map(Vec::as_slice).unwrap_or_default();
        let operator = |(at, counted): (usize, &Value)| {
            let of_it = self.samples.iter().filter(|(operator, _)| usize::from(*operator) == at);
            let of_it: Vec<_> = of_it.map(|(_, sample)| sample.clone()).collect();
            Object::of(counted).with_list("samples", &of_it).finish()
        };
        let operators: Vec<_> = counted.iter().enumerate().map(operator).collect();
        let mut report = serde_json::to_value(session).unwrap_or_default();
        report["meterName"] = json!(plan.name);
        report["passed"] = json!(session.error.is_none());
        report["events"] = session.counts["events"].clone();
        report["parked"] = json!(self.parked);
        report["unseen"] = json!(self.unseen);
        report["flushed"] = json!(self.records.flushed);
        report["thresholds"] = json!(self.records.thresholds);
        if let Some(steps) = &self.steps {
            report["hasMoreSteps"] = json!(steps.has_more());
        }
        let mut report = Object::of(&report).with_list("operators", &operators);
        report = report.with_list("wouldFlush", self.records.first());
        if let Some(steps) = &self.steps {
            report = report.with_list("steps", &steps.shown(plan));
        }
        match against {
            Some(against) => against.add_to(report, &self.records).finish(),
            None => report.finish(),
        }
    }
}

impl Records {
    /// Returns the records that are shown.
    fn first(&self) -> &[Box<RawValue>] {
        &self.shown[..self.shown.len().min(SHOWN)]
    }

    /// Whether all records could be compared.
    fn are_all(&self) -> bool {
        self.flushed + self.thresholds <= self.shown.len() as u64
    }
}

impl Against {
    /// Adds the results of the other version, and the records that differ.
    fn add_to(&self, report: Object, now: &Records) -> Object {
        let (different, count) = difference(&now.shown, &self.records.shown);
        let head = json!({
            "version": self.version, "events": self.events, "flushed": self.records.flushed,
            "error": self.outcome.as_ref().err().map(ToString::to_string), "differenceCount": count,
            "differenceIsWhole": now.are_all() && self.records.are_all(),
        });
        let other = Object::of(&head).with_list("wouldFlush", self.records.first()).with_list("difference", &different);
        report.with("against", &other.finish())
    }
}
