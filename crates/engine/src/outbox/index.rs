//! The index of a pipeline's records: by id, by user and by meter.
//!
//! It follows the log of records and reads only what is durable there. It may be a moment behind;
//! a caller that needs every record catches up first.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_store::disk::Disk;
use flowmeter_store::index::Index;
use flowmeter_store::log::{Entry, Reader, segments_of};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::live::{items, record_item};
use crate::{Error, Kind};

/// A field of records by which they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKey {
    /// The id of the record.
    Record = 1,
    /// The id of its user.
    User = 2,
    /// The id of its meter.
    Meter = 3,
}

impl RecordKey {
    fn hash(self, value: &str) -> u64 {
        xxh3_64_with_seed(value.as_bytes(), self as u64)
    }
}

/// The fields of a record that are keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys<'r> {
    #[serde(borrow)]
    id: Cow<'r, str>,
    #[serde(borrow)]
    user_id: Cow<'r, str>,
    #[serde(borrow)]
    meter_meta_data: MetaData<'r>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaData<'r> {
    #[serde(borrow)]
    record_id: Cow<'r, str>,
}

/// The folder of the index in that of its pipeline. It can be made again, so backups leave it out.
pub const INDEX_FOLDER: &str = "records-index";

/// Bytes that the index leaves free on the disk for checkpoints and the log.
const RESERVE_BYTES: u64 = 256 << 20;
/// Records that are added before a lookup that waits gets its turn.
const RECORDS_AT_ONCE: u64 = 8192;

/// The index of a pipeline's records.
pub struct RecordIndex {
    disk: Arc<dyn Disk>,
    /// The folder of the log of records.
    records: String,
    folder: String,
    open: Mutex<Option<Index>>,
}

impl RecordIndex {
    /// Creates the index of the records of a pipeline, by the pipeline's folder. It is opened when
    /// it is needed.
    pub fn new(disk: Arc<dyn Disk>, pipeline: &str) -> RecordIndex {
        let (records, folder) = (crate::live::records_folder(pipeline), format!("{pipeline}/{INDEX_FOLDER}"));
        RecordIndex { disk, records, folder, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Index>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds records before a number up to which they are durable.
    ///
    /// # Errors
    /// The log or the index cannot be read or written.
    pub fn catch_up(&self, durable: u64) -> Result<(), Error> {
        while self.add_some(durable)? {}
        Ok(())
    }

    fn add_some(&self, durable: u64) -> Result<bool, Error> {
        let mut open = self.lock();
        let index = match &mut *open {
            Some(index) => index,
            None => open.insert(self.begin()?),
        };
        if index.next() >= durable {
            return Ok(false);
        }
        let until = durable.min(index.next() + RECORDS_AT_ONCE);
        let mut reader = self.reader(index, index.next())?;
        while index.next() < until {
            let Some(entry) = reader.read()? else { return Ok(false) };
            let Some(spot) = reader.last_spot() else { return Ok(false) };
            let end = entry.first_item + u64::from(entry.items);
            if end > durable {
                return Ok(false);
            }
            index.add(spot, entry.first_item, &keys_of(&entry, index.next()), end);
        }
        if index.is_full() && self.has_room() {
            // Pairs that cannot be written stay in memory; `keep_up` tries again and reports it.
            let _is_in_memory = index.write();
        }
        Ok(true)
    }

    /// Whether the disk has room beside what is kept for checkpoints.
    fn has_room(&self) -> bool {
        self.disk.free_bytes().is_ok_and(|free| free > RESERVE_BYTES)
    }

    /// Opens the index, or begins again where it does not have the first records of the log.
    fn begin(&self) -> Result<Index, Error> {
        let mut index = Index::open(Arc::clone(&self.disk), &self.folder)?;
        let first = self.first()?;
        match index.from() > first || index.next() < first {
            true => index.begin_again(first)?,
            false => index.release(first)?,
        }
        Ok(index)
    }

    /// Returns a reader from the entry of a record on.
    fn reader(&self, index: &Index, number: u64) -> Result<Reader, Error> {
        let disk = Arc::clone(&self.disk);
        // The next record has no place yet; it is in an entry behind that of the one before.
        let known = number.min(index.next().saturating_sub(1));
        Ok(match index.spot(known) {
            Some(spot) => Reader::from_spot(disk, &self.records, spot, number)?,
            None => Reader::of_item_beside(disk, &self.records, number)?,
        })
    }

    /// Returns the numbers of records that may have a value, in order: of those before `durable`,
    /// up to which records are durable.
    ///
    /// # Errors
    /// The log or the index cannot be read.
    pub fn numbers(&self, key: RecordKey, value: &str, durable: u64) -> Result<Vec<u64>, Error> {
        self.catch_up(durable)?;
        match self.known_numbers(key, value) {
            Err(why) if why.kind == Kind::Corrupt => {
                self.begin_again()?;
                self.catch_up(durable)?;
                self.known_numbers(key, value)
            }
            found => found,
        }
    }

    fn known_numbers(&self, key: RecordKey, value: &str) -> Result<Vec<u64>, Error> {
        let open = self.lock();
        let found = open.as_ref().map(|index| index.numbers(key.hash(value)));
        Ok(found.transpose()?.unwrap_or_default())
    }

    /// Removes a damaged index; it is made again of the log.
    fn begin_again(&self) -> Result<(), Error> {
        let first = self.first()?;
        match &mut *self.lock() {
            Some(index) => Ok(index.begin_again(first)?),
            None => Ok(()),
        }
    }

    /// Calls `take` with the records of some numbers, which ascend or descend, and the entry of
    /// each, until it returns false. Numbers of records that were removed are skipped.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn read(&self, numbers: &[u64], mut take: impl FnMut(&Entry, u64, &[u8]) -> bool) -> Result<(), Error> {
        let mut entry: Option<Entry> = None;
        for &number in numbers {
            let is_there = |entry: &Entry| (entry.first_item..entry.first_item + u64::from(entry.items)).contains(&number);
            if !entry.as_ref().is_some_and(is_there) {
                entry = self.entry(number)?.filter(is_there);
            }
            let Some(entry) = &entry else { continue };
            if let Some((_, item)) = items(entry).find(|(of, _)| *of == number)
                && !take(entry, number, item)
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn entry(&self, number: u64) -> Result<Option<Entry>, Error> {
        let reader = match &*self.lock() {
            Some(index) => self.reader(index, number),
            None => return Ok(None),
        };
        match reader {
            Ok(mut reader) => Ok(reader.read()?),
            // Its file may have been removed since the index had it.
            Err(why) if why.kind == Kind::Unavailable && number < self.first()? => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Removes what belongs to records that were removed.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn release(&self) -> Result<(), Error> {
        let first = self.first()?;
        match &mut *self.lock() {
            Some(index) => Ok(index.release(first)?),
            None => Ok(()),
        }
    }

    /// Returns the number of the first record that still exists.
    fn first(&self) -> Result<u64, Error> {
        Ok(segments_of(&*self.disk, &self.records)?.first().map_or(0, |(_, first_item)| *first_item))
    }

    /// Writes what is in memory, if that is much, and merges files of similar size. Lookups continue
    /// during a merge.
    ///
    /// # Errors
    /// A file cannot be read or written. If one is damaged, the index is made again.
    pub fn keep_up(&self) -> Result<(), Error> {
        if !self.has_room() {
            return Ok(());
        }
        if let Some(index) = self.lock().as_mut().filter(|index| index.is_full()) {
            index.write()?;
        }
        loop {
            let merging = self.lock().as_ref().and_then(Index::mergeable);
            let Some(merging) = merging else { return Ok(()) };
            let merged = match merging.run() {
                Err(why) if why.kind == flowmeter_store::Kind::Corrupt => {
                    self.begin_again()?;
                    return Err(why.into());
                }
                merged => merged?,
            };
            if let Some(index) = &mut *self.lock() {
                index.merged(merged)?;
            }
        }
    }
}

/// Returns the keys of an entry's records from a number on.
fn keys_of(entry: &Entry, from: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (number, item) in items(entry).filter(|(number, _)| *number >= from) {
        let read = record_item(item).and_then(|record| serde_json::from_slice::<Keys<'_>>(record.json).ok());
        let Some(keys) = read else { continue };
        found.extend([
            (RecordKey::Record.hash(&keys.meter_meta_data.record_id), number),
            (RecordKey::User.hash(&keys.user_id), number),
            (RecordKey::Meter.hash(&keys.id), number),
        ]);
    }
    found
}
