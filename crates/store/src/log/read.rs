//! Readers of durable entries, in order.
//!
//! Positions grow, but may have gaps: where entries were lost to damage, a segment ends and the
//! next one begins with a later position. A reader skips the gap. A caller that needs every entry
//! checks the positions.

use std::sync::Arc;

use super::frame::{Entry, HEADER_BYTES, Header};
use super::segment::{HEAD_BYTES, Segment, segment_name};
use crate::Error;
use crate::disk::{Disk, File};

/// The place of an entry in a log, from which it is read without searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Position of the first entry of its segment.
    pub segment: u64,
    /// The byte of the segment at which it begins.
    pub offset: u64,
    /// The position of the entry.
    pub position: u64,
}

/// A reader from a position up to the end at the time it was made.
pub struct Reader {
    disk: Arc<dyn Disk>,
    folder: String,
    segments: Vec<Segment>,
    file: Option<(String, Box<dyn File>)>,
    /// Index of the segment after the open one.
    following: usize,
    at: u64,
    next: u64,
    end: u64,
    /// Whether the last segment ends where no whole entry follows, which is no damage then.
    open_ended: bool,
    /// The place of the entry that was read last.
    last: Option<Spot>,
}

impl Reader {
    pub(super) fn open(disk: Arc<dyn Disk>, folder: &str, segments: &[Segment], from: u64, end: u64) -> Result<Reader, Error> {
        let first = segments.first().map_or(0, |segment| segment.first);
        if from < first {
            let message = format!("entry {from} is no longer in the log; it begins with {first}");
            return Err(Error::new(crate::Kind::Unavailable, message));
        }
        let following = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        let next = segments.get(following).map_or(0, |segment| segment.first);
        let segments = segments.to_vec();
        let mut reader = Reader {
            disk,
            folder: folder.to_owned(),
            segments,
            file: None,
            following,
            at: 0,
            next,
            end,
            open_ended: false,
            last: None,
        };
        while reader.next < from.min(end) {
            reader.skip()?;
        }
        Ok(reader)
    }

    /// Reads a log while it is being written: entries from a position up to one that is known to be
    /// durable.
    pub fn beside(disk: Arc<dyn Disk>, folder: &str, from: u64, end: u64) -> Result<Reader, Error> {
        let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
        let segments: Vec<Segment> = names.iter().filter_map(|name| Segment::named(name)).collect();
        Reader::open(disk, folder, &segments, from, end)
    }

    /// Reads a log while it is being written: from the entry with an item up to the last complete
    /// entry. That entry may not be durable yet, so use this only for items that a restart makes
    /// again identically.
    pub fn of_item_beside(disk: Arc<dyn Disk>, folder: &str, item: u64) -> Result<Reader, Error> {
        let segments = segments_of(&*disk, folder)?;
        let holding = segments.iter().rev().find(|(_, first_item)| *first_item <= item);
        let at = match (holding, segments.first()) {
            (Some((first, _)), _) => *first,
            (None, Some((_, first_item))) => {
                let message = format!("{folder}: item {item} was removed; the first one is {first_item}");
                return Err(Error::new(crate::Kind::Unavailable, message));
            }
            (None, None) => 0,
        };
        let mut reader = Reader::beside(disk, folder, at, u64::MAX)?;
        reader.open_ended = true;
        reader.skip_to_item(item)?;
        Ok(reader)
    }

    /// Reads a log while it is being written, like [`Reader::of_item_beside`], from an item that is
    /// in the entry of a place or in a later one.
    pub fn from_spot(disk: Arc<dyn Disk>, folder: &str, spot: Spot, item: u64) -> Result<Reader, Error> {
        let mut reader = Reader::beside_from(disk, folder, spot, u64::MAX)?;
        reader.open_ended = true;
        reader.skip_to_item(item)?;
        Ok(reader)
    }

    /// Reads a log while it is being written, like [`Reader::beside`], from the entry at a place.
    pub fn beside_from(disk: Arc<dyn Disk>, folder: &str, spot: Spot, end: u64) -> Result<Reader, Error> {
        let mut reader = Reader::beside(disk, folder, spot.segment, end)?;
        reader.open_next()?;
        (reader.at, reader.next) = (spot.offset, spot.position);
        Ok(reader)
    }

    /// Returns the place of the entry that was read last.
    pub fn last_spot(&self) -> Option<Spot> {
        self.last
    }

    /// Moves the end to a position that is known to be durable by now.
    pub fn follow(&mut self, end: u64) -> Result<(), Error> {
        let names = self.disk.list(&self.folder).map_err(|why| Error::io(&self.folder, &why))?;
        let open = self.following.checked_sub(1).and_then(|open| self.segments.get(open)).map(|segment| segment.first);
        self.segments = names.iter().filter_map(|name| Segment::named(name)).collect();
        self.following = match (&self.file, open) {
            (Some(_), Some(open)) => self.segments.partition_point(|segment| segment.first <= open),
            _ => self.segments.partition_point(|segment| segment.first <= self.next).saturating_sub(1),
        };
        self.end = if self.open_ended { u64::MAX } else { end };
        Ok(())
    }

    /// Skips entries before a position.
    pub fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        let segment = self.segments.partition_point(|segment| segment.first <= position.min(self.end)).saturating_sub(1);
        if segment >= self.following.max(1) && self.segments[segment].first > self.next {
            // Whole segments are skipped without reading them.
            (self.file, self.following, self.next) = (None, segment, self.segments[segment].first);
        }
        while self.next < position.min(self.end) {
            let before = self.next;
            self.skip()?;
            if self.next == before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the next entry; `None` at the end.
    pub fn read(&mut self) -> Result<Option<Entry>, Error> {
        let Some((header, name)) = self.header()? else { return Ok(None) };
        let mut payload = vec![0; header.payload_bytes as usize];
        let Some((_, file)) = &self.file else { return Ok(None) };
        let read = file.read_at(&mut payload, self.at + HEADER_BYTES as u64).map_err(|why| Error::io(&name, &why))?;
        if read < payload.len() || !header.fits(&payload) {
            if self.may_end_here() {
                return Ok(None);
            }
            return Err(Error::corrupt(&name, format!("entry {} is damaged at byte {}", self.next, self.at)));
        }
        self.last = self.place_of_next();
        self.pass(&header);
        header.open(payload, &name).map(Some)
    }

    /// Passes the next entry without reading its content, and returns its place; `None` at the end.
    pub fn pass_one(&mut self) -> Result<Option<Spot>, Error> {
        let Some((header, _)) = self.header()? else { return Ok(None) };
        let spot = self.place_of_next();
        self.pass(&header);
        Ok(spot)
    }

    fn place_of_next(&self) -> Option<Spot> {
        let open = self.following.checked_sub(1).and_then(|open| self.segments.get(open));
        open.map(|open| Spot { segment: open.first, offset: self.at, position: self.next })
    }

    /// Skips entries up to the one with an item.
    pub(super) fn skip_to_item(&mut self, item: u64) -> Result<(), Error> {
        while let Some((header, _)) = self.header()?
            && header.first_item + u64::from(header.items) <= item
        {
            self.pass(&header);
        }
        Ok(())
    }

    /// Returns the position of the next entry.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Checks that the open segment ends with its last entry.
    pub(super) fn at_end(&self) -> Result<(), Error> {
        let Some((name, file)) = &self.file else { return Ok(()) };
        let length = file.len().map_err(|why| Error::io(name, &why))?;
        match length == self.at {
            true => Ok(()),
            false => Err(Error::corrupt(name, format!("it has {length} bytes, its entries end at {}", self.at))),
        }
    }

    fn may_end_here(&self) -> bool {
        self.open_ended && self.following >= self.segments.len()
    }

    fn skip(&mut self) -> Result<(), Error> {
        if let Some((header, _)) = self.header()? {
            self.pass(&header);
        }
        Ok(())
    }

    fn pass(&mut self, header: &Header) {
        self.at += HEADER_BYTES as u64 + u64::from(header.payload_bytes);
        self.next += 1;
    }

    /// Reads the header of the next entry. Returns it with the name of its file.
    fn header(&mut self) -> Result<Option<(Header, String)>, Error> {
        if self.next >= self.end {
            return Ok(None);
        }
        if self.file.is_none() || self.segments.get(self.following).is_some_and(|segment| segment.first == self.next) {
            self.open_next()?;
        }
        let Some((name, file)) = &self.file else { return Ok(None) };
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(&mut bytes, self.at).map_err(|why| Error::io(name, &why))?;
        let following = self.segments.get(self.following).map(|segment| segment.first);
        match Header::read(&bytes[..read]) {
            Some(header) if header.is_sound() && header.position == self.next => Ok(Some((header, name.clone()))),
            None if read == 0 && following.is_some_and(|first| first > self.next) => {
                self.next = following.unwrap_or(self.next);
                self.open_next()?;
                self.header()
            }
            _ if self.may_end_here() => Ok(None),
            _ => Err(Error::corrupt(name, format!("entry {} is damaged at byte {}", self.next, self.at))),
        }
    }

    fn open_next(&mut self) -> Result<(), Error> {
        let Some(segment) = self.segments.get(self.following) else { return Ok(()) };
        let name = format!("{}/{}", self.folder, segment_name(segment.first));
        let file = self.disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        super::segment::read_head(&*file, &name, segment.first)?;
        self.file = Some((name, file));
        self.following += 1;
        self.at = HEAD_BYTES;
        Ok(())
    }
}

/// Returns, for each segment in a folder, the position and the item that it begins with.
pub fn segments_of(disk: &dyn Disk, folder: &str) -> Result<Vec<(u64, u64)>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let mut found = Vec::new();
    for segment in names.iter().filter_map(|name| Segment::named(name)) {
        let name = format!("{folder}/{}", segment_name(segment.first));
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        found.push((segment.first, super::segment::read_head(&*file, &name, segment.first)?));
    }
    Ok(found)
}

/// Returns the first position of the first segment with an entry received at `at` (nanoseconds) or
/// later, at most `before`. All entries before it are older.
pub fn first_since(disk: &dyn Disk, folder: &str, before: u64, at: i64) -> Result<u64, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let mut since = 0;
    for segment in names.iter().filter_map(|name| Segment::named(name)).take_while(|segment| segment.first <= before) {
        let name = format!("{folder}/{}", segment_name(segment.first));
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(&mut bytes, HEAD_BYTES).map_err(|why| Error::io(&name, &why))?;
        // A segment that begins with an old enough entry ends the one before. An empty segment is
        // the newest of all.
        match Header::read(&bytes[..read]) {
            Some(header) if header.at < at => since = segment.first,
            _ => break,
        }
    }
    Ok(since)
}
