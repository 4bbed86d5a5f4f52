//! Writes a run: entries arrive in order, and pages and filter are built on the way.
//!
//! The file gets its own name only when all of it is durable.

use flowmeter_core::time::Timestamp;

use super::filter::Building;
use super::page::{Entry, PAGE_ENTRIES, write_page};
use super::run::{Outline, Place, Run, Trailer};
use crate::disk::File;
use crate::{Error, Kind};

/// Bytes passed to the disk at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes after which the file is synced: otherwise the last sync of a long run would wait for
/// gigabytes, and all other writers with it.
const SYNC_BYTES: usize = 32 << 20;

/// A run under construction.
pub(super) struct Writer {
    place: Place,
    number: u64,
    /// The temporary name until it is complete.
    fresh: String,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    unsynced: usize,
    page: Vec<Entry>,
    last: Option<Entry>,
    count: u64,
    min_at: Timestamp,
    max_at: Timestamp,
    filter: Building,
    fences: Vec<u64>,
}

impl Writer {
    pub(super) fn create(place: &Place, number: u64) -> Result<Writer, Error> {
        let fresh = format!("{}.new", place.name(number));
        let file = place.disk.create(&fresh).map_err(|why| Error::io(&fresh, &why))?;
        Ok(Writer {
            place: place.clone(),
            number,
            fresh,
            file,
            buffer: Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 4)),
            unsynced: 0,
            page: Vec::with_capacity(PAGE_ENTRIES),
            last: None,
            count: 0,
            min_at: Timestamp::MAX,
            max_at: Timestamp::MIN,
            filter: Building::default(),
            fences: Vec::new(),
        })
    }

    /// Adds the next entry, which must not be below the previous one; a repetition is left out.
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), Error> {
        if self.last == Some(entry) {
            return Ok(());
        }
        debug_assert!(self.last < Some(entry));
        self.last = Some(entry);
        self.count += 1;
        self.min_at = self.min_at.min(entry.at);
        self.max_at = self.max_at.max(entry.at);
        self.filter.push(entry.high()).ok_or_else(|| no_filter(&self.fresh))?;
        self.page.push(entry);
        match self.page.len() == PAGE_ENTRIES {
            true => self.end_page(),
            false => Ok(()),
        }
    }

    /// Makes the run durable under its own name and opens it. Returns `None` if it is empty.
    pub(super) fn finish(mut self) -> Result<Option<Run>, Error> {
        if self.count == 0 {
            drop(self.file);
            self.place.disk.remove(&self.fresh).map_err(|why| Error::io(&self.fresh, &why))?;
            return Ok(None);
        }
        self.end_page()?;
        let filter = std::mem::take(&mut self.filter).finish().ok_or_else(|| no_filter(&self.fresh))?;
        let fences = std::mem::take(&mut self.fences);
        let mut trailer = Trailer {
            partition: self.place.partition,
            outline: Outline { number: self.number, count: self.count, min_at: self.min_at, max_at: self.max_at, sum: 0 },
            filter_bytes: 0,
            filter_sum: 0,
            fences_sum: 0,
        };
        filter.write(|piece| {
            trailer.filter_bytes += piece.len() as u64;
            trailer.filter_sum = crc32c::crc32c_append(trailer.filter_sum, piece);
            self.write(piece)
        })?;
        for chunk in fences.chunks(CHUNK_BYTES / 8) {
            let piece: Vec<u8> = chunk.iter().flat_map(|fence| fence.to_le_bytes()).collect();
            trailer.fences_sum = crc32c::crc32c_append(trailer.fences_sum, &piece);
            self.write(&piece)?;
        }
        trailer.outline.sum = trailer.write(&mut self.buffer);
        self.append()?;
        self.sync()?;
        let Writer { place, fresh, file, number, .. } = self;
        drop(file);
        place.disk.rename(&fresh, &place.name(number)).map_err(|why| Error::io(&fresh, &why))?;
        place.disk.sync_folder(&place.folder).map_err(|why| Error::io(&place.folder, &why))?;
        Run::written(&place, trailer.outline, filter, fences).map(Some)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let page = self.page.capacity() * size_of::<Entry>();
        self.buffer.capacity() + page + self.filter.memory_bytes() + self.fences.capacity() * size_of::<u64>()
    }

    fn end_page(&mut self) -> Result<(), Error> {
        if let Some(first) = self.page.first() {
            write_page(self.fences.len() as u64, &self.page, &mut self.buffer);
            self.fences.push(first.high());
            self.page.clear();
        }
        match self.buffer.len() >= CHUNK_BYTES {
            true => self.append(),
            false => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() >= CHUNK_BYTES {
            true => self.append(),
            false => Ok(()),
        }
    }

    fn append(&mut self) -> Result<(), Error> {
        self.file.append(&self.buffer).map_err(|why| Error::io(&self.fresh, &why))?;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        match self.unsynced >= SYNC_BYTES {
            true => self.sync(),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.unsynced = 0;
        self.file.sync().map_err(|why| Error::io(&self.fresh, &why))
    }
}

fn no_filter(file: &str) -> Error {
    Error::new(Kind::Bug, format!("{file}: no filter of its fingerprints can be built"))
}
