//! Received events as rows of the event store: from its files, or from the log and the verdicts
//! where they are not in files yet. So every event can be found at any moment, however far the
//! files lag.
//!
//! A filter that names a subject, or another value that its events have, is answered from the indexes
//! of the files and from the keys of the events that the event store has read ([`Unfiled`]). Events
//! behind those are few: they are read one by one.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use flowmeter_core::event::json::{Projection, Scanner};
use flowmeter_core::event::{Batch, Kind as LeafKind, Path};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::live::{Arrivals, Arrived, Letter, Live, Mark, folder_of, shown_origin};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive::{self, ArchivedEvent, Filter, Row};
use uuid::Uuid;

use crate::installation::Installation;
use crate::pipelines::KeptPipeline;

/// Maximum of rows of files that one query examines; then it returns a cursor.
const WINDOW_ROWS: u64 = 16_000_000;
/// Maximum of events of the log that one query examines.
const TAIL_EVENTS_MAX: u64 = 400_000;
/// Events that are read one by one in about the time that it takes to find one in its entry.
const ONE_COSTS: u64 = 500;

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

/// Called with an event, as the event store has it, and with its values at further paths.
pub(crate) type Show<'s> = dyn FnMut(&ArchivedEvent<'_>, &[Option<&str>]) -> Result<ControlFlow<()>, Error> + 's;

/// Reads the attributes of events. Its caches change no result.
pub(crate) struct Attributes {
    scanner: Scanner,
    projection: Projection,
    batch: Batch,
    /// Number of further paths whose values are read.
    others: u16,
}

impl Attributes {
    /// Reads the attributes, and the values at further paths.
    pub(crate) fn new(others: &[Path]) -> Attributes {
        let paths: Vec<Path> = PATHS.iter().map(|name| Path::of(&[name])).chain(others.iter().cloned()).collect();
        let (projection, others) = (Projection::new(&paths), others.len() as u16);
        Attributes { scanner: Scanner::new(), projection, batch: Batch::default(), others }
    }

    /// Reads the attributes of one event.
    pub(crate) fn describe(&mut self, raw: &[u8]) -> Option<Described<'_>> {
        let Attributes { scanner, projection, batch, .. } = self;
        batch.block.clear();
        batch.block.open().extend_from_slice(raw);
        batch.block.seal();
        scanner.decode(projection, batch, usize::MAX);
        (batch.len() == 1).then(|| Described::of(batch, 0))
    }

    /// Passes each received event to `show`, as the event store has it, with its values at the
    /// further paths.
    pub(crate) fn rows(
        &mut self,
        pipeline: &KeptPipeline,
        arrived: &Arrived,
        show: &mut Show<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let Attributes { scanner, projection, batch, others } = self;
        let others = PATHS.len() as u16..PATHS.len() as u16 + *others;
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
            let described = Described::of(batch, event);
            let [id, source, event_type, subject] = described.texts();
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
                event_at: described.at.map(Timestamp::nanos),
                verdict: word,
                reason,
                detail: note.map(|note| note.detail.as_str()).filter(|detail| !detail.is_empty()),
                operator: note.map(|note| note.operator.as_str()).filter(|operator| !operator.is_empty()),
                raw: batch.raw(event),
            };
            let values: Vec<Option<Cow<'_, str>>> = others.clone().map(|slot| text(batch, event, slot)).collect();
            let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            if show(&row, &values)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The attributes of one event.
pub(crate) struct Described<'b> {
    texts: [Option<Cow<'b, str>>; 4],
    /// When it was, by its own account.
    pub(crate) at: Option<Timestamp>,
}

impl<'b> Described<'b> {
    fn of(batch: &'b Batch, event: usize) -> Described<'b> {
        Described {
            texts: [ID, SOURCE, TYPE, SUBJECT].map(|slot| text(batch, event, slot)),
            at: TIMES.iter().find_map(|slot| time(batch, event, *slot)),
        }
    }

    /// Returns its id, source, type and subject.
    pub(crate) fn texts(&self) -> [Option<&str>; 4] {
        self.texts.each_ref().map(|text| text.as_deref())
    }
}

/// Reads the values at some paths of single events.
pub(crate) struct Values {
    scanner: Scanner,
    projection: Projection,
    batch: Batch,
    paths: u16,
}

impl Values {
    pub(crate) fn new(paths: &[Path]) -> Values {
        let (projection, paths) = (Projection::new(paths), paths.len() as u16);
        Values { scanner: Scanner::new(), projection, batch: Batch::default(), paths }
    }

    /// Returns the values of an event, as [`Attributes::rows`] passes them.
    pub(crate) fn of(&mut self, event: &[u8]) -> Vec<Option<String>> {
        if self.paths == 0 {
            return Vec::new();
        }
        self.batch.block.clear();
        self.batch.block.open().extend_from_slice(event);
        self.batch.block.seal();
        self.scanner.decode(&self.projection, &mut self.batch, usize::MAX);
        let is_read = self.batch.len() == 1;
        (0..self.paths).map(|slot| is_read.then(|| text(&self.batch, 0, slot))?.map(Cow::into_owned)).collect()
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
        let folder = events_folder(pipeline.id);
        let mut archived = archive::extent(&**self.disk(), &folder)?.unwrap_or(0);
        let until = filter.positions.as_ref().map_or(u64::MAX, |range| range.end);
        if until > archived
            && let Some(served) = self.served_of(pipeline.id)
        {
            served.worker().ask(Live::commit)??;
            // A file may have been finished meanwhile.
            archived = archive::extent(&**self.disk(), &folder)?.unwrap_or(0);
        }
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
        let mut from = from.max(Arrivals::first(self.disk(), &folder)?);
        let mut arrivals = match self.walk_unfiled(pipeline, filter, from, visit)? {
            Walked::Until(next) => {
                from = next;
                self.arrivals_from(pipeline, from)?
            }
            Walked::Lost(next) => {
                from = next;
                self.arrivals_without_marks(pipeline, from)?
            }
            Walked::Enough(next) => return Ok(Some(next)),
        };
        let mut attributes = Attributes::new(&[]);
        let mut enough = None;
        let until = filter.positions.as_ref().map_or(u64::MAX, |range| range.end);
        let last = until.min(from.saturating_add(TAIL_EVENTS_MAX));
        loop {
            if let Some(wanted) = &filter.verdict {
                arrivals.pass_unwanted(last, &|verdict| verdict.words().0 == wanted)?;
            }
            if arrivals.next() >= last {
                return Ok((last < until).then_some(arrivals.next()));
            }
            let Some(arrived) = arrivals.read(false)? else { return Ok(None) };
            // Events are in the order of their receipt.
            if filter.received_at.as_ref().is_some_and(|range| arrived.entry.at >= range.end) {
                return Ok(None);
            }
            let flow = attributes.rows(pipeline, &arrived, &mut |event, _| {
                if !filter.takes(event) {
                    return Ok(ControlFlow::Continue(()));
                }
                enough = Some(event.position + 1);
                Ok(visit(owned(event)))
            })?;
            if flow.is_break() {
                return Ok(enough);
            }
        }
    }

    /// Visits the events that are not in files yet and may have a value that a filter names, as far as
    /// their keys are known.
    fn walk_unfiled(
        &self,
        pipeline: &KeptPipeline,
        filter: &Filter,
        from: u64,
        visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<Walked, Error> {
        let wanted = filter.keys();
        let unfiled = self.event_store.get().and_then(|store| store.unfiled(pipeline.id));
        let Some(unfiled) = unfiled.filter(|_| !wanted.is_empty()) else { return Ok(Walked::Until(from)) };
        let Some((mut positions, until)) = unfiled.recent.positions(&wanted, from) else {
            // A file with them may have been finished since the names of files were read.
            let archived = archive::extent(&**self.disk(), &events_folder(pipeline.id))?;
            return Ok(if archived > Some(from) { Walked::Enough(from) } else { Walked::Until(from) });
        };
        // Of a window, those behind it are not wanted.
        let until = filter.positions.as_ref().map_or(until, |range| until.min(range.end.max(from)));
        positions.retain(|position| *position < until);
        if positions.len() as u64 * ONE_COSTS > until - from {
            return Ok(Walked::Until(from));
        }
        let mut attributes = Attributes::new(&[]);
        let mut reader: Option<Arrivals> = None;
        for position in positions {
            let Some(mark) = unfiled.mark(position) else { return Ok(Walked::Until(position)) };
            if !reader.as_ref().is_some_and(|reader| (mark.arrival..=position).contains(&reader.next())) {
                match self.arrivals_at(pipeline, &mark) {
                    Ok(opened) => reader = Some(opened),
                    // Its part of the log was removed meanwhile.
                    Err(why) if why.kind == Kind::Unavailable => return Ok(Walked::Until(position)),
                    Err(why) => return Err(why),
                }
            }
            let read = reader.as_mut().map(|reader| reader.read_one(position)).transpose()?.flatten();
            let Some(arrived) = read else { return Ok(Walked::Lost(position)) };
            let flow = attributes.rows(pipeline, &arrived, &mut |event, _| match filter.takes(event) {
                true => Ok(visit(owned(event))),
                false => Ok(ControlFlow::Continue(())),
            })?;
            if flow.is_break() {
                return Ok(Walked::Enough(position + 1));
            }
        }
        Ok(Walked::Until(until))
    }

    /// Reads events from an arrival on.
    fn arrivals_from(&self, pipeline: &KeptPipeline, from: u64) -> Result<Arrivals, Error> {
        let mark = self.event_store.get().and_then(|store| store.unfiled(pipeline.id)?.mark(from));
        if let Some(mut arrivals) = mark.and_then(|mark| self.arrivals_at(pipeline, &mark).ok())
            && arrivals.skip_to(from)?
        {
            return Ok(arrivals);
        }
        self.arrivals_without_marks(pipeline, from)
    }

    fn arrivals_without_marks(&self, pipeline: &KeptPipeline, from: u64) -> Result<Arrivals, Error> {
        Arrivals::open(self.disk(), self.whole_log()?, &folder_of(pipeline.id), from, self.log_end())
    }

    fn arrivals_at(&self, pipeline: &KeptPipeline, mark: &Mark) -> Result<Arrivals, Error> {
        let end = self.log_end();
        Arrivals::open_at(self.disk(), mark, self.read_log_at(mark.log, end)?, &folder_of(pipeline.id), end)
    }
}

/// How far events were examined.
enum Walked {
    /// Up to this arrival.
    Until(u64),
    /// Up to this arrival, which is not where it was noted.
    Lost(u64),
    /// Up to this arrival, with which another request continues.
    Enough(u64),
}
