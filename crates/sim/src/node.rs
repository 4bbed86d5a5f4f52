//! A node in one thread: the log and the running pipelines, built of the parts of the server. The
//! steps of the server's threads are taken one after the other, when the seed says so.

use std::sync::Arc;

use flowmeter_core::mediation::Services;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{Beginning, Home, Live, LiveSettings, folder_of};
use flowmeter_engine::{Error, Kind, Settings};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Log};

use crate::disk::SimDisk;
use crate::documents::plan_of;

/// The namespace whose events the pipelines count.
pub const NAMESPACE: &str = "here";
/// The folder of the log.
const FOLDER: &str = "log";

/// The layout of a node.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Partitions of each pipeline.
    pub partitions: usize,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Bytes of a segment of a stream.
    pub outlet_bytes: u64,
    /// Bytes of identities in memory.
    pub identities_bytes: usize,
}

impl Layout {
    fn live(&self) -> LiveSettings {
        LiveSettings {
            engine: Settings { threads: 1, partitions: self.partitions, taps_max: 0 },
            identities_bytes: self.identities_bytes,
            rollups_bytes: Some(64 << 10),
            paced: true,
            keeps_derived: true,
            outlet: log::Settings { segment_bytes: self.outlet_bytes, reserve_bytes: 0 },
        }
    }

    pub fn open_log(&self, disk: &SimDisk) -> Result<Log, flowmeter_store::Error> {
        let settings = log::Settings { segment_bytes: self.segment_bytes, reserve_bytes: 1 << 20 };
        Log::open(Arc::new(disk.clone()), FOLDER, settings).map(|(log, _)| log)
    }

    /// Opens a pipeline; as in the server it must not be ahead of the log.
    /// Without services it finds every answer in its log.
    pub fn open_live(
        &self,
        disk: &SimDisk,
        document: usize,
        begun: (u64, i64),
        end: u64,
        services: Option<Arc<dyn Services>>,
    ) -> Result<Live, Error> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (position, at) = begun;
        let beginning = Beginning { namespace: NAMESPACE.to_owned(), version: 1, position, at: Timestamp::from_nanos(at) };
        let folder = folder_of(plan_of(document, 1)?.id);
        let mut live = Live::open(Home::local(&disk, &folder), &beginning, &|version| plan_of(document, version), self.live())?;
        if let Some(services) = services {
            live.ask_services(Arc::new(move |_| Ok(Some(Arc::clone(&services)))))?;
        }
        match live.position() > end {
            true => Err(Error::new(Kind::Corrupt, format!("the log ends at {end}, before {}", live.position()))),
            false => Ok(live),
        }
    }
}
