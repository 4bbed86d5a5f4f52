//! A window of records, in one piece of memory.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use super::WindowLimits;
use crate::{Error, Kind};

/// A range of record numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    /// The number after the last one.
    pub until: u64,
}

/// A record of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Its number in the log of records.
    pub number: u64,
    pub json: &'a [u8],
}

/// The ids of a record. Read only where needed: most targets use the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    pub meter: Uuid,
    /// The key of all its deliveries.
    pub record_id: Uuid,
}

impl Outgoing<'_> {
    /// Reads the ids.
    ///
    /// # Errors
    /// The bytes are not a record.
    pub fn names(&self) -> Result<Names, Error> {
        let wrong = |why| Error::new(Kind::Corrupt, format!("record {} cannot be read: {why}", self.number));
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

#[derive(Clone)]
struct Place {
    number: u64,
    bytes: Range<usize>,
}

/// Records that are sent together.
pub struct Window {
    span: Span,
    /// Shared with parts of the window.
    bytes: Arc<Vec<u8>>,
    places: Vec<Place>,
}

impl Window {
    /// Returns an empty window that begins with a number.
    pub fn new(first: u64) -> Window {
        Window { span: Span { first, until: first }, bytes: Arc::default(), places: Vec::new() }
    }

    /// Returns an empty window with the memory of a full one, so that it does not grow into fresh
    /// memory. Unused memory costs nothing.
    pub fn with_room(first: u64, limits: WindowLimits) -> Window {
        let room = limits.bytes.min(WindowLimits::default().bytes);
        Window { bytes: Arc::new(Vec::with_capacity(room)), ..Window::new(first) }
    }

    /// Returns an empty window in the memory of this one: fresh pages cost more than writing to
    /// them.
    pub fn again(self, first: u64) -> Window {
        let Window { bytes, mut places, .. } = self;
        // Memory that a part still uses stays with it.
        let bytes = Arc::try_unwrap(bytes).map(|mut bytes| {
            bytes.clear();
            Arc::new(bytes)
        });
        let bytes = bytes.unwrap_or_default();
        places.clear();
        Window { span: Span { first, until: first }, bytes, places }
    }

    pub fn push(&mut self, number: u64, json: &[u8]) {
        let bytes = Arc::make_mut(&mut self.bytes);
        let start = bytes.len();
        bytes.extend_from_slice(json);
        self.places.push(Place { number, bytes: start..bytes.len() });
        self.span.until = number + 1;
    }

    /// Returns the window of some of the numbers, which shares the bytes.
    pub fn part(&self, from: u64, until: u64) -> Window {
        let wanted = self.places.iter().filter(|place| (from..until).contains(&place.number));
        let places: Vec<Place> = wanted.cloned().collect();
        let until = places.last().map_or(from, |place| place.number + 1);
        Window { span: Span { first: from, until }, bytes: Arc::clone(&self.bytes), places }
    }

    /// Extends the window over a record that is not for this target.
    pub fn pass(&mut self, number: u64) {
        self.span.until = number + 1;
    }

    /// Returns the range of numbers.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns a record by its index.
    pub fn get(&self, at: usize) -> Outgoing<'_> {
        let place = &self.places[at];
        Outgoing { number: place.number, json: &self.bytes[place.bytes.clone()] }
    }

    /// Returns all records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }
}
