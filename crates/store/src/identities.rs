//! Exact deduplication in bounded memory: identities in memory first, and in sorted files with
//! filters when there are too many.
//!
//! The answers are exactly those of [`IdentityTable`]. New identities are added to a table in
//! memory. A full table becomes a **run**, an immutable file, and a new table begins. An identity
//! is looked up in the table and in the filters of the runs. The disk is read, once, only if a
//! filter does not exclude the identity. So new identities, which are nearly all, cost no read.
//! Four runs of similar length are merged into one, so that there are few filters to ask.
//!
//! Memory is the table (a setting) and 2.4 bytes for each identity on disk, plus some 15 MB for
//! each running merge.
//!
//! Merges change no answer. With [`Merging::Paced`] the owner's thread does them, some entries for
//! each admitted identity: the disk sees the same calls in every run, as a simulation needs, and no
//! call waits for a whole merge. With [`Merging::Background`] other threads do them, and the owner
//! does not wait for the disk.
//!
//! Durability: [`SpilledIdentities::seal`] returns a [`Manifest`] of everything admitted, for the
//! caller to put into a checkpoint. Files of a manifest stay until [`SpilledIdentities::retire`]
//! gets a newer durable one. So the files of the newest manifest exist after any crash. [`sweep`]
//! removes the others.
//!
//! After a disk failure the instance answers nothing; see [`SpilledIdentities::failure`].

mod examine;
mod filter;
mod manifest;
mod merge;
mod page;
mod run;
mod sweep;
#[cfg(test)]
mod tests;
mod upkeep;
mod write;

use std::sync::Arc;

use flowmeter_core::partition::{Admission, Identities, Identity, IdentityTable, recorded_at};
use flowmeter_core::time::Timestamp;

pub use examine::examine;
pub use manifest::Manifest;
pub use sweep::sweep;

use self::merge::Underway;
use self::page::PAGE_BYTES;
use self::run::{Place, Run};
use self::upkeep::is_merged;
use crate::disk::Disk;
use crate::{Error, Kind};

/// Runs merged into one.
const MERGE_RUNS: usize = 4;
/// Identities looked up together, so that the memory of filters is fetched together. The answers
/// are bits of a word.
const CHUNK: usize = 64;
/// Entries of each merge that are processed for each admitted identity. Four runs gather while the
/// previous four are merged; with four entries this takes a quarter of the time.
const PACE: usize = 4;
/// The minimum of identities held in memory, however little memory is configured.
const COUNT_MIN: usize = 64;

/// The threads that merge runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// The admitting thread, a little with every identity. The same identities lead to the same
    /// disk calls in the same order.
    Paced,
    /// A thread for each merge. The owner adopts finished merges when it writes a run.
    Background,
}

/// The memory for identities, and the threads that merge.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of the table in memory; filters and merges come on top. Below some 30,000 bytes it
    /// makes no difference.
    pub memory_bytes: usize,
    pub merging: Merging,
}

/// The identities of one partition, in memory and on disk.
pub struct SpilledIdentities {
    place: Place,
    merging: Merging,
    table: IdentityTable,
    /// Number of identities at which the table is full.
    count_max: usize,
    /// In the order in which they were written.
    runs: Vec<Named>,
    merges: Vec<Underway>,
    next: u64,
    /// The generation of the newest manifest that was returned.
    generation: u64,
    /// The generation of the newest manifest that is known to be durable.
    durable: u64,
    horizon: Timestamp,
    retired: Vec<Retired>,
    failure: Option<Error>,
    page: Box<[u8; PAGE_BYTES]>,
}

struct Named {
    run: Arc<Run>,
    /// The generation of the newest manifest when the file was written; that manifest does not name
    /// it.
    after: u64,
}

/// A file that no run needs any more.
struct Retired {
    name: String,
    /// The first manifest that does not name it.
    from: u64,
}

impl SpilledIdentities {
    /// Opens exactly the identities of a manifest; those admitted after it are unknown. Creates the
    /// folder if it does not exist.
    ///
    /// # Errors
    /// `Corrupt` if a file of the manifest is missing or damaged, as far as it is read now. Pages
    /// are checked whenever they are read.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, manifest: &Manifest, settings: Settings) -> Result<Self, Error> {
        disk.create_folder(folder).map_err(|why| Error::io(folder, &why))?;
        let place = Place { disk, folder: folder.into(), partition: manifest.partition };
        let open = |outline| Run::open(&place, outline).map(|run| Named { run: Arc::new(run), after: 0 });
        let runs = manifest.runs.iter().copied().map(open).collect::<Result<_, _>>()?;
        Ok(SpilledIdentities {
            place,
            merging: settings.merging,
            table: IdentityTable::default(),
            count_max: IdentityTable::count_within(settings.memory_bytes).max(COUNT_MIN),
            runs,
            merges: Vec::new(),
            next: manifest.next,
            generation: manifest.generation,
            durable: manifest.generation,
            horizon: manifest.horizon,
            retired: Vec::new(),
            failure: None,
            page: Box::new([0; PAGE_BYTES]),
        })
    }

    /// Writes the table to disk and returns the runs that now have everything admitted. The runs
    /// are durable; the caller makes the manifest durable.
    ///
    /// # Errors
    /// `Poisoned` after a failure, and the failure itself when it happens.
    pub fn seal(&mut self) -> Result<Manifest, Error> {
        if let Some(failure) = &self.failure {
            return Err(Error::new(Kind::Poisoned, format!("identities failed before: {failure}")));
        }
        if let Err(error) = self.spill() {
            self.failure = Some(error.clone());
            return Err(error);
        }
        self.generation += 1;
        Ok(Manifest {
            partition: self.place.partition,
            generation: self.generation,
            next: self.next,
            horizon: self.horizon,
            runs: self.runs.iter().map(|named| named.run.outline).collect(),
        })
    }

    /// Keeps the files of an older manifest too, until [`SpilledIdentities::retire`] gets a newer
    /// one. Call it right after opening.
    pub fn keep(&mut self, older: &Manifest) {
        self.durable = older.generation;
        let known = |file: &String| self.runs.iter().any(|named| named.run.name == *file);
        let files = older.runs.iter().map(|run| self.place.name(run.number)).filter(|file| !known(file));
        self.retired.extend(files.map(|name| Retired { name, from: self.generation }));
    }

    /// Removes the files that are named only by manifests older than this one. It must be durable,
    /// and no older one may ever be opened again after a crash.
    ///
    /// # Errors
    /// A file could not be removed. It does no harm; the next call tries again.
    pub fn retire(&mut self, durable: &Manifest) -> Result<(), Error> {
        self.durable = self.durable.max(durable.generation);
        self.remove_retired()
    }

    /// Forgets identities with an event time before an instant. Runs with no others are dropped
    /// now, and the remaining ones when their runs are merged.
    ///
    /// The caller guarantees that none of them can matter: no event will come that is less than its
    /// window later than `before` (and none at all if the window is for ever). Otherwise merges
    /// decide whether it is a duplicate.
    pub fn forget(&mut self, before: Timestamp) {
        self.horizon = self.horizon.max(before);
        let (horizon, merges) = (self.horizon, &self.merges);
        let gone = |named: &mut Named| named.run.outline.max_at < horizon && !is_merged(merges, &named.run);
        let gone: Vec<Named> = self.runs.extract_if(.., gone).collect();
        self.retire_runs(gone);
    }

    /// Returns the disk failure, if there was one. From then on nothing is admitted and no
    /// duplicate is found, and some identities of the failed call have no answer. The caller of
    /// `admit` must check this before it uses the answers, and stop if there is a failure.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Returns the memory of the table, the filters and the running merges.
    pub fn memory_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|named| named.run.memory_bytes()).sum();
        let merges: usize = self.merges.iter().map(Underway::memory_bytes).sum();
        self.table.memory_bytes() + runs + merges
    }

    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    fn admit_chunk(
        &mut self,
        chunk: &[Identity],
        window: Option<i64>,
        answer: &mut dyn FnMut(&Identity, Admission),
    ) -> Result<(), Error> {
        let known = self.known(chunk, window)?;
        let mut rest = chunk;
        let mut bits = known;
        // The table answers identities between two that a run has, in their order.
        while !rest.is_empty() {
            let unknown = (bits.trailing_zeros() as usize).min(rest.len());
            let (before, from) = rest.split_at(unknown);
            self.table.admit(before, window, answer);
            let Some((first, behind)) = from.split_first() else { break };
            answer(first, Admission::Known);
            rest = behind;
            bits = bits.checked_shr(unknown as u32 + 1).unwrap_or(0);
        }
        for merge in &mut self.merges {
            merge.step(PACE * chunk.len());
        }
        Ok(())
    }

    /// Returns, as bits, which of the identities a run has within the window.
    fn known(&mut self, chunk: &[Identity], window: Option<i64>) -> Result<u64, Error> {
        let mut known = 0u64;
        for Named { run, .. } in &self.runs {
            // Independent reads of the filter, many in flight at a time.
            let asked = chunk.iter().enumerate().fold(0, |asked, (place, identity)| {
                let near = run.is_near(recorded_at(identity.at), window);
                asked | u64::from(near && run.may_hold((identity.fingerprint >> 64) as u64)) << place
            });
            let mut asked = asked & !known;
            while asked != 0 {
                let place = asked.trailing_zeros() as usize;
                asked &= asked - 1;
                let Identity { fingerprint, at, .. } = chunk[place];
                if run.holds(fingerprint, recorded_at(at), window, &mut self.page)? {
                    known |= 1 << place;
                }
            }
        }
        Ok(known)
    }
}

impl Identities for SpilledIdentities {
    fn admit(&mut self, identities: &[Identity], window: Option<i64>, answer: &mut dyn FnMut(&Identity, Admission)) {
        for chunk in identities.chunks(CHUNK) {
            if self.failure.is_some() {
                return;
            }
            self.failure = self.admit_chunk(chunk, window, answer).err();
        }
    }

    fn withdraw(&mut self, fingerprint: u128, at: Timestamp) {
        self.table.withdraw(fingerprint, at);
    }

    /// Spills a full table only now: until here identities that may be withdrawn are in the table,
    /// which therefore exceeds its bound by the identities of a round.
    fn settle(&mut self) {
        if self.failure.is_none() && self.table.count() + CHUNK > self.count_max {
            self.failure = self.spill().err();
        }
    }

    fn expect(&mut self, count: usize) {
        self.table.expect(count.min(self.count_max));
    }
}

impl std::fmt::Debug for SpilledIdentities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("SpilledIdentities");
        shown.field("partition", &self.place.partition).field("runs", &self.runs.len());
        shown.field("failure", &self.failure).finish_non_exhaustive()
    }
}
