//! Pipelines put to work, woken for a session, laid to rest behind it, and looked after.
//!
//! A pipeline that has ever run stays loaded: without a session it rests, which means that
//! nothing is taken, while its meters, records and parked events are at hand.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_core::pipeline::Pipeline;
use flowmeter_core::session::{RunType, Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{Live, LogCommand, folder_of, records_folder};
use flowmeter_engine::node::{Surroundings, Worker};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Table, key_of};

use super::delivery::{Delivery, Depot};
use super::{CHANGE_PATIENCE, Installation, KeptPipeline, KeptSession, Served, counts, kept, plan_of};

impl Installation {
    /// Opens the pipeline's state and starts its worker.
    pub(super) fn put_to_work(
        self: &Arc<Self>,
        pipeline: &KeptPipeline,
        session: &KeptSession,
        compiled: &Pipeline,
    ) -> Result<(), Error> {
        let plan_of = plan_of(&self.catalog, pipeline.id);
        let beginning = flowmeter_engine::live::Beginning {
            namespace: pipeline.namespace.clone(),
            version: pipeline.version,
            position: session.position,
            at: Timestamp::parse_rfc3339(session.session_start_time.as_bytes()).unwrap_or_default(),
        };
        let folder = folder_of(pipeline.id);
        let mut live = Live::open(Arc::clone(&self.disk), &folder, &beginning, &plan_of, self.live_settings())?;
        let end = self.tail.end();
        if live.position() > end {
            let message =
                format!("the log ends at {end}, before {}, which `{}` has taken already", live.position(), pipeline.name);
            return Err(Error::new(Kind::Corrupt, message));
        }
        self.begin_to_tell(pipeline.id, live.outlet().records().written())?;
        let listens = self.wants_notes(&pipeline.namespace)?;
        // What it knew may lie behind what the log says by now.
        if listens || live.listens() || live.position() < end {
            self.command_listening(pipeline.id, listens)?;
        }
        let depot = Depot {
            catalog: Arc::clone(&self.catalog),
            disk: Arc::clone(&self.disk),
            clock: Arc::clone(&self.clock),
            pipeline: pipeline.id,
            records: records_folder(&folder),
            installation: Arc::downgrade(self),
        };
        let delivery = Arc::new(Delivery::new(depot, live.outlet().records().written()));
        let [delivering, announced, pressing] = [(); 3].map(|()| Arc::clone(&delivery));
        live.announce_to(Box::new(move |records| announced.reach(records)));
        let around = Surroundings {
            tail: Arc::clone(&self.tail),
            reader: self.log_reader(),
            plan_of: Box::new(plan_of),
            after: Box::new(move |live| {
                delivering.reach(live.outlet().records().written());
                Ok(())
            }),
            is_pressed: Box::new(move || pressing.is_busy()),
            clock: Arc::clone(&self.clock),
        };
        // It stands still until it is woken.
        let worker = Worker::start(live, self.worker_settings(), around, true)?;
        let served = Arc::new(Served {
            kept: pipeline.clone(),
            session: AtomicU64::new(0),
            listens: AtomicBool::new(listens),
            worker,
            delivery,
            finishing: Mutex::default(),
        });
        self.pipelines.write().unwrap_or_else(PoisonError::into_inner).insert(pipeline.id, Arc::clone(&served));
        if session.status().is_final() {
            // What was flushed is delivered all the same.
            return served.delivery.aim(&compiled.targets, Path::new("."));
        }
        self.wake(&served, pipeline, session.number, compiled)?;
        if session.status() == Status::Paused { served.worker.pause(true) } else { Ok(()) }
    }

    /// Lets a resting pipeline work for a session, under the newest version of its
    /// document, from where it was.
    pub(super) fn wake(
        &self,
        served: &Arc<Served>,
        pipeline: &KeptPipeline,
        session: u64,
        compiled: &Pipeline,
    ) -> Result<(), Error> {
        let mut plan = compiled.plan.clone();
        plan.id = pipeline.id;
        let version = served.worker.ask(move |live| live.accepts(&plan).map(|()| live.version()))??;
        served.delivery.aim(&compiled.targets, Path::new("."))?;
        served.session.store(session, Ordering::Release);
        self.with_writer(|writer| {
            writer.watch(Arc::clone(served.board()));
            match version == pipeline.version {
                true => Ok(()),
                false => writer.command(&LogCommand::Adopt { pipeline: pipeline.id, version: pipeline.version }).map(|_| ()),
            }
        })?;
        served.worker.pause(false)
    }

    /// Lets a pipeline rest: nothing is taken, but its meters and records are at hand.
    pub(super) fn rest(&self, served: &Arc<Served>) -> Result<(), Error> {
        self.halt(served)?;
        served.session.store(0, Ordering::Release);
        Ok(())
    }

    /// Nothing more is taken; the session still has it.
    pub(super) fn halt(&self, served: &Arc<Served>) -> Result<(), Error> {
        self.with_writer(|writer| {
            writer.unwatch(served.board());
            Ok(())
        })?;
        served.worker.pause(true)
    }

    /// After a restart: every session that was under way goes on.
    pub(super) fn go_on(self: &Arc<Self>) -> Result<(), Error> {
        let pipelines = self.all_pipelines()?;
        for (_, value) in self.catalog.scan(Table::Sessions, b"", None, usize::MAX)? {
            let mut session: KeptSession = kept(&value)?;
            if session.status().is_final() {
                continue;
            }
            let Some(pipeline) = pipelines.iter().find(|known| known.id == session.pipeline_id) else { continue };
            let version: super::KeptVersion =
                self.version(pipeline, pipeline.version).map_err(|why| Error::new(Kind::Corrupt, why.detail))?;
            let compiled = version.compile()?;
            let plan = &compiled.plan;
            if !pipeline.streaming || session.status() == Status::Testing {
                // Nothing of it was kept: what it read is still where it was.
                session.error = Some("the server stopped while it ran; start it again".to_owned());
                self.step(&mut session, plan, Trigger::Fail, Vec::new())?;
                continue;
            }
            if let Err(why) = self.put_to_work(pipeline, &session, &compiled) {
                session.error = Some(why.to_string());
                self.step(&mut session, plan, Trigger::Fail, Vec::new())?;
                continue;
            }
            // One that is finishing is looked after.
            if session.status() == Status::Initializing {
                self.step(&mut session, plan, Trigger::Ready, Vec::new())?;
            }
        }
        self.lay_out_resting(&pipelines)
    }

    /// Pipelines that have worked and that no session runs: their meters and records are
    /// at hand.
    fn lay_out_resting(self: &Arc<Self>, pipelines: &[KeptPipeline]) -> Result<(), Error> {
        for pipeline in pipelines.iter().filter(|pipeline| pipeline.streaming && self.served_of(pipeline.id).is_none()) {
            let sessions = self.sessions(&pipeline.namespace, Some(pipeline.id), None, None, usize::MAX)?;
            let Some(session) = sessions.iter().find(|session| session.session_run_type == RunType::Normal.name()) else {
                continue;
            };
            let version = self.version(pipeline, pipeline.version).map_err(|why| Error::new(Kind::Corrupt, why.detail))?;
            if let Err(why) = self.put_to_work(pipeline, session, &version.compile()?) {
                tracing::error!(pipeline = pipeline.name, "what it counted is not at hand: {why}");
            }
        }
        Ok(())
    }

    /// Ends the worker of a pipeline that rests or has failed.
    pub(super) fn let_go(&self, served: Arc<Served>) {
        self.pipelines.write().unwrap_or_else(PoisonError::into_inner).remove(&served.kept.id);
        drop(self.with_writer(|writer| {
            writer.unwatch(served.board());
            Ok(())
        }));
        served.delivery.stop();
        // Whoever looks at it now lets go of it in a moment; the worker ends with the last.
        let patience = CHANGE_PATIENCE.as_millis() as u64;
        let mut served = served;
        for _ in 0..patience {
            match Arc::try_unwrap(served) {
                Ok(alone) => {
                    alone.worker.stop();
                    return;
                }
                Err(shared) => {
                    served = shared;
                    std::thread::park_timeout(std::time::Duration::from_millis(1));
                }
            }
        }
    }

    /// Looks whether a pipeline at work has failed, then its session has; and whether one
    /// that is finishing has come further.
    pub fn look_after(&self) -> Result<(), Error> {
        for served in self.served() {
            if served.session() != 0 {
                self.go_on_finishing(&served)?;
            }
            let Some(why) = served.board().failure() else { continue };
            let _change = self.change();
            let Some(bytes) = self.catalog.get(Table::Sessions, &key_of(served.session()))? else { continue };
            let mut session: KeptSession = kept(&bytes)?;
            if !session.status().is_final() {
                let plan = plan_of(&self.catalog, served.kept.id)(session.version)?;
                session.error = Some(why.to_string());
                session.counts = counts(&plan, &served.board().totals());
                self.step(&mut session, &plan, Trigger::Fail, Vec::new())?;
            }
            self.let_go(served);
        }
        Ok(())
    }
}
