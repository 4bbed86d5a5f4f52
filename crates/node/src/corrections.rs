//! The correction queue: parked events and their outcomes.
//!
//! Parked events are a log of the pipeline. An event leaves the queue by an entry of the log of
//! events that settles it and carries the event that counts in its place, past deduplication; or by
//! an event with its identity. Either way its settlement follows from the log, and only the first
//! one for an event is valid. The audit follows the settlements.

pub(crate) mod askings;
mod audited;
pub mod filter;
pub mod group_views;
pub mod groups;
mod received;

use std::sync::Arc;

use flowmeter_core::mutant::{self, Mutant};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Reason;
use flowmeter_engine::Error;
use flowmeter_engine::journal::Place;
use flowmeter_engine::live::{How, Letter, Settlement, Settles, items, parked_item};
use flowmeter_engine::node::{Reply, Submission};
use flowmeter_store::catalog::Table;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::audit::Who;
pub use crate::corrections::filter::CorrectionFilter;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, pair_key};
use crate::verbatim::{self, Object};

/// The outcome of a parked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CorrectionState {
    /// It waits for a correction.
    Open,
    /// It was counted again with other content.
    Corrected,
    /// It was counted again unchanged.
    Reprocessed,
    /// Nothing counts in its place.
    Discarded,
    /// An event with the same identity took its place.
    Superseded,
}

impl CorrectionState {
    fn of(how: How) -> CorrectionState {
        match how {
            How::Corrected => CorrectionState::Corrected,
            How::Reprocessed => CorrectionState::Reprocessed,
            How::Discarded => CorrectionState::Discarded,
            How::Superseded => CorrectionState::Superseded,
        }
    }
}

/// A parked event with its state.
#[derive(Clone, Debug)]
pub struct Correction {
    /// A number that counts up in its pipeline.
    pub number: u64,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The outcome so far.
    pub state: CorrectionState,
    /// Its number in the order of arrival; of an event that an operator made, that of the event it
    /// descends from.
    pub arrival: u64,
    /// When it was parked, in nanoseconds.
    pub parked_at: i64,
    /// The reason why it was parked.
    pub reason: Reason,
    /// The operator that parked it.
    pub operator: String,
    /// Details of the reason.
    pub detail: String,
    /// The event as received.
    pub raw: Vec<u8>,
    /// Whether an operator made the event; then it cannot be settled by itself.
    pub is_derived: bool,
    /// Whether an operator held the event, whose fields are as they were there.
    pub was_held: bool,
    /// Its settlement, if it is settled.
    settlement: Option<Settlement>,
}

/// The outcome of a parked event, as programs before 0.2 stored it in the catalog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    state: CorrectionState,
}

impl Correction {
    /// Returns the id: pipeline and number.
    pub fn id(&self) -> String {
        format!("{}:{}", self.pipeline, Place::first(self.number))
    }

    /// Returns its JSON form. The event is shown byte for byte as received, so that a correction
    /// sends back unchanged parts exactly.
    pub fn shown(&self) -> Box<RawValue> {
        self.shown_received(None)
    }

    /// Returns its JSON form with the time at which the event was received.
    fn shown_received(&self, received_at: Option<Timestamp>) -> Box<RawValue> {
        let mut head = json!({
            "id": self.id(), "pipeline": self.pipeline, "state": self.state, "arrival": self.arrival,
            "reason": self.reason.code(), "remedy": self.reason.remedy(), "operator": self.operator, "detail": self.detail,
            "parkedAt": Timestamp::from_nanos(self.parked_at).to_string(),
        });
        if let Some(at) = received_at {
            head["receivedAt"] = json!(at.to_string());
        }
        if self.is_derived {
            head["derived"] = json!(true);
        }
        if let Some(Settlement { how, at, who, by, .. }) = &self.settlement {
            head["settledAt"] = json!(at.to_string());
            match how {
                How::Superseded => head["supersededBy"] = json!(by),
                How::Corrected | How::Reprocessed | How::Discarded => head["settledBy"] = json!(who),
            }
        }
        Object::of(&head).with("event", &verbatim::sent(&self.raw)).finish()
    }
}

impl Installation {
    /// Returns parked events of a pipeline from a number on, and the number to continue with.
    pub fn corrections(
        &self,
        served: &Served,
        from: u64,
        limit: usize,
        filter: &CorrectionFilter,
    ) -> Result<(Vec<Correction>, u64), Error> {
        let reader = served.worker().ask(move |live| {
            live.commit()?;
            let parked = live.outlet().parked();
            let from = from.max(parked.first());
            (from < parked.written()).then(|| parked.reader(from).map(|reader| (reader, from))).transpose()
        })??;
        let mut found = Vec::new();
        let Some((mut reader, from)) = reader else { return Ok((found, from)) };
        let mut next = from;
        while let Some(entry) = reader.read()? {
            let mut page: Vec<Correction> = Vec::new();
            let until = filter.before.unwrap_or(u64::MAX);
            if entry.first_item >= until {
                break;
            }
            let is_within = filter.takes_time(entry.at);
            for (number, item) in items(&entry).filter(|(number, _)| is_within && (from..until).contains(number)) {
                let Some(parked) = parked_item(item) else { continue };
                if filter.takes(&parked) {
                    page.push(Correction {
                        number,
                        pipeline: served.kept.name.clone(),
                        state: CorrectionState::Open,
                        arrival: parked.settled_by().unwrap_or(parked.arrival),
                        parked_at: entry.at,
                        reason: parked.reason,
                        operator: parked.operator.to_owned(),
                        detail: parked.detail.to_owned(),
                        raw: parked.raw.to_vec(),
                        is_derived: parked.settled_by().is_none(),
                        was_held: parked.held.is_some(),
                        settlement: None,
                    });
                }
            }
            self.look_up_states(served, &mut page)?;
            let end = entry.first_item + u64::from(entry.items);
            for correction in page {
                next = correction.number + 1;
                if filter.takes_outcome(correction.state, correction.settlement.as_ref()) {
                    found.push(correction);
                }
                if found.len() >= limit {
                    return Ok((found, next));
                }
            }
            next = next.max(end);
        }
        Ok((found, next))
    }

    /// Reads the outcomes of parked events.
    fn look_up_states(&self, served: &Served, page: &mut [Correction]) -> Result<(), Error> {
        let arrivals: Vec<u64> = page.iter().map(|correction| correction.arrival).collect();
        let settled: Vec<Option<Settlement>> = served.worker().ask(move |live| {
            let settled = live.outlet().settled_events();
            arrivals.iter().map(|arrival| settled.get(*arrival).cloned()).collect()
        })?;
        for (correction, settlement) in page.iter_mut().zip(settled) {
            // The arrival of a derived event is that of the event it descends from.
            let settlement = settlement.filter(|_| !correction.is_derived);
            let key = pair_key(served.kept.id, correction.number);
            correction.state = match &settlement {
                Some(settlement) => CorrectionState::of(settlement.how),
                None => match self.catalog().get(Table::Corrections, &key)? {
                    Some(bytes) => kept::<Outcome>(&bytes)?.state,
                    None => CorrectionState::Open,
                },
            };
            correction.settlement = settlement;
        }
        Ok(())
    }

    /// Returns a parked event by id.
    pub fn correction(&self, namespace: &str, id: &str) -> Result<(Arc<Served>, Correction), Refused> {
        let missing = || not_found("parked event", id);
        let (pipeline, number) = id.rsplit_once(':').ok_or_else(missing)?;
        let number = Place::read_in_first(number).ok_or_else(missing)?;
        let served = self.served_in(namespace).into_iter().find(|served| served.kept.name == pipeline).ok_or_else(missing)?;
        let found = self.corrections(&served, number, 1, &CorrectionFilter::default()).map_err(|why| refusal_of(&why))?;
        let correction = found.0.into_iter().find(|correction| correction.number == number).ok_or_else(missing)?;
        Ok((served, correction))
    }

    /// Takes an event out of the queue: discarded, or counted again unchanged or corrected. It is
    /// out once the pipeline has processed the entry, and never twice.
    pub fn settle_correction(&self, who: &Who, id: &str, how: How, event: Option<Vec<u8>>) -> Result<Correction, Refused> {
        let at = |why: Error| refusal_of(&why);
        let (served, correction) = self.correction(&who.namespace, id)?;
        if correction.is_derived {
            return Err(derived_event(&correction));
        }
        if correction.state != CorrectionState::Open {
            return Err(settled_already(&correction));
        }
        served.must_move()?;
        let event = match how {
            How::Discarded | How::Superseded => Vec::new(),
            How::Corrected | How::Reprocessed => match event {
                Some(event) => event,
                None => self.event_to_repeat(&served, &correction)?,
            },
        };
        self.askings.note(served.kept.id, correction.number, who);
        if mutant::is_put_back(Mutant::AnsweredBeforeTheLog) {
            self.put(self.settling(who, &served, &correction, how, &event, Box::new(drop)));
            return Ok(correction);
        }
        let position = self.put_settlement(who, &served, &correction, how, &event).map_err(at)?;
        if let Err(why) = served.worker().wait_for(position + 1) {
            let detail = format!(
                "the correction is in the log and takes effect as soon as `{}` runs; sending it again does no harm: {why}",
                served.kept.name
            );
            return Err(Box::new(Refusal::new(RefusalKind::Overloaded, detail).retry_after(1)));
        }
        if let Err(why) = self.audit_settlements(&served) {
            tracing::error!(pipeline = served.kept.name, "settled corrections are not in the audit yet: {why}");
        }
        let (_, correction) = self.correction(&who.namespace, id)?;
        match &correction.settlement {
            Some(settlement) if settlement.position == position => Ok(correction),
            // Another request has settled it first.
            _ => Err(settled_already(&correction)),
        }
    }

    /// Returns the numbers of the first parked event that still exists and of the next one.
    pub fn parked_extent(&self, served: &Served) -> Result<(u64, u64), Error> {
        served.worker().ask(|live| {
            live.commit()?;
            Ok::<_, Error>((live.outlet().parked().first(), live.outlet().parked().written()))
        })?
    }

    /// Takes many events of a pipeline out of the queue, committed together. Returns the number of
    /// entries that were written; events that are settled in the meantime stay as they are. The audit
    /// follows with [`Installation::audit_settlements`].
    pub fn settle_many(&self, who: &Who, served: &Served, events: Vec<(Correction, How, Vec<u8>)>) -> Result<usize, Refused> {
        served.must_move()?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let count = events.len();
        for (correction, how, event) in events {
            self.askings.note(served.kept.id, correction.number, who);
            let sender = sender.clone();
            let reply = Box::new(move |placed| drop(sender.send(placed)));
            self.put(self.settling(who, served, &correction, how, &event, reply));
        }
        drop(sender);
        let mut last = 0;
        for placed in receiver {
            let placed: Result<flowmeter_engine::node::Placed, Error> = placed;
            last = placed.map_err(|why| refusal_of(&why))?.position.max(last);
        }
        served.worker().wait_for(last + 1).map_err(|why| refusal_of(&why))?;
        Ok(count)
    }

    /// Appends the entry to the log that settles a parked event.
    fn put_settlement(&self, who: &Who, served: &Served, correction: &Correction, how: How, event: &[u8]) -> Result<u64, Error> {
        Ok(self.put_and_wait(|reply| self.settling(who, served, correction, how, event, reply))?.position)
    }

    /// Returns the entry of the log that settles a parked event.
    fn settling(&self, who: &Who, served: &Served, correction: &Correction, how: How, event: &[u8], reply: Reply) -> Submission {
        let letter = Letter {
            namespace: &served.kept.namespace,
            pipeline: Some(served.kept.id),
            again: true,
            settles: Some(Settles { arrival: correction.arrival, number: correction.number, how, who: &who.name }),
            lines: &[],
            fed: None,
        };
        let mut bytes = Vec::new();
        letter.write_head(&mut bytes);
        let head = bytes.len();
        if !event.is_empty() {
            bytes.extend(event.iter().map(|&c| if c == b'\n' || c == b'\r' { b' ' } else { c }));
            bytes.push(b'\n');
        }
        let items = u32::from(!event.is_empty());
        Submission::events(head, bytes, items, &**self.clock(), reply).alone()
    }
}

fn settled_already(correction: &Correction) -> Refused {
    let detail = format!("the event was {:?} already", correction.state).to_lowercase();
    Box::new(Refusal::new(RefusalKind::Conflict, detail))
}

/// Returns the problem of a parked event that an operator made.
fn derived_event(correction: &Correction) -> Box<Refusal> {
    let detail = format!(
        "`{}` is an event that an operator made; correct the event it was made of, number {} in the order of arrival, or the pipeline",
        correction.id(),
        correction.arrival
    );
    Box::new(Refusal::new(RefusalKind::DerivedEvent, detail))
}
