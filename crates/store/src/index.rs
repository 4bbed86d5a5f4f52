//! An index of the items of a log: numbers of items by keys, and places from which they are read.
//!
//! Keys are hashes, so a number that is found is a candidate: its reader compares the item. An
//! index is made of a log and can be made again at any time. So it is written without syncs, and a
//! damaged file is removed and written again.
//!
//! Items since the last file are in memory. Files cover ranges of items without gaps; neighbours of
//! similar size are merged. `docs/formats/index.md` describes the file.

mod run;

use std::sync::Arc;

use run::path_of;
pub(crate) use run::{Run, Writer};

use crate::Error;
use crate::disk::Disk;
use crate::log::Spot;

/// Keys in memory at which they are written to a file: three megabytes.
const YOUNG_MAX: usize = 192 << 10;
/// Keys of a file that is not merged any more, so that no merge takes minutes.
const KEYS_MAX: u64 = 64 << 20;
/// Bytes of a log between two places that are kept.
const SPOT_BYTES: u64 = 32 << 10;

/// A key and the number of an item that has it.
pub(crate) type Pair = (u64, u64);
/// The number of an item, and the place of its entry.
pub(crate) type Placed = (u64, Spot);

/// An index of a log.
pub struct Index {
    disk: Arc<dyn Disk>,
    folder: String,
    /// In the order of their items.
    runs: Vec<Arc<Run>>,
    /// Since the last file.
    young: Young,
    /// Number of the next item.
    next: u64,
}

#[derive(Default)]
struct Young {
    /// Number of the first item.
    from: u64,
    pairs: Vec<Pair>,
    spots: Vec<Placed>,
}

/// Two neighbouring files of similar size, to be merged.
pub struct Merging {
    disk: Arc<dyn Disk>,
    folder: String,
    parts: [Arc<Run>; 2],
}

impl Merging {
    /// Writes the file.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn run(self) -> Result<Merged, Error> {
        let [one, other] = &self.parts;
        let mut writer =
            Writer::create(&*self.disk, path_of(&self.folder, one.from(), other.until()), one.from(), other.until())?;
        let (mut mine, mut theirs) = (one.pairs(), other.pairs());
        let (mut left, mut right) = (mine.next()?, theirs.next()?);
        while let Some(least) = left.into_iter().chain(right).min() {
            writer.push(least)?;
            match left == Some(least) {
                true => left = mine.next()?,
                false => right = theirs.next()?,
            }
        }
        let run = writer.finish([one.spots(), other.spots()].concat())?;
        Ok(Merged { parts: self.parts, run })
    }
}

/// A file that takes the place of two.
pub struct Merged {
    parts: [Arc<Run>; 2],
    run: Run,
}

impl Index {
    /// Opens the index in a folder, or begins one. Damaged files are removed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(disk: Arc<dyn Disk>, folder: &str) -> Result<Index, Error> {
        disk.create_folder(folder).map_err(|why| Error::io(folder, &why))?;
        let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
        let mut ranges: Vec<(u64, u64)> = names.iter().filter_map(|name| run::range_of(name)).collect();
        // Of files with the same beginning, the longest has what the others have.
        ranges.sort_by_key(|(from, until)| (*from, std::cmp::Reverse(*until)));
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for (from, until) in ranges {
            if runs.last().is_some_and(|last| last.until() != from) {
                continue;
            }
            // Everything behind a damaged file is written again.
            let Some(run) = Run::open(&*disk, path_of(folder, from, until), from, until)? else { break };
            runs.push(Arc::new(run));
        }
        let known: Vec<String> = runs.iter().map(|run| run.name().to_owned()).collect();
        for name in names.iter().map(|name| format!("{folder}/{name}")).filter(|name| !known.contains(name)) {
            disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
        }
        let next = runs.last().map_or(0, |last| last.until());
        Ok(Index { disk, folder: folder.to_owned(), runs, young: Young { from: next, ..Young::default() }, next })
    }

    /// Returns the number of the first item that it may have.
    pub fn from(&self) -> u64 {
        self.runs.first().map_or(self.young.from, |first| first.from())
    }

    /// Returns the number of the next item to add.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Removes everything and begins with an item.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn begin_again(&mut self, number: u64) -> Result<(), Error> {
        for gone in std::mem::take(&mut self.runs) {
            self.disk.remove(gone.name()).map_err(|why| Error::io(gone.name(), &why))?;
        }
        (self.next, self.young) = (number, Young { from: number, ..Young::default() });
        Ok(())
    }

    /// Adds the keys of the items of an entry: from number `first` up to `until`, which is not in
    /// it. They are in memory until [`Index::write`].
    pub fn add(&mut self, spot: Spot, first: u64, pairs: &[Pair], until: u64) {
        let last = self.young.spots.last();
        if last.is_none_or(|(_, last)| last.segment != spot.segment || spot.offset - last.offset >= SPOT_BYTES) {
            self.young.spots.push((first.max(self.next), spot));
        }
        self.young.pairs.extend_from_slice(pairs);
        self.next = until;
    }

    /// Whether so much is in memory that it should be written to a file.
    pub fn is_full(&self) -> bool {
        self.young.pairs.len() >= YOUNG_MAX
    }

    /// Writes what is in memory to a file.
    ///
    /// # Errors
    /// A file cannot be written. Everything is in the index all the same.
    pub fn write(&mut self) -> Result<(), Error> {
        if self.young.pairs.is_empty() {
            return Ok(());
        }
        let until = self.next;
        self.young.pairs.sort_unstable();
        let mut writer = Writer::create(&*self.disk, path_of(&self.folder, self.young.from, until), self.young.from, until)?;
        self.young.pairs.iter().try_for_each(|pair| writer.push(*pair))?;
        let run = writer.finish(self.young.spots.clone())?;
        self.runs.push(Arc::new(run));
        self.young = Young { from: until, ..Young::default() };
        Ok(())
    }

    /// Returns the numbers of items that may have a key, in order.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn numbers(&self, key: u64) -> Result<Vec<u64>, Error> {
        let mut found = Vec::new();
        for run in &self.runs {
            run.numbers(key, &mut found)?;
        }
        let young = self.young.pairs.iter().filter(|(of, _)| *of == key);
        found.extend(young.map(|(_, number)| *number));
        found.sort_unstable();
        Ok(found)
    }

    /// Returns a place at an item or shortly before it.
    pub fn spot(&self, number: u64) -> Option<Spot> {
        let young = (number >= self.young.from).then_some(&self.young.spots[..]);
        let of_run = || self.runs.iter().find(|run| run.from() <= number && number < run.until());
        let spots = young.or_else(|| Some(of_run()?.spots()))?;
        let after = spots.partition_point(|(first, _)| *first <= number);
        spots.get(after.checked_sub(1)?).map(|(_, spot)| *spot)
    }

    /// Removes files whose items all come before a number.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn release(&mut self, before: u64) -> Result<(), Error> {
        while self.runs.first().is_some_and(|first| first.until() <= before) {
            let gone = self.runs.remove(0);
            self.disk.remove(gone.name()).map_err(|why| Error::io(gone.name(), &why))?;
        }
        Ok(())
    }

    /// Returns two files that should be one, if there are any.
    pub fn mergeable(&self) -> Option<Merging> {
        let similar = |pair: &[Arc<Run>]| pair[0].keys() < pair[1].keys() * 2 && pair[0].keys() + pair[1].keys() <= KEYS_MAX;
        let at = self.runs.windows(2).rposition(similar)?;
        let parts = [Arc::clone(&self.runs[at]), Arc::clone(&self.runs[at + 1])];
        Some(Merging { disk: Arc::clone(&self.disk), folder: self.folder.clone(), parts })
    }

    /// Puts a merged file in the place of the two that it was made of.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn merged(&mut self, merged: Merged) -> Result<(), Error> {
        let [one, other] = &merged.parts;
        let is_pair = |pair: &[Arc<Run>]| Arc::ptr_eq(&pair[0], one) && Arc::ptr_eq(&pair[1], other);
        let Some(at) = self.runs.windows(2).position(is_pair) else {
            // The index began again meanwhile.
            return self.disk.remove(merged.run.name()).map_err(|why| Error::io(merged.run.name(), &why));
        };
        self.runs.splice(at..at + 2, [Arc::new(merged.run)]);
        for gone in &merged.parts {
            self.disk.remove(gone.name()).map_err(|why| Error::io(gone.name(), &why))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
