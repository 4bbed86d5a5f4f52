//! A log of numbered items.

use std::sync::Arc;

use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::time::Timestamp;
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Encoded, Entry, EntryKind, Log, Reader};

use super::written::{self, Written};
use crate::Error;

/// Bytes of items that become an entry when nothing waits for them.
pub(super) const GATHERED_BYTES: usize = 1 << 20;
/// Bytes of items that are made durable together if there are many: the disk is seldom waited for,
/// and delivery can begin early.
const COMMITTED_BYTES: usize = 32 << 20;

/// A log of numbered items.
pub struct Stream {
    pub(super) log: Log,
    /// The number of the next item.
    pub(super) next: u64,
    pub(super) gathered: Vec<u8>,
    pub(super) count: u32,
    /// Bytes of items that are in entries and not durable.
    appended: usize,
    /// The error that kept items from being written. They are missing from the log, so later items
    /// must not be written either; the pipeline must be loaded again.
    pub(super) failure: Option<Error>,
    /// Reads the items that a restart makes a second time.
    written: Option<Written>,
}

impl Stream {
    pub(super) fn open(disk: &Arc<dyn Disk>, folder: &str, settings: log::Settings) -> Result<Stream, Error> {
        let (log, _) = Log::open(Arc::clone(disk), folder, settings)?;
        Ok(Stream { next: log.items(), log, gathered: Vec::new(), count: 0, appended: 0, failure: None, written: None })
    }

    /// Adds an item of two parts.
    pub(super) fn push(&mut self, head: &[u8], rest: &[u8]) {
        self.next += 1;
        if self.next <= self.log.items() {
            if let Err(why) = self.compare(head, rest) {
                self.failure.get_or_insert(why);
            }
            return;
        }
        let mut pen = Pen { bytes: std::mem::take(&mut self.gathered) };
        pen.count((head.len() + rest.len()) as u64);
        pen.bytes.extend_from_slice(head);
        pen.bytes.extend_from_slice(rest);
        self.gathered = pen.bytes;
        self.count += 1;
    }

    /// Compares an item with the one of its number that was written before the restart.
    fn compare(&mut self, head: &[u8], rest: &[u8]) -> Result<(), Error> {
        let number = self.next - 1;
        if number < self.log.first_item() {
            // It was removed since.
            return Ok(());
        }
        let mut written = match self.written.take() {
            Some(written) => written,
            None => Written::from(self.reader(number)?, number)?,
        };
        let is_same = written.next()?.is_some_and(|item| item.strip_prefix(head) == Some(rest));
        self.written = Some(written);
        if is_same { Ok(()) } else { Err(written::another(number)) }
    }

    /// Makes an entry of the gathered items.
    fn append(&mut self, at: Timestamp) -> Result<(), Error> {
        if let Some(why) = &self.failure {
            return Err(why.clone());
        }
        if self.count > 0 {
            let appended = self.log.append(&Encoded::new(EntryKind::Items, at.nanos(), self.count, &self.gathered));
            appended.map_err(|why| self.fail(why))?;
            self.appended += self.gathered.len();
            self.gathered.clear();
            self.count = 0;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, at: Timestamp) -> Result<(), Error> {
        self.append(at)?;
        if self.appended > 0 {
            let committed = self.log.commit();
            committed.map_err(|why| self.fail(why))?;
            self.appended = 0;
        }
        Ok(())
    }

    fn fail(&mut self, why: flowmeter_store::Error) -> Error {
        let why = Error::from(why);
        self.failure = Some(why.clone());
        why
    }

    /// Writes the gathered items if they are many. Returns whether more items are readable than
    /// before.
    pub(super) fn relieve(&mut self, at: Timestamp) -> Result<bool, Error> {
        if self.gathered.len() >= GATHERED_BYTES {
            self.append(at)?;
        }
        let is_much = self.appended >= COMMITTED_BYTES;
        if is_much {
            self.write(at)?;
        }
        Ok(is_much)
    }

    /// Returns the number of the next item.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of readable items.
    pub fn written(&self) -> u64 {
        self.log.durable_items()
    }

    /// Returns the number of the first item that still exists.
    pub fn first(&self) -> u64 {
        self.log.first_item()
    }

    /// Removes whole files whose items all come before a number.
    pub fn release(&mut self, before: u64) -> Result<usize, Error> {
        Ok(self.log.release_items(before)?)
    }

    /// Reads entries from the one with an item on.
    pub fn reader(&self, item: u64) -> Result<Reader, Error> {
        Ok(self.log.reader_of_item(item)?)
    }
}

/// Returns the items of an entry with their numbers.
pub fn items(entry: &Entry) -> impl Iterator<Item = (u64, &[u8])> {
    let mut glass = Glass::new(&entry.bytes);
    let items = std::iter::from_fn(move || if glass.is_at_end() { None } else { glass.text().ok() });
    (entry.first_item..).zip(items)
}
