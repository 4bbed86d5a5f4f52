//! Delivery of a pipeline's records to its file targets.
//!
//! A target's place in the stream of records, and the lengths of its files, are one value
//! of the catalog: written after the files are. A crash in between writes the same bytes
//! to the same places again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_connectors::target::growing::Growing;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_engine::live::{Live, items, record_item};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Catalog, Table};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{kept, put};

/// The name of outputs that take partial records.
const THRESHOLD: &str = "threshold";
/// Records handed to the files at once.
const CHUNK: u64 = 50_000;

/// How far a target has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// The number of the next record.
    next: u64,
    /// Bytes of each file that are right.
    lengths: BTreeMap<PathBuf, u64>,
}

/// The targets of a pipeline at work.
#[derive(Default)]
pub(super) struct Delivery {
    targets: Mutex<Vec<Target>>,
    /// What a target would not take, as long as it does not.
    refused: Mutex<Option<Error>>,
}

struct Target {
    catalog: Arc<Catalog>,
    key: Vec<u8>,
    thresholds: bool,
    next: u64,
    files: Growing,
}

impl Delivery {
    /// Delivers to these targets from now on, each from where it was.
    pub(super) fn aim(&self, catalog: &Arc<Catalog>, pipeline: Uuid, plans: &[TargetPlan], folder: &Path) -> Result<(), Error> {
        let mut targets = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let Some(path) = plan.path.as_deref().filter(|path| *path != "-") else { continue };
            let path = flowmeter_connectors::expand(path)?;
            let template = folder.join(&path).to_string_lossy().into_owned();
            let key = [pipeline.as_bytes(), format!("{}/{number}/{path}", plan.name).as_bytes()].concat();
            let cursor = catalog.get(Table::Cursors, &key)?.map(|bytes| kept::<Cursor>(&bytes)).transpose()?.unwrap_or_default();
            let files = Growing::new(&template, plan.format, cursor.lengths);
            let catalog = Arc::clone(catalog);
            targets.push(Target { catalog, key, thresholds: plan.name == THRESHOLD, next: cursor.next, files });
        }
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        Ok(())
    }

    /// Hands over what is new. A target that fails is tried again with the next records;
    /// it never holds up counting.
    pub(super) fn deliver(&self, live: &mut Live) -> Result<(), Error> {
        let end = live.outlet().records().written();
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Ok(());
        for target in targets.iter_mut().filter(|target| target.next < end) {
            if let Err(why) = target.catch_up(live, end) {
                target.files.take_back();
                outcome = Err(why);
            }
        }
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
        Ok(())
    }

    /// Whether every target has taken everything it was given.
    pub(super) fn accepted(&self) -> Result<(), Error> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Lets every target confirm that it holds what it took.
    pub(super) fn confirm(&self) -> Result<(), Error> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.iter().try_for_each(|target| target.files.confirm())
    }
}

impl Target {
    fn catch_up(&mut self, live: &Live, end: u64) -> Result<(), Error> {
        let first = live.outlet().records().first();
        if self.next < first {
            let message = format!("records {} to {first} are no longer kept, and were not delivered", self.next);
            return Err(Error::new(Kind::Corrupt, message));
        }
        let mut reader = live.outlet().records().reader(self.next)?;
        while self.next < end
            && let Some(entry) = reader.read()?
        {
            let mut taken = 0;
            for (number, item) in items(&entry) {
                if number < self.next {
                    continue;
                }
                if let Some(record) = record_item(item)
                    && record.is_threshold == self.thresholds
                {
                    self.files.push(record.json)?;
                }
                self.next = number + 1;
                taken += 1;
            }
            if taken >= CHUNK || self.next >= end {
                self.accept()?;
            }
        }
        self.accept()
    }

    fn accept(&mut self) -> Result<(), Error> {
        let lengths = self.files.accept()?.clone();
        let cursor = Cursor { next: self.next, lengths };
        Ok(self.catalog.commit(&[put(Table::Cursors, self.key.clone(), &cursor)])?)
    }
}
