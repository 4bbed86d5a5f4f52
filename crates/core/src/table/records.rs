//! The rows of a table as they are looked up: each key with the values of its columns behind it.
//!
//! Events ask for rows in no order, so a look-up waits for memory. A row is in one place, which the
//! index gives. Both can be read ahead.

use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Kind, Leaf};

/// Bytes before a key: its length, its first row, and how many rows it has.
const HEAD_BYTES: usize = 12;
/// Bytes before the value of a column: its kind and its length.
const CELL_BYTES: usize = 5;

/// Kinds by the number that a cell has.
const KINDS: [Kind; 8] =
    [Kind::Missing, Kind::Null, Kind::False, Kind::True, Kind::Number, Kind::Text, Kind::EscapedText, Kind::Json];

/// Keys, the numbers of their rows, and cells.
#[derive(Clone, Debug)]
pub(super) struct Records {
    /// A part of the hash of a key and where its record begins: at the place of its hash, or
    /// at the next free one behind it. At most half of the places are taken.
    index: Vec<Indexed>,
    bytes: Vec<u8>,
    /// By row: where its cells begin.
    rows: Vec<u32>,
}

/// A place of the index: a part of a hash, and where a record begins or [`FREE`].
type Indexed = (u32, u32);

const FREE: u32 = u32::MAX;

/// The rows of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) first: u32,
    pub(super) count: u32,
    /// Where the cells of the first row begin.
    pub(super) cells: u32,
}

/// The bits of a hash that the index itself does not compare.
fn part(hash: u64) -> u32 {
    (hash >> 24) as u32
}

/// Appends the value of a column.
pub(super) fn add_cell(leaf: Leaf<'_>, out: &mut Vec<u8>) {
    let kind = if leaf.kind == Kind::Missing { Kind::Null } else { leaf.kind };
    out.push(kind as u8);
    out.extend_from_slice(&(leaf.bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(leaf.bytes);
}

impl Records {
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Records {
        let index = vec![(0, FREE); (2 * rows).next_power_of_two()];
        Records { index, bytes: Vec::with_capacity(bytes + rows * HEAD_BYTES), rows: Vec::with_capacity(rows) }
    }

    fn number(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// Adds a key with the cells of its rows. Returns whether there is room: places have 32 bits.
    pub(super) fn add<'c>(&mut self, key: &[u8], rows: impl Iterator<Item = &'c [u8]>) -> bool {
        let (at, first) = (self.bytes.len(), self.rows.len());
        [key.len(), first, 0].into_iter().for_each(|number| self.bytes.extend_from_slice(&(number as u32).to_le_bytes()));
        self.bytes.extend_from_slice(key);
        for cells in rows {
            self.rows.push(self.bytes.len() as u32);
            self.bytes.extend_from_slice(cells);
        }
        let count = (self.rows.len() - first) as u32;
        self.bytes[at + 8..at + HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        let hash = Records::hash_of(key);
        let mut place = self.place_of(hash);
        while self.index[place].1 != FREE {
            place = self.behind(place);
        }
        self.index[place] = (part(hash), at as u32);
        u32::try_from(self.bytes.len()).is_ok_and(|end| end < FREE)
    }

    /// The hash by which a key is found.
    pub(super) fn hash_of(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    fn place_of(&self, hash: u64) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    fn behind(&self, place: usize) -> usize {
        (place + 1) & (self.index.len() - 1)
    }

    /// Returns where the records begin whose hash has the same part.
    #[inline]
    fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> {
        let mut place = self.place_of(hash);
        std::iter::from_fn(move || {
            loop {
                let (of, at) = self.index[place];
                place = self.behind(place);
                match at {
                    FREE => return None,
                    at if of == part(hash) => return Some(at),
                    _ => {}
                }
            }
        })
    }

    /// Finds the rows of a key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<Found> {
        let mut candidates = self.candidates(Records::hash_of(key)).map(|at| at as usize);
        let at = candidates.find(|at| key_at(&self.bytes, *at) == Some(key))?;
        let (first, count) = (self.number(at + 4)?, self.number(at + 8)?);
        Some(Found { first, count, cells: (at + HEAD_BYTES + key.len()) as u32 })
    }

    /// Reads the place of the index that a hash has.
    #[inline]
    pub(super) fn touch_index(&self, hash: u64) -> u64 {
        u64::from(self.index[self.place_of(hash)].1)
    }

    /// Returns where the record of a hash most likely begins.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> u32 {
        self.candidates(hash).next().unwrap_or_default()
    }

    /// Reads a byte of a record.
    #[inline]
    pub(super) fn touch(&self, at: u32) -> u64 {
        self.bytes.get(at as usize).map_or(0, |byte| u64::from(*byte))
    }

    /// Where the cells of a row begin.
    pub(super) fn cells_of(&self, row: u32) -> Option<u32> {
        self.rows.get(row as usize).copied()
    }

    /// The value of a column behind a place where cells begin.
    #[inline]
    pub(super) fn cell(&self, cells: u32, column: usize) -> Leaf<'_> {
        let mut rest = self.bytes.get(cells as usize..).unwrap_or_default();
        let mut cells = std::iter::from_fn(|| {
            let ([kind, length @ ..], behind) = rest.split_first_chunk::<CELL_BYTES>()?;
            let (bytes, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(Leaf { kind: KINDS[usize::from(*kind) % KINDS.len()], bytes })
        });
        cells.nth(column).unwrap_or(Leaf { kind: Kind::Null, bytes: b"null" })
    }
}

/// The key of a record.
fn key_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
    bytes.get(at + HEAD_BYTES..)?.get(..length)
}
