//! Exact deduplication in bounded memory: identities in memory first, in sorted files
//! with filters when there are too many.
//!
//! The answers are those of [`IdentityTable`], to the last one. What is new is added to
//! a table in memory; when that is full it becomes a **run**, an immutable file, and a
//! new table begins. An identity is looked for in the table and in the filters of the
//! runs; only where a filter does not deny it is the disk read, once. So what is seen for
//! the first time, which is nearly everything, costs no read. Four runs of like length
//! are merged into one, so that the filters to be asked stay few.
//!
//! Memory is the table (a setting) and 2.4 bytes for each identity on disk, plus some
//! 15 MB for each merge while it runs.
//!
//! Merges change no answer. They are done by the owner's thread, some entries for each
//! identity admitted ([`Merging::Paced`]): then the disk sees the same calls in every
//! run, which is what a simulation needs, and no call waits for a whole merge. Or by
//! threads of their own ([`Merging::Background`]), which spares the owner the waiting
//! for the disk.
//!
//! Durability: [`SpilledIdentities::seal`] gives a [`Manifest`] of all that was admitted,
//! for the caller to put into a checkpoint. Files which a manifest named stay until
//! [`SpilledIdentities::retire`] is told of a newer durable one: whichever manifest a
//! crash leaves as the newest, its files are there. [`sweep`] removes the others.
//!
//! After a failure of the disk the instance answers nothing any more; see
//! [`SpilledIdentities::failure`].

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
/// Identities looked at together, so that the filters' memory is fetched together. The
/// answers are bits of a word.
const CHUNK: usize = 64;
/// Entries of each merge that are done for an identity admitted. Four runs gather while
/// the four before them are merged; with four entries that takes a quarter of the time.
const PACE: usize = 4;
/// The fewest identities held in memory, however little memory there may be.
const COUNT_MIN: usize = 64;

/// Who merges runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// The thread that admits, a little with every identity. The disk is asked for the
    /// same things in the same order whenever the same identities come.
    Paced,
    /// A thread for each merge; the owner picks up what is done when it writes a run.
    Background,
}

/// How much memory identities may take, and who merges.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of the table in memory. Filters and merges come on top of it. Below some
    /// 30,000 bytes it makes no difference.
    pub memory_bytes: usize,
    /// Who merges runs.
    pub merging: Merging,
}

/// The identities of one partition, in memory and on disk.
pub struct SpilledIdentities {
    place: Place,
    merging: Merging,
    table: IdentityTable,
    /// Identities at which the table is full.
    count_max: usize,
    /// In the order in which they were written.
    runs: Vec<Named>,
    merges: Vec<Underway>,
    next: u64,
    /// Of the newest manifest given.
    generation: u64,
    /// Of the newest manifest known to be durable.
    durable: u64,
    horizon: Timestamp,
    retired: Vec<Retired>,
    failure: Option<Error>,
    page: Box<[u8; PAGE_BYTES]>,
}

struct Named {
    run: Arc<Run>,
    /// The newest manifest when it was written, which does not name it.
    after: u64,
}

/// A file no run needs any more.
struct Retired {
    name: String,
    /// The first manifest that does not name it.
    from: u64,
}

impl SpilledIdentities {
    /// The identities that a manifest names, exactly; what was admitted after it is not
    /// known. The folder is made if it is not there.
    ///
    /// # Errors
    /// `Corrupt` when a file that the manifest names is missing or not what was written,
    /// as far as it is read now: pages are checked whenever they are read.
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

    /// Writes what is in memory and tells which runs now hold all that was admitted.
    /// They are durable; the manifest is for the caller to make so.
    ///
    /// # Errors
    /// `Poisoned` after a failure, and the failure itself when it comes.
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

    /// Keeps the files of an older manifest, too, until [`SpilledIdentities::retire`] is
    /// told of a newer one. To be called right after it was opened.
    pub fn keep(&mut self, older: &Manifest) {
        self.durable = older.generation;
        let known = |file: &String| self.runs.iter().any(|named| named.run.name == *file);
        let files = older.runs.iter().map(|run| self.place.name(run.number)).filter(|file| !known(file));
        self.retired.extend(files.map(|name| Retired { name, from: self.generation }));
    }

    /// Removes the files that only manifests older than this one name. It must be
    /// durable, and be the one that is opened after a crash, or an older one never will.
    ///
    /// # Errors
    /// When a file cannot be removed. It does no harm there; the next call tries again.
    pub fn retire(&mut self, durable: &Manifest) -> Result<(), Error> {
        self.durable = self.durable.max(durable.generation);
        self.remove_retired()
    }

    /// Forgets identities whose event time lies before an instant: runs that hold no
    /// others are dropped now, and the rest of them when their runs are merged.
    ///
    /// The caller guarantees that none of them can matter any more: that no event will
    /// come that is less than its window later than `before` (and none at all where the
    /// window is for ever). Otherwise it depends on merges whether it is a duplicate.
    pub fn forget(&mut self, before: Timestamp) {
        self.horizon = self.horizon.max(before);
        let (horizon, merges) = (self.horizon, &self.merges);
        let gone = |named: &mut Named| named.run.outline.max_at < horizon && !is_merged(merges, &named.run);
        let gone: Vec<Named> = self.runs.extract_if(.., gone).collect();
        self.retire_runs(gone);
    }

    /// What the disk did wrong. From then on nothing is admitted and no duplicate told:
    /// of the identities of that call some have no answer. Whoever calls `admit` looks
    /// here before it believes what it was told, and if there is something it stops.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Memory taken by the table, the filters and the merges under way.
    pub fn memory_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|named| named.run.memory_bytes()).sum();
        let merges: usize = self.merges.iter().map(Underway::memory_bytes).sum();
        self.table.memory_bytes() + runs + merges
    }

    /// How many runs there are.
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
        // Those between two that a run knows are the table's to answer, in their order.
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

    /// Which of the identities a run knows within the window, as bits.
    fn known(&mut self, chunk: &[Identity], window: Option<i64>) -> Result<u64, Error> {
        let mut known = 0u64;
        for Named { run, .. } in &self.runs {
            // Independent reads of the filter, many under way at once.
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

    /// Only now a full table becomes a run: what may be withdrawn is still in the table, which
    /// for that takes a round's identities more than its bound.
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
