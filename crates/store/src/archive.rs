//! The event store: every received event with its verdict, in the order of arrival.
//!
//! Other tools must be able to read it without this program, so it is a folder of plain Parquet
//! files (`docs/formats/events.md`). It is derived data: its content can be written again from the
//! log. That determines how it fails. A file appears under its name completely or not at all; an
//! unfinished file is removed, and the caller appends its events again from [`Archive::next`].
//!
//! Invariants:
//! - positions increase; a file named `first-last-…` holds each position from first to last once,
//!   and no two files share one;
//! - after [`Archive::finish`] everything appended is durable;
//! - a position that was ever finished is never written again, with or without retention.
//!
//! Each file has indexes beside it ([`keys`]), which a reader uses where they are there.
//!
//! One thread owns the archive and writes. Other threads may read at the same time, with [`scan`].
//! The caller decides when a file is finished (and the settings do, by rows and bytes); there is no
//! clock here.

mod columns;
mod draft;
mod event;
mod examine;
mod filter;
mod finished;
mod group;
mod input;
mod keys;
mod retention;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use event::{ArchivedEvent, Row};
pub use examine::examine;
pub use filter::Filter;
pub use keys::{INDEX_FOLDER, Recent, SUBJECT_PATH};
pub use scan::{Scan, extent, first, scan};

use crate::disk::Disk;
use crate::{Error, Kind};
use draft::Draft;
use finished::Finished;
use keys::Collecting;

/// Bounds of the archive.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A file is finished when it has this many rows.
    pub file_rows_max: u64,
    /// A file is finished when it has about this size; it may be exceeded by some MiB.
    pub file_bytes_max: u64,
    /// Rows in a row group: the unit that a reader skips or reads, and that is held in memory,
    /// compressed, while it is written.
    pub row_group_rows: u64,
    /// Files whose events all arrived longer ago than this are removed. In nanoseconds.
    pub retention_age: Option<u64>,
    /// The oldest files are removed until the rest is no larger.
    pub retention_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // Every tool can read a file of this size in one go, and a year of a busy pipeline is
            // still only thousands of them.
            file_rows_max: 4_000_000,
            file_bytes_max: 256 << 20,
            // The same as DuckDB's: its threads share a file by row groups.
            row_group_rows: 122_880,
            retention_age: None,
            retention_bytes: None,
        }
    }
}

/// The event store of one pipeline or partition: one folder.
pub struct Archive {
    disk: Arc<dyn Disk>,
    folder: String,
    settings: Settings,
    finished: Vec<Finished>,
    draft: Option<Draft>,
    /// The keys of the draft.
    keys: Collecting,
    /// Finished files without an index, the newest last.
    unindexed: Vec<Finished>,
    /// The position after the last finished one.
    next: Option<u64>,
    poisoned: bool,
}

impl Archive {
    /// Opens the archive in a folder, or creates one. Unfinished files are removed.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, settings: Settings) -> Result<Archive, Error> {
        let io = |why: &std::io::Error| Error::io(folder, why);
        disk.create_folder(folder).map_err(|why| io(&why))?;
        finished::remove_unfinished(&*disk, folder)?;
        // A file that was renamed just before a crash is listed, but durable only now.
        disk.sync_folder(folder).map_err(|why| io(&why))?;
        let finished = finished::list(&*disk, folder)?;
        let next = match finished.last() {
            Some(newest) => Some(newest.last + 1),
            None => retention::remembered(&*disk, folder)?,
        };
        keys::sweep(&*disk, folder, &finished)?;
        keys::remove_damaged(&*disk, folder)?;
        let keys = Collecting::new(Arc::default(), &[]);
        let unindexed = keys::unindexed(&*disk, folder, keys.paths(), &finished)?;
        let folder = folder.to_owned();
        Ok(Archive { disk, folder, settings, finished, draft: None, keys, unindexed, next, poisoned: false })
    }

    /// Indexes events by the values at some paths from now on, and always by the subject. If the paths
    /// change, the file that is being written is finished.
    ///
    /// # Errors
    /// As for [`append`](Archive::append).
    pub fn index_by(&mut self, paths: &[String]) -> Result<(), Error> {
        let keys = Collecting::new(self.recent(), paths);
        if keys.paths() != self.keys.paths() {
            self.finish()?;
            self.keys = keys;
            self.unindexed = keys::unindexed(&*self.disk, &self.folder, self.keys.paths(), &self.finished)?;
        }
        Ok(())
    }

    /// Makes the indexes of a finished file that lacks one, as one of an earlier version does. `values`
    /// returns an event's values at the paths of [`index_by`](Archive::index_by) but the subject. Gives
    /// up when `may_continue` returns false. Returns false if no file lacks an index.
    ///
    /// # Errors
    /// The file cannot be read. It is left without an index.
    pub fn index_one(
        &mut self,
        values: &mut dyn FnMut(&Row) -> Vec<Option<String>>,
        may_continue: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let Some(file) = self.unindexed.pop() else { return Ok(false) };
        let mut keys = Collecting::new(Arc::default(), &self.keys.paths()[1..]);
        for row in self.scan(Filter { positions: Some(file.first..file.last + 1), ..Filter::default() })? {
            if !may_continue() {
                self.unindexed.push(file);
                return Ok(true);
            }
            let row = row?;
            let values = values(&row);
            keys.add(row.position, std::iter::once(row.subject.as_deref()).chain(values.iter().map(Option::as_deref)));
        }
        keys.write(&*self.disk, &self.folder, &file);
        Ok(true)
    }

    /// Returns the keys of the events that are not in a finished file, for other threads.
    pub fn recent(&self) -> Arc<Recent> {
        self.keys.recent()
    }

    /// Makes the keys of all appended events known to readers.
    pub fn publish(&mut self) {
        self.keys.publish();
    }

    /// Returns the position that [`append`](Archive::append) expects. `None` if nothing was ever
    /// archived; then the first event may have any position.
    pub fn next(&self) -> Option<u64> {
        self.draft.as_ref().map(Draft::next).or(self.next)
    }

    /// Returns the position after the last durable one; earlier events need not be appended again.
    pub fn next_durable(&self) -> Option<u64> {
        self.next
    }

    /// Returns the bytes of the finished files.
    pub fn bytes(&self) -> u64 {
        self.finished.iter().map(|file| file.bytes).sum()
    }

    /// Adds an event. An event whose position is already archived is ignored, so that a replay
    /// writes nothing twice.
    ///
    /// # Errors
    /// `Bug` if positions were left out; see [`skip_to`](Archive::skip_to). `Full` and
    /// `Unavailable` from the disk: all events since the last finish must be appended again,
    /// starting at `next`. `Poisoned` after a failure to finish: the archive must be opened again.
    pub fn append(&mut self, event: &ArchivedEvent<'_>) -> Result<(), Error> {
        self.append_with(event, &[])
    }

    /// Adds an event, with its values at the paths of [`index_by`](Archive::index_by) but the
    /// subject.
    ///
    /// # Errors
    /// As for [`append`](Archive::append).
    pub fn append_with(&mut self, event: &ArchivedEvent<'_>, values: &[Option<&str>]) -> Result<(), Error> {
        self.refuse_poisoned()?;
        match self.next() {
            Some(next) if event.position < next => return Ok(()),
            Some(next) if event.position > next => {
                let message = format!("{}: position {} after {next} was expected", self.folder, event.position);
                return Err(Error::new(Kind::Bug, message));
            }
            _ => {}
        }
        let mut draft = match self.draft.take() {
            Some(draft) => draft,
            None => Draft::create(&*self.disk, &self.folder, event.position, &self.settings)?,
        };
        if let Err(why) = draft.append(event) {
            self.abandon(draft);
            return Err(why);
        }
        self.keys.add(event.position, std::iter::once(event.subject).chain(values.iter().copied()));
        let is_full = draft.rows() >= self.settings.file_rows_max || draft.bytes() >= self.settings.file_bytes_max;
        self.draft = Some(draft);
        if is_full { self.finish() } else { Ok(()) }
    }

    /// Skips the positions between the appended ones and `position`, which the log no longer has or
    /// which arrived while the archive was off. Finishes the file, since no file has gaps. Does
    /// nothing if the position is not ahead.
    pub fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        if self.next().is_some_and(|next| position <= next) {
            return Ok(());
        }
        self.finish()?;
        self.next = Some(position);
        Ok(())
    }

    /// Finishes the file that is being written, if any. Afterwards everything appended is durable
    /// and can be read.
    ///
    /// # Errors
    /// As for [`append`](Archive::append).
    pub fn finish(&mut self) -> Result<(), Error> {
        self.refuse_poisoned()?;
        let Some(draft) = self.draft.take() else { return Ok(()) };
        let fresh = draft.name().to_owned();
        let finished = match draft.seal() {
            Ok(finished) => finished,
            Err(why) => {
                self.keys.clear();
                self.remove_draft(&fresh);
                return Err(why);
            }
        };
        self.keys.write(&*self.disk, &self.folder, &finished);
        // If one of the next steps fails, either of the two names may be the durable one. Only
        // reading the disk can show which.
        self.poisoned = true;
        let (fresh, whole) = (format!("{}/{fresh}", self.folder), format!("{}/{}", self.folder, finished.name()));
        self.disk.rename(&fresh, &whole).map_err(|why| Error::io(&whole, &why))?;
        self.disk.sync_folder(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        self.poisoned = false;
        self.next = Some(finished.last + 1);
        self.finished.push(finished);
        self.keys.clear();
        Ok(())
    }

    /// Reads the finished files with [`scan`].
    pub fn scan(&self, filter: Filter) -> Result<Scan, Error> {
        scan(Arc::clone(&self.disk), &self.folder, filter)
    }

    /// Removes files beyond the retention's bounds, the oldest first: first by size, then by age at
    /// an instant. Returns their names. The file being written does not count.
    ///
    /// # Errors
    /// Files that were removed before the error stay removed; call it again.
    pub fn retain(&mut self, now: i64) -> Result<Vec<String>, Error> {
        self.refuse_poisoned()?;
        let surplus = retention::surplus(&*self.disk, &self.folder, &self.finished, &self.settings, now)?;
        if surplus == self.finished.len()
            && let (Some(next), true) = (self.next, surplus > 0)
        {
            // The names of the files record what was archived. Before the last of them is removed,
            // the position must be kept elsewhere, or a replay would archive the events again.
            retention::remember(&*self.disk, &self.folder, next)?;
        }
        let mut removed = Vec::new();
        for _ in 0..surplus {
            let name = self.finished[0].name();
            let path = format!("{}/{name}", self.folder);
            self.disk.remove(&path).map_err(|why| Error::io(&path, &why))?;
            self.finished.remove(0);
            removed.push(name);
        }
        if surplus > 0 {
            keys::sweep(&*self.disk, &self.folder, &self.finished)?;
            self.disk.sync_folder(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        }
        Ok(removed)
    }

    fn refuse_poisoned(&self) -> Result<(), Error> {
        match self.poisoned {
            true => Err(Error::new(Kind::Poisoned, format!("{}: a file could not be finished; open it again", self.folder))),
            false => Ok(()),
        }
    }

    fn abandon(&mut self, draft: Draft) {
        self.keys.clear();
        let fresh = draft.name().to_owned();
        drop(draft);
        self.remove_draft(&fresh);
    }

    /// Removes a draft to free its space. If that fails too, the next opening removes it.
    fn remove_draft(&self, fresh: &str) {
        let _ = self.disk.remove(&format!("{}/{fresh}", self.folder));
    }
}
