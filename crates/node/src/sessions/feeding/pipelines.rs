//! Sources that read other pipelines of the server: what they received, and what they make.
//!
//! Events are taken in the order of the other pipeline, and the place behind the last one is in the log
//! entry that carries them: each is taken once, also through a restart of the server.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use flowmeter_connectors::sources::{Batch, Behind, Reading, Step, Surroundings};
use flowmeter_core::event::json::write_on_one_line;
use flowmeter_core::expression::Program;
use flowmeter_core::source::{Output, OutputSource, ReceivedSource, SourceKind};
use flowmeter_core::template::Reader;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive::{Filter, Row};
use serde_json::json;
use serde_json::value::RawValue;

use crate::corrections::{Correction, CorrectionFilter};
use crate::installation::{Installation, Served};
use crate::pipelines::KeptPipeline;
use crate::records::RecordView;
use crate::verbatim::{self, Object};

/// Things that are taken together.
const TOGETHER: usize = 2_000;
/// Bytes of events that are taken together.
const TOGETHER_BYTES: usize = 1 << 20;
/// Opens a source that reads another pipeline.
///
/// # Errors
/// There is no such pipeline, or it reads this one.
pub(super) fn open(installation: &Arc<Installation>, namespace: &str, around: Surroundings) -> Result<Box<dyn Reading>, Error> {
    let plan = Arc::clone(&around.plan);
    let kind = &plan.sources[around.source].kind;
    let name = kind.reads_from().unwrap_or_default();
    let lasting = |why: String| Error::new(Kind::Invalid, why);
    let from = installation.pipeline(namespace, name).map_err(|_| lasting(format!("there is no pipeline `{name}`")))?;
    if let Some(way) = way_back(installation, &from, &plan.name)? {
        return Err(lasting(format!("`{}` would read what it makes itself, through {}", plan.name, way.join(", "))));
    }
    let other = Other { installation: Arc::clone(installation), origin: from.name.as_str().into(), from, around };
    Ok(match kind {
        SourceKind::Received(received) => Box::new(ReceivedEvents::new(other, received)?),
        SourceKind::Output(output) => {
            let key = other.key(Output::name(output.output));
            Box::new(Made { next: other.taken(&key)?, other, key, output: output.as_ref().clone() })
        }
        SourceKind::Http
        | SourceKind::Files(_)
        | SourceKind::Objects(_)
        | SourceKind::Rows(_)
        | SourceKind::Pages(_)
        | SourceKind::Kafka(_) => return Err(lasting(format!("the source `{name}` reads no pipeline"))),
    })
}

/// The pipelines through which one gets what a pipeline makes, if it does.
fn way_back(installation: &Arc<Installation>, from: &KeptPipeline, to: &str) -> Result<Option<Vec<String>>, Error> {
    let mut ways = vec![vec![from.name.clone()]];
    let mut seen = vec![from.name.clone()];
    while let Some(way) = ways.pop() {
        let Some(last) = way.last().filter(|last| *last != to) else { return Ok(Some(way)) };
        let Ok(pipeline) = installation.pipeline(&from.namespace, last) else { continue };
        let plan = crate::pipelines::plan_of(&installation.catalog, pipeline.id)(pipeline.version)?;
        for next in plan.sources.iter().filter_map(|source| source.kind.reads_from()) {
            if !seen.iter().any(|known| known == next) {
                seen.push(next.to_owned());
                ways.push([way.clone(), vec![next.to_owned()]].concat());
            }
        }
    }
    Ok(None)
}

/// Another pipeline and the source that reads it.
struct Other {
    installation: Arc<Installation>,
    from: KeptPipeline,
    origin: Arc<str>,
    around: Surroundings,
}

impl Other {
    /// The key under which the log has the place of the next thing. A pipeline that is made again under the same
    /// name is another one, and so are other things of it.
    fn key(&self, what: &str) -> String {
        format!("next {} {what}", self.from.id)
    }

    /// The place of the next thing that the log has; `None` before the first one.
    fn taken(&self, key: &str) -> Result<Option<u64>, Error> {
        let taken = self.around.taken.get(key).map(|text| text.parse());
        taken.transpose().map_err(|_| Error::new(Kind::Corrupt, format!("source: `{key}` in the log is no number")))
    }

    fn served(&self) -> Result<Arc<Served>, Error> {
        let gone = || Error::new(Kind::Invalid, format!("the pipeline `{}` was deleted", self.from.name));
        self.installation.served_of(self.from.id).ok_or_else(gone)
    }

    /// Checks that nothing was removed before it was taken.
    fn check_first(&self, next: Option<u64>, first: u64, what: &str) -> Result<u64, Error> {
        match next {
            Some(next) if next < first => {
                let message = format!(
                    "{} {what} of `{}` were removed before they were read: keep them longer (`retention` in the settings), and \
                     start the pipeline under another name",
                    first - next,
                    self.from.name
                );
                Err(Error::new(Kind::Invalid, message))
            }
            next => Ok(next.unwrap_or(first)),
        }
    }

    /// The place of the first received event that still exists.
    fn first_event(&self) -> Result<u64, Error> {
        self.installation.first_event(&self.from)
    }

    /// Gives what was gathered; what is behind it comes next.
    fn give(&mut self, mut batch: Batch, key: &str, next: u64) -> Step {
        batch.fed.taken.push((key.to_owned(), Some(next.to_string())));
        batch.fed.take(&mut self.around.taken);
        Step::Taken(batch)
    }
}

fn add(batch: &mut Batch, origin: &Arc<str>, place: u64, event: &[u8]) {
    write_on_one_line(event, &mut batch.lines);
    batch.lines.push(b'\n');
    batch.fed.add(origin, place);
}

/// Events that a pipeline received.
struct ReceivedEvents {
    other: Other,
    filter: Filter,
    condition: Option<(Reader, Program)>,
    /// The key of its place in the log: each range of receipts has its own.
    key: String,
    next: u64,
}

impl ReceivedEvents {
    fn new(other: Other, plan: &ReceivedSource) -> Result<ReceivedEvents, Error> {
        let shown = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let key = other.key(&format!("received {}..{}", shown(plan.from), shown(plan.to)));
        let nanos = |at: Option<Timestamp>, otherwise: i64| at.map_or(otherwise, Timestamp::nanos);
        // Events that are received while the session reads are another session's.
        let now = other.installation.now();
        let until = plan.to.map_or(now.saturating_add(1), |to| to.min(now.saturating_add(1)));
        let filter = Filter { received_at: Some(nanos(plan.from, i64::MIN)..until.nanos()), ..Filter::default() };
        let condition = plan.condition.clone().map(|(paths, program)| (Reader::new(&paths), program));
        let next = other.check_first(other.taken(&key)?, other.first_event()?, "events")?;
        Ok(ReceivedEvents { next, filter, condition, key, other })
    }
}

/// Whether a condition holds for an event. It does not for one that cannot be read.
fn holds(condition: &mut Option<(Reader, Program)>, event: &[u8]) -> Result<bool, Error> {
    let Some((reader, program)) = condition else { return Ok(true) };
    let Ok(batch) = reader.read(event) else { return Ok(false) };
    program.holds(batch, 0).map_err(|why| Error::new(Kind::Invalid, format!("`where`: {why}")))
}

/// Reads events from an arrival on. Returns them, the arrival to continue with, and whether all were examined.
fn walk(
    other: &Other,
    filter: &Filter,
    from: u64,
    take: &mut dyn FnMut(&Row) -> Result<bool, Error>,
) -> Result<(Batch, u64, bool), Error> {
    let (mut batch, mut next, mut count, mut failed) = (other.around.batch(), from, 0, None);
    let walked = other.installation.walk_events(&other.from, filter, from, &mut |row| {
        match take(&row) {
            Ok(true) => {
                add(&mut batch, &other.origin, row.position, &row.raw);
                count += 1;
            }
            Ok(false) => {}
            Err(why) => {
                failed = Some(why);
                return ControlFlow::Break(());
            }
        }
        next = row.position + 1;
        if count >= TOGETHER || batch.lines.len() >= TOGETHER_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match failed {
        Some(why) => Err(why),
        None => Ok((batch, walked.unwrap_or(next).max(next), walked.is_none())),
    }
}

impl Reading for ReceivedEvents {
    fn next(&mut self) -> Result<Step, Error> {
        loop {
            let condition = &mut self.condition;
            let (batch, next, is_end) = walk(&self.other, &self.filter, self.next, &mut |row| holds(condition, &row.raw))?;
            let has_moved = next > self.next;
            self.next = next;
            if batch.fed.events() > 0 || (is_end && has_moved) {
                return Ok(self.other.give(batch, &self.key, next));
            }
            if is_end {
                return Ok(Step::End);
            }
        }
    }

    fn behind(&self) -> Behind {
        Behind::default()
    }
}

/// Records or events that a pipeline makes.
struct Made {
    other: Other,
    /// The key of its place in the log.
    key: String,
    output: OutputSource,
    next: Option<u64>,
}

impl Made {
    fn records(&self) -> Result<(Batch, u64), Error> {
        let served = self.other.served()?;
        let from = self.other.check_first(self.next, served.records_extent()?.0, "records")?;
        let (records, next) = served.records_between(from, u64::MAX, TOGETHER, |record| !record.is_threshold)?;
        let mut batch = self.other.around.batch();
        for record in &records {
            if batch.lines.len() >= TOGETHER_BYTES {
                return Ok((batch, record.number));
            }
            add(&mut batch, &self.other.origin, record.number, self.record_event(record).get().as_bytes());
        }
        Ok((batch, next.max(from)))
    }

    /// A record as a CloudEvent. `change` is its value, or the change to the revision before.
    fn record_event(&self, record: &RecordView) -> Box<RawValue> {
        let field = |name: &str| record.field(name);
        let head = json!({
            "specversion": "1.0", "id": field("recordId"), "source": self.other.from.name, "type": "meteredRecord",
            "subject": field("userId"), "time": field("periodStart"),
        });
        let change = field("delta").or_else(|| field("value")).unwrap_or_else(|| "null".to_owned());
        let change = RawValue::from_string(change).unwrap_or_default();
        Object::of(&head).with("change", &change).with("data", &record.json).finish()
    }

    fn parked(&self) -> Result<(Batch, u64), Error> {
        let served = self.other.served()?;
        let from = self.other.check_first(self.next, self.other.installation.parked_extent(&served)?.0, "parked events")?;
        let (parked, next) = self.other.installation.corrections(&served, from, TOGETHER / 10, &CorrectionFilter::default())?;
        let mut batch = self.other.around.batch();
        for correction in &parked {
            if batch.lines.len() >= TOGETHER_BYTES {
                return Ok((batch, correction.number));
            }
            add(&mut batch, &self.other.origin, correction.number, self.parked_event(correction).get().as_bytes());
        }
        Ok((batch, next.max(from)))
    }

    fn parked_event(&self, parked: &Correction) -> Box<RawValue> {
        let head = json!({
            "specversion": "1.0", "id": parked.id(), "source": self.other.from.name, "type": "parkedEvent",
            "time": Timestamp::from_nanos(parked.parked_at).to_string(),
        });
        let data = json!({"reason": parked.reason.code(), "operator": parked.operator, "detail": parked.detail});
        let data = Object::of(&data).with("event", &verbatim::sent(&parked.raw)).finish();
        Object::of(&head).with("data", &data).finish()
    }

    fn events(&self) -> Result<(Batch, u64), Error> {
        let filter = Filter { verdict: Some("counted".to_owned()), ..Filter::default() };
        let mut from = self.other.check_first(self.next, self.other.first_event()?, "events")?;
        loop {
            let (batch, next, is_end) = walk(&self.other, &filter, from, &mut |_| Ok(true))?;
            if batch.fed.events() > 0 || is_end {
                return Ok((batch, next));
            }
            from = next;
        }
    }
}

impl Reading for Made {
    fn next(&mut self) -> Result<Step, Error> {
        let (batch, next) = match self.output.output {
            Output::Records => self.records()?,
            Output::Parked => self.parked()?,
            Output::Events => self.events()?,
        };
        self.next = Some(next);
        match (batch.fed.events(), self.output.following.follows) {
            (0, false) => Ok(Step::End),
            (0, true) => Ok(Step::Wait(Duration::from_nanos(self.output.following.interval.unsigned_abs()))),
            _ => Ok(self.other.give(batch, &self.key, next)),
        }
    }

    fn behind(&self) -> Behind {
        let items = match self.output.output {
            Output::Records => self.other.served().and_then(|served| served.records_extent()).map(|(_, next)| next),
            Output::Parked => {
                self.other.served().and_then(|served| self.other.installation.parked_extent(&served)).map(|(_, next)| next)
            }
            Output::Events => return Behind::default(),
        };
        Behind { items: items.unwrap_or_default().saturating_sub(self.next.unwrap_or_default()), ..Behind::default() }
    }
}
