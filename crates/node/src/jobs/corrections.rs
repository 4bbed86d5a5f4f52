//! Jobs over parked events: sent again, changed and sent again, or discarded.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::How;
use serde_json::{Value, json};

use super::{FieldChanges, Job, JobAction, JobKind, JobState, Progress};
use crate::audit::Who;
use crate::corrections::{Correction, CorrectionFilter, CorrectionState};
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// Events that are committed together.
const BATCH: usize = 500;
/// Changed events that a dry run shows.
const SAMPLE: usize = 100;
/// Settled events after which the audit takes them up.
const AUDIT_AFTER: usize = 10_000;
/// Ids of one job.
const IDS_MAX: usize = 10_000;

/// The parked events of a job.
#[derive(Clone, Debug)]
pub enum EventSelector {
    /// Those with these ids, of one pipeline.
    Ids(Vec<String>),
    /// The open ones of a group.
    Group(String),
    /// The open ones of a pipeline that a filter takes.
    Filter(String, Box<CorrectionFilter>),
}

/// The change that a job makes.
#[derive(Clone, Debug)]
pub enum CorrectionChange {
    Discard,
    /// Sends events again, with fields changed.
    Reprocess(FieldChanges),
}

/// A job over parked events that is asked for.
#[derive(Clone, Debug)]
pub struct CorrectionWish {
    pub change: CorrectionChange,
    pub selector: EventSelector,
    /// Events that were parked later are left out; now, without.
    pub up_to: Option<Timestamp>,
    /// The selector as the request wrote it, for the audit.
    pub written: Value,
    pub is_dry_run: bool,
}

/// The chosen events of a pipeline.
enum Chosen {
    /// Events with these numbers.
    Numbers(Vec<u64>),
    /// Those that a filter takes; numbers before its bound.
    Filtered(Box<CorrectionFilter>),
}

impl Installation {
    /// Begins a job over parked events. With a dry run, only counts what it would take.
    pub fn begin_correction_job(self: &Arc<Self>, who: &Who, wish: CorrectionWish) -> Result<Job, Refused> {
        let action = match &wish.change {
            CorrectionChange::Discard => JobAction::Discard,
            CorrectionChange::Reprocess(_) => JobAction::Reprocess,
        };
        let mut job = self.new_job(who, JobKind::Corrections, action, wish.up_to);
        let (served, chosen) = self.chosen_events(&who.namespace, &wish.selector, job.up_to)?;
        job.pipeline.clone_from(&served.kept.name);
        let (mut matched, mut sample) = (0, Vec::new());
        self.each_batch(&served, &chosen, &mut |batch| {
            matched += batch.len() as u64;
            sample.extend(batch.into_iter().take(SAMPLE - sample.len().min(SAMPLE)));
            Ok(true)
        })
        .map_err(|why| refusal_of(&why))?;
        job.matched = matched;
        if wish.is_dry_run {
            job.state = JobState::DryRun;
            if let CorrectionChange::Reprocess(changes) = &wish.change {
                job.sample = (!changes.are_none()).then(|| shown_sample(&sample, changes));
            }
            return Ok(job);
        }
        let (who, change) = (who.clone(), wish.change);
        let author = who.clone();
        self.begin_job(&author, job, &wish.written, move |installation, progress| {
            installation.settle_chosen(&who, &served, &chosen, &change, progress)
        })
    }

    fn chosen_events(
        &self,
        namespace: &str,
        selector: &EventSelector,
        up_to: Timestamp,
    ) -> Result<(Arc<Served>, Chosen), Refused> {
        let bounded = |served: &Served, filter: CorrectionFilter| {
            // Events that are parked again by the job have greater numbers.
            let (_, end) = self.parked_extent(served).map_err(|why| refusal_of(&why))?;
            let before = Some(up_to.saturating_add(1));
            let to = filter.to.map_or(before, |to| before.map(|before| to.min(before)));
            let filter = CorrectionFilter { state: Some(CorrectionState::Open), before: Some(end), to, ..filter };
            Ok::<_, Refused>(Chosen::Filtered(Box::new(filter)))
        };
        match selector {
            EventSelector::Group(id) => {
                let (served, key) = self.group(namespace, id)?;
                let chosen = bounded(&served, CorrectionFilter { group: Some(key), ..CorrectionFilter::default() })?;
                Ok((served, chosen))
            }
            EventSelector::Filter(pipeline, filter) => {
                let kept = self.pipeline(namespace, pipeline)?;
                let not_loaded = || {
                    let detail = format!("`{pipeline}` is not loaded, so its correction queue cannot be read");
                    Box::new(Refusal::new(RefusalKind::Conflict, detail).field("selector.filter.pipeline"))
                };
                let served = self.served_of(kept.id).ok_or_else(not_loaded)?;
                let chosen = bounded(&served, (**filter).clone())?;
                Ok((served, chosen))
            }
            EventSelector::Ids(ids) => self.events_by_id(namespace, ids),
        }
    }

    fn events_by_id(&self, namespace: &str, ids: &[String]) -> Result<(Arc<Served>, Chosen), Refused> {
        let wrong = |detail: String| Box::new(Refusal::new(RefusalKind::Invalid, detail).field("selector.ids"));
        if ids.len() > IDS_MAX {
            return Err(wrong(format!("{} ids; a job takes at most {IDS_MAX}, use a filter for more", ids.len())));
        }
        let mut home: Option<Arc<Served>> = None;
        let mut numbers = Vec::with_capacity(ids.len());
        for id in ids {
            let (served, correction) = self.correction(namespace, id)?;
            if home.as_ref().is_some_and(|home| home.kept.id != served.kept.id) {
                return Err(wrong("the events are of several pipelines; send a job for each".to_owned()));
            }
            home = Some(served);
            numbers.push(correction.number);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let home = home.ok_or_else(|| wrong("the list is empty".to_owned()))?;
        Ok((home, Chosen::Numbers(numbers)))
    }

    /// Passes the chosen open events to `take` in batches, until it returns false.
    fn each_batch(
        &self,
        served: &Served,
        chosen: &Chosen,
        take: &mut dyn FnMut(Vec<Correction>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        match chosen {
            Chosen::Numbers(numbers) => {
                for batch in numbers.chunks(BATCH) {
                    let mut found = Vec::with_capacity(batch.len());
                    for number in batch {
                        let one = CorrectionFilter {
                            state: Some(CorrectionState::Open),
                            before: Some(number + 1),
                            ..CorrectionFilter::default()
                        };
                        found.extend(self.corrections(served, *number, 1, &one)?.0);
                    }
                    if !take(found)? {
                        break;
                    }
                }
                Ok(())
            }
            Chosen::Filtered(filter) => {
                let mut from = 0;
                loop {
                    let (found, next) = self.corrections(served, from, BATCH, filter)?;
                    let is_last = found.len() < BATCH;
                    if !found.is_empty() && !take(found)? || is_last {
                        return Ok(());
                    }
                    from = next;
                }
            }
        }
    }

    fn settle_chosen(
        &self,
        who: &Who,
        served: &Served,
        chosen: &Chosen,
        change: &CorrectionChange,
        progress: &Progress<'_>,
    ) -> Result<(), String> {
        let mut error = None;
        let mut unaudited = 0;
        let outcome = self.each_batch(served, chosen, &mut |batch| {
            if progress.is_canceled() {
                return Ok(false);
            }
            let (own, derived): (Vec<_>, Vec<_>) = batch.into_iter().partition(|correction| !correction.is_derived);
            progress.failed("derived", derived.len() as u64);
            let mut events = Vec::with_capacity(own.len());
            for mut correction in own {
                if matches!(change, CorrectionChange::Reprocess(_)) {
                    match self.event_to_repeat(served, &correction) {
                        Ok(event) => correction.raw = event,
                        Err(_) => {
                            progress.failed("not_kept", 1);
                            continue;
                        }
                    }
                }
                match with_change(correction, change) {
                    Ok(event) => events.push(event),
                    Err(_) => progress.failed("not_changed", 1),
                }
            }
            let outcome = events.first().map_or("reprocessed", |(_, how, _)| how.name());
            if events.is_empty() {
                return Ok(true);
            }
            match self.settle_many(who, served, events) {
                Ok(count) => {
                    progress.done(outcome, count as u64);
                    unaudited += count;
                }
                Err(refused) => error = Some(refused.detail.clone()),
            }
            if unaudited >= AUDIT_AFTER {
                self.audit_settlements(served)?;
                unaudited = 0;
            }
            Ok(error.is_none())
        });
        let last = self.audit_settlements(served);
        match (outcome.and(last), error) {
            (Err(why), _) => Err(why.to_string()),
            (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => Ok(()),
        }
    }
}

/// Shows parked events as they would be sent again, and why some cannot be changed.
fn shown_sample(sample: &[Correction], changes: &FieldChanges) -> Value {
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for correction in sample {
        match changed_event(correction, changes) {
            Ok(event) => changed.push(event),
            Err(why) => unchanged.push(json!({"id": correction.id(), "detail": why})),
        }
    }
    json!({"changed": changed, "notChanged": unchanged})
}

fn changed_event(correction: &Correction, changes: &FieldChanges) -> Result<Value, String> {
    let event = serde_json::from_slice::<Value>(&correction.raw).ok().filter(Value::is_object);
    let mut event = event.ok_or("it is not a JSON object")?;
    changes.apply(&mut event)?;
    Ok(event)
}

/// Returns a parked event as it is to be settled.
///
/// # Errors
/// Its fields cannot be changed so.
fn with_change(correction: Correction, change: &CorrectionChange) -> Result<(Correction, How, Vec<u8>), String> {
    match change {
        CorrectionChange::Discard => Ok((correction, How::Discarded, Vec::new())),
        CorrectionChange::Reprocess(changes) if changes.are_none() => {
            let raw = correction.raw.clone();
            Ok((correction, How::Reprocessed, raw))
        }
        CorrectionChange::Reprocess(changes) => {
            let event = changed_event(&correction, changes)?;
            Ok((correction, How::Corrected, event.to_string().into_bytes()))
        }
    }
}
