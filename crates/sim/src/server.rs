//! The simulation of a whole server: its pipelines, sessions, corrections and changes on a disk
//! that fails, fills up and loses unsynced writes, and under a clock that jumps.
//!
//! The code is the server's own ([`Installation`]) without its threads, so that every step is taken
//! when the seed says so. The auditor does not use the server's code. It records its requests and
//! the answers, and checks these promises:
//! - while a pipeline runs, no period stays open a second longer than it must;
//! - refused changes have no effect; accepted changes hold in the catalog and in counting;
//! - an event counts once if it was acknowledged, and so does a correction; in some histories no
//!   session is stopped, and then no acknowledged event is sent again to be counted;
//! - every record is in effect exactly once at a dishonest target, and requests to send some again
//!   are in the audit exactly when they were answered;
//! - entries that damage took from the log's end are missed, and nothing after them;
//! - readiness reports a pipeline that should run but stopped.

mod acts;
mod audit;
mod billing;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billing::{Biller, Requests};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::node::Clock;
use flowmeter_node::audit::Who;
use flowmeter_node::installation::{Installation, Means};
use flowmeter_node::settings::{Flag, Layers, Settings};
use flowmeter_store::catalog::LocalCatalog;
use model::{Model, PIPELINES};

use crate::disk::{Faults, SimDisk};
use crate::random::Random;

/// Default number of steps in a history of a server.
pub const STEPS: u64 = 60;

/// The first instant: the night before clocks change in Oslo.
const BEGINNING: i64 = 1_711_756_800_000_000_000;

/// A clock that the seed moves.
#[derive(Clone, Default)]
struct SimClock(Arc<AtomicI64>);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Acquire))
    }
}

/// A server, its disk and its clock, and the auditor's model of it.
pub struct Site {
    random: Random,
    trace: bool,
    disk: SimDisk,
    clock: SimClock,
    settings: Settings,
    server: Option<Arc<Installation>>,
    model: Model,
    /// The target of each pipeline.
    billers: Vec<Biller>,
    requests: Requests,
    /// Whether the end of the log was damaged.
    is_damaged: bool,
    happened: BTreeMap<&'static str, u64>,
}

/// Runs a seed. Returns how often each step happened.
///
/// # Errors
/// A broken promise, in a sentence.
pub fn run(seed: u64, steps: u64, trace: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut site = Site::new(seed, trace)?;
    site.begin()?;
    for step in 0..steps {
        let done = site.act();
        if site.needs_backup() {
            return Ok(site.happened);
        }
        done.map_err(|what| format!("step {step}: {what}"))?;
    }
    let done = site.end();
    if !site.needs_backup() {
        done.map_err(|what| format!("at the end: {what}"))?;
    }
    Ok(site.happened)
}

/// Returns the acting person.
fn who() -> Who {
    Who::named("sam", "default")
}

fn flag(name: &str, value: &str) -> Flag {
    Flag::named("--set", name, value)
}

impl Site {
    fn new(seed: u64, trace: bool) -> Result<Site, String> {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.fork());
        let flags = vec![
            flag("event_store.enabled", "false"),
            flag("threads", "1"),
            flag("partitions", if random.chance(500) { "1" } else { "2" }),
        ];
        let settings = Settings::read(&Layers { flags, ..Layers::default() });
        let mut settings = settings.map_err(|why| format!("{why:?}"))?;
        // Smaller than people may set it, so that there are many segments.
        settings.log.segment_bytes = 2_000 + random.below(20_000);
        let clock = SimClock::default();
        clock.0.store(BEGINNING + random.below(48 * 3600) as i64 * 1_000_000_000, Ordering::Release);
        let model = Model { is_steady: random.chance(400), ..Model::default() };
        let (server, happened) = (None, BTreeMap::new());
        let billers = PIPELINES.iter().map(|_| Biller::new(random.fork())).collect();
        let (requests, is_damaged) = (Requests::default(), false);
        Ok(Site { random, trace, disk, clock, settings, server, model, billers, requests, is_damaged, happened })
    }

    fn now(&self) -> i64 {
        self.clock.now().nanos()
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
        if self.trace {
            eprintln!("{} {what} (call {})", self.clock.now(), self.disk.calls());
        }
    }

    fn print(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("  {}", what());
        }
    }

    /// Starts the server, and again if the program ends during the start.
    fn start(&mut self) -> Result<(), String> {
        loop {
            let crash_in = self.random.chance(150).then(|| self.random.below(400));
            // While it starts, the disk may be full for a moment.
            let full_for = if self.random.chance(150) { 1 + self.random.below(8) } else { 0 };
            self.disk.set_faults(Faults { crash_in, full_for, ..Faults::default() });
            match self.open() {
                Ok(server) if !self.disk.is_down() => {
                    self.disk.set_faults(Faults::default());
                    self.server = Some(server);
                    return self.model.recall(self.server.as_ref());
                }
                // A server without room does not start, and says so; it is started again.
                Err(why) if !self.disk.is_down() && why.kind == flowmeter_engine::Kind::Full => {
                    self.note("no room to start");
                    self.disk.stop();
                    self.disk.restart();
                }
                Err(why) if !self.disk.is_down() => return Err(format!("a sound server does not start: {why}")),
                _ => {
                    self.note("ended while it started");
                    self.lose();
                }
            }
        }
    }

    fn open(&self) -> Result<Arc<Installation>, Error> {
        let disk = self.disk.clone();
        disk.begin_catalog();
        let catalog = LocalCatalog::with_backend(move || disk.catalog())?;
        self.disk.keep_catalog();
        let means = Means {
            clock: Arc::new(self.clock.clone()),
            disk: Arc::new(self.disk.clone()),
            catalog: Arc::new(catalog),
            lock: None,
            open_target: self.opens_targets(),
            has_threads: false,
        };
        Installation::with(self.settings.clone(), means).map(|(server, _)| server)
    }

    /// Ends the program, alone or with the machine.
    fn lose(&mut self) {
        let doubtful = self.model.doubtful.take();
        if self.server.as_ref().is_some_and(|server| server.is_in_doubt()) {
            self.model.schedules.extend(doubtful);
        }
        // Open files write nothing more.
        self.disk.stop();
        self.server = None;
        match self.random.chance(600) {
            true => self.disk.lose_power(),
            false => self.disk.restart(),
        }
    }

    /// Ends the program and starts it again.
    fn restart(&mut self, what: &'static str) -> Result<(), String> {
        self.note(what);
        self.lose();
        self.start()
    }

    /// Lets the server work without faults until nothing changes any more.
    fn settle(&mut self) -> Result<(), String> {
        self.disk.set_faults(Faults::default());
        let Some(server) = self.server.clone() else { return Ok(()) };
        for _ in 0..40 {
            server.turn();
            server.look_after();
        }
        Ok(())
    }
}
