//! The rollups of a running pipeline: part of its checkpoints, merged in the background, and
//! queried between two rounds.

use std::sync::Arc;
use std::thread::JoinHandle;

use flowmeter_core::partition::Command;
use flowmeter_core::plan::DeclaredMeter;
use flowmeter_store::disk::Disk;
use flowmeter_store::rollups::{self, Manifest, Merged, Query, Rollups, Snapshot};
use uuid::Uuid;

use super::{Live, LiveSettings, Spilled};
use crate::{Error, Kind};

type Merging = JoinHandle<Result<Merged, flowmeter_store::Error>>;

/// Running merges of rollups, by partition.
#[derive(Default)]
pub(super) struct Merges(Vec<Option<Merging>>);

/// Opens the rollups of each partition; a partition without a manifest starts empty. The files of
/// `before` stay as well: the previous checkpoint may be resumed from.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    folder: &str,
    manifests: &[Manifest],
    before: &[Manifest],
    partitions: usize,
    settings: &LiveSettings,
) -> Result<Vec<Rollups>, Error> {
    let Some(bytes) = settings.rollups_bytes else { return Ok(Vec::new()) };
    let settings = rollups::Settings { memory_bytes: bytes / partitions.max(1) };
    let none = Manifest::default();
    let open = |partition: usize| {
        let manifest = manifests.get(partition).unwrap_or(&none);
        let mut rollups = Rollups::open(Arc::clone(disk), &format!("{folder}/rollups/{partition:03}"), manifest, settings)?;
        if let Some(before) = before.get(partition) {
            rollups.keep(before);
        }
        rollups.sweep()?;
        Ok(rollups)
    };
    (0..partitions).map(open).collect()
}

impl Merges {
    /// Adopts finished merges, starts others, and writes everything to disk. A merge has a thread
    /// of its own, unless the pipeline is paced: then it runs at once.
    pub(super) fn seal(&mut self, engine: &mut Spilled, paced: bool) -> Result<Vec<Manifest>, Error> {
        let mut manifests = Vec::new();
        for (partition, rollups) in engine.rollups_mut().enumerate() {
            if self.0.len() <= partition {
                self.0.push(None);
            }
            let merging = &mut self.0[partition];
            if merging.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(finished) = merging.take()
            {
                rollups.adopt(ended(finished)?);
            }
            if merging.is_none()
                && let Some(merge) = rollups.merge(None)
            {
                match paced {
                    true => rollups.adopt(merge.run()?),
                    false => {
                        let thread = std::thread::Builder::new().name("rollups".to_owned()).spawn(move || merge.run());
                        *merging = Some(thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?);
                    }
                }
            }
            manifests.push(rollups.seal()?);
        }
        Ok(manifests)
    }
}

/// Waits for merges: the next owner of the same rollups must not meet a merge that still writes.
impl Drop for Merges {
    fn drop(&mut self) {
        for merging in self.0.drain(..).flatten() {
            // Its result was never adopted, so it is invalid and will be removed.
            drop(merging.join());
        }
    }
}

fn ended(merging: Merging) -> Result<Merged, Error> {
    match merging.join() {
        Ok(merged) => Ok(merged?),
        Err(_) => Err(Error::new(Kind::Bug, "a merge of rollups panicked")),
    }
}

impl Live {
    /// Takes a snapshot of each partition for a query about usage; any thread may answer it. Empty
    /// if there are no rollups.
    pub fn usage(&mut self, query: &Query) -> Result<Vec<Snapshot>, Error> {
        Ok(self.engine.rollups_mut().map(|rollups| rollups.snapshot(query.clone())).collect::<Result<_, _>>()?)
    }

    /// Deletes all meters of a type with their content, and forgets its usage.
    pub(super) fn forget(&mut self, meter_type: Uuid) {
        if let Some(at) = self.plan.meter_types.iter().position(|kind| kind.id == meter_type) {
            let of_type = self.meters().filter(|(_, meter)| usize::from(meter.meter_type) == at);
            let named = of_type.map(|(_, meter)| DeclaredMeter {
                user: String::from_utf8_lossy(&meter.user).into_owned(),
                processor: meter.processor,
                meter_type: meter.meter_type,
                ..DeclaredMeter::default()
            });
            let mut gone = Vec::new();
            for declared in named.collect::<Vec<_>>() {
                gone.extend(self.engine.apply(declared.user.as_bytes(), Command::Delete(&declared), self.clock));
            }
            // Meters are in no order.
            gone.sort();
            self.outlet.note(&self.plan, &gone);
        }
        self.engine.rollups_mut().for_each(|rollups| rollups.forget(meter_type));
    }
}
