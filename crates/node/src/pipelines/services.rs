//! The HTTP services that the operators of a pipeline ask.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::services::{HttpServices, Waits, resolve};
use flowmeter_core::mediation::Services;
use flowmeter_core::operator::Operator;
use flowmeter_core::plan::Plan;
use flowmeter_engine::Error;
use flowmeter_engine::live::OpenServices;

use crate::installation::Installation;

/// With `onUnavailable: wait`, the time in which an event waits for its answer. Then the pipeline
/// stops with the reason and is loaded again. It is short, because a pipeline that waits cannot be
/// read or paused, and a change that concerns it holds up others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns how a server waits for services, until it gives them up.
pub(crate) fn waits(abandon: &Abandon) -> Waits {
    Waits { abandon: abandon.clone(), patience: Some(PATIENCE), report: |text| tracing::warn!("{text}") }
}

impl Installation {
    /// Returns the function that opens the services of a pipeline.
    pub(crate) fn open_services(&self, abandon: &Abandon) -> OpenServices {
        let (clock, waits) = (Arc::clone(&self.clock), waits(abandon));
        Arc::new(move |plan| {
            resolve(plan)?;
            let opened = HttpServices::open(plan, None, Arc::clone(&clock), waits.clone())?;
            Ok(opened.map(|services| services as Arc<dyn Services>))
        })
    }

    /// Checks that the services of a plan can be asked.
    ///
    /// # Errors
    /// A secret or a certificate is missing.
    pub(crate) fn check_services(&self, plan: &Plan) -> Result<(), Error> {
        if !plan.nodes.iter().any(|node| matches!(node.operator, Operator::Http(_))) {
            return Ok(());
        }
        self.open_services(&Abandon::default())(&mut plan.clone()).map(drop)
    }
}
