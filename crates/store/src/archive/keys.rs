//! The index of the event store: the rows that may have a value at a path, for some paths.
//!
//! Each finished file has an index of each path, in a folder beside the files. It is a file of
//! [`crate::index`] whose keys are hashes and whose numbers are rows. A row that is found is a
//! candidate, since hashes may be equal; a row that is not found does not have the value. The rows
//! of the file that is being written are in memory ([`Recent`]).
//!
//! The index can be made again at any time. So it is written without syncs, and a file whose index is
//! missing or damaged is read without it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::finished::Finished;
use crate::Error;
use crate::disk::Disk;
use crate::index::{Run, Writer};

/// The folder of the indexes in that of the files. Backups leave it out.
pub const INDEX_FOLDER: &str = "events-index";
/// The path of the subject of an event: files are always indexed by it.
pub const SUBJECT_PATH: &str = "subject";

const ENDING: &str = ".idx";
/// Keys that are added before they are passed to readers of other threads.
const FRESH_MAX: usize = 16 << 10;

/// Returns the key of a value. 32 bits: few of a file's rows are found in vain, and keys take half
/// the room.
fn key(value: &str) -> u32 {
    (xxh3_64(value.as_bytes()) >> 32) as u32
}

/// A key above its row, so that numbers sort as keys do.
fn pair(value: &str, row: u32) -> u64 {
    u64::from(key(value)) << 32 | u64::from(row)
}

fn name_of(folder: &str, path: &str, first: u64, last: u64) -> String {
    format!("{folder}/{INDEX_FOLDER}/{:016x}-{first:016x}-{last:016x}{ENDING}", xxh3_64(path.as_bytes()))
}

/// Returns the range of positions that the name of an index has.
fn range_of(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix(ENDING)?.splitn(3, '-').skip(1).map(|part| u64::from_str_radix(part, 16).ok());
    Some((parts.next()??, parts.next()??))
}

/// Writes the index of a file by one path.
fn write(disk: &dyn Disk, folder: &str, path: &str, (first, last): (u64, u64), pairs: &mut [u64]) -> Result<(), Error> {
    pairs.sort_unstable();
    let name = name_of(folder, path, first, last);
    let mut writer = Writer::create(disk, name, first, last + 1)?;
    pairs.iter().try_for_each(|pair| writer.push((pair >> 32, pair & u64::from(u32::MAX))))?;
    writer.finish(Vec::new()).map(drop)
}

/// Returns the rows of a finished file that may have one of some values, each at its path, in order;
/// `None` if the file has no index by one of the paths, or one that cannot be read.
pub(super) fn rows(disk: &dyn Disk, folder: &str, wanted: &[(&str, &str)], file: &Finished) -> Option<Vec<u64>> {
    let mut rows = Vec::new();
    for (path, value) in wanted {
        let name = name_of(folder, path, file.first, file.last);
        let run = Run::open(disk, name, file.first, file.last + 1).ok()??;
        run.numbers(u64::from(key(value)), &mut rows).ok()?;
    }
    rows.sort_unstable();
    rows.dedup();
    rows.last().is_none_or(|last| *last < file.rows()).then_some(rows)
}

/// Removes indexes whose files do not exist.
pub(super) fn sweep(disk: &dyn Disk, folder: &str, files: &[Finished]) -> Result<(), Error> {
    let indexes = format!("{folder}/{INDEX_FOLDER}");
    for name in disk.list(&indexes).map_err(|why| Error::io(&indexes, &why))? {
        let range = range_of(&name);
        if !files.iter().any(|file| Some((file.first, file.last)) == range) {
            let name = format!("{indexes}/{name}");
            disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
        }
    }
    Ok(())
}

/// Removes indexes that are not whole: they were written without syncs.
pub(super) fn remove_damaged(disk: &dyn Disk, folder: &str) -> Result<(), Error> {
    let indexes = format!("{folder}/{INDEX_FOLDER}");
    for name in disk.list(&indexes).map_err(|why| Error::io(&indexes, &why))? {
        let name = format!("{indexes}/{name}");
        if Run::open(disk, name.clone(), 0, 0)?.is_none() {
            disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
        }
    }
    Ok(())
}

/// Returns the files that lack an index by one of some paths.
pub(super) fn unindexed(disk: &dyn Disk, folder: &str, paths: &[String], files: &[Finished]) -> Result<Vec<Finished>, Error> {
    let indexes = format!("{folder}/{INDEX_FOLDER}");
    let names = disk.list(&indexes).map_err(|why| Error::io(&indexes, &why))?;
    let has = |file: &Finished, path: &String| {
        let name = name_of(folder, path, file.first, file.last);
        names.iter().any(|known| name.ends_with(known.as_str()))
    };
    Ok(files.iter().filter(|file| !paths.iter().all(|path| has(file, path))).cloned().collect())
}

/// The keys of the events that are not in a finished file yet. Other threads may read them.
#[derive(Default)]
pub struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    /// The position of the first row; `None` while there is none.
    first: Option<u64>,
    /// The position after the last row.
    next: u64,
    paths: Vec<String>,
    /// Pairs of each path, in the order in which they were added.
    pairs: Vec<Vec<Vec<u64>>>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the positions from `from` on that may have one of some values, each at its path, in
    /// order, and the position up to which that holds; `None` if the events from `from` on are not
    /// known by one of the paths.
    pub fn positions(&self, wanted: &[(&str, &str)], from: u64) -> Option<(Vec<u64>, u64)> {
        let state = self.lock();
        let first = state.first.filter(|first| *first <= from)?;
        let mut found = BTreeSet::new();
        for (path, value) in wanted {
            let at = state.paths.iter().position(|known| known == path)?;
            let key = u64::from(key(value));
            let pairs = state.pairs[at].iter().flatten().filter(|pair| **pair >> 32 == key);
            found.extend(pairs.map(|pair| first + (pair & u64::from(u32::MAX))).filter(|position| *position >= from));
        }
        Some((found.into_iter().collect(), state.next.max(from)))
    }
}

/// Collects the keys of a file that is being written.
pub(super) struct Collecting {
    recent: Arc<Recent>,
    /// The subject is the first.
    paths: Vec<String>,
    /// Pairs of each path that readers do not have yet.
    fresh: Vec<Vec<u64>>,
    /// The position of the first row, and the position after the last one.
    range: Option<(u64, u64)>,
}

impl Collecting {
    /// Collects the subjects and the values at further paths.
    pub(super) fn new(recent: Arc<Recent>, others: &[String]) -> Collecting {
        let others = others.iter().map(String::as_str);
        let paths: Vec<String> = std::iter::once(SUBJECT_PATH).chain(others).map(str::to_owned).collect();
        let fresh = vec![Vec::new(); paths.len()];
        Collecting { recent, paths, fresh, range: None }
    }

    pub(super) fn recent(&self) -> Arc<Recent> {
        Arc::clone(&self.recent)
    }

    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Adds the values of a row at each path.
    pub(super) fn add<'v>(&mut self, position: u64, values: impl Iterator<Item = Option<&'v str>>) {
        let (first, _) = *self.range.get_or_insert((position, position));
        self.range = Some((first, position + 1));
        // No file has so many rows.
        let Ok(row) = u32::try_from(position - first) else { return };
        let pairs = self.fresh.iter_mut().zip(values).filter_map(|(fresh, value)| Some((fresh, value?)));
        pairs.for_each(|(fresh, value)| fresh.push(pair(value, row)));
        if self.fresh[0].len() >= FRESH_MAX {
            self.publish();
        }
    }

    /// Passes what was added to readers.
    pub(super) fn publish(&mut self) {
        let Some((first, next)) = self.range else { return };
        let mut state = self.recent.lock();
        if state.first != Some(first) || state.paths != self.paths {
            *state = State { first: Some(first), next, paths: self.paths.clone(), pairs: vec![Vec::new(); self.paths.len()] };
        }
        state.next = next;
        for (all, fresh) in state.pairs.iter_mut().zip(&mut self.fresh) {
            if !fresh.is_empty() {
                all.push(std::mem::take(fresh));
            }
        }
    }

    /// Writes the indexes of a file. Readers use them as soon as the file has its name. An index that
    /// cannot be written is left out.
    pub(super) fn write(&mut self, disk: &dyn Disk, folder: &str, file: &Finished) {
        self.publish();
        let wanted = self.range.is_some_and(|range| range == (file.first, file.last + 1));
        if !wanted || disk.create_folder(&format!("{folder}/{INDEX_FOLDER}")).is_err() {
            return;
        }
        for (at, path) in self.paths.iter().enumerate() {
            let mut pairs = self.recent.lock().pairs[at].concat();
            if write(disk, folder, path, (file.first, file.last), &mut pairs).is_err() {
                drop(disk.remove(&format!("{}.new", name_of(folder, path, file.first, file.last))));
            }
        }
    }

    /// Forgets everything that was added: the file is finished or was abandoned.
    pub(super) fn clear(&mut self) {
        self.range = None;
        self.fresh.iter_mut().for_each(Vec::clear);
        *self.recent.lock() = State::default();
    }
}
