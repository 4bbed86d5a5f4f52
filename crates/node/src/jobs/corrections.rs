//! Jobs over parked events: sent again, changed and sent again, or discarded.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::How;
use serde_json::{Map, Value, json};

use super::{Job, JobState, Progress};
use crate::audit::Who;
use crate::corrections::{Correction, CorrectionFilter, CorrectionState};
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// Events that are committed together.
const BATCH: usize = 500;
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
    /// Sends events again, with these fields set.
    Reprocess(Map<String, Value>),
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
            CorrectionChange::Discard => "discard",
            CorrectionChange::Reprocess(_) => "reprocess",
        };
        let mut job = self.new_job(who, "corrections", action, wish.up_to);
        let (served, chosen) = self.chosen_events(&who.namespace, &wish.selector, job.up_to)?;
        job.pipeline.clone_from(&served.kept.name);
        let mut matched = 0;
        self.each_batch(&served, &chosen, &mut |batch| {
            matched += batch.len() as u64;
            Ok(true)
        })
        .map_err(|why| refusal_of(&why))?;
        job.matched = matched;
        if wish.is_dry_run {
            job.state = JobState::DryRun;
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
        let outcome = self.each_batch(served, chosen, &mut |batch| {
            if progress.is_canceled() {
                return Ok(false);
            }
            let (own, derived): (Vec<_>, Vec<_>) = batch.into_iter().partition(|correction| !correction.is_derived);
            progress.failed("derived", derived.len() as u64);
            let mut events = Vec::with_capacity(own.len());
            for correction in own {
                match with_change(correction, change) {
                    Some(event) => events.push(event),
                    None => progress.failed("unreadable", 1),
                }
            }
            let outcome = events.first().map_or("reprocessed", |(_, how, _)| how.name());
            if events.is_empty() {
                return Ok(true);
            }
            match self.settle_many(who, served, events) {
                Ok(count) => progress.done(outcome, count as u64),
                Err(refused) => error = Some(refused.detail.clone()),
            }
            Ok(error.is_none())
        });
        match (outcome, error) {
            (Err(why), _) => Err(why.to_string()),
            (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => Ok(()),
        }
    }
}

/// Returns a parked event as it is to be settled; `None` if fields cannot be set in it.
fn with_change(correction: Correction, change: &CorrectionChange) -> Option<(Correction, How, Vec<u8>)> {
    match change {
        CorrectionChange::Discard => Some((correction, How::Discarded, Vec::new())),
        CorrectionChange::Reprocess(set) if set.is_empty() => {
            let raw = correction.raw.clone();
            Some((correction, How::Reprocessed, raw))
        }
        CorrectionChange::Reprocess(set) => {
            let mut event = serde_json::from_slice::<Value>(&correction.raw).ok().filter(Value::is_object)?;
            if !set.iter().all(|(path, value)| put(&mut event, path, value)) {
                return None;
            }
            Some((correction, How::Corrected, event.to_string().into_bytes()))
        }
    }
}

/// Sets a field by its path with dots; objects on the way are made. Returns false if there is
/// something else on the way, such as a list, which must not be lost.
fn put(event: &mut Value, path: &str, value: &Value) -> bool {
    let mut at = event;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        if at.is_null() {
            *at = json!({});
        }
        let Some(members) = at.as_object_mut() else { return false };
        if names.peek().is_none() {
            members.insert(name.to_owned(), value.clone());
            break;
        }
        at = members.entry(name).or_insert_with(|| json!({}));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_by_their_paths_and_other_digits_stay() {
        let mut event: Value =
            serde_json::from_str(r#"{"a":12345678901234567890.123456789012345678,"b":{"c":1},"d":[3],"g":null}"#).unwrap();
        assert!(put(&mut event, "b.e", &json!("x")));
        assert!(put(&mut event, "g.f", &json!(2)));
        assert!(put(&mut event, "subject", &json!("anna")));
        for path in ["d.0", "d.f", "a.b"] {
            assert!(!put(&mut event, path, &json!(2)), "{path}");
        }
        let expected =
            r#"{"a":12345678901234567890.123456789012345678,"b":{"c":1,"e":"x"},"d":[3],"g":{"f":2},"subject":"anna"}"#;
        assert_eq!(event.to_string(), expected);
    }
}
