//! Rollups: usage by minute, meter type, user and group values, which answer "usage of a meter type
//! by window, subject and group".
//!
//! A cell is the usage of one minute of event time, for one meter type, user and tuple of group
//! values. Events are added at their time, however late they arrive, and every query reads all
//! cells. So an answer is exact, and correct right after late events.
//!
//! There is one instance for each partition, with one owner. It adds to a hot tier in memory. When
//! that is full, and for a checkpoint, the cells are written as a *run*, an immutable sorted file.
//! Runs are merged in size tiers. Rollups are a function of the log: a [`Manifest`] names the runs
//! up to a position of the log, and later events are added again after a crash. Files that a
//! manifest may name stay until [`Rollups::retire`] gets a newer one.
//!
//! The owner takes a snapshot for a query ([`Rollups::snapshot`]), which any thread can answer; the
//! parts of several partitions are added ([`Partial::merge`]).
//!
//! Added usage cannot be taken back (a maximum does not have the second largest value), but all
//! usage of a meter type can be forgotten and added again.

mod amount;
mod answer;
mod block;
mod examine;
mod hot;
mod manifest;
mod merge;
mod query;
mod run;
mod snapshot;
#[cfg(test)]
mod tests;
mod tuple;
mod windows;
mod words;

use std::sync::{Arc, Weak};

use flowmeter_core::aggregation::{Aggregation, Contribution};
use flowmeter_core::event::{Leaf, Path};
use flowmeter_core::time::Timestamp;
use uuid::Uuid;

pub use answer::{Partial, Topped};
pub use examine::examine;
pub use manifest::Manifest;
pub use merge::{Merge, Merged};
pub use query::{First, Query, ROWS_MAX, Row, SUBJECT, Window, WindowSize};
pub use snapshot::Snapshot;
pub use tuple::TupleIx;

use crate::disk::Disk;
use crate::{Error, Kind};
use hot::Hot;
use manifest::Forgotten;
use run::{Pressing, Run, Writer};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of memory for the hot tier: cells, names, and the states of `unique` and `percentile`.
    pub memory_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { memory_bytes: 64 << 20 }
    }
}

/// Runs beyond this number are merged by the owner itself, even if it did not ask for a merge:
/// every query opens every run.
const RUNS_MAX: usize = 64;

/// The rollups of a partition.
pub struct Rollups {
    disk: Arc<dyn Disk>,
    folder: String,
    hot: Hot,
    /// Grows with every written run; tuples of earlier generations are invalid.
    generation: u32,
    /// From the oldest to the newest.
    runs: Vec<Arc<Run>>,
    /// Numbers of merged runs that the durable manifest may still name.
    obsolete: Vec<u64>,
    forgotten: Vec<Forgotten>,
    next: u64,
    /// Alive during a merge, and the number of the run it writes.
    merging: (Weak<()>, u64),
}

impl Rollups {
    /// Opens the rollups of a manifest; the empty manifest starts without usage. Runs written after
    /// it are ignored.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, manifest: &Manifest, settings: Settings) -> Result<Rollups, Error> {
        disk.create_folder(folder).map_err(|why| Error::io(folder, &why))?;
        let open = |named: &manifest::Named| Run::open(&*disk, folder, *named).map(Arc::new);
        let runs = manifest.runs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(Rollups {
            folder: folder.to_owned(),
            hot: Hot::new(settings.memory_bytes),
            generation: 0,
            runs,
            obsolete: Vec::new(),
            forgotten: manifest.forgotten.clone(),
            next: manifest.next,
            merging: (Weak::new(), 0),
            disk,
        })
    }

    /// Returns the tuple of an event: all group fields of its rule with their values. Valid until
    /// the next [`Rollups::make_room`] or [`Rollups::seal`].
    #[inline]
    pub fn tuple<'a>(&mut self, names: &[Path], values: impl Iterator<Item = Leaf<'a>>) -> TupleIx {
        TupleIx { ix: self.hot.tuples.intern(names, values), generation: self.generation }
    }

    /// Adds the usage of an event. `user_hash` is any good hash of the user's name, the same for
    /// the same name. Never writes to disk; see [`Rollups::make_room`].
    ///
    /// # Panics
    /// If the tuple was made before the last run was written.
    #[inline]
    pub fn add(
        &mut self,
        meter_type: Uuid,
        aggregation: Aggregation,
        user: &[u8],
        user_hash: u64,
        tuple: TupleIx,
        contribution: &Contribution,
    ) {
        assert_eq!(tuple.generation, self.generation, "a tuple is good until the hot tier is written away");
        self.hot.add((meter_type, aggregation), (user, user_hash), tuple.ix, contribution);
    }

    /// Writes the hot tier to disk if it is full; call it before each batch of events. A disk error
    /// loses nothing, and the call may be repeated.
    pub fn make_room(&mut self) -> Result<(), Error> {
        if self.hot.is_full() { self.spill() } else { Ok(()) }
    }

    /// Writes the hot tier to disk and returns the manifest. Its runs have exactly the events added
    /// so far.
    pub fn seal(&mut self) -> Result<Manifest, Error> {
        self.spill()?;
        // An entry that hides nothing any more is not needed.
        let Rollups { runs, forgotten, .. } = self;
        forgotten.retain(|known| runs.iter().any(|run| run.named.newest < known.before));
        let runs = self.runs.iter().map(|run| run.named).collect();
        Ok(Manifest { next: self.next, runs, forgotten: self.forgotten.clone() })
    }

    fn spill(&mut self) -> Result<(), Error> {
        if !self.hot.is_empty() {
            let number = self.next;
            let mut writer = Writer::create(&*self.disk, &self.folder, number, Pressing::Light)?;
            self.hot.each_sorted(|key, amount| writer.push(key, amount))?;
            let named = writer.finish(number)?;
            let run = Run::open(&*self.disk, &self.folder, named)?;
            self.next += 1;
            self.runs.push(Arc::new(run));
        }
        self.hot.clear();
        self.generation = self.generation.wrapping_add(1);
        while self.runs.len() > RUNS_MAX {
            let Some(merge) = self.merge(None) else { break };
            self.adopt(merge.run()?);
        }
        Ok(())
    }

    /// Returns the merge that is due, if there is one and none is running. Any thread may run it;
    /// the result is adopted. If an instant is given, cells of whole hours before it become cells
    /// of hours. Such an hour counts at its beginning, so queries for less than hours, and days of
    /// zones with a partial hour offset, are no longer exact that far back.
    pub fn merge(&mut self, hours_before: Option<Timestamp>) -> Option<Merge> {
        if self.merging.0.strong_count() > 0 {
            return None;
        }
        let sizes: Vec<u64> = self.runs.iter().map(|run| run.named.bytes).collect();
        let runs = self.runs[merge::due(&sizes)?].to_vec();
        let token = Arc::new(());
        self.merging = (Arc::downgrade(&token), self.next);
        self.next += 1;
        Some(Merge {
            disk: Arc::clone(&self.disk),
            folder: self.folder.clone(),
            number: self.next - 1,
            runs,
            forgotten: self.forgotten.clone(),
            hours_before: hours_before.map(|before| block::minute(before).div_euclid(60) * 60),
            token,
        })
    }

    /// Replaces merged runs by their merge.
    pub fn adopt(&mut self, merged: Merged) {
        let Merged { of, number, run, .. } = merged;
        // They were neighbours when they were chosen, and still are: new runs come after them.
        let Some(place) = self.runs.iter().position(|run| of.first() == Some(&run.named.number)) else { return };
        self.obsolete.extend(if run.is_none() { Some(number) } else { None });
        self.runs.splice(place..place + of.len(), run.map(Arc::new));
        self.obsolete.extend(of);
    }

    /// Removes the files of merged runs that no kept manifest names: the newest durable one, and
    /// those kept in case it is lost.
    pub fn retire(&mut self, kept: &[&Manifest]) -> Result<usize, Error> {
        let is_named = |number: &&u64| kept.iter().any(|manifest| manifest.names(**number));
        let (kept, gone): (Vec<u64>, Vec<u64>) = self.obsolete.iter().partition(is_named);
        self.remove(gone.iter().map(|number| run::file_name(*number)))?;
        self.obsolete = kept;
        Ok(gone.len())
    }

    /// Keeps the files of an older manifest too, until [`Rollups::retire`] is called without it.
    /// Call it right after opening, before [`Rollups::sweep`].
    pub fn keep(&mut self, older: &Manifest) {
        let known: Vec<u64> = self.runs.iter().map(|run| run.named.number).chain(self.obsolete.iter().copied()).collect();
        self.obsolete.extend(older.numbers().filter(|number| !known.contains(number)));
    }

    /// Removes files that a crash left in the folder: those that are neither valid nor named by the
    /// manifest of opening.
    pub fn sweep(&mut self) -> Result<usize, Error> {
        let (token, number) = &self.merging;
        let merging = (token.strong_count() > 0).then_some(*number);
        let numbers = self.runs.iter().map(|run| run.named.number).chain(self.obsolete.iter().copied()).chain(merging);
        let known: Vec<String> = numbers.map(run::file_name).collect();
        let names = self.disk.list(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        let is_known = |name: &String| known.iter().any(|known| name.strip_suffix(".new").unwrap_or(name) == known);
        let is_ours = |name: &String| name.ends_with(".rollup") || name.ends_with(".rollup.new");
        let stray: Vec<String> = names.into_iter().filter(|name| is_ours(name) && !is_known(name)).collect();
        let count = stray.len();
        self.remove(stray.into_iter())?;
        Ok(count)
    }

    fn remove(&self, names: impl Iterator<Item = String>) -> Result<(), Error> {
        let mut any = false;
        for name in names {
            let name = format!("{}/{name}", self.folder);
            match self.disk.remove(&name) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&name, &why)),
                _ => any = true,
            }
        }
        if any { self.disk.sync_folder(&self.folder).map_err(|why| Error::io(&self.folder, &why)) } else { Ok(()) }
    }

    /// Forgets all usage of a meter type. It is invisible at once, durably with the next manifest,
    /// and its space is freed by the next merges.
    pub fn forget(&mut self, meter_type: Uuid) {
        self.hot.forget(meter_type);
        self.forgotten.retain(|known| known.meter_type != meter_type);
        self.forgotten.push(Forgotten { meter_type, before: self.next });
    }

    /// Takes a snapshot for a query: filters the hot tier and lists the runs. Answering it needs no
    /// access to the rollups.
    pub fn snapshot(&self, query: Query) -> Result<Snapshot, Error> {
        let visible = |run: &&Arc<Run>| !merge::is_hidden(&self.forgotten, query.meter_type, &run.named);
        let runs = self.runs.iter().filter(visible).cloned().collect();
        Snapshot::new(query, &self.hot, runs)
    }

    /// Returns the rows of a query, of this partition alone.
    pub fn query(&self, query: Query) -> Result<Vec<Row>, Error> {
        Ok(self.snapshot(query)?.answer()?.into_rows())
    }

    /// Returns the users with usage of a meter type, sorted.
    pub fn subjects(&self, meter_type: Uuid) -> Result<Vec<String>, Error> {
        Ok(self.snapshot(Query::of_subjects(meter_type))?.answer()?.into_subjects())
    }

    /// Returns the values of a field in the usage of a meter type, sorted, without null.
    pub fn values_of(&self, meter_type: Uuid, field: &str) -> Result<Vec<String>, Error> {
        if field == SUBJECT {
            let message = "the word `subject` is the user, not a field";
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(self.snapshot(Query::of_values(meter_type, field))?.answer()?.into_values())
    }
}
