//! Jobs that compare what targets hold with what was flushed.

use std::sync::Arc;

use serde_json::Value;

use super::{Job, JobAction, JobKind};
use crate::audit::Who;
use crate::deliveries::reconciling::{ReconcileWish, Reconciled, Reconciliation};
use crate::installation::Installation;
use crate::refusal::Refused;

impl Installation {
    /// Begins a comparison of targets, whose result is the job's.
    pub fn begin_reconcile_job(self: &Arc<Self>, who: &Who, wish: &ReconcileWish, written: &Value) -> Result<Job, Refused> {
        let comparison = self.comparison(&who.namespace, wish)?;
        let mut job = self.new_job(who, JobKind::Deliveries, JobAction::Reconcile, None);
        job.pipeline.clone_from(&wish.pipeline);
        job.matched = comparison.couriers.len() as u64;
        let (author, pipeline) = (who.clone(), wish.pipeline.clone());
        self.begin_job(who, job, written, move |installation, progress| {
            let mut found = Reconciliation { pipeline, targets: Vec::new() };
            for courier in &comparison.couriers {
                if progress.is_canceled() {
                    break;
                }
                let compared = installation.compared(&author, &comparison, courier).map_err(|why| why.detail.clone())?;
                progress.done(outcome(&compared), 1);
                found.targets.push(compared);
            }
            progress.found(found.shown());
            Ok(())
        })
    }
}

fn outcome(compared: &Reconciled) -> &'static str {
    match (&compared.report, compared.verdict()) {
        (Err(_), _) => "no_answer",
        (Ok(_), None) => "not_readable",
        (Ok(_), Some(true)) => "agrees",
        (Ok(_), Some(false)) => "differs",
    }
}
