//! The ledger: the state between runs over files, so that the next run continues from it.
//!
//! A run is one step. Its input is in memory until all of it was read. Then its records are written
//! to a [spool](Spool), and meters and identities to a checkpoint, which completes the run: before,
//! nothing of it remains; after, it is never counted again. Its records are delivered from the
//! spool, by this run or, if it fails, by the next one.
//!
//! ```text
//! read ─► count ─► flush to a spool ─► checkpoint ═► deliver from the spool ─► delivered.json
//!            nothing is stored before ┘            └ the run is complete
//! ```
//!
//! `docs/formats/runs.md` describes the files.

mod spool;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_store::disk::{Disk, read_all, write_whole};
use flowmeter_store::identities::{self, Manifest, Merging, SpilledIdentities};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spool::Spool;
use uuid::Uuid;

use crate::checkpoint::{self, Checkpoint, Found};
use crate::live::{Items, Origins, Taken};
use crate::vault::{LocalVault, Tenure, Vault};
use crate::{Engine, Error, Kind, Observer, RecordSink, Settings, StateChoices, Totals};

/// Settings of a pipeline's runs.
#[derive(Clone, Copy, Debug)]
pub struct LedgerSettings {
    /// Threads and partitions. A pipeline that has run keeps its number of partitions.
    pub engine: Settings,
    /// Bytes of identities in memory; more spill to disk.
    pub identities_bytes: usize,
}

/// The state of one pipeline's runs, and the current run.
pub struct Ledger {
    disk: Arc<dyn Disk>,
    vault: LocalVault,
    tenure: Tenure,
    folder: String,
    /// The number of this run, counted from 1.
    run: u64,
    /// The clock of the previous run.
    clock: Timestamp,
    /// The totals of all runs before.
    before: Totals,
    /// Keys and values of what each source has taken in all runs, by its id.
    taken: BTreeMap<String, Taken>,
    document: String,
    spool: Option<Spool>,
    delivered: Delivered,
    /// The run that a previous one began to deliver and did not finish.
    in_doubt: Option<Sending>,
}

/// A record that is not known to be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Owed<'r> {
    /// Whether it is a partial one of a threshold.
    pub is_threshold: bool,
    /// Time since when targets may have it, in nanoseconds: a previous run began to send it with
    /// unknown success.
    pub in_doubt: Option<i64>,
    pub json: &'r [u8],
}

pub type Take<'t> = dyn FnMut(Owed<'_>) -> Result<(), Error> + 't;

/// The state of delivery.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Delivered {
    /// The last run whose records are at the targets.
    run: u64,
    /// State that the deliverer must remember.
    memory: Value,
    /// The run being sent.
    #[serde(default)]
    sending: Option<Sending>,
}

/// Records that a run began to send.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Sending {
    /// Those of this run and earlier ones.
    run: u64,
    /// Time of the first attempt, in nanoseconds.
    since: i64,
}

const DELIVERED: &str = "delivered.json";

/// Returns the folder of a pipeline's runs.
pub fn folder_of(pipeline: Uuid) -> String {
    format!("runs/{pipeline}")
}

impl Ledger {
    /// Opens the state of a pipeline's runs and an engine that continues from it, with the plan of
    /// the previous run: if that is another one, see [`Ledger::adopt`]. The document is the
    /// pipeline's, with every default written out.
    ///
    /// # Errors
    /// `Corrupt` if a file is damaged: restore it from a backup, because nothing else has the counts.
    pub fn open(
        disk: Arc<dyn Disk>,
        plan: &Arc<Plan>,
        document: &str,
        settings: LedgerSettings,
    ) -> Result<(Ledger, Engine<SpilledIdentities>), Error> {
        let folder = folder_of(plan.id);
        // If only the program ended, names may be in memory only; the next steps rely on them.
        let made = disk.create_folder(&folder).and_then(|()| disk.sync_folder(&folder));
        made.map_err(|why| at(&folder, &why))?;
        let delivered = read_delivered(&*disk, &folder)?;
        let vault = LocalVault::new(Arc::clone(&disk));
        let tenure = vault.claim(&folder)?;
        let found = checkpoint::newest(&vault, &tenure)?;
        let last = found.as_ref().map_or(0, |found| found.newest.position);
        let ledger = Ledger {
            run: last + 1,
            clock: found.as_ref().map_or(Timestamp::MIN, |found| found.newest.clock),
            before: found.as_ref().map(|found| found.newest.totals.clone()).unwrap_or_default(),
            taken: found.as_ref().map(|found| found.newest.taken.clone()).unwrap_or_default(),
            document: document.to_owned(),
            spool: None,
            in_doubt: delivered.sending,
            delivered,
            disk,
            vault,
            tenure,
            folder,
        };
        if last < ledger.delivered.run {
            let (folder, lost) = (&ledger.folder, ledger.delivered.run);
            let message = format!("{folder}: the checkpoint of run {lost} is not there; restore the folder from a backup");
            return Err(Error::new(Kind::Corrupt, message));
        }
        // A run without a checkpoint is not complete.
        spool::remove(&*ledger.disk, &ledger.folder, |run| run > last || run <= ledger.delivered.run)?;
        let mut engine = ledger.engine(plan, found, settings)?;
        engine.go_on(&ledger.before);
        Ok((ledger, engine))
    }

    fn engine(
        &self,
        plan: &Arc<Plan>,
        found: Option<Found>,
        settings: LedgerSettings,
    ) -> Result<Engine<SpilledIdentities>, Error> {
        let at = format!("{}/identities", self.folder);
        let before = found.iter().flat_map(|found| &found.before).flat_map(|before| &before.identities);
        let named: Vec<&Manifest> = found.iter().flat_map(|found| &found.newest.manifests).chain(before).collect();
        identities::sweep(&*self.disk, &at, &named)?;
        let open = |manifests: &[Manifest]| {
            let memory_bytes = settings.identities_bytes / manifests.len().max(1);
            let settings = identities::Settings { memory_bytes, merging: Merging::Background };
            let open = |manifest| SpilledIdentities::open(Arc::clone(&self.disk), &at, manifest, settings);
            manifests.iter().map(open).collect::<Result<Vec<_>, _>>()
        };
        let Some(Found { newest: kept, .. }) = found else {
            let manifests: Vec<_> = (0..settings.engine.partitions.max(1) as u32).map(Manifest::empty).collect();
            return Engine::with_identities(plan, settings.engine, open(&manifests)?);
        };
        let text = self.read(&document_of(kept.position))?;
        if text == self.document {
            return Engine::read(Arc::clone(plan), settings.engine, &kept.images, open(&kept.manifests)?);
        }
        let old = Pipeline::read(&text).map_err(|why| Error::new(Kind::Corrupt, format!("{}: {why}", self.folder)))?;
        Engine::read(Arc::new(old.plan), settings.engine, &kept.images, open(&kept.manifests)?)
    }

    /// Continues under the plan of another document, at the clock of this run. State without a
    /// place there is released or given up first, by the operators of the previous run.
    ///
    /// # Errors
    /// The disk failed, or a derived event cannot be processed.
    pub fn adopt(
        &mut self,
        engine: &mut Engine<SpilledIdentities>,
        plan: &Arc<Plan>,
        state: &StateChoices,
        at: Timestamp,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let old = Arc::clone(engine.plan());
        engine.settle_displaced(plan, state, at, self.spool()?, observer)?;
        engine.exchange(plan)?;
        engine.reschedule(self.clock);
        self.before = std::mem::take(&mut self.before).under(&old, plan);
        Ok(())
    }

    /// Returns the number of this run, counted from 1.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Returns the clock of the previous run; time does not go back.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Returns the totals of all runs, this one included.
    pub fn totals(&self, run: &Totals) -> Totals {
        self.before.plus(run)
    }

    /// Returns what each source has taken in the runs before, by its id.
    pub fn taken(&self) -> &BTreeMap<String, Taken> {
        &self.taken
    }

    /// Sets what each source has taken in all runs, this one included. It is kept once the run is
    /// complete.
    pub fn take(&mut self, taken: BTreeMap<String, Taken>) {
        self.taken = taken;
    }

    /// Returns the state that the deliverer must remember.
    pub fn memory(&self) -> &Value {
        &self.delivered.memory
    }

    /// Returns the sink for this run's records.
    ///
    /// # Errors
    /// The disk failed.
    pub fn spool(&mut self) -> Result<&mut dyn RecordSink, Error> {
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None => Spool::create(Arc::clone(&self.disk), &self.folder, self.run)?,
        };
        Ok(self.spool.insert(spool))
    }

    /// Completes the run: its meters, identities and records are durable.
    ///
    /// # Errors
    /// The disk failed; then the run is not complete.
    pub fn close(&mut self, engine: &mut Engine<SpilledIdentities>, clock: Timestamp) -> Result<(), Error> {
        if let Some(why) = engine.identities_mut().find_map(|known| known.failure().cloned()) {
            return Err(why.into());
        }
        self.spool()?;
        self.spool.take().map_or(Ok(()), Spool::finish)?;
        let document = document_of(self.run);
        let written = write_whole(&*self.disk, &self.folder, &document, self.document.as_bytes());
        written.map_err(|why| at(format!("{}/{document}", self.folder), &why))?;
        let manifests = engine.identities_mut().map(SpilledIdentities::seal).collect::<Result<Vec<_>, _>>()?;
        let checkpoint = Checkpoint {
            version: 0,
            position: self.run,
            clock,
            items: Items::default(),
            listens: false,
            totals: self.before.plus(&engine.totals()),
            images: engine.packed_images()?,
            manifests,
            rollups: Vec::new(),
            tables: crate::live::InForce::new(),
            taken: self.taken.clone(),
            origins: Origins::new(),
        };
        checkpoint.write(&self.vault, &self.tenure)?;
        // The earlier checkpoint is useless: the events after it are unknown.
        self.vault.sweep(&self.tenure, self.run)?;
        self.remove_documents()
    }

    fn remove_documents(&self) -> Result<(), Error> {
        let names = self.disk.list(&self.folder).map_err(|why| at(&self.folder, &why))?;
        let old = |name: &&String| name.ends_with(DOCUMENT) && **name != document_of(self.run);
        for name in names.iter().filter(old) {
            self.disk.remove(&format!("{}/{name}", self.folder)).map_err(|why| at(name, &why))?;
        }
        Ok(())
    }

    /// Records that targets may have the undelivered records from now on. This is durable before
    /// anything is sent, so that a run after a crash reads it.
    ///
    /// # Errors
    /// The disk failed.
    pub fn begin_to_send(&mut self, now: Timestamp) -> Result<(), Error> {
        let since = self.in_doubt.map_or(now.nanos(), |before| before.since);
        self.delivered.sending = Some(Sending { run: self.run, since });
        self.keep_delivered()
    }

    /// Passes the records that are not known to be delivered to `take`, in order, those of earlier
    /// runs first.
    ///
    /// # Errors
    /// They cannot be read, or `take` failed.
    pub fn undelivered(&self, take: &mut Take<'_>) -> Result<(), Error> {
        (self.delivered.run + 1..=self.run).try_for_each(|run| {
            let in_doubt = self.in_doubt.filter(|sending| run <= sending.run).map(|sending| sending.since);
            spool::read(&*self.disk, &self.folder, run, in_doubt, take)
        })
    }

    /// Records that all of them are delivered.
    ///
    /// # Errors
    /// The disk failed; then they are delivered again, under the same keys.
    pub fn delivered(&mut self, memory: Value) -> Result<(), Error> {
        self.delivered = Delivered { run: self.run, memory, sending: None };
        self.keep_delivered()?;
        spool::remove(&*self.disk, &self.folder, |run| run <= self.run)
    }

    fn keep_delivered(&self) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&self.delivered).map_err(|why| Error::new(Kind::Bug, why.to_string()))?;
        let written = write_whole(&*self.disk, &self.folder, DELIVERED, &bytes);
        written.map_err(|why| at(format!("{}/{DELIVERED}", self.folder), &why))
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let name = format!("{}/{name}", self.folder);
        let bytes = read_all(&*self.disk, &name).map_err(|why| at(&name, &why))?;
        String::from_utf8(bytes).map_err(|why| Error::new(Kind::Corrupt, format!("{name}: {why}")))
    }
}

const DOCUMENT: &str = ".pipeline.yaml";

/// Returns the file name of a run's document.
fn document_of(run: u64) -> String {
    format!("{run:020}{DOCUMENT}")
}

fn read_delivered(disk: &dyn Disk, folder: &str) -> Result<Delivered, Error> {
    let name = format!("{folder}/{DELIVERED}");
    if !disk.list(folder).map_err(|why| at(folder, &why))?.iter().any(|name| name == DELIVERED) {
        return Ok(Delivered::default());
    }
    let bytes = read_all(disk, &name).map_err(|why| at(&name, &why))?;
    serde_json::from_slice(&bytes).map_err(|why| Error::new(Kind::Corrupt, format!("{name}: {why}")))
}

fn at(name: impl std::fmt::Display, why: &std::io::Error) -> Error {
    flowmeter_store::Error::io(name, why).into()
}
