//! Sessions: started, paused, ended; every step and its event are one commit. The core's state
//! machine decides; nothing else writes a status.

mod counts;
pub(crate) mod events;
pub mod feeding;
pub mod finishing;
pub mod following;
mod kept;
pub mod retention;
pub mod scheduling;
pub mod telling;

pub use counts::counts;
pub use kept::{KeptSession, SessionFilter};

use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::session::{RunType, Session, Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Change, Table, count_to, key_of};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit::Who;
use crate::installation::Installation;
use crate::notifications::vocabulary::STATUS;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, put};
use crate::sessions::telling::updates;
use crate::tables::reading::ReadTables;

/// The options of a session that is started.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Two starts with the same key are one session.
    pub unique_key: Option<String>,
    /// The clock of a session that ends with its input; the time of its start if it is not given.
    pub as_of: Option<Timestamp>,
    /// Options of sources for this session alone, by the id of the source.
    pub sources: Map<String, Value>,
    /// The time at which the pipeline's schedule made it due.
    pub due: Option<Timestamp>,
    /// How often the run that was due then has failed before.
    pub attempt: u32,
}

/// An event of a session, as it was emitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEvent {
    /// A number that counts up over all sessions.
    pub number: u64,
    /// The time of the event.
    pub at: String,
    /// `meter.session.status`, `meter.session.operators` and others.
    pub event_type: String,
    /// The namespace of the event.
    pub namespace: String,
    /// The content of the event.
    pub payload: Value,
}

const SESSIONS: &[u8] = b"sessions";
/// Sessions that are examined at once.
const SESSIONS_AT_ONCE: usize = 100;

/// Checks the options of a session against its plan.
fn check_options(plan: &Plan, options: &StartOptions) -> Result<(), Refused> {
    let wrong = |field: &str, detail: String| Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field(field)));
    if options.as_of.is_some() && !plan.is_bounded() {
        return wrong("asOf", "`asOf` is for pipelines whose sources end; this one waits for events".to_owned());
    }
    for (id, given) in &options.sources {
        let Some(source) = plan.source_of(id).map(|at| &plan.sources[at]) else {
            let ids: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
            return wrong("sources", format!("there is no source `{id}`; there are {}", ids.join(", ")));
        };
        let Some(given) = given.as_object() else {
            return wrong("sources", format!("sources.{id}: expected an object of options"));
        };
        if let Err(why) = source.with(given) {
            return wrong("sources", why);
        }
    }
    Ok(())
}

impl Installation {
    /// Starts a NORMAL session of a pipeline without probing its targets. With a unique key, a
    /// second start returns the session of the first one.
    pub fn start_unprobed(
        self: &Arc<Self>,
        who: &Who,
        pipeline: &KeptPipeline,
        options: StartOptions,
        read: &ReadTables,
    ) -> Result<KeptSession, Refused> {
        let _change = self.begin_change()?;
        // It may have been changed meanwhile.
        let pipeline = &self.pipeline(&pipeline.namespace, &pipeline.id.to_string())?;
        if let Some(key) = &options.unique_key
            && let Some(known) = self.session_of_key(pipeline, key).map_err(|why| refusal_of(&why))?
        {
            return Ok(known);
        }
        if let Some(session) = self.session_at_work(pipeline.id) {
            let detail = format!("session {} of `{}` is running already", Session::id_of(session), pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let version = self.version(pipeline, pipeline.version)?;
        let compiled = version.compile().map_err(|why| refusal_of(&why))?;
        check_options(&compiled.plan, &options)?;
        self.check_services(&compiled.plan).map_err(|why| refusal_of(&why))?;
        let mut plan = compiled.plan.clone();
        plan.id = pipeline.id;
        // A meter with one of its ids may have been opened since the version was made.
        self.check_meter_ids(&pipeline.namespace, pipeline.id, &plan)?;
        self.prepare_tables(who, &plan, read)?;
        let StartOptions { unique_key, as_of, sources, due, attempt } = options;
        let mut session = self.new_session(pipeline, RunType::Normal, unique_key).map_err(|why| refusal_of(&why))?;
        (session.sources, session.due, session.attempt) = (sources, due, attempt);
        session.position = self.beginning(pipeline).map_err(|why| refusal_of(&why))?;
        session.as_of = compiled.plan.is_bounded().then(|| as_of.unwrap_or(session.session_start_time));
        if let Some(resting) = self.served_of(pipeline.id) {
            session.counts_before = counts(&compiled.plan, &resting.board().totals());
        }
        let audited = self.audited(who, "session.start", &session.session_id, Value::Null, json!({"pipeline": pipeline.name}));
        self.step(&mut session, &compiled.plan, Trigger::Start, audited.map_err(|why| refusal_of(&why))?)
            .map_err(|why| refusal_of(&why))?;
        let working = match self.served_of(pipeline.id) {
            Some(resting) => self.wake(&resting, pipeline, &session, &compiled),
            None => self.put_to_work(pipeline, &session, &compiled),
        };
        match working {
            Ok(()) => {
                self.forget_stopped(pipeline.id);
                self.step(&mut session, &compiled.plan, Trigger::Ready, Vec::new()).map_err(|why| refusal_of(&why))?;
            }
            Err(why) => {
                session.error = Some(why.to_string());
                if self.step(&mut session, &compiled.plan, Trigger::Fail, Vec::new()).is_err() {
                    // The session is in the catalog and cannot be ended: its pipeline is loaded later.
                    self.remember_stopped(pipeline, session.number, why.clone());
                }
                return Err(refusal_of(&why));
            }
        }
        Ok(session)
    }

    /// Returns the entry of the log with which a session begins. If a notification subscribes to
    /// events of single meters, a command for that precedes the session's events.
    fn beginning(&self, pipeline: &KeptPipeline) -> Result<u64, Error> {
        match self.wants_notes(&pipeline.namespace)? {
            true => self.command_listening(pipeline.id, true),
            false => Ok(self.log_end()),
        }
    }

    /// Returns a session that is defined and has not run.
    pub(crate) fn new_session(
        &self,
        pipeline: &KeptPipeline,
        run_type: RunType,
        unique_key: Option<String>,
    ) -> Result<KeptSession, Error> {
        let number = self.catalog.counter(SESSIONS)? + 1;
        Ok(KeptSession {
            session_id: Session::id_of(number),
            number,
            pipeline_id: pipeline.id,
            pipeline: pipeline.name.clone(),
            namespace: pipeline.namespace.clone(),
            version: pipeline.version,
            session_run_type: run_type,
            session_status: Status::NeverRun,
            session_start_time: self.now(),
            session_end_time: None,
            error: None,
            is_broken: false,
            unique_key,
            position: 0,
            as_of: None,
            sources: Map::new(),
            due: None,
            attempt: 0,
            counts_before: Value::Null,
            counts: Value::Null,
        })
    }

    pub(crate) fn session_of_key(&self, pipeline: &KeptPipeline, key: &str) -> Result<Option<KeptSession>, Error> {
        let all = self.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, usize::MAX)?;
        Ok(all.into_iter().find(|session| session.unique_key.as_deref() == Some(key)))
    }

    /// Takes a step: the session, its event and other changes are one commit.
    pub(crate) fn step(&self, kept: &mut KeptSession, plan: &Plan, trigger: Trigger, more: Vec<Change>) -> Result<(), Error> {
        let mut session = kept.session(plan);
        let now = self.now();
        let event = session.take(trigger, now).map_err(|why| Error::new(Kind::Invalid, why.to_string()))?;
        let mut after = kept.clone();
        after.session_status = event.status;
        after.session_end_time = session.ended_at;
        let payload = serde_json::from_str(&event.to_json()).unwrap_or_default();
        let mut told = vec![(STATUS, payload)];
        if session.status().is_final() {
            told.splice(0..0, updates(&session, &kept.counts, plan));
        }
        // Steps of a batch run come from its own thread, so numbers are assigned one at a time.
        let _telling = self.teller.hold();
        self.still(kept.number, event.previous)?;
        let mut changes = vec![put(Table::Sessions, key_of(kept.number), &after)];
        changes.extend(self.told(&kept.namespace, now, told)?);
        if self.catalog.counter(SESSIONS)? < kept.number {
            changes.push(count_to(SESSIONS, kept.number));
        }
        changes.extend(more);
        self.catalog.commit(&changes)?;
        *kept = after;
        self.standing.changed(event.previous, kept);
        Ok(())
    }

    /// Checks that a session still has the status that the caller assumes: a batch run and a person
    /// may change it at the same time.
    pub(crate) fn still(&self, number: u64, believed: Status) -> Result<(), Error> {
        let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(number))? else { return Ok(()) };
        let session: KeptSession = kept(&bytes)?;
        match session.session_status == believed {
            true => Ok(()),
            false => {
                Err(Error::new(Kind::Invalid, format!("the session is {} by now, not {believed}", session.session_status.name())))
            }
        }
    }

    /// Pauses, resumes, cancels or finishes a session.
    pub fn act(self: &Arc<Self>, who: &Who, id: &str, trigger: Trigger) -> Result<KeptSession, Refused> {
        let at = |why: Error| refusal_of(&why);
        let change = self.begin_change()?;
        let mut session = self.session(&who.namespace, id)?;
        let pipeline = self.pipeline(&who.namespace, &session.pipeline_id.to_string())?;
        let plan = self.version(&pipeline, pipeline.version)?.compile().map_err(at)?.plan;
        let action = format!("session.{trigger:?}").to_lowercase();
        let stepped = session.session(&plan).take(trigger, self.now());
        // A step that the status does not allow is refused below.
        let after = stepped.map_or(Value::Null, |event| json!({"status": event.status.name()}));
        let audited = self.audited(who, &action, id, json!({"status": session.session_status.name()}), after).map_err(at)?;
        let served = self.served_of(pipeline.id).filter(|served| served.session() == session.number);
        if trigger == Trigger::Cancel
            && let Some(served) = &served
        {
            session.counts = self.counts_of(&session, &plan, &served.board().totals());
        }
        self.step(&mut session, &plan, trigger, audited).map_err(at)?;
        let Some(served) = served else { return Ok(session) };
        let taken = match trigger {
            Trigger::Pause => served.worker.pause(true),
            Trigger::Resume => served.worker.pause(false),
            Trigger::Finish => {
                served.stop_feeding();
                // Delivery may wait for a caller that wants to make a change.
                drop(change);
                self.finish_soon(&served).map_err(at)?;
                return self.session(&who.namespace, id);
            }
            Trigger::Cancel => {
                served.finish_anew();
                self.rest(&served)
            }
            _ => Ok(()),
        };
        // The status holds: a pipeline that cannot take the step now follows it later.
        if let Err(why) = taken {
            tracing::warn!(session = id, "its pipeline follows the status as soon as it can: {why}");
        }
        Ok(session)
    }

    /// Returns a session by id.
    pub fn session(&self, namespace: &str, id: &str) -> Result<KeptSession, Refused> {
        let missing = || not_found("session", id);
        let number: u64 = id.strip_prefix("R-").and_then(|digits| digits.parse().ok()).ok_or_else(missing)?;
        let bytes = self.catalog.get(Table::Sessions, &key_of(number)).map_err(|why| refusal_of(&why.into()))?;
        let session: KeptSession = kept(&bytes.ok_or_else(missing)?).map_err(|why| refusal_of(&why))?;
        if session.namespace == namespace && session.session_id == id { Ok(session) } else { Err(missing()) }
    }

    /// Returns sessions of a namespace, the newest first, before a number.
    pub fn sessions(
        &self,
        namespace: &str,
        filter: &SessionFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        let mut before = before.map(key_of);
        let mut found = Vec::new();
        loop {
            let page = self.catalog.scan_back(Table::Sessions, b"", before.as_deref(), SESSIONS_AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            before = Some(last.clone());
            for (_, value) in &page {
                let session: KeptSession = kept(value)?;
                let wanted = session.namespace == namespace && filter.takes(&session);
                if wanted {
                    found.push(session);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }
}
