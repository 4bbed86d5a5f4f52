//! Checkpoints in the data folder: `checkpoints/<position>.ckpt` in that of the pipeline.

use std::sync::Arc;

use flowmeter_store::disk::{Disk, read_all, write_whole};

use super::{Keeping, Tenure, Vault};
use crate::Error;

/// A vault in the data folder. The lock of the folder keeps other servers away, so nothing is ever
/// fenced.
pub struct LocalVault {
    disk: Arc<dyn Disk>,
}

impl LocalVault {
    /// Creates the vault of a data folder.
    pub fn new(disk: Arc<dyn Disk>) -> LocalVault {
        LocalVault { disk }
    }

    fn file(tenure: &Tenure, position: u64) -> String {
        format!("{}/{}", folder(&tenure.pipeline), name(position))
    }
}

fn folder(pipeline: &str) -> String {
    format!("{pipeline}/checkpoints")
}

fn name(position: u64) -> String {
    format!("{position:020}.ckpt")
}

fn at(place: &str) -> impl Fn(std::io::Error) -> Error {
    move |why| flowmeter_store::Error::io(place, &why).into()
}

impl Vault for LocalVault {
    fn claim(&self, pipeline: &str) -> Result<Tenure, Error> {
        let claim = self.disk.claims().take(&folder(pipeline))?;
        Ok(Tenure { pipeline: pipeline.to_owned(), epoch: 0, claim: Some(claim) })
    }

    fn positions(&self, pipeline: &str) -> Result<Vec<u64>, Error> {
        let folder = folder(pipeline);
        let names = self.disk.list(&folder).map_err(at(&folder))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".ckpt")?.parse().ok()).collect())
    }

    fn settle(&self, tenure: &Tenure) -> Result<(), Error> {
        // If the process ended and the machine kept running, names may exist in memory only.
        let folder = folder(&tenure.pipeline);
        self.disk.sync_folder(&folder).map_err(at(&folder))
    }

    fn fetch(&self, tenure: &Tenure, position: u64) -> Result<Vec<u8>, Error> {
        let file = LocalVault::file(tenure, position);
        read_all(&*self.disk, &file).map_err(at(&file))
    }

    fn keep(&self, tenure: &Tenure, position: u64, checkpoint: &[u8]) -> Result<Keeping, Error> {
        debug_assert!(tenure.claim.is_some());
        let (folder, name) = (folder(&tenure.pipeline), name(position));
        let written = self.disk.create_folder(&folder).and_then(|()| write_whole(&*self.disk, &folder, &name, checkpoint));
        written.map_err(at(&format!("{folder}/{name}")))?;
        Ok(Keeping::Kept)
    }

    fn set_aside(&self, tenure: &Tenure, position: u64) -> Result<(), Error> {
        let file = LocalVault::file(tenure, position);
        let moved = self.disk.rename(&file, &format!("{file}.damaged"));
        moved.and_then(|()| self.disk.sync_folder(&folder(&tenure.pipeline))).map_err(at(&file))
    }

    fn sweep(&self, tenure: &Tenure, before: u64) -> Result<(), Error> {
        let folder = folder(&tenure.pipeline);
        let mut gone = false;
        for position in self.positions(&tenure.pipeline)?.into_iter().filter(|position| *position < before) {
            let file = LocalVault::file(tenure, position);
            self.disk.remove(&file).map_err(at(&file))?;
            gone = true;
        }
        if gone {
            // The log may be removed up to the oldest checkpoint, so an older one must not reappear.
            self.disk.sync_folder(&folder).map_err(at(&folder))?;
        }
        Ok(())
    }
}
