//! The correction queue: parked events, and what people did about them.
//!
//! Parked events are a log of the pipeline; what became of each is in the catalog, where
//! nothing stands as long as it waits. A corrected or reprocessed event goes into the log
//! of events again, addressed to its pipeline and past its deduplication.

use std::sync::mpsc::channel;

use flowmeter_core::verdict::Reason;
use flowmeter_engine::live::{Letter, items, parked_item};
use flowmeter_engine::node::Submission;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::audit::{Image, Who};
use super::{Installation, Refused, Served, kept, not_found, pair_key, problem_of, put};
use crate::problem::{Code, Problem};
use crate::verbatim::{self, Object};

/// What became of a parked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CorrectionState {
    /// It waits.
    Open,
    /// It went in again with other content.
    Corrected,
    /// It went in again as it was.
    Reprocessed,
    /// Nobody will count it.
    Discarded,
}

/// A parked event.
#[derive(Clone, Debug)]
pub struct Correction {
    /// Counting up in its pipeline.
    pub number: u64,
    /// The pipeline.
    pub pipeline: String,
    /// What became of it.
    pub state: CorrectionState,
    /// Its number in the order of arrival.
    pub arrival: u64,
    /// Why it was parked.
    pub reason: Reason,
    /// Where.
    pub operator: String,
    /// What exactly.
    pub detail: String,
    /// The event as it came in.
    pub raw: Vec<u8>,
}

/// What became of a parked event, as the catalog keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    state: CorrectionState,
    at: String,
    who: String,
}

impl Correction {
    /// The id: pipeline and number.
    pub fn id(&self) -> String {
        format!("{}:{}", self.pipeline, self.number)
    }

    /// As it is shown: the event as it came, every digit of it, so that whoever corrects
    /// it sends back what he did not touch.
    pub fn shown(&self) -> Box<RawValue> {
        let head = json!({
            "id": self.id(), "pipeline": self.pipeline, "state": self.state, "arrival": self.arrival,
            "reason": self.reason.code(), "remedy": self.reason.remedy(), "operator": self.operator, "detail": self.detail,
        });
        Object::of(&head).with("event", &verbatim::sent(&self.raw)).finish()
    }
}

/// Which parked events are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CorrectionFilter {
    /// In this state.
    pub state: Option<CorrectionState>,
    /// For this reason.
    pub reason: Option<Reason>,
}

impl Installation {
    /// Parked events of a pipeline from a number on; and the number to go on from.
    pub fn corrections(
        &self,
        served: &Served,
        from: u64,
        limit: usize,
        filter: CorrectionFilter,
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
            for (number, item) in items(&entry).filter(|(number, _)| *number >= from) {
                next = number + 1;
                let Some(parked) = parked_item(item) else { continue };
                if filter.reason.is_some_and(|reason| reason != parked.reason) {
                    continue;
                }
                let outcome = self.catalog().get(Table::Corrections, &pair_key(served.kept.id, number))?;
                let state = match outcome {
                    Some(bytes) => kept::<Outcome>(&bytes)?.state,
                    None => CorrectionState::Open,
                };
                if filter.state.is_some_and(|wanted| wanted != state) {
                    continue;
                }
                found.push(Correction {
                    number,
                    pipeline: served.kept.name.clone(),
                    state,
                    arrival: parked.arrival,
                    reason: parked.reason,
                    operator: parked.operator.to_owned(),
                    detail: parked.detail.to_owned(),
                    raw: parked.raw.to_vec(),
                });
                if found.len() >= limit {
                    return Ok((found, next));
                }
            }
        }
        Ok((found, next))
    }

    /// A parked event by id.
    pub fn correction(&self, namespace: &str, id: &str) -> Result<(std::sync::Arc<Served>, Correction), Refused> {
        let missing = || not_found("parked event", id);
        let (pipeline, number) = id.rsplit_once(':').ok_or_else(missing)?;
        let number: u64 = number.parse().map_err(|_| missing())?;
        let served = self.served_in(namespace).into_iter().find(|served| served.kept.name == pipeline).ok_or_else(missing)?;
        let found = self.corrections(&served, number, 1, CorrectionFilter::default()).map_err(|why| problem_of(&why))?;
        let correction = found.0.into_iter().find(|correction| correction.number == number).ok_or_else(missing)?;
        Ok((served, correction))
    }

    /// Takes an event out of the queue: discarded, or in again as it was or corrected.
    pub fn settle_correction(
        &self,
        who: &Who,
        id: &str,
        state: CorrectionState,
        event: Option<Vec<u8>>,
    ) -> Result<Correction, Refused> {
        let _change = self.change();
        let (served, mut correction) = self.correction(&who.namespace, id)?;
        if correction.state != CorrectionState::Open {
            let detail = format!("the event was {:?} already", correction.state).to_lowercase();
            return Err(Box::new(Problem::new(Code::Conflict, detail)));
        }
        if state != CorrectionState::Discarded {
            served.must_move()?;
        }
        let outcome = Outcome { state, at: self.now().to_string(), who: who.name.clone() };
        let key = pair_key(served.kept.id, correction.number);
        let mut changes: Vec<Change> = vec![put(Table::Corrections, key.clone(), &outcome)];
        let action = format!("correction.{state:?}").to_lowercase();
        let (before, after) = (Image::sent(&correction.raw), event.as_deref().map(Image::sent));
        let after = after.unwrap_or_default();
        changes.extend(self.audited(who, &action, id, before, after).map_err(|why| problem_of(&why))?);
        self.catalog().commit(&changes).map_err(|why| problem_of(&why.into()))?;
        if state != CorrectionState::Discarded {
            let lines = event.unwrap_or_else(|| correction.raw.clone());
            if let Err(why) = self.send_again(&served, &lines) {
                self.catalog().commit(&[Change::Remove(Table::Corrections, key)]).map_err(|why| problem_of(&why.into()))?;
                return Err(problem_of(&why));
            }
        }
        correction.state = state;
        Ok(correction)
    }

    fn send_again(&self, served: &Served, event: &[u8]) -> Result<(), Error> {
        let letter = Letter { namespace: &served.kept.namespace, pipeline: Some(served.kept.id), again: true, lines: &[] };
        let mut bytes = Vec::new();
        letter.write_head(&mut bytes);
        let head = bytes.len();
        bytes.extend(event.iter().map(|&c| if c == b'\n' || c == b'\r' { b' ' } else { c }));
        bytes.push(b'\n');
        let (sender, receiver) = channel();
        self.put(Submission::events(head, bytes, 1, &**self.clock(), Box::new(move |placed| drop(sender.send(placed)))));
        let placed = receiver.recv().map_err(|_| Error::new(Kind::Unavailable, "the server is stopping"))??;
        served.worker().wait_for(placed.position + 1)
    }
}
