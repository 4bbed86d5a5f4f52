//! The source of windows: the log of records, read while the pipeline writes it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use flowmeter_store::disk::Disk;
use flowmeter_store::log::Reader;

use super::Window;
use crate::live::{items, record_item};
use crate::{Error, Kind};

/// The maximum size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    pub records: usize,
    /// Bytes; one record may be larger.
    pub bytes: usize,
}

impl Default for WindowLimits {
    /// Large enough that a catalog commit for each window is cheap, small enough that a crash sends
    /// little twice and memory stays small.
    fn default() -> WindowLimits {
        WindowLimits { records: 50_000, bytes: 32 << 20 }
    }
}

/// A source of windows of records.
pub trait Records {
    /// Reads the records from one number up to another, as many as fit into a window.
    ///
    /// # Errors
    /// They cannot be read.
    fn read(&mut self, from: u64, until: u64, limits: WindowLimits) -> Result<Window, Error>;

    /// Takes back a window that is no longer needed, to reuse its memory.
    fn give_back(&mut self, _window: Window) {}
}

/// The log of a pipeline's records.
pub struct RecordLog {
    disk: Arc<dyn Disk>,
    folder: String,
    /// Partial records instead of whole ones.
    thresholds: bool,
    reader: Option<Reader>,
    /// The last entry, and its items that were not used yet, by number.
    entry: Vec<u8>,
    ahead: VecDeque<(u64, Range<usize>)>,
    /// Number of the next item.
    next: u64,
    /// Memory for the next window.
    spare: Option<Window>,
}

impl RecordLog {
    /// Opens the log of records in a folder: partial records, or whole ones.
    pub fn new(disk: Arc<dyn Disk>, folder: &str, thresholds: bool) -> RecordLog {
        let ahead = VecDeque::new();
        RecordLog { disk, folder: folder.to_owned(), thresholds, reader: None, entry: Vec::new(), ahead, next: 0, spare: None }
    }

    /// Continues where the last window ended, or finds the place.
    fn seek(&mut self, number: u64) -> Result<(), Error> {
        if self.reader.is_none() || self.next != number {
            self.ahead.clear();
            self.reader = Some(Reader::of_item_beside(Arc::clone(&self.disk), &self.folder, number)?);
            self.next = number;
        }
        Ok(())
    }

    /// Reads another entry if the last one is used up. Returns whether there was one.
    fn read_on(&mut self) -> Result<bool, Error> {
        let Some(reader) = &mut self.reader else { return Ok(false) };
        let entry = match reader.read()? {
            Some(entry) => entry,
            None => {
                reader.follow(u64::MAX)?;
                match reader.read()? {
                    Some(entry) => entry,
                    None => return Ok(false),
                }
            }
        };
        let place = |item: &[u8]| {
            let start = item.as_ptr().addr() - entry.bytes.as_ptr().addr();
            start..start + item.len()
        };
        let wanted = items(&entry).filter(|(number, _)| *number >= self.next);
        self.ahead.extend(wanted.map(|(number, item)| (number, place(item))));
        self.entry = entry.bytes;
        Ok(true)
    }
}

impl Records for RecordLog {
    fn read(&mut self, from: u64, until: u64, limits: WindowLimits) -> Result<Window, Error> {
        if from >= until {
            return Ok(Window::new(from));
        }
        let mut window = self.spare.take().map_or_else(|| Window::with_room(from, limits), |spare| spare.again(from));
        self.seek(from)?;
        while self.next < until {
            let Some((number, place)) = self.ahead.front() else {
                match self.read_on()? {
                    true => continue,
                    false => break,
                }
            };
            let number = *number;
            if number != self.next {
                let message = format!("{}: record {} is not there; {number} follows", self.folder, self.next);
                return Err(Error::new(Kind::Corrupt, message));
            }
            let item = &self.entry[place.clone()];
            let record =
                record_item(item).ok_or_else(|| Error::new(Kind::Corrupt, format!("{}: item {number} is empty", self.folder)))?;
            let is_full =
                window.len() >= limits.records || (window.bytes() + record.json.len() > limits.bytes && !window.is_empty());
            if is_full {
                break;
            }
            match record.is_threshold == self.thresholds {
                true => window.push(number, record.json),
                false => window.pass(number),
            }
            self.ahead.pop_front();
            self.next += 1;
        }
        Ok(window)
    }

    fn give_back(&mut self, window: Window) {
        self.spare = Some(window);
    }
}
