//! A run: an immutable file of ascending entries, with an index in memory so that it is seldom
//! read, and then only once.
//!
//! In memory are the filter (2.3 bytes an entry) and the fences, the high half of each page's first
//! fingerprint (8 bytes for 170 entries). Fences find the page for any distribution of
//! fingerprints; interpolation would have to guess it.
//!
//! `docs/formats/identities.md` describes the file.

use std::sync::Arc;

use flowmeter_core::partition::is_within;
use flowmeter_core::time::Timestamp;

use super::filter::Filter;
use super::page::{PAGE_BYTES, PAGE_ENTRIES, Page, long, word};
use crate::disk::{Disk, File};
use crate::{Error, Kind};

/// The first bytes of a run's trailer.
pub(super) const MAGIC: [u8; 8] = *b"FLOWRUN\0";
/// The version of the format.
pub(super) const FORMAT: u32 = 1;
/// Bytes of the trailer.
pub(super) const TRAILER_BYTES: usize = 80;

/// The folder of run files, and their partition.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: Arc<str>,
    pub(super) partition: u32,
}

impl Place {
    /// Returns the name of a run file in the data directory.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}/{}", self.folder, file_name(self.partition, number))
    }
}

/// Returns the name of a run file in its folder.
pub(super) fn file_name(partition: u32, number: u64) -> String {
    format!("{partition}-{number}.run")
}

/// The facts about a run that its manifest and its trailer have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) number: u64,
    pub(super) count: u64,
    /// The earliest and the latest event time in it.
    pub(super) min_at: Timestamp,
    pub(super) max_at: Timestamp,
    /// The checksum of the trailer, which has those of the sections.
    pub(super) sum: u32,
}

pub(super) struct Run {
    pub(super) outline: Outline,
    pub(super) name: String,
    filter: Filter,
    fences: Vec<u64>,
    file: Box<dyn File>,
}

impl Run {
    /// Opens a run and reads its filter and fences. The manifest's outline must match the file.
    pub(super) fn open(place: &Place, outline: Outline) -> Result<Run, Error> {
        let name = place.name(outline.number);
        let file = place.disk.open(&name).map_err(|why| missing(&name, &why))?;
        let length = file.len().map_err(|why| Error::io(&name, &why))?;
        let corrupt = |what| Error::corrupt(&name, what);
        let at = length.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| corrupt("too short"))?;
        let trailer = read_exactly(&*file, &name, at, TRAILER_BYTES)?;
        let trailer = Trailer::read(&name, &trailer)?;
        if trailer.outline != outline || trailer.partition != place.partition || outline.min_at > outline.max_at {
            return Err(corrupt("another run than the manifest names"));
        }
        let pages = outline.count.div_ceil(PAGE_ENTRIES as u64);
        let filter_at = pages.saturating_mul(PAGE_BYTES as u64);
        let fences_at = filter_at.saturating_add(trailer.filter_bytes);
        if fences_at.saturating_add(pages.saturating_mul(8)) != at {
            return Err(corrupt("its sections are not as long as it says"));
        }
        let filter = read_section(&*file, &name, filter_at, trailer.filter_bytes, trailer.filter_sum)?;
        let filter = Filter::read(&filter).ok_or_else(|| corrupt("the filter makes no sense"))?;
        let fences = read_section(&*file, &name, fences_at, pages * 8, trailer.fences_sum)?;
        let fences = fences.as_chunks().0.iter().map(|fence| u64::from_le_bytes(*fence)).collect();
        Ok(Run { outline, name, filter, fences, file })
    }

    /// Returns a run that has just been written.
    pub(super) fn written(place: &Place, outline: Outline, filter: Filter, mut fences: Vec<u64>) -> Result<Run, Error> {
        let name = place.name(outline.number);
        let file = place.disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        fences.shrink_to_fit();
        Ok(Run { outline, name, filter, fences, file })
    }

    /// Returns whether any entry can make an event of that time a duplicate.
    #[inline]
    pub(super) fn is_near(&self, at: Timestamp, window: Option<i64>) -> bool {
        let nearest = at.clamp(self.outline.min_at, self.outline.max_at);
        is_within(nearest, at, window)
    }

    /// Returns whether a fingerprint may be in it, by its high half.
    #[inline]
    pub(super) fn may_hold(&self, high: u64) -> bool {
        self.filter.may_hold(high)
    }

    /// Returns whether the fingerprint is there with an event time within the window. Reads one
    /// page, and the next one if the entries continue there.
    pub(super) fn holds(
        &self,
        fingerprint: u128,
        at: Timestamp,
        window: Option<i64>,
        scratch: &mut [u8; PAGE_BYTES],
    ) -> Result<bool, Error> {
        let high = (fingerprint >> 64) as u64;
        let after = self.fences.partition_point(|&fence| fence <= high);
        // The first page whose end may reach that high half: fences below it, less one.
        let first = self.fences.partition_point(|&fence| fence < high).saturating_sub(1);
        for number in first..after {
            let page = self.page(number as u64, scratch)?;
            for place in page.seek(fingerprint)..page.len() {
                let entry = page.entry(place);
                if entry.fingerprint != fingerprint {
                    return Ok(false);
                }
                if is_within(entry.at, at, window) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn page<'a>(&self, number: u64, scratch: &'a mut [u8; PAGE_BYTES]) -> Result<Page<'a>, Error> {
        let read = self.file.read_at(scratch, number * PAGE_BYTES as u64);
        let read = read.map_err(|why| Error::io(&self.name, &why))?;
        Page::read(number, &scratch[..read]).ok_or_else(|| self.broken(number))
    }

    /// Reads consecutive pages, as many as fit, and returns their number.
    pub(super) fn read_pages(&self, number: u64, room: &mut [u8]) -> Result<u64, Error> {
        let pages = (room.len() / PAGE_BYTES).min(self.fences.len().saturating_sub(number as usize));
        let room = &mut room[..pages * PAGE_BYTES];
        let read = self.file.read_at(room, number * PAGE_BYTES as u64);
        match read.map_err(|why| Error::io(&self.name, &why))? {
            read if read == room.len() => Ok(pages as u64),
            read => Err(self.broken(number + (read / PAGE_BYTES) as u64)),
        }
    }

    /// Returns the error of a damaged page.
    pub(super) fn broken(&self, number: u64) -> Error {
        Error::corrupt(&self.name, format!("page {number} is not what was written"))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + self.fences.capacity() * size_of::<u64>()
    }
}

/// The header of a run file, at its end because it is known last.
pub(super) struct Trailer {
    pub(super) partition: u32,
    pub(super) outline: Outline,
    pub(super) filter_bytes: u64,
    pub(super) filter_sum: u32,
    pub(super) fences_sum: u32,
}

impl Trailer {
    /// Appends the trailer and returns its checksum. Ignores the outline's own checksum.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.outline.number.to_le_bytes());
        out.extend_from_slice(&self.outline.count.to_le_bytes());
        out.extend_from_slice(&self.outline.min_at.nanos().to_le_bytes());
        out.extend_from_slice(&self.outline.max_at.nanos().to_le_bytes());
        out.extend_from_slice(&self.filter_bytes.to_le_bytes());
        out.extend_from_slice(&self.filter_sum.to_le_bytes());
        out.extend_from_slice(&self.fences_sum.to_le_bytes());
        // Reserved for later versions.
        out.resize(start + TRAILER_BYTES - 4, 0);
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
        sum
    }

    /// Reads the trailer of a file.
    pub(super) fn of_file(disk: &dyn Disk, name: &str) -> Result<Trailer, Error> {
        let file = disk.open(name).map_err(|why| Error::io(name, &why))?;
        let length = file.len().map_err(|why| Error::io(name, &why))?;
        let at = length.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| Error::corrupt(name, "too short"))?;
        Trailer::read(name, &read_exactly(&*file, name, at, TRAILER_BYTES)?)
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Trailer, Error> {
        let sum = word(bytes, TRAILER_BYTES - 4);
        if bytes[..8] != MAGIC {
            return Err(Error::corrupt(name, "has no trailer of a run file"));
        }
        if sum != crc32c::crc32c(&bytes[..TRAILER_BYTES - 4]) {
            return Err(Error::corrupt(name, "the trailer is not what was written"));
        }
        if word(bytes, 8) != FORMAT {
            let message = format!("{name}: format {} of run files is unknown to this program", word(bytes, 8));
            return Err(Error::new(Kind::Format, message));
        }
        let time = |at| Timestamp::from_nanos(long(bytes, at).cast_signed());
        let outline = Outline { number: long(bytes, 16), count: long(bytes, 24), min_at: time(32), max_at: time(40), sum };
        Ok(Trailer {
            partition: word(bytes, 12),
            outline,
            filter_bytes: long(bytes, 48),
            filter_sum: word(bytes, 56),
            fences_sum: word(bytes, 60),
        })
    }
}

/// Returns the error of a missing file. A manifest names it, so it existed: this is more than a
/// failed read.
fn missing(name: &str, why: &std::io::Error) -> Error {
    match why.kind() {
        std::io::ErrorKind::NotFound => Error::corrupt(name, "a manifest names it, and it does not exist"),
        _ => Error::io(name, why),
    }
}

fn read_exactly(file: &dyn File, name: &str, at: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at).map_err(|why| Error::io(name, &why))?;
    if read < length {
        return Err(Error::corrupt(name, "ends too early"));
    }
    Ok(bytes)
}

fn read_section(file: &dyn File, name: &str, at: u64, length: u64, sum: u32) -> Result<Vec<u8>, Error> {
    let length = usize::try_from(length).map_err(|_| Error::corrupt(name, "a section is too long"))?;
    let bytes = read_exactly(file, name, at, length)?;
    if crc32c::crc32c(&bytes) != sum {
        return Err(Error::corrupt(name, format!("the section at {at} is not what was written")));
    }
    Ok(bytes)
}
