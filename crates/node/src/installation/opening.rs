//! Opens a data directory: the log after everything that is known to have been in it, the catalog
//! that follows from the log, and every session that was running.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use flowmeter_connectors::targets::{self, Around};
use flowmeter_document::TargetPlan;
use flowmeter_engine::Error;
use flowmeter_engine::journal::{LocalJournal, LocalSettings, Shard, ShardChange};
use flowmeter_engine::live;
use flowmeter_engine::node::{Clock, WriterSettings};
use flowmeter_engine::outbox::Target;
use flowmeter_engine::vault::{LocalVault, Vault};
use flowmeter_store::catalog::{Catalog, LocalCatalog, Table};
use flowmeter_store::disk::{Disk, LocalDisk, Lock};
use flowmeter_store::log;

use crate::events::store::EventStore;
use crate::installation::{CATALOG_FILE, Installation, LOG_FOLDER, RESERVE_BYTES, TAIL_BYTES};
use crate::meters::memory as meter_memory;
use crate::monitoring::standing;
use crate::pipelines::KeptPipeline;
use crate::rows::kept;
use crate::sessions::telling;
use crate::settings::Settings;
use crate::{audit, change};

/// The environment of an installation: the machine's, or that of the simulation.
pub struct Means {
    /// The clock of the engine.
    pub clock: Arc<dyn Clock>,
    /// The disk of everything but the catalog.
    pub disk: Arc<dyn Disk>,
    /// Documents, keys, sessions and the audit.
    pub catalog: Arc<dyn Catalog>,
    /// Keeps other programs from using the data directory.
    pub lock: Option<Lock>,
    /// The function that opens targets.
    pub open_target: OpenTarget,
    /// Whether the writer, the pipelines and their targets have threads of their own. Otherwise
    /// they take a step when [`Installation::turn`] is called, or when a caller waits for them.
    pub has_threads: bool,
}

/// Opens the target of a plan; `None` for `none`.
pub type OpenTarget = Arc<dyn Fn(&TargetPlan, &Around<'_>) -> Result<Option<Box<dyn Target>>, Error> + Send + Sync>;

impl Installation {
    /// Opens a data directory and resumes every session that was running. Returns what was cut
    /// off the log's torn end, too.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<(Arc<Installation>, log::Recovered), Error> {
        let at = |why: &std::io::Error| Error::io(settings.data.display(), why);
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(&settings.data).map_err(|why| at(&why))?);
        let lock = Some(Lock::take(&settings.data)?);
        let catalog = Arc::new(LocalCatalog::open(&settings.data.join(CATALOG_FILE))?);
        Installation::with(
            settings,
            Means { clock, disk, catalog, lock, open_target: Arc::new(targets::open), has_threads: true },
        )
    }

    /// Opens an installation with a given clock, disk and catalog.
    pub fn with(settings: Settings, means: Means) -> Result<(Arc<Installation>, log::Recovered), Error> {
        let Means { clock, disk, catalog, lock, open_target, has_threads } = means;
        crate::sessions::events::index_stored(&*catalog)?;
        let log_settings = log::Settings { segment_bytes: settings.log.segment_bytes, reserve_bytes: RESERVE_BYTES };
        let vault: Arc<dyn Vault> = Arc::new(LocalVault::new(Arc::clone(&disk)));
        let known = known_position(&*catalog, &*vault, &disk)?;
        let writer = WriterSettings {
            bytes: usize::try_from(settings.commit.bytes).unwrap_or(usize::MAX),
            delay_max: settings.commit.delay_max,
        };
        let local = LocalSettings {
            folder: LOG_FOLDER,
            log: log_settings,
            writer,
            tail_bytes: TAIL_BYTES,
            known,
            has_thread: has_threads,
        };
        // A test clock continues where the history ends.
        let began = |last_at| clock.as_test().into_iter().for_each(|clock| clock.advance(last_at));
        let (journal, recovered) = LocalJournal::open(&disk, &local, &clock, began)?;
        let exports = settings.data.join(crate::jobs::EXPORTS_FOLDER);
        let jobs = crate::jobs::Jobs::open(Arc::clone(&catalog), exports, settings.jobs, clock.now())?;
        let installation = Arc::new(Installation {
            meters_bytes_max: settings.meters_bytes.unwrap_or_else(meter_memory::of_the_machine),
            settings,
            clock,
            disk,
            vault,
            catalog: Arc::clone(&catalog),
            journal: Arc::new(journal),
            open_target,
            has_threads,
            clock_is_wrong: AtomicBool::new(false),
            pipelines: RwLock::default(),
            stopped: Mutex::default(),
            conditions_since: Mutex::default(),
            changing: Mutex::default(),
            has_unapplied: AtomicBool::new(false),
            reading: crate::tables::reading::Reading::default(),
            audit_next: AtomicU64::new(0),
            changing_openmeter: Mutex::default(),
            notifications_read: Mutex::default(),
            event_store: OnceLock::new(),
            looking: Mutex::default(),
            keeping: Mutex::default(),
            _lock: lock,
            teller: telling::Teller::default(),
            schedules: crate::sessions::scheduling::Schedules::default(),
            record_indexes: Mutex::default(),
            standing: standing::Standing::of(&*catalog)?,
            history: crate::monitoring::history::History::default(),
            parked_groups: crate::corrections::groups::ParkedGroups::default(),
            askings: crate::corrections::askings::Askings::default(),
            jobs,
            setting_changes: OnceLock::new(),
            overview: crate::monitoring::overview::Cache::default(),
        });
        if installation._lock.is_some() {
            installation.remove_exports();
        }
        installation.begin_applying()?;
        installation.audit_next.store(audit::next_number(&*catalog)?, Ordering::Relaxed);
        installation.note_settings()?;
        if installation.journal.changes().contains(&ShardChange::Granted(Shard::FIRST)) {
            installation.go_on()?;
        }
        installation.declare_notifications()?;
        if installation.settings.event_store.enabled {
            drop(installation.event_store.set(EventStore::start(Arc::downgrade(&installation))?));
        }
        Ok((installation, recovered))
    }
}

/// Returns the position before which every entry of the log is known to have been durable.
fn known_position(catalog: &dyn Catalog, vault: &dyn Vault, disk: &Arc<dyn Disk>) -> Result<u64, Error> {
    let mut known = change::applied(catalog)?.unwrap_or(0);
    for (_, value) in catalog.scan(Table::Pipelines, b"", None, usize::MAX)? {
        let pipeline: KeptPipeline = kept(&value)?;
        known = known.max(live::known_position(vault, disk, &live::folder_of(pipeline.id))?);
    }
    Ok(known)
}
