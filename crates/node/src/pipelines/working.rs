//! Loads pipelines, starts and ends their work for sessions, and checks them at intervals.
//!
//! A pipeline that has ever run stays loaded. Without a session it is idle: it takes no events, but
//! its meters, records and parked events can be read.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_connectors::Abandon;
use flowmeter_connectors::services::resolved;
use flowmeter_core::session::{RunType, Status, Trigger};
use flowmeter_document::Pipeline;
use flowmeter_engine::journal::Shard;
use flowmeter_engine::live::{AdoptedDocument, Home, Live, LogCommand, folder_of, records_folder};
use flowmeter_engine::node::{Surroundings, WallOf, Worker};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::Table;

use crate::deliveries::delivery::{Delivery, Depot};
use crate::events::derived::ParkedLater;
use crate::installation::{Installation, Served};
use crate::pipelines::state::require_choices;
use crate::pipelines::{KeptPipeline, plan_of};
use crate::refusal::{Refusal, RefusalKind, Refused};
use crate::rows::kept;
use crate::sessions::{KeptSession, SessionFilter};

/// The way out for a pipeline whose version a program refuses.
const WITH_ITS_PROGRAM: &str = "start the program that saved it, and save a version there that this program takes";

impl Installation {
    /// Opens the pipeline's state and starts its worker.
    pub(crate) fn put_to_work(
        self: &Arc<Self>,
        pipeline: &KeptPipeline,
        session: &KeptSession,
        compiled: &Pipeline,
    ) -> Result<(), Error> {
        let stored = plan_of(&self.catalog, pipeline.id);
        let plan_of = move |version| resolved(stored(version)?);
        // Sessions over files of older programs began with no entry of the log, and had none.
        let first = self.log_first()?;
        let beginning = flowmeter_engine::live::Beginning {
            namespace: pipeline.namespace.clone(),
            version: pipeline.version,
            position: if compiled.plan.is_bounded() { session.position.max(first) } else { session.position },
            at: session.session_start_time,
        };
        // A second owner of the folder would cut off what the first is writing.
        if let Some(former) = self.served_of(pipeline.id) {
            self.let_go(&former);
        }
        let folder = folder_of(pipeline.id);
        let home = Home { disk: Arc::clone(&self.disk), vault: Arc::clone(&self.vault), folder: folder.clone() };
        let mut live = Live::open(home, &beginning, &plan_of, self.live_settings())?;
        let services = Abandon::default();
        live.ask_services(self.open_services(&services))?;
        self.log_damaged_checkpoints(pipeline);
        let end = self.log_end();
        if live.position() > end {
            let message =
                format!("the log ends at {end}, before {}, which `{}` has taken already", live.position(), pipeline.name);
            return Err(Error::new(Kind::Corrupt, message));
        }
        self.begin_to_tell(pipeline.id, live.outlet().records().written())?;
        let listens = self.wants_notes(&pipeline.namespace)?;
        // Its state may be newer than the present subscription.
        if listens || live.listens() || live.position() < end {
            self.command_listening(pipeline.id, listens)?;
        }
        let depot = Depot {
            catalog: Arc::clone(&self.catalog),
            disk: Arc::clone(&self.disk),
            clock: Arc::new(WallOf(Arc::clone(&self.clock))),
            pipeline: pipeline.id,
            name: pipeline.name.clone(),
            records: records_folder(&folder),
            installation: Arc::downgrade(self),
            open_target: Arc::clone(&self.open_target),
            has_threads: self.has_threads,
        };
        let delivery = Arc::new(Delivery::new(depot, live.outlet().records().written()));
        let [delivering, announced, pressing] = [(); 3].map(|()| Arc::clone(&delivery));
        live.announce_to(Box::new(move |records| announced.reach(records)));
        let around = Surroundings {
            journal: Arc::clone(&self.journal),
            shard: Shard::FIRST,
            plan_of: Box::new(plan_of),
            after: Box::new(move |live| {
                delivering.reach(live.outlet().records().written());
                Ok(())
            }),
            is_pressed: Box::new(move || pressing.is_busy()),
            clock: Arc::clone(&self.clock),
        };
        // It is paused until a session wakes it.
        let worker = match self.has_threads {
            true => Worker::start(live, self.worker_settings(), around, true)?,
            false => Worker::by_hand(live, self.worker_settings(), around, true),
        };
        let served = Arc::new(Served {
            kept: pipeline.clone(),
            session: AtomicU64::new(0),
            listens: AtomicBool::new(listens),
            worker,
            delivery,
            finishing: Mutex::default(),
            feeding: Mutex::default(),
            audited: AtomicU64::new(0),
            services,
            parked_later: ParkedLater::default(),
            meters_index: Arc::default(),
            records_index: self.record_index(pipeline.id),
        });
        self.pipelines.write().unwrap_or_else(PoisonError::into_inner).insert(pipeline.id, Arc::clone(&served));
        if session.session_status.is_final() {
            if compiled.plan.is_bounded() {
                served.worker.pause(false)?;
            }
            // Flushed records are delivered all the same.
            return served.delivery.aim(&compiled.targets, Path::new("."));
        }
        let woken = self.wake(&served, pipeline, session, compiled);
        let settled =
            woken.and_then(|()| if session.session_status == Status::Paused { served.worker.pause(true) } else { Ok(()) });
        if settled.is_err() {
            self.let_go(&served);
        }
        settled
    }

    /// Starts the work of an idle pipeline for a session, under the newest version of its document,
    /// at its position in the log.
    pub(crate) fn wake(
        self: &Arc<Self>,
        served: &Arc<Served>,
        pipeline: &KeptPipeline,
        session: &KeptSession,
        compiled: &Pipeline,
    ) -> Result<(), Error> {
        self.check_services(&compiled.plan)?;
        let mut plan = compiled.plan.clone();
        plan.id = pipeline.id;
        let version = served.worker.ask(|live| live.version())?;
        let state = self.pending_choices(pipeline.id, version)?;
        let choices = state.clone();
        require_choices(&served.worker.ask(move |live| live.accepts(&plan, &choices))??)?;
        served.delivery.aim(&compiled.targets, Path::new("."))?;
        let kept = self.version(pipeline, pipeline.version);
        let kept = kept.map_err(|why| Error::new(Kind::Corrupt, why.detail))?;
        let document = Some(AdoptedDocument { text: kept.document, meter_types: kept.meter_types });
        let adopt = LogCommand::Adopt { pipeline: pipeline.id, version: pipeline.version, document, state };
        served.session.store(session.number, Ordering::Release);
        self.journal.watch(Arc::clone(served.board()));
        if version != pipeline.version {
            self.command(&adopt)?;
        }
        self.bring_tables(served, pipeline, &compiled.plan)?;
        served.worker.pause(false)?;
        // A session that finishes has its input.
        match session.session_status {
            Status::NeverRun | Status::Initializing | Status::Running | Status::Paused => {
                self.start_feeding(served, session, &compiled.plan)
            }
            _ => Ok(()),
        }
    }

    /// Makes a pipeline idle: it takes no events, but its meters and records can be read.
    pub(crate) fn rest(&self, served: &Arc<Served>) -> Result<(), Error> {
        self.halt(served)?;
        served.session.store(0, Ordering::Release);
        Ok(())
    }

    /// Stops taking events; the pipeline still belongs to its session. One that takes events from
    /// its own sources alone continues with the log, in which there are none for it, so an idle
    /// pipeline does not keep the log from being removed.
    pub(crate) fn halt(&self, served: &Arc<Served>) -> Result<(), Error> {
        served.stop_feeding();
        self.journal.unwatch(served.board());
        let is_bounded = served.worker.ask(|live| live.plan().is_bounded())?;
        served.worker.pause(!is_bounded)
    }

    /// Checks that this program takes the version by which a pipeline's session runs: the state is
    /// that of this version, so a later one does not help.
    pub(crate) fn must_be_taken(&self, pipeline: &KeptPipeline) -> Result<(), Refused> {
        match self.newest_compiled(pipeline) {
            Err(why) if self.session_at_work(pipeline.id).is_some() => {
                let refusal = Refusal::new(RefusalKind::Conflict, format!("this program refuses the version in force: {why}"));
                Err(Box::new(refusal.remedy(WITH_ITS_PROGRAM)))
            }
            _ => Ok(()),
        }
    }

    /// Compiles the newest version of a pipeline.
    ///
    /// # Errors
    /// This program refuses the document, which it or an earlier one took.
    pub(crate) fn newest_compiled(&self, pipeline: &KeptPipeline) -> Result<Pipeline, Error> {
        self.version(pipeline, pipeline.version).map_err(|why| Error::new(Kind::Corrupt, why.detail))?.compile()
    }

    /// Resumes every session that was running before a restart.
    pub(crate) fn go_on(self: &Arc<Self>) -> Result<(), Error> {
        let pipelines = self.all_pipelines()?;
        for (_, value) in self.catalog.scan(Table::Sessions, b"", None, usize::MAX)? {
            let mut session: KeptSession = kept(&value)?;
            if session.session_status.is_final() {
                continue;
            }
            let Some(pipeline) = pipelines.iter().find(|known| known.id == session.pipeline_id) else { continue };
            let compiled = match self.newest_compiled(pipeline) {
                Ok(compiled) => compiled,
                // The other pipelines run.
                Err(why) => {
                    tracing::error!(pipeline = pipeline.name, "the pipeline is not loaded; {WITH_ITS_PROGRAM}: {why}");
                    self.remember_stopped(pipeline, session.number, why);
                    continue;
                }
            };
            let plan = &compiled.plan;
            if session.session_status == Status::Testing {
                // Nothing of it was stored.
                session.error = Some("the server stopped while it ran; start it again".to_owned());
                self.step(&mut session, plan, Trigger::Fail, Vec::new())?;
                continue;
            }
            if let Err(why) = self.put_to_work(pipeline, &session, &compiled) {
                self.note_stopped(pipeline, &mut session, plan, None, why)?;
                continue;
            }
            // A finishing session is handled by the periodic checks.
            if session.session_status == Status::Initializing {
                self.step(&mut session, plan, Trigger::Ready, Vec::new())?;
            }
        }
        self.lay_out_resting(&pipelines)
    }

    /// Loads pipelines that have run and have no session, so that their meters and records can be
    /// read.
    fn lay_out_resting(self: &Arc<Self>, pipelines: &[KeptPipeline]) -> Result<(), Error> {
        for pipeline in pipelines.iter().filter(|pipeline| self.served_of(pipeline.id).is_none()) {
            let sessions = self.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, usize::MAX)?;
            let Some(session) = sessions.iter().find(|session| session.session_run_type == RunType::Normal) else {
                continue;
            };
            // One that should run is loaded again by the periodic checks, or cannot be read.
            if !session.session_status.is_final() {
                continue;
            }
            let rests = self.stopped().iter().any(|stopped| stopped.pipeline.id == pipeline.id && !stopped.has_failed);
            if rests {
                continue;
            }
            self.remember_failure(pipeline, session);
            let loaded = self.newest_compiled(pipeline).and_then(|compiled| self.put_to_work(pipeline, session, &compiled));
            if let Err(why) = loaded {
                tracing::error!(pipeline = pipeline.name, "its meters and records cannot be read: {why}");
                self.remember_unreadable(pipeline, session, why);
            }
        }
        Ok(())
    }

    /// Ends the worker of an idle or failed pipeline.
    pub(crate) fn let_go(&self, served: &Served) {
        let mut pipelines = self.pipelines.write().unwrap_or_else(PoisonError::into_inner);
        // It may have a successor already.
        if pipelines.get(&served.kept.id).is_some_and(|loaded| std::ptr::eq(&**loaded, served)) {
            pipelines.remove(&served.kept.id);
        }
        drop(pipelines);
        served.stop_feeding();
        self.journal.unwatch(served.board());
        served.delivery.stop();
        // It may be waiting for a service.
        served.services.ask();
        served.worker.stop();
    }

    /// Checks every pipeline: sessions that finish take their next steps, and pipelines that
    /// stopped are loaded again or fail. An error of one does not block the others.
    pub fn look_after(self: &Arc<Self>) {
        // A move of the test clock looks, too.
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_at_clock();
        for served in self.served() {
            let name = served.kept.name.clone();
            if let Err(why) = self.look_after_one(&served) {
                tracing::error!(pipeline = name, "the periodic check of the pipeline failed: {why}");
            }
        }
        self.load_stopped();
        self.start_due();
        self.read_tables();
        if let Err(why) = self.keep_applied() {
            tracing::error!("changes that are in the log are not in the catalog: {why}");
        }
    }

    fn look_after_one(self: &Arc<Self>, served: &Arc<Served>) -> Result<(), Error> {
        if served.session() != 0 {
            self.go_on_finishing(served)?;
        }
        if let Some(why) = served.board().failure() {
            return self.stop_pipeline(served, why);
        }
        self.follow_session(served)?;
        if served.board().settled() > served.audited.load(Ordering::Acquire) {
            let settled = served.board().settled();
            self.audit_settlements(served)?;
            served.audited.store(settled, Ordering::Release);
        }
        Ok(())
    }
}
