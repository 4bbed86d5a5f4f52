//! A look at targets before a session starts: a wrong port, a refused login or a missing
//! bucket is an answer then, and not silence until the first period ends.
//!
//! Nothing is probed after a restart: a target that is away must not keep a session from
//! going on.

use std::path::Path;
use std::sync::Arc;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::targets::Around;
use flowmeter_document::TargetPlan;
use flowmeter_engine::{Error, Kind};
use serde_json::Value;
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused};
use crate::sessions::{KeptSession, StartOptions};
use crate::tables::reading::ReadTables;

impl Installation {
    /// Probes the targets of a pipeline and starts a session of it. With a unique key a
    /// second start gives the session of the first.
    pub fn start(self: &Arc<Self>, who: &Who, pipeline: &KeptPipeline, options: StartOptions) -> Result<KeptSession, Refused> {
        let is_started = self.is_started(pipeline, options.unique_key.as_deref())?;
        if !is_started {
            self.probe_targets(pipeline)?;
        }
        let read = match self.read_asked_of(pipeline) {
            // The document is refused: the start says what it finds.
            Err(_) if is_started => ReadTables::new(),
            read => read?,
        };
        self.start_unprobed(who, pipeline, options, &read)
    }

    /// Whether a start would find a session there already.
    fn is_started(&self, pipeline: &KeptPipeline, unique_key: Option<&str>) -> Result<bool, Refused> {
        if self.session_at_work(pipeline.id).is_some() {
            return Ok(true);
        }
        let Some(key) = unique_key else { return Ok(false) };
        self.session_of_key(pipeline, key).map(|known| known.is_some()).map_err(|why| crate::refusal::refusal_of(&why))
    }

    /// Whether every target of a pipeline's newest version could take records now.
    ///
    /// # Errors
    /// Which could not, what it said and what to do.
    pub fn probe_targets(&self, pipeline: &KeptPipeline) -> Result<(), Refused> {
        let version = self.version(pipeline, pipeline.version)?;
        let compiled = version.compile().map_err(|why| crate::refusal::refusal_of(&why))?;
        self.probe(pipeline.id, &compiled.targets)
    }

    /// The same for targets that are no pipeline's yet. No lock is held meanwhile.
    pub(crate) fn probe(&self, pipeline: Uuid, targets: &[TargetPlan]) -> Result<(), Refused> {
        let probe = |plan: &TargetPlan| {
            let owner = format!("{pipeline}/{}", plan.id);
            let (clock, abandon) = (Arc::clone(&self.clock), Abandon::default());
            let around = Around { folder: Path::new("."), owner, pipeline: "", memory: Some(&Value::Null), clock, abandon };
            let probed = (self.open_target)(plan, &around).and_then(|target| target.map_or(Ok(()), |mut target| target.probe()));
            probed.map_err(|why| format!("target `{}`: {why}", plan.id))
        };
        // Beside each other: one that does not answer takes ten seconds.
        let told: Vec<String> = std::thread::scope(|scope| {
            let looks: Vec<_> = targets.iter().map(|plan| scope.spawn(|| probe(plan))).collect();
            let fallen = |_| Err(Error::new(Kind::Bug, "a look at a target failed").to_string());
            looks.into_iter().filter_map(|look| look.join().unwrap_or_else(fallen).err()).collect()
        });
        match told.is_empty() {
            true => Ok(()),
            false => Err(Box::new(Refusal::new(RefusalKind::TargetUnavailable, told.join("; ")))),
        }
    }
}
