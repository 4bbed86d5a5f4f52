//! A running pipeline on the log.
//!
//! Its state is a function of the log: entries are applied in order, each at its time of receipt,
//! and nothing else changes the state. After a crash it resumes from its newest checkpoint and
//! applies the later entries again. Records, parked events and verdicts that this makes a second
//! time have the same numbers as before and are written once.
//!
//! One thread owns it. It reads no clock and never waits.

mod adoption;
mod answers;
mod applying;
mod arrivals;
mod command;
mod derived;
mod entry;
mod fed;
mod items;
mod listing;
mod note;
mod origins;
mod outlet;
mod rolling;
mod settlement;
mod source;
mod tables;
mod tail;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::mediation::{Decoder, Services};
use flowmeter_core::operator::Operator;
use flowmeter_core::partition::Partition;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::{Format, SourcePlan};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_store::disk::Disk;
use flowmeter_store::identities::{self, Manifest, Merging, SpilledIdentities};
use flowmeter_store::log;
use uuid::Uuid;

pub use answers::{OpenServices, PastAnswers, RecordedAnswers, copy_answers, hash_of as request_hash};
pub use arrivals::{Arrivals, Arrived, Mark, ParkedNote};
pub use command::{AdoptedDocument, CatalogRow, LogCommand, MeterName};
pub use derived::{DerivedItem, derived_item};
pub use entry::{Letter, Settles};
pub use fed::{Fed, Run, Taken, read_origin, shown_origin};
pub use items::{JudgedBlock, ParkedItem, judged, parked_item};
pub use listing::{LiveMeter, MeterPlace, Named};
pub use note::{NoteItem, NoteKind, note_item, note_of_meter};
pub use origins::{OriginCount, Origins};
pub(crate) use origins::{read as read_origins, write as write_origins};
pub use outlet::{Announce, Items, Outlet, RecordItem, Stream, items, record_item, records_folder};
pub use settlement::{How, Settled, Settlement, SettlementItem, settlement_item};
pub(crate) use tables::InForce;
pub use tables::{TableVersion, copy_contents, examine_contents, has_versions, hash_of, keep_content, read_content};
pub use tail::{Found, Tail};

use crate::checkpoint::{self, Checkpoint, Kept};
use crate::vault::{LocalVault, Tenure, Vault};
use crate::{Engine, Error, Settings, Totals};

/// The engine with partitions that spill to disk.
type Spilled = Engine<SpilledIdentities>;

/// Settings of a running pipeline.
#[derive(Clone, Copy, Debug)]
pub struct LiveSettings {
    /// Threads and partitions. A pipeline with a checkpoint keeps its number of partitions; this
    /// number is for new ones.
    pub engine: Settings,
    /// Bytes of identities in memory, for all partitions together.
    pub identities_bytes: usize,
    /// Bytes of rollups in memory, for all partitions together; `None`: no usage rollups.
    pub rollups_bytes: Option<usize>,
    /// Whether it runs in the simulation: then no other thread touches the disk.
    pub paced: bool,
    /// Settings of its logs of records, parked events and verdicts.
    pub outlet: log::Settings,
    /// Whether events that operators make are kept.
    pub keeps_derived: bool,
}

impl LiveSettings {
    fn identities(&self, partitions: usize) -> identities::Settings {
        let merging = if self.paced { Merging::Paced } else { Merging::Background };
        identities::Settings { memory_bytes: self.identities_bytes / partitions.max(1), merging }
    }
}

/// Returns the position before which, according to the files of a pipeline, every entry of the log
/// was durable.
pub fn known_position(vault: &dyn Vault, disk: &Arc<dyn Disk>, folder: &str) -> Result<u64, Error> {
    let of_checkpoints = vault.positions(folder)?.into_iter().max().unwrap_or(0);
    let of_verdicts = arrivals::last_position(disk, folder)?.map_or(0, |last| last + 1);
    Ok(of_checkpoints.max(of_verdicts))
}

pub struct Live {
    plan: Arc<Plan>,
    version: u32,
    namespace: String,
    disk: Arc<dyn Disk>,
    vault: Arc<dyn Vault>,
    tenure: Tenure,
    settings: LiveSettings,
    engine: Spilled,
    /// How events of each source are read from the log.
    decoders: Vec<Arc<Decoder>>,
    outlet: Outlet,
    /// The next entry of the log.
    position: u64,
    /// The latest instant it has reached.
    clock: Timestamp,
    /// The newest checkpoint and the one before: both may be resumed from.
    kept: Vec<Kept>,
    merges: rolling::Merges,
    /// The versions of tables in force.
    tables: InForce,
    /// Keys and values that each source has taken, by its id.
    taken: BTreeMap<String, Taken>,
    /// Recorded answers of the services that operators ask.
    answers: Arc<RecordedAnswers>,
    open_services: Option<OpenServices>,
}

/// Identity and start of a pipeline without a checkpoint.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The namespace whose events it counts.
    pub namespace: String,
    /// The first version of the plan.
    pub version: u32,
    /// The first entry to apply.
    pub position: u64,
    /// The time of its start.
    pub at: Timestamp,
}

/// Where the data of a pipeline is.
#[derive(Clone)]
pub struct Home {
    /// The disk with its logs, identities and rollups.
    pub disk: Arc<dyn Disk>,
    /// The vault with its checkpoints.
    pub vault: Arc<dyn Vault>,
    /// The folder of the pipeline.
    pub folder: String,
}

impl Home {
    /// Returns a home whose checkpoints are on the disk, too.
    pub fn local(disk: &Arc<dyn Disk>, folder: &str) -> Home {
        let vault = Arc::new(LocalVault::new(Arc::clone(disk)));
        Home { disk: Arc::clone(disk), vault, folder: folder.to_owned() }
    }
}

impl Live {
    /// Resumes from the newest checkpoint, or starts. `plan_of` returns the plan of a version.
    pub fn open(
        home: Home,
        beginning: &Beginning,
        plan_of: &dyn Fn(u32) -> Result<Arc<Plan>, Error>,
        settings: LiveSettings,
    ) -> Result<Live, Error> {
        let Home { disk, vault, folder } = &home;
        let outlet = Outlet::open(disk, folder, settings.outlet)?;
        let tenure = vault.claim(folder)?;
        let kept = checkpoint::newest(&**vault, &tenure)?;
        let identities_at = format!("{folder}/identities");
        match kept {
            Some(kept) => {
                let before = kept.before.iter().flat_map(|before| &before.identities);
                let manifests: Vec<&Manifest> = kept.newest.manifests.iter().chain(before).collect();
                identities::sweep(&**disk, &identities_at, &manifests)?;
                Live::resume((home, tenure), beginning, kept, plan_of, settings, outlet)
            }
            None => {
                identities::sweep(&**disk, &identities_at, &[])?;
                Live::begin((home, tenure), beginning, plan_of(beginning.version)?, settings, outlet)
            }
        }
    }

    fn begin(
        (home, tenure): (Home, Tenure),
        beginning: &Beginning,
        plan: Arc<Plan>,
        settings: LiveSettings,
        outlet: Outlet,
    ) -> Result<Live, Error> {
        let Home { disk, vault, folder } = home;
        let answers = RecordedAnswers::open(&disk, &folder, settings.outlet, Timestamp::MIN)?;
        let partitions = settings.engine.partitions.max(1);
        let manifests: Vec<Manifest> = (0..partitions as u32).map(Manifest::empty).collect();
        let identities = open_identities(&disk, &folder, &manifests, &settings)?;
        let mut engine = Engine::with_identities(&plan, settings.engine, identities)?;
        engine.follow_watermarks(true);
        engine.roll_up(rolling::open(&disk, &folder, &[], &[], partitions, &settings)?);
        let declared = engine.open_declared(beginning.at);
        let mut live = Live {
            decoders: decoders(&plan),
            plan,
            version: beginning.version,
            namespace: beginning.namespace.clone(),
            disk,
            vault,
            tenure,
            settings,
            engine,
            outlet,
            position: beginning.position,
            clock: beginning.at,
            kept: Vec::new(),
            merges: rolling::Merges::default(),
            tables: InForce::new(),
            taken: BTreeMap::new(),
            answers,
            open_services: None,
        };
        live.engine.use_services(Arc::clone(&live.answers) as Arc<dyn Services>);
        // Items written by a start without a checkpoint are written again by this one.
        live.outlet.resume_from(Items::default())?;
        live.outlet.keep_derived(settings.keeps_derived);
        live.outlet.note(&live.plan, &declared);
        // So that there is always a checkpoint to resume from.
        live.checkpoint()?;
        Ok(live)
    }

    fn resume(
        (home, tenure): (Home, Tenure),
        beginning: &Beginning,
        kept: checkpoint::Found,
        plan_of: &dyn Fn(u32) -> Result<Arc<Plan>, Error>,
        settings: LiveSettings,
        mut outlet: Outlet,
    ) -> Result<Live, Error> {
        let checkpoint::Found { newest: kept, before } = kept;
        let Home { disk, vault, folder } = home;
        let answers = RecordedAnswers::open(&disk, &folder, settings.outlet, kept.clock)?;
        let plan = plan_of(kept.version)?;
        let mut identities = open_identities(&disk, &folder, &kept.manifests, &settings)?;
        for (known, before) in identities.iter_mut().zip(before.iter().flat_map(|before| &before.identities)) {
            known.keep(before);
        }
        let mut engine = Engine::read(Arc::clone(&plan), settings.engine, &kept.images, identities)?;
        engine.follow_watermarks(true);
        engine.set_totals(kept.totals);
        engine.listen(kept.listens);
        let rollups_before = before.as_ref().map_or(&[][..], |before| &before.rollups);
        engine.roll_up(rolling::open(&disk, &folder, &kept.rollups, rollups_before, kept.manifests.len(), &settings)?);
        outlet.resume_from(kept.items)?;
        outlet.keep_derived(settings.keeps_derived);
        outlet.set_origins(kept.origins);
        let mut live = Live {
            decoders: decoders(&plan),
            plan,
            version: kept.version,
            namespace: beginning.namespace.clone(),
            disk,
            vault,
            tenure,
            settings,
            engine,
            outlet,
            position: kept.position,
            clock: kept.clock,
            kept: before
                .into_iter()
                .chain([Kept { position: kept.position, identities: kept.manifests, rollups: kept.rollups }])
                .collect(),
            merges: rolling::Merges::default(),
            tables: kept.tables,
            taken: kept.taken,
            answers,
            open_services: None,
        };
        live.engine.use_services(Arc::clone(&live.answers) as Arc<dyn Services>);
        let plan = Arc::clone(&live.plan);
        live.fill_tables(&plan, None)?;
        Ok(live)
    }

    /// Writes a checkpoint, from which a restart resumes. Returns the position before which this
    /// pipeline no longer needs the log.
    pub fn checkpoint(&mut self) -> Result<u64, Error> {
        self.outlet.commit(self.clock)?;
        let oldest = self.kept.first().map_or(0, |kept| kept.position);
        if self.kept.last().is_some_and(|newest| newest.position == self.position) {
            // Nothing was applied since: the newest checkpoint is current.
            return Ok(oldest);
        }
        let settled = self.outlet.settled_events();
        self.engine.forget_parked(&|arrival| settled.contains(arrival));
        let manifests = self.engine.identities_mut().map(SpilledIdentities::seal).collect::<Result<Vec<_>, _>>()?;
        let rollups = self.merges.seal(&mut self.engine, self.settings.paced)?;
        let checkpoint = Checkpoint {
            version: self.version,
            position: self.position,
            clock: self.clock,
            items: self.outlet.items(),
            listens: self.engine.listens(),
            totals: self.engine.totals(),
            images: self.engine.packed_images()?,
            manifests,
            rollups,
            tables: self.tables.clone(),
            taken: self.taken.clone(),
            origins: self.outlet.origins().clone(),
        };
        checkpoint.write(&*self.vault, &self.tenure)?;
        let Checkpoint { position, manifests: identities, rollups, .. } = checkpoint;
        self.kept.push(Kept { position, identities, rollups });
        // Keep the previous checkpoint too: it is the fallback if the newest is damaged.
        while self.kept.len() > 2 {
            self.kept.remove(0);
        }
        if let [oldest, newest] = &self.kept[..] {
            for (known, manifest) in self.engine.identities_mut().zip(&oldest.identities) {
                known.retire(manifest)?;
            }
            for (partition, rollups) in self.engine.rollups_mut().enumerate() {
                let named: Vec<_> = [oldest, newest].into_iter().filter_map(|kept| kept.rollups.get(partition)).collect();
                rollups.retire(&named)?;
            }
            self.vault.sweep(&self.tenure, oldest.position)?;
        }
        Ok(self.kept.first().map_or(0, |kept| kept.position))
    }

    /// Asks the services of the plan from now on. Without this call it finds every answer in its
    /// log.
    ///
    /// # Errors
    /// A secret or a certificate of a service is missing.
    pub fn ask_services(&mut self, open: OpenServices) -> Result<(), Error> {
        self.open_services = Some(open);
        let mut plan = Arc::clone(&self.plan);
        self.open_services_of(&mut plan)
    }

    /// Opens the services of a plan, if it asks any, and fills its secrets in.
    fn open_services_of(&self, plan: &mut Arc<Plan>) -> Result<(), Error> {
        let caches = plan.nodes.iter().filter_map(|node| match &node.operator {
            Operator::Http(http) => Some(http.cache),
            _ => None,
        });
        let (Some(open), Some(longest)) = (&self.open_services, caches.max()) else { return Ok(()) };
        let services = open(Arc::make_mut(plan))?;
        self.answers.use_services(services, self.clock.saturating_sub(longest))
    }

    /// Returns a reader of the recorded answers for events that were received at an instant or
    /// later.
    pub fn answers_since(&self, at: Timestamp) -> Result<PastAnswers, Error> {
        self.answers.since(at)
    }

    /// Removes answers for events that were received before an instant.
    pub fn release_answers(&self, before: Timestamp) -> Result<(), Error> {
        self.answers.release(before)
    }

    /// Makes everything written so far durable and readable.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.outlet.commit(self.clock)
    }

    /// Returns the position of the next entry.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the latest instant it has reached.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Returns the current plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the version of the current plan.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the namespace whose events it counts.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn totals(&self) -> Totals {
        self.engine.totals()
    }

    /// Returns the number of events by verdict.
    pub fn tally(&self) -> Tally {
        self.engine.totals().tally
    }

    /// Returns the earliest instant at which something may fall due.
    pub fn next_due(&self) -> Option<Timestamp> {
        match self.plan.is_bounded() {
            true => None,
            false => self.engine.next_due().filter(|due| *due != Timestamp::MAX),
        }
    }

    /// Returns what a source has taken by the entries applied so far.
    pub fn taken(&self, source: &str) -> Taken {
        self.taken.get(source).cloned().unwrap_or_default()
    }

    /// Sets the function that is called with the number of records that are durable and readable,
    /// while more are still being written.
    pub fn announce_to(&mut self, announce: Announce) {
        self.outlet.announce_to(announce);
    }

    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Removes verdicts of events that arrived before a number, which are stored elsewhere.
    pub fn release_verdicts(&mut self, arrival: u64) -> Result<(), Error> {
        self.outlet.release_verdicts(arrival).map(drop)
    }

    /// Removes whole files of derived events that were all made before an instant, and the oldest ones
    /// until the rest has no more bytes than this.
    pub fn release_derived(&mut self, before: Option<Timestamp>, bytes_max: Option<u64>) -> Result<(), Error> {
        self.outlet.release_derived(before, bytes_max)
    }

    /// Returns the verdicts of the blocks that were counted since the last call.
    pub fn take_judged(&mut self) -> Vec<JudgedBlock> {
        self.outlet.take_judged()
    }

    /// Returns the number of meters.
    pub fn meter_count(&self) -> usize {
        self.engine.partitions().map(Partition::meter_count).sum()
    }

    /// Returns the approximate bytes of meters. Visits all of them.
    pub fn meter_bytes(&self) -> usize {
        self.engine.meter_bytes()
    }

    /// Returns the bytes of identities in memory.
    pub fn identities_bytes(&mut self) -> usize {
        self.engine.identities_mut().map(|known| known.memory_bytes()).sum()
    }
}

/// Returns how events of each source are read from the log, where they are lines of JSON.
pub(crate) fn decoders(plan: &Plan) -> Vec<Arc<Decoder>> {
    let of = |source: &SourcePlan| Arc::new(source.decoder(plan, Format::Ndjson, &[]));
    plan.sources.iter().map(of).collect()
}

fn open_identities(
    disk: &Arc<dyn Disk>,
    folder: &str,
    manifests: &[Manifest],
    settings: &LiveSettings,
) -> Result<Vec<SpilledIdentities>, Error> {
    let at = format!("{folder}/identities");
    let settings = settings.identities(manifests.len());
    let open = |manifest| SpilledIdentities::open(Arc::clone(disk), &at, manifest, settings);
    Ok(manifests.iter().map(open).collect::<Result<_, _>>()?)
}

/// Returns the folder name of a pipeline.
pub fn folder_of(pipeline: Uuid) -> String {
    format!("pipelines/{pipeline}")
}
