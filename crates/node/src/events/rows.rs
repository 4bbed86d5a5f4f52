//! Received events as rows of the event store: from its files, or from the log and the verdicts
//! where they are not in files yet. So every event can be found at any moment, however far the
//! files lag.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use flowmeter_core::event::json::{Projection, Scanner};
use flowmeter_core::event::{Batch, Kind as LeafKind, Path};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::live::{Arrivals, Arrived, Letter, Live, folder_of, shown_origin};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive::{self, ArchivedEvent, Filter, Row};
use uuid::Uuid;

use crate::installation::Installation;
use crate::pipelines::KeptPipeline;

/// Maximum of rows of files that one query examines; then it returns a cursor.
const WINDOW_ROWS: u64 = 16_000_000;
/// Maximum of events of the log that one query examines.
const TAIL_EVENTS_MAX: u64 = 400_000;

/// Returns the folder of a pipeline's files.
pub(crate) fn events_folder(pipeline: Uuid) -> String {
    format!("events/{pipeline}")
}

/// The fields that are read from an event's JSON, in the order of [`PATHS`].
const ID: u16 = 0;
const SOURCE: u16 = 1;
const TYPE: u16 = 2;
const SUBJECT: u16 = 3;
const TIMES: [u16; 2] = [4, 5];
const PATHS: [&str; 6] = ["id", "source", "type", "subject", "time", "timestamp"];

/// Reads the attributes of events. Its caches change no result.
pub(crate) struct Attributes {
    scanner: Scanner,
    projection: Projection,
    batch: Batch,
}

impl Attributes {
    pub(crate) fn new() -> Attributes {
        let projection = Projection::new(&PATHS.map(|name| Path::of(&[name])));
        Attributes { scanner: Scanner::new(), projection, batch: Batch::default() }
    }

    /// Passes each received event to `visit`, as the event store has it.
    pub(crate) fn rows(
        &mut self,
        pipeline: &KeptPipeline,
        arrived: &Arrived,
        show: &mut dyn FnMut(&ArchivedEvent<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        let Attributes { scanner, projection, batch } = self;
        let letter = Letter::read(&arrived.entry.bytes)?;
        let runs = letter.fed.as_ref().map_or(&[][..], |fed| &fed.runs);
        let source = letter.fed.as_ref().map_or("", |fed| &fed.source);
        let origins: Vec<String> = runs.iter().map(|run| shown_origin(source, &run.origin)).collect();
        let mut places = runs.iter().zip(&origins).flat_map(|(run, origin)| {
            let lines = run.line..run.line + run.events;
            lines.map(move |line| (origin.as_str(), line))
        });
        let mut places = places.by_ref().skip(arrived.skip);
        batch.block.clear();
        batch.block.open().extend_from_slice(letter.lines);
        batch.block.seal();
        scanner.decode(projection, batch, usize::MAX);
        for (nth, verdict) in arrived.verdicts.iter().enumerate() {
            let (event, position) = (arrived.skip + nth, arrived.first + nth as u64);
            if event >= batch.len() {
                let message = format!("entry {} has {} events, but more verdicts", arrived.entry.position, batch.len());
                return Err(Error::new(Kind::Corrupt, message));
            }
            let place = places.next();
            let texts = [ID, SOURCE, TYPE, SUBJECT].map(|slot| text(batch, event, slot));
            let [id, source, event_type, subject] = texts.each_ref().map(|text| text.as_deref());
            let note = arrived.parked.get(&position).filter(|_| matches!(verdict, Verdict::Parked(_)));
            let (word, reason) = verdict.words();
            let row = ArchivedEvent {
                position,
                received_at: arrived.entry.at,
                pipeline: &pipeline.name,
                namespace: &pipeline.namespace,
                origin: place.map_or("http", |(origin, _)| origin),
                line: place.map_or(position + 1, |(_, line)| line),
                id,
                source,
                event_type,
                subject,
                event_at: TIMES.iter().find_map(|slot| time(batch, event, *slot)).map(Timestamp::nanos),
                verdict: word,
                reason,
                detail: note.map(|note| note.detail.as_str()).filter(|detail| !detail.is_empty()),
                operator: note.map(|note| note.operator.as_str()).filter(|operator| !operator.is_empty()),
                raw: batch.raw(event),
            };
            if show(&row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn text(batch: &Batch, event: usize, slot: u16) -> Option<Cow<'_, str>> {
    batch.leaf(event, slot).as_text().map(|text| match text {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    })
}

/// Reads RFC 3339 or Unix milliseconds, the default of the meter operator.
fn time(batch: &Batch, event: usize, slot: u16) -> Option<Timestamp> {
    let leaf = batch.leaf(event, slot);
    match leaf.kind {
        LeafKind::Text => Timestamp::parse_rfc3339(leaf.bytes),
        LeafKind::Number => {
            let millis: i64 = std::str::from_utf8(leaf.bytes).ok()?.parse().ok()?;
            Timestamp::from_scaled(millis, 1_000_000)
        }
        _ => None,
    }
}

/// Returns a row that owns its data.
fn owned(event: &ArchivedEvent<'_>) -> Row {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Row {
        position: event.position,
        received_at: event.received_at,
        pipeline: event.pipeline.to_owned(),
        namespace: event.namespace.to_owned(),
        origin: event.origin.to_owned(),
        line: event.line,
        id: text(event.id),
        source: text(event.source),
        event_type: text(event.event_type),
        subject: text(event.subject),
        event_at: event.event_at,
        verdict: event.verdict.to_owned(),
        reason: text(event.reason),
        detail: text(event.detail),
        operator: text(event.operator),
        raw: event.raw.to_vec(),
    }
}

impl Installation {
    /// Returns the arrival of the first event of a pipeline that still exists.
    pub(crate) fn first_event(&self, pipeline: &KeptPipeline) -> Result<u64, Error> {
        match archive::first(&**self.disk(), &events_folder(pipeline.id))? {
            Some(first) => Ok(first),
            None => Arrivals::first(self.disk(), &folder_of(pipeline.id)),
        }
    }

    /// Passes the wanted events that a pipeline received from an arrival on to `visit`, in the
    /// order of arrival, until `visit` has enough. Returns the arrival to continue with, unless all
    /// were examined.
    pub fn walk_events(
        &self,
        pipeline: &KeptPipeline,
        filter: &Filter,
        from: u64,
        visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Error> {
        if let Some(served) = self.served_of(pipeline.id) {
            served.worker().ask(Live::commit)??;
        }
        let folder = events_folder(pipeline.id);
        let archived = archive::extent(&**self.disk(), &folder)?.unwrap_or(0);
        let until = filter.positions.as_ref().map_or(u64::MAX, |range| range.end);
        if from < archived.min(until) {
            let window = archived.min(until).min(from.saturating_add(WINDOW_ROWS));
            let filter = Filter { positions: Some(from..window), ..filter.clone() };
            for row in archive::scan(Arc::clone(self.disk()), &folder, filter)? {
                let row = row?;
                let position = row.position;
                if visit(row).is_break() {
                    return Ok(Some(position + 1));
                }
            }
            if window < archived.min(until) {
                return Ok(Some(window));
            }
        }
        if archived >= until { Ok(None) } else { self.walk_tail(pipeline, filter, from.max(archived), visit) }
    }

    /// Visits events that are not in files yet.
    fn walk_tail(
        &self,
        pipeline: &KeptPipeline,
        filter: &Filter,
        from: u64,
        visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Error> {
        let folder = folder_of(pipeline.id);
        let from = from.max(Arrivals::first(self.disk(), &folder)?);
        let mut arrivals = Arrivals::open(self.disk(), self.whole_log()?, &folder, from, self.log_end())?;
        let mut attributes = Attributes::new();
        let mut enough = None;
        while let Some(arrived) = arrivals.read(false)? {
            let flow = attributes.rows(pipeline, &arrived, &mut |event| {
                if !filter.takes(event) {
                    return Ok(ControlFlow::Continue(()));
                }
                enough = Some(event.position + 1);
                Ok(visit(owned(event)))
            })?;
            if flow.is_break() {
                return Ok(enough);
            }
            if arrivals.next() - from >= TAIL_EVENTS_MAX {
                return Ok(Some(arrivals.next()));
            }
        }
        Ok(None)
    }
}
