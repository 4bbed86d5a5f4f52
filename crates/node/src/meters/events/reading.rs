//! Reads records and notes of a pipeline together, in the order in which they were made.

use std::collections::VecDeque;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Live, NoteKind, Stream, items, note_item, record_item};
use flowmeter_store::log::Reader;

use crate::installation::Served;

/// A record with its number.
pub(crate) struct ReadRecord {
    pub(crate) number: u64,
    /// The time at which it was made.
    pub(crate) at: Timestamp,
    pub(crate) is_threshold: bool,
    pub(crate) json: Vec<u8>,
}

/// A note with its number.
pub(crate) struct ReadNote {
    pub(crate) number: u64,
    /// The number of the record that followed it.
    before: u64,
    /// The time at which it was made.
    pub(crate) at: Timestamp,
    pub(crate) kind: NoteKind,
    pub(crate) json: Vec<u8>,
}

/// A record or a note.
pub(crate) enum Item {
    Record(ReadRecord),
    Note(ReadNote),
}

/// A stream up to an end, read one entry at a time.
struct Pages<T> {
    reader: Option<Reader>,
    next: u64,
    end: u64,
    page: VecDeque<T>,
    read: fn(u64, Timestamp, &[u8]) -> Option<T>,
}

impl<T> Pages<T> {
    fn open(stream: &Stream, from: u64, end: u64, read: fn(u64, Timestamp, &[u8]) -> Option<T>) -> Result<Pages<T>, Error> {
        let next = from.max(stream.first());
        let end = end.min(stream.written());
        let reader = (next < end).then(|| stream.reader(next)).transpose()?;
        Ok(Pages { reader, next, end, page: VecDeque::new(), read })
    }

    fn peek(&mut self) -> Result<Option<&T>, Error> {
        while self.page.is_empty() && self.next < self.end {
            let Some(entry) = self.reader.as_mut().map(Reader::read).transpose()?.flatten() else { break };
            let (next, end, at) = (self.next, self.end, Timestamp::from_nanos(entry.at));
            let wanted = items(&entry).filter(|(number, _)| (next..end).contains(number));
            self.page.extend(wanted.filter_map(|(number, item)| (self.read)(number, at, item)));
            self.next = entry.first_item + u64::from(entry.items);
        }
        Ok(self.page.front())
    }
}

/// Reads records and notes in order.
pub(crate) struct Reading {
    records: Pages<ReadRecord>,
    notes: Pages<ReadNote>,
    records_end: u64,
}

impl Reading {
    /// Opens the streams from some numbers up to others: records, notes.
    pub(crate) fn open(served: &Served, from: [u64; 2], end: [u64; 2]) -> Result<Reading, Error> {
        let open = move |live: &mut Live| -> Result<Reading, Error> {
            let outlet = live.outlet();
            let records = Pages::open(outlet.records(), from[0], end[0], read_record)?;
            Ok(Reading { records, notes: Pages::open(outlet.notes(), from[1], end[1], read_note)?, records_end: end[0] })
        };
        served.worker().ask(open)?
    }

    /// Returns the next of both.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Error> {
        // A note whose preceding records are not there yet waits for them.
        let behind = match self.records.peek()? {
            Some(record) => record.number,
            None => self.records_end,
        };
        if self.notes.peek()?.is_some_and(|note| note.before <= behind) {
            return Ok(self.notes.page.pop_front().map(Item::Note));
        }
        Ok(self.records.page.pop_front().map(Item::Record))
    }
}

fn read_record(number: u64, at: Timestamp, item: &[u8]) -> Option<ReadRecord> {
    let record = record_item(item)?;
    Some(ReadRecord { number, at, is_threshold: record.is_threshold, json: record.json.to_vec() })
}

fn read_note(number: u64, at: Timestamp, item: &[u8]) -> Option<ReadNote> {
    let note = note_item(item)?;
    Some(ReadNote { number, before: note.before, at, kind: note.kind, json: note.json.to_vec() })
}
