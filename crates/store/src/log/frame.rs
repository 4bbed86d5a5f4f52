//! A frame: header and payload, as described in `docs/formats/log.md`.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use crate::Error;

pub(super) const HEADER_BYTES: usize = 60;

/// The first byte of a header, so that a run of zeros is no frame.
const MARK: u8 = 0xF1;
/// Level 1 of zstd is the fastest and, on events, no worse than the next levels.
const LEVEL: i32 = 1;
/// Smaller payloads are not compressed: it saves nothing.
const COMPRESS_MIN: usize = 256;

/// The content of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Events, one JSON object a line.
    Events = 1,
    /// A command, as JSON.
    Command = 2,
    /// Consecutive items, each with its length.
    Items = 3,
}

impl EntryKind {
    fn of(code: u8) -> Option<EntryKind> {
        [EntryKind::Events, EntryKind::Command, EntryKind::Items].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A compressed entry with its checksums, ready to be appended. Made on any thread.
#[derive(Clone, Debug)]
pub struct Encoded {
    kind: EntryKind,
    at: i64,
    items: u32,
    raw_bytes: u32,
    compressed: bool,
    sum: u32,
    payload: Vec<u8>,
}

impl Encoded {
    /// Encodes an entry: kind, time of receipt (nanoseconds since the epoch), number of items,
    /// payload.
    pub fn new(kind: EntryKind, at: i64, items: u32, raw: &[u8]) -> Encoded {
        let raw_bytes = raw.len() as u32;
        let squeezed = if raw.len() < COMPRESS_MIN { None } else { squeeze(raw) };
        let (compressed, payload) = match squeezed.filter(|squeezed| squeezed.len() < raw.len()) {
            Some(squeezed) => (true, squeezed),
            None => (false, raw.to_vec()),
        };
        Encoded { kind, at, items, raw_bytes, compressed, sum: crc32c::crc32c(&payload), payload }
    }

    /// Returns the number of its items.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Returns the time of receipt, in nanoseconds since the epoch.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Returns the bytes it takes in the log.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    pub(super) fn write_to(&self, position: u64, durable: u64, first_item: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[MARK, self.kind as u8, u8::from(self.compressed), 0]);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.items.to_le_bytes());
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&durable.to_le_bytes());
        out.extend_from_slice(&first_item.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&self.payload);
    }
}

thread_local! {
    /// One compressor for each thread: making one costs more than compressing a small entry.
    static SQUEEZER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OPENER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

fn squeeze(raw: &[u8]) -> Option<Vec<u8>> {
    SQUEEZER.with_borrow_mut(|squeezer| {
        let squeezer = squeezer.as_mut()?;
        // The buffer has room for the worst case. Allocating it each time would cost more than the
        // little that is written into it.
        ROOM.with_borrow_mut(|room| {
            room.clear();
            room.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            squeezer.compress_to_buffer(raw, room).ok()?;
            Some(room.clone())
        })
    })
}

fn unsqueeze(payload: &[u8], raw_bytes: usize) -> std::io::Result<Vec<u8>> {
    OPENER.with_borrow_mut(|opener| match opener {
        Some(opener) => opener.decompress(payload, raw_bytes),
        None => zstd::bulk::decompress(payload, raw_bytes),
    })
}

/// A header whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: EntryKind,
    compressed: bool,
    pub(super) payload_bytes: u32,
    raw_bytes: u32,
    pub(super) items: u32,
    pub(super) position: u64,
    pub(super) durable: u64,
    pub(super) first_item: u64,
    pub(super) at: i64,
    sum: u32,
}

impl Header {
    /// Reads a header; `None` if the bytes are not a header.
    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if bytes[0] != MARK || word(56) != crc32c::crc32c(&bytes[..56]) {
            return None;
        }
        Some(Header {
            kind: EntryKind::of(bytes[1])?,
            compressed: bytes[2] != 0,
            payload_bytes: word(4),
            raw_bytes: word(8),
            items: word(12),
            position: long(16),
            durable: long(24),
            first_item: long(32),
            at: long(40) as i64,
            sum: word(48),
        })
    }

    pub(super) fn is_sound(&self) -> bool {
        self.payload_bytes <= super::PAYLOAD_BYTES_MAX && self.raw_bytes <= super::PAYLOAD_BYTES_MAX
    }

    /// Returns whether the payload matches its checksum.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        crc32c::crc32c(payload) == self.sum
    }

    pub(super) fn open(&self, payload: Vec<u8>, file: &str) -> Result<Entry, Error> {
        let raw = match self.compressed {
            false => payload,
            true => unsqueeze(&payload, self.raw_bytes as usize)
                .map_err(|why| Error::corrupt(file, format!("entry {}: {why}", self.position)))?,
        };
        if raw.len() != self.raw_bytes as usize {
            return Err(Error::corrupt(file, format!("entry {} has another length than it says", self.position)));
        }
        let Header { kind, items, position, first_item, at, .. } = *self;
        Ok(Entry { kind, at, items, position, first_item, bytes: raw })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// Time of receipt, in nanoseconds since the epoch.
    pub at: i64,
    pub items: u32,
    pub position: u64,
    /// Number of its first item.
    pub first_item: u64,
    pub bytes: Vec<u8>,
}
