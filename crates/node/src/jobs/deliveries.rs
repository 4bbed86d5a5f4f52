//! Jobs over deliveries: sent again, or skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::{Delivery, DeliveryState};
use flowmeter_engine::{Error, Kind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Job, JobAction, JobKind, JobState, Progress};
use crate::audit::Who;
use crate::deliveries::delivery::Courier;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

/// Deliveries that are committed together.
const BATCH: usize = 500;
/// Ids of one job.
const IDS_MAX: usize = 10_000;

/// The action of a job over deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryAction {
    /// Sends records again, under the same keys.
    Resend,
    /// Leaves records out, for the reason of the job.
    Skip,
}

impl DeliveryAction {
    fn job(self) -> JobAction {
        match self {
            DeliveryAction::Resend => JobAction::Resend,
            DeliveryAction::Skip => JobAction::Skip,
        }
    }

    /// Returns the states that a filter without one takes.
    fn states(self) -> &'static [DeliveryState] {
        match self {
            DeliveryAction::Resend | DeliveryAction::Skip => &[DeliveryState::Dead, DeliveryState::Retrying],
        }
    }
}

/// The deliveries of a job.
#[derive(Clone, Debug)]
pub enum DeliverySelector {
    /// Those with these ids.
    Ids(Vec<String>),
    /// Those of a pipeline that failed, were given up or were skipped.
    Filter {
        pipeline: String,
        target: Option<String>,
        /// Dead and retrying ones, without.
        state: Option<DeliveryState>,
        /// Last attempted at this instant or later.
        from: Option<Timestamp>,
        /// Last attempted before this instant.
        to: Option<Timestamp>,
    },
}

/// A job over deliveries that is asked for.
#[derive(Clone, Debug)]
pub struct DeliveryWish {
    pub action: DeliveryAction,
    pub selector: DeliverySelector,
    /// Deliveries that were first attempted later are left out; now, without.
    pub up_to: Option<Timestamp>,
    /// The selector as the request wrote it, for the audit.
    pub written: Value,
    pub is_dry_run: bool,
}

/// The deliveries of one target.
struct Part {
    served: Arc<Served>,
    courier: Arc<Courier>,
    numbers: Vec<u64>,
    /// Those among them that fail with their whole window.
    in_window: BTreeSet<u64>,
    /// The states in which they were chosen; in another one a delivery is left alone.
    states: Vec<DeliveryState>,
}

impl Installation {
    /// Begins a job over deliveries. With a dry run, only counts what it would take.
    pub fn begin_delivery_job(self: &Arc<Self>, who: &Who, wish: &DeliveryWish) -> Result<Job, Refused> {
        if wish.action == DeliveryAction::Skip && who.request.reason.is_none() {
            let detail = "give the reason why the records need not go: it is kept with each delivery";
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("reason")));
        }
        // Attempts have the time of the machine, also on a test clock.
        let up_to = wish.up_to.unwrap_or_else(|| self.wall());
        let mut job = self.new_job(who, JobKind::Deliveries, wish.action.job(), Some(up_to));
        let parts = self.chosen_deliveries(&who.namespace, wish, job.up_to)?;
        if let DeliverySelector::Filter { pipeline, .. } = &wish.selector {
            job.pipeline = self.pipeline(&who.namespace, pipeline)?.name;
        }
        job.matched = parts.iter().map(|part| part.numbers.len() as u64).sum();
        if wish.is_dry_run {
            job.state = JobState::DryRun;
            return Ok(job);
        }
        let (who, action) = (who.clone(), wish.action);
        let author = who.clone();
        self.begin_job(&author, job, &wish.written, move |installation, progress| {
            parts.iter().try_for_each(|part| installation.act_on(&who, action, part, progress))
        })
    }

    fn chosen_deliveries(&self, namespace: &str, wish: &DeliveryWish, up_to: Timestamp) -> Result<Vec<Part>, Refused> {
        match &wish.selector {
            DeliverySelector::Ids(ids) => self.deliveries_by_id(namespace, ids),
            DeliverySelector::Filter { pipeline, target, state, from, to } => {
                let kept = self.pipeline(namespace, pipeline)?;
                let served = self.served_of(kept.id).ok_or_else(|| super::super::deliveries::not_at_work(&kept.name))?;
                let couriers = served.delivery.couriers();
                if let Some(target) = target.as_ref().filter(|target| !couriers.iter().any(|one| one.id() == target.as_str())) {
                    return Err(not_found("target", target));
                }
                let states = state.as_ref().map_or(wish.action.states(), std::slice::from_ref);
                let is_within = |tried_first: i64, tried_last: i64| {
                    tried_first <= up_to.nanos()
                        && from.is_none_or(|from| tried_last >= from.nanos())
                        && to.is_none_or(|to| tried_last < to.nanos())
                };
                let takes = |own: &Delivery| states.contains(&own.state) && is_within(own.tried_first, own.tried_last);
                let mut parts = Vec::new();
                for courier in couriers {
                    if target.as_ref().is_some_and(|wanted| wanted != courier.id()) {
                        continue;
                    }
                    let mut numbers = self.shelf(&served, &courier).numbers(&takes).map_err(|why| refusal_of(&why))?;
                    let (board, mut in_window) = (courier.board(), BTreeSet::new());
                    // Those that fail with their whole window have no delivery of their own.
                    if states.contains(&DeliveryState::Retrying) && is_within(board.marks.sent_at, board.marks.tried_last()) {
                        let own = self.shelf(&served, &courier).numbers(&|_| true).map_err(|why| refusal_of(&why))?;
                        let own: BTreeSet<u64> = own.into_iter().collect();
                        in_window.extend(board.failing().filter(|number| !own.contains(number)));
                        numbers.extend(&in_window);
                        numbers.sort_unstable();
                    }
                    parts.push(Part { served: Arc::clone(&served), courier, numbers, in_window, states: states.to_vec() });
                }
                Ok(parts)
            }
        }
    }

    fn deliveries_by_id(&self, namespace: &str, ids: &[String]) -> Result<Vec<Part>, Refused> {
        let wrong = |detail: String| Box::new(Refusal::new(RefusalKind::Invalid, detail).field("selector.ids"));
        if ids.is_empty() {
            return Err(wrong("the list is empty".to_owned()));
        }
        if ids.len() > IDS_MAX {
            return Err(wrong(format!("{} ids; a job takes at most {IDS_MAX}, use a filter for more", ids.len())));
        }
        let mut parts: BTreeMap<(Uuid, String), Part> = BTreeMap::new();
        for id in ids {
            let (served, courier, number) = self.delivery_of(namespace, id)?;
            let key = (served.kept.id, courier.id().to_owned());
            // Of those that are named one by one, any that waits or was left out is meant.
            let states = vec![DeliveryState::Dead, DeliveryState::Retrying, DeliveryState::Skipped];
            let part = parts.entry(key).or_insert_with(|| Part {
                served,
                courier,
                numbers: Vec::new(),
                in_window: BTreeSet::new(),
                states,
            });
            part.numbers.push(number);
        }
        for part in parts.values_mut() {
            part.numbers.sort_unstable();
            part.numbers.dedup();
        }
        Ok(parts.into_values().collect())
    }

    /// Acts on the deliveries of a target, batch by batch.
    fn act_on(&self, who: &Who, action: DeliveryAction, part: &Part, progress: &Progress<'_>) -> Result<(), String> {
        let mut numbers = part.numbers.clone();
        if action == DeliveryAction::Resend && !part.in_window.is_empty() {
            // The window goes as a whole, whatever of it the target takes meanwhile.
            let count = part.in_window.len() as u64;
            let change = json!({"target": part.courier.id(), "deliveries": count, "first": part.in_window.first()});
            let audited = self.audited(who, "delivery.resend", &part.served.kept.name, Value::Null, change);
            audited.and_then(|audited| part.courier.resend_window(audited)).map_err(|why| why.to_string())?;
            progress.done(outcome(action), count);
            numbers.retain(|number| !part.in_window.contains(number));
        }
        for batch in numbers.chunks(BATCH) {
            if progress.is_canceled() {
                return Ok(());
            }
            self.act_on_some(who, action, part, batch, progress)?;
        }
        Ok(())
    }

    fn act_on_some(
        &self,
        who: &Who,
        action: DeliveryAction,
        part: &Part,
        numbers: &[u64],
        progress: &Progress<'_>,
    ) -> Result<(), String> {
        match self.act_on_batch(who, action, part, numbers) {
            Ok(count) => progress.done(outcome(action), count),
            // One of them changed meanwhile: the others go one by one.
            Err(why) if why.kind == Kind::Invalid && numbers.len() > 1 => {
                return numbers.iter().try_for_each(|number| self.act_on_some(who, action, part, &[*number], progress));
            }
            Err(why) if why.kind == Kind::Invalid => progress.failed("not_waiting", 1),
            Err(why) => return Err(why.to_string()),
        }
        Ok(())
    }

    fn act_on_batch(&self, who: &Who, action: DeliveryAction, part: &Part, numbers: &[u64]) -> Result<u64, Error> {
        let change = json!({"target": part.courier.id(), "deliveries": numbers.len(), "first": numbers.first()});
        let name = format!("delivery.{}", action.job().name());
        let audited = self.audited(who, &name, &part.served.kept.name, Value::Null, change)?;
        let (numbers, states) = (numbers.to_vec(), part.states.clone());
        Ok(match action {
            DeliveryAction::Resend => part.courier.resend_of(numbers, states, audited)?,
            DeliveryAction::Skip => {
                let reason = who.request.reason.as_deref().unwrap_or_default();
                part.courier.skip_of(numbers, states, format!("left out by {}: {reason}", who.name), audited)?
            }
        }
        .len() as u64)
    }
}

fn outcome(action: DeliveryAction) -> &'static str {
    match action {
        DeliveryAction::Resend => "resent",
        DeliveryAction::Skip => "skipped",
    }
}
