//! The log: what was received, in order, durable before anyone is told so.
//!
//! A log is a row of segments, files named by the position of their first entry. An
//! entry is a frame: a header with checksums and a payload, compressed. Entries are
//! appended in groups and made durable by one [`Log::commit`]: only then may they be
//! acknowledged.
//!
//! After a crash the end of the last segment may be torn. Every header says up to which
//! position the log was durable when it was written; so a hole that a later entry calls
//! durable is damage, and told as such, while any other end is cut off: nobody was told
//! that it was there.
//!
//! The same form serves for everything that only grows: events, metered records, parked
//! events. `first_item` numbers what is inside the payloads, so that an item is found
//! without opening every frame.

mod examine;
mod frame;
mod read;
mod segment;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use examine::examine;
pub use frame::{Encoded, Entry, EntryKind};
pub use read::{Reader, first_since, segments_of};

use crate::disk::{Disk, File};
use crate::{Error, Kind};
use frame::HEADER_BYTES;
use segment::{Segment, segment_name};

/// What a log may be told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes after which a new segment is begun. Smaller ones are let go of sooner,
    /// larger ones make fewer files.
    pub segment_bytes: u64,
    /// Bytes that must stay free on the disk: below, entries are refused, so that
    /// checkpoints still find room.
    pub reserve_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { segment_bytes: 64 << 20, reserve_bytes: 256 << 20 }
    }
}

/// What opening a log found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes of a torn end that were cut off. None of them had been acknowledged.
    pub torn_bytes: u64,
    /// Entries that were durable but cannot be read any more: the first position, and the one
    /// after the last. The log continues after them; their bytes are kept in a `.lost` file.
    pub lost: Option<(u64, u64)>,
}

/// A log, open to append to.
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: String,
    settings: Settings,
    /// By position; the last is appended to.
    segments: Vec<Segment>,
    file: Box<dyn File>,
    /// Bytes of the last segment that are whole frames.
    length: u64,
    /// Position of the next entry.
    next: u64,
    /// Items in all entries so far.
    items: u64,
    /// Entries before this position are durable.
    durable: u64,
    /// Items in those entries.
    durable_items: u64,
    /// Frames not yet written.
    pending: Vec<u8>,
    /// When the last entry was received that was found when it was opened; nanoseconds.
    last_at: i64,
    /// Bytes that may still be written before the disk is asked again.
    room: u64,
    poison: Option<Error>,
}

impl Log {
    /// Opens the log in a folder, or begins one. Tells what it had to cut off.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, settings: Settings) -> Result<(Log, Recovered), Error> {
        Log::open_behind(disk, folder, settings, 0)
    }

    /// The same, where entries before a position are known to have been durable: positions that
    /// were given out are never given out again, even if their entries are damaged.
    pub fn open_behind(disk: Arc<dyn Disk>, folder: &str, settings: Settings, known: u64) -> Result<(Log, Recovered), Error> {
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
                // What is read here may lie in memory only, if the program ended and the
                // machine went on; from now on it counts as durable. So does its name.
                last.file.sync().and_then(|()| disk.sync_folder(folder)).map_err(|why| Error::io(folder, &why))?;
                (last.next, last.items, last.length, last.file, last.at)
            }
            None => {
                let file = segment::create(&*disk, folder, 0, 0)?;
                segments.push(Segment { first: 0, first_item: 0 });
                (0, 0, segment::HEAD_BYTES, file, i64::MIN)
            }
        };
        if next < known {
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

    /// Makes everything appended durable and tells the position of the next entry.
    ///
    /// On a full disk the entries are taken back and the log goes on; after any other
    /// failure it is poisoned: nobody knows what is on the disk, so nothing may follow.
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

    /// Forgets what was appended but not committed.
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
                format!("{}: {free} bytes are free, {} are held back for checkpoints", self.folder, self.settings.reserve_bytes);
            return Err(Error::new(Kind::Full, message));
        }
        // Asked again before a sixteenth of the room is used up: others write here too.
        self.room = (usable / 16).max(wanted);
        Ok(())
    }

    /// Begins a new segment.
    fn roll(&mut self) -> Result<(), Error> {
        match segment::create(&*self.disk, &self.folder, self.next, self.items) {
            Ok(file) => self.file = file,
            // The old one goes on; the next commit tries again.
            Err(why) if matches!(why.kind, Kind::Full | Kind::Descriptors) => return Ok(()),
            Err(why) => return Err(self.poisoned(why)),
        }
        self.segments.push(Segment { first: self.next, first_item: self.items });
        self.length = segment::HEAD_BYTES;
        Ok(())
    }

    /// Removes whole segments before a position. The last one always stays.
    pub fn release(&mut self, before: u64) -> Result<usize, Error> {
        let mut gone = 0;
        while self.segments.len() > 1 && self.segments[1].first <= before {
            let name = format!("{}/{}", self.folder, segment_name(self.segments[0].first));
            self.disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
            self.segments.remove(0);
            gone += 1;
            // One after the other: after a crash no later one may be gone and this be there.
            self.disk.sync_folder(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        }
        Ok(gone)
    }

    /// Removes whole segments whose items all come before one. The last one always stays.
    pub fn release_items(&mut self, before: u64) -> Result<usize, Error> {
        let after = self.segments.partition_point(|segment| segment.first_item <= before);
        self.release(self.segments[after.saturating_sub(1)].first)
    }

    /// Reads durable entries from a position on.
    pub fn reader(&self, from: u64) -> Result<Reader, Error> {
        Reader::open(Arc::clone(&self.disk), &self.folder, &self.segments, from, self.durable)
    }

    /// Reads durable entries from the one on that holds an item.
    pub fn reader_of_item(&self, item: u64) -> Result<Reader, Error> {
        let mut reader = self.reader(self.segment_of_item(item))?;
        reader.skip_to_item(item)?;
        Ok(reader)
    }

    fn segment_of_item(&self, item: u64) -> u64 {
        let after = self.segments.partition_point(|segment| segment.first_item <= item);
        self.segments[after.saturating_sub(1)].first
    }

    /// The first position that is still there.
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    /// The number of the first item that is still there.
    pub fn first_item(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first_item)
    }

    /// When the last entry was received that was found when the log was opened, in nanoseconds;
    /// `i64::MIN` if that is not known.
    pub fn last_at(&self) -> i64 {
        self.last_at
    }

    /// The position of the next entry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Items in entries that are durable, those let go of included.
    pub fn durable_items(&self) -> u64 {
        self.durable_items
    }

    /// Items in all entries so far, those let go of included.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Bytes the segments take on disk, frames that wait to be written not included.
    pub fn bytes(&self) -> u64 {
        (self.segments.len() as u64 - 1) * self.settings.segment_bytes + self.length
    }

    /// Why the log takes nothing any more, if so.
    pub fn poison(&self) -> Option<&Error> {
        self.poison.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        match &self.poison {
            Some(why) => Err(Error::new(Kind::Poisoned, format!("the log takes nothing after a failed write: {why}"))),
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

/// Bytes of the largest payload: a block of events is far smaller; what is larger is
/// damage, and must not make a reader ask for that much memory.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

const _: () = assert!(HEADER_BYTES == 60);
