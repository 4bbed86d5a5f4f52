//! A block of received bytes and the rows of fields found in it.

use std::sync::Arc;

use super::Path;
use super::slot::{Leaf, Slot};
use crate::time::Timestamp;

/// Zero bytes kept behind a block, so that a decoder may read ahead without checking bounds.
pub(crate) const PADDING: usize = 32;

/// The origin of a block.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file, topic or address, as it is shown to people.
    pub name: Arc<str>,
    /// The index of the source in the pipeline.
    pub source: usize,
    /// For rows: the columns of this file, in their order.
    pub columns: Option<Arc<[Box<str>]>>,
}

/// Whole records in bytes, with their origin. A record never spans two blocks.
#[derive(Clone, Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    length: usize,
    /// Position in the order of arrival.
    pub sequence: u64,
    /// Of the log's entry it came in, where it came from a log.
    pub position: u64,
    /// Line of the first record, counted from 1.
    pub first_line: u64,
    /// Number of the place ([`super::Place`]) of the first record in its origin, if `first_line`
    /// numbers events in the order of arrival. Offsets begin at 0.
    pub origin_line: Option<u64>,
    /// The number of records on the first line before the first record: a block may end within a
    /// line.
    pub first_index: u32,
    /// The origin of the block.
    pub origin: Origin,
    /// The time of receipt; `None` means the present time of the run.
    pub received_at: Option<Timestamp>,
    /// The clock for its events, where that is neither the time of receipt nor that of the run.
    pub as_of: Option<Timestamp>,
    /// The operator that made its events, if they did not come from outside.
    pub derived_by: Option<u16>,
    /// Whether its events were admitted before and come again, corrected. They are not
    /// deduplicated.
    pub again: bool,
    /// Whether a line that is a list of objects gives its elements as events.
    pub lists: bool,
    /// For records that are not one line each: the end of each and its line, relative
    /// to `first_line`. Empty when every record is a line.
    pub ends: Vec<(u32, u32)>,
}

impl Block {
    /// Empties the block but keeps its memory.
    pub fn clear(&mut self) {
        self.length = 0;
        self.received_at = None;
        self.as_of = None;
        self.derived_by = None;
        self.again = false;
        self.lists = false;
        self.origin_line = None;
        self.first_index = 0;
        self.ends.clear();
    }

    /// Empties the block and returns its bytes to append to. Call [`Block::seal`] afterwards.
    pub fn open(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        &mut self.bytes
    }

    /// Returns the bytes, to append more to them.
    pub fn open_more(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns room for `capacity` bytes to be read into, without clearing them first. Call
    /// [`Block::seal_at`] afterwards.
    pub fn room(&mut self, capacity: usize) -> &mut [u8] {
        if self.bytes.len() < capacity + PADDING {
            self.bytes.resize(capacity + PADDING, 0);
        }
        &mut self.bytes[..capacity]
    }

    /// Ends reading into the room: the first `length` bytes become readable.
    pub fn seal_at(&mut self, length: usize) {
        self.length = length;
        self.bytes[length..length + PADDING].fill(0);
    }

    /// Ends appending: the bytes become readable, padded.
    pub fn seal(&mut self) {
        self.length = self.bytes.len();
        self.bytes.resize(self.length + PADDING, 0);
    }

    /// Returns the bytes as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Returns the bytes as received and the zeros behind them.
    pub(crate) fn padded(&self) -> &[u8] {
        &self.bytes
    }
}

/// The position of a record in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset of the byte after the last.
    pub end: u32,
    /// Line, relative to the block's first.
    pub line: u32,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index of the event in the batch.
    pub event: u32,
    /// A description of the problem, for a person.
    pub detail: String,
}

/// A block and, for every event in it, a row of slots. Memory is kept between blocks.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The block of bytes as received.
    pub block: Block,
    /// Whether the records are JSON.
    pub json: bool,
    /// Columns that the plan does not name: their slots are the last ones of a row.
    pub unnamed: Arc<[Path]>,
    /// Records that could not be read, in order; their rows are empty.
    pub faults: Vec<Fault>,
    records: Vec<Record>,
    /// Memory for the records that a decoder goes through.
    cut: Vec<Record>,
    slots: Vec<Slot>,
    arena: Vec<u8>,
    width: usize,
    /// By row: whether a field was replaced. Rows behind its end are as they came.
    changed: Vec<bool>,
}

impl Batch {
    /// Forgets the events of the last block; the block itself is left alone.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.records.clear();
        self.slots.clear();
        self.arena.clear();
        self.changed.clear();
        self.faults.clear();
    }

    /// Number of events, readable or not.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the batch has no events.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the position of an event in the block.
    pub fn record(&self, event: usize) -> Record {
        self.records[event]
    }

    /// Returns an event as it was received.
    pub fn raw(&self, event: usize) -> &[u8] {
        let record = self.records[event];
        &self.block.bytes()[record.start as usize..record.end as usize]
    }

    /// The line of an event in its origin, counted from 1.
    pub fn line(&self, event: usize) -> u64 {
        self.block.first_line + u64::from(self.records[event].line)
    }

    /// The value of a field of an event.
    #[inline]
    pub fn leaf(&self, event: usize, slot: u16) -> Leaf<'_> {
        self.resolve(self.slots[event * self.width + usize::from(slot)])
    }

    /// The value of a slot of this batch.
    #[inline]
    pub fn resolve(&self, slot: Slot) -> Leaf<'_> {
        slot.resolve(self.block.padded(), &self.arena)
    }

    /// Returns the columns of a row that the plan does not name.
    pub fn unnamed_leaves(&self, row: usize) -> impl Iterator<Item = (&Path, Leaf<'_>)> {
        let end = (row + 1) * self.width;
        let slots = &self.slots[end - self.unnamed.len()..end];
        self.unnamed.iter().zip(slots).map(|(path, slot)| (path, self.resolve(*slot)))
    }

    /// The slot of a field of an event.
    pub fn slot(&self, event: usize, slot: u16) -> Slot {
        self.slots[event * self.width + usize::from(slot)]
    }

    /// Replaces a field of an event.
    pub fn set_slot(&mut self, event: usize, slot: u16, value: Slot) {
        self.slots[event * self.width + usize::from(slot)] = value;
        self.note_change(event);
    }

    fn note_change(&mut self, row: usize) {
        if self.changed.len() <= row {
            self.changed.resize(row + 1, false);
        }
        self.changed[row] = true;
    }

    /// Whether a field of a row was replaced since its event came.
    pub(crate) fn is_changed(&self, row: usize) -> bool {
        self.changed.get(row).is_some_and(|changed| *changed)
    }

    /// Appends a copy of a row and returns its index.
    pub fn copy_row(&mut self, row: usize) -> usize {
        let from = row * self.width;
        let copy = self.slots.len().checked_div(self.width).unwrap_or(row);
        self.slots.extend_from_within(from..from + self.width);
        if self.is_changed(row) {
            self.note_change(copy);
        }
        copy
    }

    /// Appends a row without fields and returns its index.
    #[cfg(test)]
    pub(crate) fn empty_row(&mut self) -> usize {
        let row = self.slots.len().checked_div(self.width).unwrap_or_default();
        self.slots.resize(self.slots.len() + self.width, Slot::MISSING);
        row
    }

    /// Stores a value that an operator made and returns its slot.
    pub fn store(&mut self, kind: super::Kind, bytes: &[u8]) -> Slot {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        Slot::in_arena(kind, start, self.arena.len())
    }

    /// Adds the row of an event, with all fields missing, and lends it with the block's bytes.
    pub(super) fn push(&mut self, record: Record) -> Row<'_> {
        self.records.push(record);
        let from = self.slots.len();
        self.slots.resize(from + self.width, Slot::MISSING);
        Row { bytes: self.block.padded(), arena: &mut self.arena, slots: &mut self.slots[from..] }
    }

    /// Removes the event that was added last.
    pub(super) fn unpush(&mut self) {
        self.records.pop();
        self.slots.truncate(self.records.len() * self.width);
    }

    /// Moves the beginning of the event that was added last.
    pub(super) fn begin_last_at(&mut self, start: usize) {
        if let Some(last) = self.records.last_mut() {
            last.start = start as u32;
        }
    }

    /// Notes that the event that was added last could not be read.
    pub(super) fn refuse(&mut self, detail: String) {
        let event = self.records.len().saturating_sub(1);
        let row = event * self.width;
        self.slots[row..].fill(Slot::MISSING);
        self.faults.push(Fault { event: event as u32, detail });
    }

    /// Returns the line of each record of the block, relative to its first, and the text, as the source
    /// split them.
    pub fn records_as_cut(&self) -> Vec<(u32, &[u8])> {
        let text = |record: Record| &self.block.bytes()[record.start as usize..record.end as usize];
        let mut records = Vec::new();
        self.block.cut_into(&mut records);
        records.into_iter().map(|record| (record.line, text(record))).collect()
    }

    /// Returns the records of the block: one for each line, or as the source split them. They come
    /// back with [`Batch::keep_cut`].
    pub(super) fn cut(&mut self) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.cut);
        records.clear();
        self.block.cut_into(&mut records);
        records
    }

    /// Keeps the memory of the records for the next block, which has about as many.
    pub(super) fn keep_cut(&mut self, records: Vec<Record>) {
        self.cut = records;
    }
}

impl Block {
    fn cut_into(&self, records: &mut Vec<Record>) {
        if !self.ends.is_empty() {
            return self.cut_as_given(records);
        }
        let bytes = self.bytes();
        let (mut start, mut line) = (0, 0);
        for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            if !is_blank(&bytes[start..end]) {
                records.push(Record { start: start as u32, end: end as u32, line });
            }
            start = end + 1;
            line += 1;
            if start >= bytes.len() {
                break;
            }
        }
    }

    fn cut_as_given(&self, records: &mut Vec<Record>) {
        let mut start = 0;
        let cut = |&(end, line): &(u32, u32)| {
            let record = Record { start, end, line };
            start = end;
            record
        };
        records.extend(self.ends.iter().map(cut));
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A row that a decoder fills.
pub(super) struct Row<'a> {
    /// The block with its padding.
    pub(super) bytes: &'a [u8],
    /// Room for texts that had to be rewritten.
    pub(super) arena: &'a mut Vec<u8>,
    /// One slot per path.
    pub(super) slots: &'a mut [Slot],
}
