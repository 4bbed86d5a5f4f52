//! Opens a data directory: the log after everything that is known to have been in it, the catalog
//! that follows from the log, and every session that was running.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use flowmeter_connectors::targets::{self, Around};
use flowmeter_core::time::Timestamp;
use flowmeter_document::TargetPlan;
use flowmeter_engine::Error;
use flowmeter_engine::live::{self, Tail};
use flowmeter_engine::node::{Clock, Writer, WriterSettings};
use flowmeter_engine::outbox::Target;
use flowmeter_store::catalog::{Catalog, Table};
use flowmeter_store::disk::{Disk, LocalDisk, Lock};
use flowmeter_store::log::{self, Log};

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
    pub catalog: Catalog,
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
        let catalog = Catalog::open(&settings.data.join(CATALOG_FILE))?;
        Installation::with(
            settings,
            Means { clock, disk, catalog, lock, open_target: Arc::new(targets::open), has_threads: true },
        )
    }

    /// Opens an installation with a given clock, disk and catalog.
    pub fn with(settings: Settings, means: Means) -> Result<(Arc<Installation>, log::Recovered), Error> {
        let Means { clock, disk, catalog, lock, open_target, has_threads } = means;
        let catalog = Arc::new(catalog);
        let log_settings = log::Settings { segment_bytes: settings.log.segment_bytes, reserve_bytes: RESERVE_BYTES };
        let known = known_position(&catalog, &disk)?;
        let (log, recovered) = Log::open_behind(Arc::clone(&disk), LOG_FOLDER, log_settings, known)?;
        // A test clock continues where the history ends.
        if let Some(clock) = clock.as_test() {
            clock.advance(Timestamp::from_nanos(log.last_at()));
        }
        let tail = Arc::new(Tail::new(log.next(), TAIL_BYTES));
        let writing = WriterSettings {
            bytes: usize::try_from(settings.commit.bytes).unwrap_or(usize::MAX),
            delay_max: settings.commit.delay_max,
        };
        let writer = match has_threads {
            true => Writer::start(log, writing, Arc::clone(&tail), Arc::clone(&clock))?,
            false => Writer::by_hand(log, writing, Arc::clone(&tail), Arc::clone(&clock)),
        };
        let installation = Arc::new(Installation {
            meters_bytes_max: settings.meters_bytes.unwrap_or_else(meter_memory::of_the_machine),
            settings,
            clock,
            disk,
            catalog: Arc::clone(&catalog),
            tail,
            open_target,
            has_threads,
            clock_is_wrong: AtomicBool::new(false),
            writer: RwLock::new(Some(writer)),
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
            keeping: Mutex::default(),
            _lock: lock,
            teller: telling::Teller::default(),
            schedules: crate::sessions::scheduling::Schedules::default(),
            standing: standing::Standing::of(&catalog)?,
            history: crate::monitoring::history::History::default(),
            parked_groups: crate::corrections::groups::ParkedGroups::default(),
            askings: crate::corrections::askings::Askings::default(),
            jobs: crate::jobs::Jobs::default(),
            overview: crate::monitoring::overview::Cache::default(),
        });
        installation.begin_applying()?;
        installation.audit_next.store(audit::next_number(&catalog)?, Ordering::Relaxed);
        installation.go_on()?;
        installation.declare_notifications()?;
        if installation.settings.event_store.enabled {
            drop(installation.event_store.set(EventStore::start(Arc::downgrade(&installation))?));
        }
        Ok((installation, recovered))
    }
}

/// Returns the position before which every entry of the log is known to have been durable.
fn known_position(catalog: &Catalog, disk: &Arc<dyn Disk>) -> Result<u64, Error> {
    let mut known = change::applied(catalog)?.unwrap_or(0);
    for (_, value) in catalog.scan(Table::Pipelines, b"", None, usize::MAX)? {
        let pipeline: KeptPipeline = kept(&value)?;
        known = known.max(live::known_position(disk, &live::folder_of(pipeline.id))?);
    }
    Ok(known)
}
