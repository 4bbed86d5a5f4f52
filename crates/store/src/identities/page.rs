//! Entries and pages of them, the unit in which a run file is read and checked.
//!
//! A page has its own number and checksum, so that one read shows whether it is the page that was
//! written. A run of gigabytes can therefore be opened without reading it.

use flowmeter_core::time::Timestamp;

/// Bytes of a page: the unit in which disks read anyway.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of an entry: a fingerprint and an event time.
pub(super) const ENTRY_BYTES: usize = 24;
/// Entries of a full page.
pub(super) const PAGE_ENTRIES: usize = (PAGE_BYTES - TAIL_BYTES) / ENTRY_BYTES;
/// The page's number, its number of entries, its checksum.
const TAIL_BYTES: usize = 16;
const TAIL: usize = PAGE_BYTES - TAIL_BYTES;
const SUM: usize = PAGE_BYTES - 4;

/// A fingerprint with the event time at which it was seen, in the order of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) fingerprint: u128,
    pub(super) at: Timestamp,
}

impl Entry {
    /// Returns the part that filters and fences use.
    pub(super) fn high(&self) -> u64 {
        (self.fingerprint >> 64) as u64
    }

    fn write(&self, out: &mut [u8]) {
        out[..16].copy_from_slice(&self.fingerprint.to_le_bytes());
        out[16..ENTRY_BYTES].copy_from_slice(&self.at.nanos().to_le_bytes());
    }
}

/// Appends a page of one to [`PAGE_ENTRIES`] entries.
pub(super) fn write_page(number: u64, entries: &[Entry], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + PAGE_BYTES, 0);
    let page = &mut out[start..];
    for (entry, place) in entries.iter().zip(page.chunks_exact_mut(ENTRY_BYTES)) {
        entry.write(place);
    }
    page[TAIL..TAIL + 8].copy_from_slice(&number.to_le_bytes());
    page[TAIL + 8..SUM].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    let sum = crc32c::crc32c(&page[..SUM]);
    page[SUM..].copy_from_slice(&sum.to_le_bytes());
}

/// A page whose checksum is right.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    entries: &'a [u8],
}

impl<'a> Page<'a> {
    /// Returns the page, or `None` if the bytes are not those that were written as this page.
    pub(super) fn read(number: u64, bytes: &'a [u8]) -> Option<Page<'a>> {
        let bytes = bytes.get(..PAGE_BYTES)?;
        let count = word(bytes, TAIL + 8) as usize;
        let whole = word(bytes, SUM) == crc32c::crc32c(&bytes[..SUM])
            && long(bytes, TAIL) == number
            && (1..=PAGE_ENTRIES).contains(&count);
        whole.then(|| Page { entries: &bytes[..count * ENTRY_BYTES] })
    }

    pub(super) fn len(self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    pub(super) fn entry(self, place: usize) -> Entry {
        let start = place * ENTRY_BYTES;
        let fingerprint = u128::from(long(self.entries, start)) | u128::from(long(self.entries, start + 8)) << 64;
        Entry { fingerprint, at: Timestamp::from_nanos(long(self.entries, start + 16).cast_signed()) }
    }

    /// Returns the index of the first entry that is not below a fingerprint.
    pub(super) fn seek(self, fingerprint: u128) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.entry(middle).fingerprint < fingerprint {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }
}

/// Returns four bytes of a slice that is long enough.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

/// Returns eight bytes of a slice that is long enough.
pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}
