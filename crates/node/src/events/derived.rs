//! Events that operators made, each with its verdict, from their log.
//!
//! An event that an operator took into its state was absorbed when it was made, and may have been parked
//! since. That is in the log of parked events, which is read for it once, and then as it grows.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_core::operator::Operator;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::Error;
use flowmeter_engine::live::{DerivedItem, derived_item, folder_of, items, parked_item};
use flowmeter_store::archive::{ArchivedEvent, Filter};
use flowmeter_store::log::Reader;

use crate::events::rows::{Attributes, Described};
use crate::installation::{Installation, Served};

/// Events that one request examines; then it returns the number to continue with.
const WINDOW_EVENTS: u64 = 400_000;

/// A derived event: its row as of a received event, the operator that made it, and the number of the
/// received event that it descends from.
pub struct MadeEvent<'a> {
    /// The event as the event store has others; its position is its number among derived ones.
    pub row: ArchivedEvent<'a>,
    /// The operator that made it.
    pub made_by: &'a str,
    /// The number of the received event that it descends from; none if it was released at a tick.
    pub parent: Option<u64>,
}

/// Derived events that were parked after they had been made.
#[derive(Debug, Default)]
pub(crate) struct ParkedLater(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The number of parked events that were read.
    read: u64,
    /// Numbers of parked events by the identity of the derived event.
    by_identity: HashMap<u128, u64>,
}

impl ParkedLater {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installation {
    /// Returns the numbers of the first derived event of a pipeline that is kept, and of the next one.
    pub fn derived_extent(&self, served: &Served) -> Result<Range<u64>, Error> {
        served.worker().ask(|live| {
            live.commit()?;
            let derived = live.outlet().derived();
            Ok::<_, Error>(derived.first()..derived.written())
        })?
    }

    /// Visits the derived events of a pipeline with numbers of a range that a filter takes. Returns the
    /// number to continue with, unless all were examined.
    pub fn walk_derived(
        &self,
        served: &Served,
        filter: &Filter,
        numbers: Range<u64>,
        visit: &mut dyn FnMut(&MadeEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Error> {
        let pipeline = &served.kept;
        if numbers.is_empty() || filter.pipeline.as_ref().is_some_and(|wanted| *wanted != pipeline.name) {
            return Ok(None);
        }
        let plan = served.worker().ask(|live| live.plan().clone())?;
        let later = if parks_later(&plan) { Some(self.parked_later(served)?) } else { None };
        let folder = format!("{}/derived", folder_of(pipeline.id));
        let mut reader = Reader::of_item_beside(self.disk().clone(), &folder, numbers.start)?;
        let mut attributes = Attributes::new(&[]);
        let until = numbers.end.min(numbers.start.saturating_add(WINDOW_EVENTS));
        while let Some(entry) = reader.read()? {
            for (number, item) in items(&entry).filter(|(number, _)| *number >= numbers.start) {
                if number >= until {
                    return Ok((number < numbers.end).then_some(number));
                }
                let damaged = || Error::new(flowmeter_engine::Kind::Corrupt, format!("{folder}: item {number} cannot be read"));
                let item = derived_item(item).ok_or_else(damaged)?;
                let parked = match &later {
                    Some(later) if item.verdict == Verdict::Absorbed => {
                        self.parked_since(served, later, &mut attributes, item.json)?
                    }
                    _ => None,
                };
                let (verdict, operator, detail) = match &parked {
                    Some((verdict, operator, detail)) => (*verdict, operator.as_str(), detail.as_str()),
                    None => (item.verdict, item.operator, item.detail),
                };
                let item = DerivedItem { verdict, operator, detail, ..item };
                let flow = show(&mut attributes, served, number, &item, filter, visit);
                if flow.is_break() {
                    return Ok((number + 1 < numbers.end).then_some(number + 1));
                }
            }
        }
        Ok(None)
    }

    /// Reads the parked events since the last call.
    fn parked_later<'s>(&self, served: &'s Served) -> Result<&'s ParkedLater, Error> {
        let mut known = served.parked_later.known();
        let from = known.read;
        let reader = served.worker().ask(move |live| {
            live.commit()?;
            let parked = live.outlet().parked();
            let from = from.max(parked.first());
            (from < parked.written()).then(|| parked.reader(from)).transpose()
        })??;
        let Some(mut reader) = reader else { return Ok(&served.parked_later) };
        let mut attributes = Attributes::new(&[]);
        while let Some(entry) = reader.read()? {
            for (number, item) in items(&entry).filter(|(number, _)| *number >= from) {
                known.read = number + 1;
                let item = parked_item(item).filter(|item| item.is_derived && item.held.is_none());
                if let Some(identity) = item.and_then(|item| identity(&mut attributes, item.raw)) {
                    known.by_identity.insert(identity, number);
                }
            }
        }
        Ok(&served.parked_later)
    }

    /// Returns verdict, operator and message of a derived event that was parked after it was made.
    fn parked_since(
        &self,
        served: &Served,
        later: &ParkedLater,
        attributes: &mut Attributes,
        json: &[u8],
    ) -> Result<Option<(Verdict, String, String)>, Error> {
        let Some(identity) = identity(attributes, json) else { return Ok(None) };
        let Some(number) = later.known().by_identity.get(&identity).copied() else { return Ok(None) };
        let reader = served.worker().ask(move |live| live.outlet().parked().reader(number))?;
        let Some(entry) = reader?.read()? else { return Ok(None) };
        let found = items(&entry).find(|(known, _)| *known == number).and_then(|(_, item)| parked_item(item));
        Ok(found.map(|item| (Verdict::Parked(item.reason), item.operator.to_owned(), item.detail.to_owned())))
    }
}

/// Whether a plan has an operator that may park what it has absorbed.
fn parks_later(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| matches!(node.operator, Operator::Correlate(_)))
}

/// Returns the identity of a derived event; none if it has no id.
fn identity(attributes: &mut Attributes, json: &[u8]) -> Option<u128> {
    let described = attributes.describe(json)?;
    let [id, source, ..] = described.texts();
    let text = format!("{}\0{}", id?, source.unwrap_or_default());
    Some(xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

fn show(
    attributes: &mut Attributes,
    served: &Served,
    number: u64,
    item: &DerivedItem<'_>,
    filter: &Filter,
    visit: &mut dyn FnMut(&MadeEvent<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let described = attributes.describe(item.json);
    let [id, source, event_type, subject] = described.as_ref().map(Described::texts).unwrap_or_default();
    let (verdict, reason) = item.verdict.words();
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let row = ArchivedEvent {
        position: number,
        received_at: item.at.nanos(),
        pipeline: &served.kept.name,
        namespace: &served.kept.namespace,
        origin: "operator",
        line: number + 1,
        id,
        source,
        event_type,
        subject,
        event_at: described.as_ref().and_then(|described| described.at).map(Timestamp::nanos),
        verdict,
        reason,
        detail: some(item.detail),
        operator: some(item.operator),
        raw: item.json,
    };
    match filter.takes(&row) {
        true => visit(&MadeEvent { row, made_by: item.made_by, parent: item.arrival }),
        false => ControlFlow::Continue(()),
    }
}
