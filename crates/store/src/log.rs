//! The log: everything received, in order, acknowledged only when it is durable.
//!
//! A log is a row of segments, files named by the position of their first entry. An entry is a
//! frame: a header with checksums and a compressed payload. Entries are appended in groups and made
//! durable by one [`Log::commit`]; only then may they be acknowledged.
//!
//! After a crash the end of the last segment may be torn. Every header says up to which position
//! the log was durable when it was written. So a hole that a later entry calls durable is damage
//! and reported as such. Any other incomplete end was never acknowledged and is cut off.
//!
//! Everything that only grows has the same form: events, metered records, parked events.
//! `first_item` numbers the items inside the payloads, so that an item is found without opening
//! every frame.

mod examine;
mod frame;
mod read;
mod segment;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use examine::examine;
pub use frame::{Encoded, Entry, EntryKind};
pub use read::{Reader, Spot, first_since, segments_of};

use flowmeter_core::mutant::{self, Mutant};
use frame::HEADER_BYTES;
use segment::{Segment, segment_name};

use crate::disk::{Claim, Disk, File};
use crate::{Error, Kind};

/// Settings of a log.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes after which a new segment begins. Smaller segments are deleted sooner, larger ones
    /// make fewer files.
    pub segment_bytes: u64,
    /// Bytes that must stay free on the disk. Below, entries are refused, so that checkpoints can
    /// still be written.
    pub reserve_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { segment_bytes: 64 << 20, reserve_bytes: 256 << 20 }
    }
}

/// The findings of opening a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes of a torn end that were cut off. None of them had been acknowledged.
    pub torn_bytes: u64,
    /// Entries that were durable and cannot be read any more: the first position, and the one after
    /// the last. The log continues after them; their bytes are kept in a `.lost` file.
    pub lost: Option<(u64, u64)>,
}

/// A log, open for appending.
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: String,
    settings: Settings,
    /// By position; the last one is appended to.
    segments: Vec<Segment>,
    file: Box<dyn File>,
    /// Bytes of the last segment that are whole frames.
    length: u64,
    /// Position of the next entry.
    next: u64,
    /// Number of items in all entries.
    items: u64,
    /// Entries before this position are durable.
    durable: u64,
    /// Number of items in durable entries.
    durable_items: u64,
    /// Frames not yet written.
    pending: Vec<u8>,
    /// Time of receipt of the last entry found when the log was opened, in nanoseconds.
    last_at: i64,
    /// Bytes that may be written before the free space is checked again.
    room: u64,
    poison: Option<Error>,
    /// Keeps other owners away while the log is open.
    _claim: Claim,
}

impl Log {
    /// Opens the log in a folder, or begins one. Reports what it cut off.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, settings: Settings) -> Result<(Log, Recovered), Error> {
        Log::open_behind(disk, folder, settings, 0)
    }

    /// Opens a log whose entries before `known` were durable: positions that were given out are
    /// never given out again, even if their entries are damaged.
    pub fn open_behind(disk: Arc<dyn Disk>, folder: &str, settings: Settings, known: u64) -> Result<(Log, Recovered), Error> {
        let claim = disk.claims().take(folder)?;
        disk.create_folder(folder).map_err(|why| Error::io(folder, &why))?;
        let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
        let mut segments = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".seg")) {
            segments.push(Segment::named(name).ok_or_else(|| Error::corrupt(folder, format!("{name} is no segment")))?);
        }
        let mut recovered = Recovered::default();
        let (mut next, items, mut length, mut file, last_at) = match segment::recover_last(&*disk, folder, &mut segments, known)?
        {
            Some(mut last) => {
                recovered.torn_bytes = last.torn_bytes;
                // Bytes read here may be in memory only, if just the program ended; from now on
                // they count as durable. So does the name.
                last.file.sync().and_then(|()| disk.sync_folder(folder)).map_err(|why| Error::io(folder, &why))?;
                (last.next, last.items, last.length, last.file, last.at)
            }
            None => {
                let file = segment::create(&*disk, folder, 0, 0)?;
                segments.push(Segment { first: 0, first_item: 0 });
                (0, 0, segment::HEAD_BYTES, file, i64::MIN)
            }
        };
        if next < known && !mutant::is_put_back(Mutant::PositionsReused) {
            recovered.lost = Some((next, known));
            file = segment::create(&*disk, folder, known, items)?;
            segments.push(Segment { first: known, first_item: items });
            (next, length) = (known, segment::HEAD_BYTES);
        }
        let folder = folder.to_owned();
        let pending = Vec::new();
        let (durable, durable_items) = (next, items);
        let (room, poison) = (0, None);
        let log = Log {
            disk,
            folder,
            settings,
            segments,
            file,
            length,
            next,
            items,
            durable,
            durable_items,
            pending,
            last_at,
            room,
            poison,
            _claim: claim,
        };
        Ok((log, recovered))
    }

    /// Adds an entry; it is durable after the next [`Log::commit`].
    pub fn append(&mut self, entry: &Encoded) -> Result<u64, Error> {
        self.check()?;
        let position = self.next;
        entry.write_to(position, self.durable, self.items, &mut self.pending);
        self.next += 1;
        self.items += u64::from(entry.items());
        Ok(position)
    }

    /// Makes all appended entries durable and returns the position of the next entry.
    ///
    /// On a full disk the entries are withdrawn and the log continues. After any other failure the
    /// log is poisoned: it is unknown what the disk has, so nothing may follow.
    pub fn commit(&mut self) -> Result<u64, Error> {
        self.check()?;
        if self.pending.is_empty() {
            return Ok(self.durable);
        }
        if let Err(why) = self.make_room() {
            self.take_back()?;
            return Err(why);
        }
        if let Err(why) = self.file.append(&self.pending) {
            let why = Error::io(self.name(), &why);
            return Err(match why.kind {
                Kind::Full => self.take_back().err().unwrap_or(why),
                _ => self.poisoned(why),
            });
        }
        if let Err(why) = self.file.sync() {
            return Err(self.poisoned(Error::io(self.name(), &why)));
        }
        self.length += self.pending.len() as u64;
        self.room = self.room.saturating_sub(self.pending.len() as u64);
        self.pending.clear();
        (self.durable, self.durable_items) = (self.next, self.items);
        if self.length >= self.settings.segment_bytes {
            self.roll()?;
        }
        Ok(self.durable)
    }

    /// Withdraws entries that were appended and not committed.
    fn take_back(&mut self) -> Result<(), Error> {
        self.pending.clear();
        self.room = 0;
        (self.next, self.items) = (self.durable, self.durable_items);
        match self.file.truncate(self.length) {
            Ok(()) => Ok(()),
            Err(why) => Err(self.poisoned(Error::io(self.name(), &why))),
        }
    }

    fn make_room(&mut self) -> Result<(), Error> {
        let wanted = self.pending.len() as u64;
        if self.room >= wanted {
            return Ok(());
        }
        let free = self.disk.free_bytes().map_err(|why| Error::io(&self.folder, &why))?;
        let usable = free.saturating_sub(self.settings.reserve_bytes);
        if usable < wanted {
            let message =
                format!("{}: {free} bytes are free, {} are reserved for checkpoints", self.folder, self.settings.reserve_bytes);
            return Err(Error::new(Kind::Full, message));
        }
        // Check again before a sixteenth of the space is used: other files grow too.
        self.room = (usable / 16).max(wanted);
        Ok(())
    }

    /// Begins a new segment.
    fn roll(&mut self) -> Result<(), Error> {
        match segment::create(&*self.disk, &self.folder, self.next, self.items) {
            Ok(file) => self.file = file,
            // The old segment continues; the next commit tries again.
            Err(why) if matches!(why.kind, Kind::Full | Kind::Descriptors) => return Ok(()),
            Err(why) => return Err(self.poisoned(why)),
        }
        self.segments.push(Segment { first: self.next, first_item: self.items });
        self.length = segment::HEAD_BYTES;
        Ok(())
    }

    /// Removes whole segments before a position, except the last segment.
    pub fn release(&mut self, before: u64) -> Result<usize, Error> {
        let mut gone = 0;
        while self.segments.len() > 1 && self.segments[1].first <= before {
            let name = format!("{}/{}", self.folder, segment_name(self.segments[0].first));
            self.disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
            self.segments.remove(0);
            gone += 1;
            // One after the other: after a crash no later segment may be missing while an earlier
            // one exists.
            self.disk.sync_folder(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        }
        Ok(gone)
    }

    /// Removes whole segments whose items all come before an item, except the last segment.
    pub fn release_items(&mut self, before: u64) -> Result<usize, Error> {
        let after = self.segments.partition_point(|segment| segment.first_item <= before);
        self.release(self.segments[after.saturating_sub(1)].first)
    }

    /// Removes whole segments whose entries were all written before an instant, in nanoseconds, except
    /// the last segment.
    pub fn release_older(&mut self, at: i64) -> Result<usize, Error> {
        let before = read::first_since(&*self.disk, &self.folder, self.next, at)?;
        self.release(before)
    }

    /// Removes the oldest segments until the rest has no more bytes than this, except the last segment.
    pub fn release_beyond(&mut self, bytes: u64) -> Result<usize, Error> {
        let kept = (bytes.saturating_sub(self.length) / self.settings.segment_bytes.max(1)) as usize + 1;
        let first = self.segments[self.segments.len().saturating_sub(kept)].first;
        self.release(first)
    }

    /// Returns a reader of durable entries from a position on.
    pub fn reader(&self, from: u64) -> Result<Reader, Error> {
        Reader::open(Arc::clone(&self.disk), &self.folder, &self.segments, from, self.durable)
    }

    /// Returns a reader of durable entries, from the entry with an item on.
    pub fn reader_of_item(&self, item: u64) -> Result<Reader, Error> {
        let mut reader = self.reader(self.segment_of_item(item))?;
        reader.skip_to_item(item)?;
        Ok(reader)
    }

    fn segment_of_item(&self, item: u64) -> u64 {
        let after = self.segments.partition_point(|segment| segment.first_item <= item);
        self.segments[after.saturating_sub(1)].first
    }

    /// Returns the first position that still exists.
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    /// Returns the number of the first item that still exists.
    pub fn first_item(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first_item)
    }

    /// Returns the time of receipt of the last entry found when the log was opened, in nanoseconds;
    /// `i64::MIN` if it is unknown.
    pub fn last_at(&self) -> i64 {
        self.last_at
    }

    /// Returns the position of the next entry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of items in durable entries, deleted ones included.
    pub fn durable_items(&self) -> u64 {
        self.durable_items
    }

    /// Returns the number of items in all entries so far, deleted ones included.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Returns the bytes of the segments on disk, without frames that are not written yet.
    pub fn bytes(&self) -> u64 {
        (self.segments.len() as u64 - 1) * self.settings.segment_bytes + self.length
    }

    /// Returns why the log refuses entries, if it does.
    pub fn poison(&self) -> Option<&Error> {
        self.poison.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        match &self.poison {
            Some(why) => Err(Error::new(Kind::Poisoned, format!("the log accepts nothing after a failed write: {why}"))),
            None => Ok(()),
        }
    }

    fn poisoned(&mut self, why: Error) -> Error {
        self.poison = Some(why.clone());
        why
    }

    fn name(&self) -> String {
        let first = self.segments.last().map_or(0, |segment| segment.first);
        format!("{}/{}", self.folder, segment_name(first))
    }
}

/// The maximum bytes of a payload. A block of events is far smaller; a larger length is damage and
/// must not make a reader allocate that much.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

const _: () = assert!(HEADER_BYTES == 60);
