//! A DEBUG session: events are processed by a pipeline to show the results. Nothing is counted or
//! delivered; only the session and its events are stored.

use std::sync::Arc;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::services::{HttpServices, resolved};
use flowmeter_core::mediation::Tap;
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
use crate::trials::source::Given;
use crate::verbatim::{self, Object};

/// Maximum of records and parked events that are shown; all are counted.
const SHOWN: usize = 100;

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
        let mut session = {
            let _change = self.begin_change()?;
            let mut session = self.new_session(pipeline, RunType::Debug, None).map_err(at)?;
            let object = json!({"pipeline": pipeline.name});
            let audited = self.audited(who, "session.test", &session.session_id, Value::Null, object).map_err(at)?;
            self.step(&mut session, &plan, Trigger::Start, audited).map_err(at)?;
            session
        };
        let mut seen = Seen { samples_max: trial.samples, ..Seen::default() };
        let now = self.now();
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
        Ok(seen.report(&plan, &session))
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
        let settings = flowmeter_engine::Settings { threads: 1, partitions: 1, taps_max: trial.samples };
        let opened = self.plan_to_try(plan).and_then(|(plan, services)| Ok((Engine::new(&plan, settings)?, services)));
        let (mut engine, services) = match opened {
            Ok(opened) => opened,
            Err(why) => return (Totals::default(), Err(why)),
        };
        if let Some(services) = services {
            engine.use_services(services);
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
        let mut records = Records::default();
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
    shown: Vec<Box<RawValue>>,
    flushed: u64,
    thresholds: u64,
}

impl Records {
    fn show(&mut self, json: &[u8]) {
        if self.shown.len() < SHOWN
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
}

impl Observer for Seen {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        if self.parked.len() < SHOWN {
            self.parked.push(json!({
                "event": event.line, "operator": event.operator, "reason": event.reason.code(), "detail": event.detail,
                "remedy": event.reason.remedy(),
            }));
        }
        Ok(())
    }

    fn tapped(&mut self, tap: &Tap, line: u64) {
        if self.samples.iter().filter(|(operator, _)| *operator == tap.operator).count() < self.samples_max {
            let fields = verbatim::sent(tap.fields.as_bytes());
            let sample = Object::of(&json!({"event": line})).with("fields", &fields).finish();
            self.samples.push((tap.operator, sample));
        }
    }

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}

impl Seen {
    fn report(&self, plan: &Plan, session: &crate::sessions::KeptSession) -> Box<RawValue> {
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
        let report = Object::of(&report).with_list("operators", &operators);
        report.with_list("wouldFlush", &self.records.shown).finish()
    }
}
