//! Records on their way: a window of them, in one piece of memory.

use std::ops::Range;

use serde::Deserialize;
use uuid::Uuid;

use super::WindowLimits;
use crate::{Error, Kind};

/// Numbers of records from one up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// Behind the last.
    pub until: u64,
}

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Its number in the log of records.
    pub number: u64,
    /// The record.
    pub json: &'a [u8],
}

/// What a record is known by. Read only where it is needed: most targets take the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Whose it is.
    pub meter: Uuid,
    /// The key of every delivery of it.
    pub record_id: Uuid,
}

impl Outgoing<'_> {
    /// What it is known by.
    ///
    /// # Errors
    /// It is no record.
    pub fn names(&self) -> Result<Names, Error> {
        let wrong = |why| Error::new(Kind::Corrupt, format!("record {} is none: {why}", self.number));
        let written: Written = serde_json::from_slice(self.json).map_err(wrong)?;
        Ok(Names { meter: written.id, record_id: written.meta.record_id })
    }
}

#[derive(Deserialize)]
struct Written {
    id: Uuid,
    #[serde(rename = "meterMetaData")]
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "recordId")]
    record_id: Uuid,
}

struct Place {
    number: u64,
    bytes: Range<usize>,
}

/// Records that leave together.
pub struct Window {
    span: Span,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Window {
    /// A window that begins with a number and holds nothing.
    pub fn new(first: u64) -> Window {
        Window { span: Span { first, until: first }, bytes: Vec::new(), places: Vec::new() }
    }

    /// The same, with room for as much as a window holds: what it would grow out of is fresh
    /// memory, too. What is not written to takes none.
    pub(super) fn with_room(first: u64, limits: WindowLimits) -> Window {
        let room = limits.bytes.min(WindowLimits::default().bytes);
        Window { bytes: Vec::with_capacity(room), ..Window::new(first) }
    }

    /// The same in the memory of a window that is no longer needed: fresh pages cost more than
    /// what is written into them.
    pub fn again(self, first: u64) -> Window {
        let Window { mut bytes, mut places, .. } = self;
        bytes.clear();
        places.clear();
        Window { span: Span { first, until: first }, bytes, places }
    }

    /// Takes a record.
    pub fn push(&mut self, number: u64, json: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(json);
        self.places.push(Place { number, bytes: start..self.bytes.len() });
        self.span.until = number + 1;
    }

    /// Ends it behind a record that is not for this target.
    pub fn pass(&mut self, number: u64) {
        self.span.until = number + 1;
    }

    /// Which numbers.
    pub fn span(&self) -> Span {
        self.span
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A record by its place.
    pub fn get(&self, at: usize) -> Outgoing<'_> {
        let place = &self.places[at];
        Outgoing { number: place.number, json: &self.bytes[place.bytes.clone()] }
    }

    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }
}
