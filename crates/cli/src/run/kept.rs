//! Runs that continue the previous one: `--data`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_connectors::push::Push;
use flowmeter_connectors::services::{HttpServices, Waits};
use flowmeter_core::operator::Operator;
use flowmeter_core::plan::Plan;
use flowmeter_core::session::Trigger;
use flowmeter_engine::ledger::{Ledger, LedgerSettings};
use flowmeter_engine::node::Clock;
use flowmeter_engine::{Displaced, Engine, Error, StateChoices, Totals, choice_without_state};
use flowmeter_store::disk::{LocalDisk, Lock};
use flowmeter_store::identities::SpilledIdentities;

use crate::args::Run;
use crate::clock::Wall;
use crate::failure::Wrong;
use crate::journal::Journal;
use crate::load::{self, Loaded};
use crate::watch::Watch;

/// Bytes of identities in memory; the rest is in the folder. As `memory.identities_bytes` of a
/// server.
const IDENTITIES_BYTES: usize = 1 << 30;

/// A folder with the state of the pipeline's runs.
pub(super) struct Kept {
    ledger: Ledger,
    engine: Engine<SpilledIdentities>,
    /// Decisions about state that has no place in the document.
    state: StateChoices,
    /// Whether there is such state.
    displaces: bool,
    /// The folder is locked during the run.
    _lock: Lock,
    /// The folder of the pipeline's runs.
    data: PathBuf,
}

impl Kept {
    pub(super) fn open(data: &Path, run: &Run, loaded: &Loaded) -> anyhow::Result<Kept> {
        std::fs::create_dir_all(data).map_err(|why| Error::io(data.display(), &why))?;
        let lock = Lock::take(data).map_err(Error::from)?;
        let disk = Arc::new(LocalDisk::new(data).map_err(|why| Error::io(data.display(), &why))?);
        let settings = LedgerSettings { engine: load::settings(&run.input, 0), identities_bytes: IDENTITIES_BYTES };
        let (ledger, engine) = Ledger::open(disk, &loaded.plan, &loaded.document, settings)?;
        let state: StateChoices = run.state.iter().cloned().collect();
        if let Some(id) = choice_without_state(&state, &[engine.plan(), &loaded.plan]) {
            return Err(Wrong(format!("--state {id}: the pipeline has no operator `{id}` that keeps state")).into());
        }
        let displaced = engine.displaced(&loaded.plan, &state)?;
        if let Some(open) = Displaced::open(&displaced) {
            let remedy = "write --state OPERATOR=release to count it as it is, or --state OPERATOR=forget to park it";
            return Err(Wrong(format!("state_incompatible: {open}; {remedy}")).into());
        }
        let displaces = !displaced.is_empty();
        Ok(Kept { ledger, engine, state, displaces, _lock: lock, data: data.to_owned() })
    }

    /// Returns the number of this run.
    pub(super) fn run(&self) -> u64 {
        self.ledger.run()
    }

    /// Runs a session whose meters continue in the next one.
    pub(super) fn session(
        self,
        run: &Run,
        loaded: &Loaded,
        output: Option<&str>,
        journal: &mut Journal,
        watch: &mut Watch,
    ) -> anyhow::Result<(Totals, Option<Totals>, Push)> {
        let Kept { mut ledger, mut engine, state, displaces, _lock, data } = self;
        let data = data.as_path();
        let plan = &loaded.plan;
        let as_of = load::as_of(&run.input)?;
        if as_of < ledger.clock() {
            let (before, run) = (ledger.clock(), ledger.run() - 1);
            return Err(
                Wrong(format!("--as-of of this run is {as_of}, that of run {run} was {before}: it cannot go back")).into()
            );
        }
        let mut files = Files::new(Arc::clone(plan), &run.input.input)?;
        // With deduplication the same events are duplicates, and those that were parked may count now.
        let counts_repeats = !plan.nodes.iter().any(|node| matches!(node.operator, Operator::Dedupe(_)));
        if counts_repeats {
            files = files.except(ledger.taken().clone());
        }
        let (memory, clock) = (ledger.memory(), Arc::new(Wall));
        let mut push = Push::go_on(&plan.name, &loaded.targets, output, memory, clock, watch.printer())?;
        let answers = data.join("runs").join(plan.id.to_string()).join("answers.ndjson");
        let services = |plan: &Plan| HttpServices::open(plan, Some(answers.clone()), Arc::new(Wall), Waits::default());
        let before = Arc::clone(engine.plan());
        if displaces {
            // Released events go through the operators of the previous run.
            super::tables::load_kept(&before, data, &mut engine)?;
            services(&before)?.into_iter().for_each(|services| engine.use_services(services));
        }
        if !Arc::ptr_eq(&before, plan) {
            ledger.adopt(&mut engine, plan, &state, as_of, watch)?;
        }
        super::tables::load(plan, data, &mut engine)?;
        services(plan)?.into_iter().for_each(|services| engine.use_services(services));
        engine.open_declared(as_of);
        journal.step(Trigger::Ready)?;
        engine.ingest(&mut files, as_of, ledger.spool()?, watch)?;
        (watch.unseen, watch.warnings) = (engine.unseen(), files.warnings());
        if counts_repeats {
            ledger.take(files.into_taken());
        }
        flowmeter_connectors::completeness::check(plan, &engine.totals().tally)?;
        journal.step(Trigger::Finish)?;
        engine.tick(as_of, ledger.spool()?, watch)?;
        if run.flush_open {
            engine.flush_open(as_of, ledger.spool()?, watch)?;
        }
        let totals = engine.totals();
        let all = ledger.totals(&totals);
        // From here on the run is complete, whatever happens at the targets.
        ledger.close(&mut engine, as_of)?;
        ledger.begin_to_send(Wall.now())?;
        ledger.undelivered(&mut |owed| push.take(owed))?;
        push.accept()?;
        journal.step(Trigger::AllAccepted)?;
        push.look_again();
        ledger.undelivered(&mut |owed| push.take(owed))?;
        push.confirm()?;
        ledger.delivered(push.memory()?)?;
        journal.step(Trigger::AllConfirmed)?;
        journal.step(Trigger::WrapUp)?;
        // The process ends now: freeing the meters one by one would be a waste.
        std::mem::forget(engine);
        Ok((totals, Some(all), push))
    }
}
