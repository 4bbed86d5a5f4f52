//! The outcomes of a running pipeline: records, parked events, verdicts, notes, settlements. Each
//! is a log of its own with numbered items, so that items which a restart makes a second time are
//! recognised and not written again. They must be the same: other items mean that the log of the
//! server no longer has what they were made of.

mod written;

use std::sync::Arc;

use flowmeter_core::event::Batch;
use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::mediation::Tap;
use flowmeter_core::mutant::{self, Mutant};
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Encoded, Entry, EntryKind, Log, Reader};

use super::items::{DERIVED, JudgedBlock, write_judged};
use super::note::{self, NoteKind};
use super::origins::Origins;
use super::settlement::{How, Settled, Settlement, SettlementItem, settlement_item};
use crate::{Error, Kind, Noted, Observer, ParkedEvent, RecordSink, Superseded};
use written::Written;

/// Bytes of items that become an entry when nothing waits for them.
const GATHERED_BYTES: usize = 1 << 20;
/// Bytes of items that are made durable together if there are many: the disk is seldom waited for,
/// and delivery can begin early.
const COMMITTED_BYTES: usize = 32 << 20;

/// A log of numbered items.
pub struct Stream {
    log: Log,
    /// The number of the next item.
    next: u64,
    gathered: Vec<u8>,
    count: u32,
    /// Bytes of items that are in entries and not durable.
    appended: usize,
    /// The error that kept items from being written. They are missing from the log, so later items
    /// must not be written either; the pipeline must be loaded again.
    failure: Option<Error>,
    /// Reads the items that a restart makes a second time.
    written: Option<Written>,
}

/// Called with the number of records that are durable and readable, while more are still being
/// written.
pub type Announce = Box<dyn FnMut(u64) + Send>;

impl Stream {
    fn open(disk: &Arc<dyn Disk>, folder: &str, settings: log::Settings) -> Result<Stream, Error> {
        let (log, _) = Log::open(Arc::clone(disk), folder, settings)?;
        Ok(Stream { next: log.items(), log, gathered: Vec::new(), count: 0, appended: 0, failure: None, written: None })
    }

    /// Adds an item of two parts.
    fn push(&mut self, head: &[u8], rest: &[u8]) {
        self.next += 1;
        if self.next <= self.log.items() {
            if let Err(why) = self.compare(head, rest) {
                self.failure.get_or_insert(why);
            }
            return;
        }
        let mut pen = Pen { bytes: std::mem::take(&mut self.gathered) };
        pen.count((head.len() + rest.len()) as u64);
        pen.bytes.extend_from_slice(head);
        pen.bytes.extend_from_slice(rest);
        self.gathered = pen.bytes;
        self.count += 1;
    }

    /// Compares an item with the one of its number that was written before the restart.
    fn compare(&mut self, head: &[u8], rest: &[u8]) -> Result<(), Error> {
        let number = self.next - 1;
        let mut written = match self.written.take() {
            Some(written) => written,
            None => Written::from(self.reader(number)?, number)?,
        };
        let is_same = written.next()?.is_some_and(|item| item.strip_prefix(head) == Some(rest));
        self.written = Some(written);
        if is_same { Ok(()) } else { Err(written::another(number)) }
    }

    /// Makes an entry of the gathered items.
    fn append(&mut self, at: Timestamp) -> Result<(), Error> {
        if let Some(why) = &self.failure {
            return Err(why.clone());
        }
        if self.count > 0 {
            let appended = self.log.append(&Encoded::new(EntryKind::Items, at.nanos(), self.count, &self.gathered));
            appended.map_err(|why| self.fail(why))?;
            self.appended += self.gathered.len();
            self.gathered.clear();
            self.count = 0;
        }
        Ok(())
    }

    fn write(&mut self, at: Timestamp) -> Result<(), Error> {
        self.append(at)?;
        if self.appended > 0 {
            let committed = self.log.commit();
            committed.map_err(|why| self.fail(why))?;
            self.appended = 0;
        }
        Ok(())
    }

    fn fail(&mut self, why: flowmeter_store::Error) -> Error {
        let why = Error::from(why);
        self.failure = Some(why.clone());
        why
    }

    /// Writes the gathered items if they are many. Returns whether more items are readable than
    /// before.
    fn relieve(&mut self, at: Timestamp) -> Result<bool, Error> {
        if self.gathered.len() >= GATHERED_BYTES {
            self.append(at)?;
        }
        let is_much = self.appended >= COMMITTED_BYTES;
        if is_much {
            self.write(at)?;
        }
        Ok(is_much)
    }

    /// Returns the number of the next item.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of readable items.
    pub fn written(&self) -> u64 {
        self.log.durable_items()
    }

    /// Returns the number of the first item that still exists.
    pub fn first(&self) -> u64 {
        self.log.first_item()
    }

    /// Removes whole files whose items all come before a number.
    pub fn release(&mut self, before: u64) -> Result<usize, Error> {
        Ok(self.log.release_items(before)?)
    }

    /// Reads entries from the one with an item on.
    pub fn reader(&self, item: u64) -> Result<Reader, Error> {
        Ok(self.log.reader_of_item(item)?)
    }
}

/// Returns the items of an entry with their numbers.
pub fn items(entry: &Entry) -> impl Iterator<Item = (u64, &[u8])> {
    let mut glass = Glass::new(&entry.bytes);
    let items = std::iter::from_fn(move || if glass.is_at_end() { None } else { glass.text().ok() });
    (entry.first_item..).zip(items)
}

/// Numbers of items in a pipeline's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Metered records and partial ones.
    pub records: u64,
    pub parked: u64,
    pub arrivals: u64,
    /// Events of single meters, thresholds.
    pub notes: u64,
    /// Parked events that left the queue.
    pub settled: u64,
}

pub struct Outlet {
    records: Stream,
    parked: Stream,
    verdicts: Stream,
    notes: Stream,
    settlements: Stream,
    settled: Settled,
    arrivals: u64,
    judged: Vec<JudgedBlock>,
    /// Events by the place they come from.
    origins: Origins,
    announce: Option<Announce>,
}

impl Outlet {
    pub(super) fn open(disk: &Arc<dyn Disk>, folder: &str, settings: log::Settings) -> Result<Outlet, Error> {
        let open = |name: &str| Stream::open(disk, &format!("{folder}/{name}"), settings);
        let records = Stream::open(disk, &records_folder(folder), settings)?;
        let (parked, verdicts) = (open("parked")?, open("verdicts")?);
        Ok(Outlet {
            records,
            parked,
            verdicts,
            notes: open("notes")?,
            settlements: open("settled")?,
            settled: Settled::default(),
            arrivals: 0,
            judged: Vec::new(),
            origins: Origins::new(),
            announce: None,
        })
    }

    /// Continues with the numbers of a checkpoint. Items written after it are made again,
    /// identically.
    pub(super) fn resume_from(&mut self, items: Items) -> Result<(), Error> {
        let Items { records, parked, arrivals, notes, settled } = items;
        let streams = [
            ("records", &mut self.records, records),
            ("parked", &mut self.parked, parked),
            ("verdicts", &mut self.verdicts, arrivals),
            ("notes", &mut self.notes, notes),
            ("settled", &mut self.settlements, settled),
        ];
        for (name, stream, items) in streams {
            if stream.log.items() < items {
                let there = stream.log.items();
                let message = format!("the log `{name}` has {there} items; a checkpoint counted {items}");
                return Err(Error::new(Kind::Corrupt, message));
            }
            stream.next = items;
        }
        // Verdicts are numbered by arrival; those written before are recognised by their block.
        self.arrivals = arrivals;
        self.read_settled(settled)
    }

    /// Reads the settlements before a number: the state at the checkpoint.
    fn read_settled(&mut self, until: u64) -> Result<(), Error> {
        if until == 0 {
            return Ok(());
        }
        let mut reader = self.settlements.reader(0)?;
        while let Some(entry) = reader.read()? {
            for (number, item) in items(&entry) {
                if number >= until {
                    return Ok(());
                }
                let damaged = || Error::new(Kind::Corrupt, format!("settlement {number} cannot be read"));
                let item = settlement_item(item).ok_or_else(damaged)?;
                self.settled.add(item.arrival, &item.settlement);
            }
        }
        Ok(())
    }

    pub(super) fn items(&self) -> Items {
        Items {
            records: self.records.next,
            parked: self.parked.next,
            arrivals: self.arrivals,
            notes: self.notes.next,
            settled: self.settlements.next,
        }
    }

    /// Returns the log of settlements.
    pub fn settled(&self) -> &Stream {
        &self.settlements
    }

    /// Returns the parked events that left the queue, as of the entries applied so far.
    pub fn settled_events(&self) -> &Settled {
        &self.settled
    }

    /// Settles a parked event, unless it is settled already. Returns whether it did.
    pub(super) fn settle(&mut self, arrival: u64, settlement: Settlement) -> bool {
        let is_first = self.settled.add(arrival, &settlement) || mutant::is_put_back(Mutant::SettledTwice);
        if is_first {
            self.settlements.push(&[], &SettlementItem { arrival, settlement }.to_bytes());
        }
        is_first
    }

    /// Returns the error that kept items from being written, if any. The caller that caused it may
    /// have ignored it.
    pub fn failure(&self) -> Option<&Error> {
        let Outlet { records, parked, verdicts, notes, settlements, .. } = self;
        let streams = [records, parked, verdicts, notes, settlements];
        streams.into_iter().find_map(|stream| stream.failure.as_ref())
    }

    /// Returns the events by the place they come from.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    pub(super) fn set_origins(&mut self, origins: Origins) {
        self.origins = origins;
    }

    /// Returns the number of received events.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Returns the log of metered records and partial ones.
    pub fn records(&self) -> &Stream {
        &self.records
    }

    /// Returns the log of parked events.
    pub fn parked(&self) -> &Stream {
        &self.parked
    }

    /// Returns the log of verdicts, block by block.
    pub fn verdicts(&self) -> &Stream {
        &self.verdicts
    }

    /// Returns the log of notes.
    pub fn notes(&self) -> &Stream {
        &self.notes
    }

    /// Sets the function that is called when records become readable while more are written.
    pub(super) fn announce_to(&mut self, announce: Announce) {
        self.announce = Some(announce);
    }

    /// Writes notes about the effects of a command on meters.
    pub(super) fn note(&mut self, plan: &Plan, noted: &[Noted]) {
        let before = self.records.next;
        noted.iter().for_each(|noted| self.notes.push(&[], &note::of_meter(plan, noted, before)));
    }

    /// Removes notes before a number.
    pub(super) fn release_notes(&mut self, before: u64) -> Result<usize, Error> {
        self.notes.release(before)
    }

    /// Removes verdicts of events that arrived before a number.
    pub(super) fn release_verdicts(&mut self, arrival: u64) -> Result<usize, Error> {
        self.verdicts.release(arrival)
    }

    pub(super) fn take_judged(&mut self) -> Vec<JudgedBlock> {
        std::mem::take(&mut self.judged)
    }

    /// Returns the two halves that a round writes to: one for records, one for everything else.
    pub(super) fn split<'o>(&'o mut self, plan: &'o Plan, at: Timestamp) -> (Sink<'o>, Watch<'o>) {
        let Outlet { records, parked, verdicts, notes, settlements, settled, arrivals, judged, origins, announce } = self;
        let watch = Watch { parked, verdicts, settlements, settled, arrivals, judged, origins, plan };
        (Sink { records, notes, announce, plan, at }, watch)
    }

    /// Writes the gathered items if they are many; records, notes and settlements always.
    pub(super) fn write(&mut self, at: Timestamp) -> Result<(), Error> {
        self.records.write(at)?;
        self.notes.write(at)?;
        self.settlements.write(at)?;
        for stream in [&mut self.parked, &mut self.verdicts] {
            if stream.gathered.len() >= GATHERED_BYTES {
                stream.write(at)?;
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, at: Timestamp) -> Result<(), Error> {
        let Outlet { records, parked, verdicts, notes, settlements, .. } = self;
        let streams = [records, parked, verdicts, notes, settlements];
        streams.into_iter().try_for_each(|stream| stream.write(at))
    }
}

/// Receives records and notes that were made at an instant.
pub(super) struct Sink<'o> {
    records: &'o mut Stream,
    notes: &'o mut Stream,
    announce: &'o mut Option<Announce>,
    plan: &'o Plan,
    at: Timestamp,
}

const RECORD: u8 = 0;
const THRESHOLD: u8 = 1;

impl RecordSink for Sink<'_> {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        self.records.push(&[RECORD], json);
        if self.records.relieve(self.at)?
            && let Some(announce) = self.announce
        {
            announce(self.records.written());
        }
        Ok(())
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        // In a log beside the records, so that readers of thresholds need not read all records.
        self.notes.push(&[], &note::written(NoteKind::Threshold, self.records.next, json));
        self.records.push(&[THRESHOLD], json);
        Ok(())
    }

    fn noted(&mut self, noted: &Noted) -> Result<(), Error> {
        self.notes.push(&[], &note::of_meter(self.plan, noted, self.records.next));
        self.notes.relieve(self.at).map(drop)
    }
}

/// Returns the folder of the log of records in a pipeline's folder.
pub fn records_folder(folder: &str) -> String {
    format!("{folder}/records")
}

/// A record in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordItem<'a> {
    /// Whether it is a partial one.
    pub is_threshold: bool,
    pub json: &'a [u8],
}

/// Decodes an item of the log of records.
pub fn record_item(item: &[u8]) -> Option<RecordItem<'_>> {
    let (kind, json) = item.split_first()?;
    Some(RecordItem { is_threshold: *kind == THRESHOLD, json })
}

/// Receives parked events, verdicts, and superseded parked events.
pub(super) struct Watch<'o> {
    parked: &'o mut Stream,
    verdicts: &'o mut Stream,
    settlements: &'o mut Stream,
    settled: &'o mut Settled,
    arrivals: &'o mut u64,
    judged: &'o mut Vec<JudgedBlock>,
    origins: &'o mut Origins,
    plan: &'o Plan,
}

impl Observer for Watch<'_> {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        let mut pen = Pen::default();
        // A released event has no line of its own: it came after the last arrival.
        let arrival = event.line - 1;
        pen.count(if event.is_released { self.arrivals.saturating_sub(1) } else { arrival });
        pen.byte(event.reason as u8 | if event.is_derived { DERIVED } else { 0 });
        pen.text(event.operator.unwrap_or_default().as_bytes());
        pen.text(event.detail.as_bytes());
        pen.text(event.raw);
        event.held.iter().for_each(|arrival| pen.count(*arrival));
        self.parked.push(&[], &pen.bytes);
        Ok(())
    }

    fn tapped(&mut self, _tap: &Tap, _line: u64) {}

    fn superseded(&mut self, superseded: Superseded) -> Result<(), Error> {
        let Superseded { by, parked, at, position } = superseded;
        let (how, who) = (How::Superseded, String::new());
        let settlement = Settlement { how, at, who, by: Some(by), position, number: None };
        if self.settled.add(parked, &settlement) {
            let item = SettlementItem { arrival: parked, settlement };
            self.settlements.push(&[], &item.to_bytes());
        }
        Ok(())
    }

    fn judged(&mut self, batch: &Batch, verdicts: &[Verdict]) {
        let first_arrival = *self.arrivals;
        *self.arrivals += verdicts.len() as u64;
        let block = JudgedBlock { position: batch.block.position, first_arrival, verdicts: verdicts.to_vec() };
        // Each event is an item, with a length only for the first one of its block. So items are
        // numbered by arrival, and a block is found by any of its events.
        if first_arrival >= self.verdicts.log.items() + u64::from(self.verdicts.count) {
            let mut pen = Pen { bytes: std::mem::take(&mut self.verdicts.gathered) };
            write_judged(&block, &mut pen);
            self.verdicts.gathered = pen.bytes;
            self.verdicts.count += verdicts.len() as u32;
        }
        let block_of = &batch.block;
        if block_of.origin_line.is_some() {
            let source = &self.plan.sources[block_of.origin.source].id;
            let key = (source.clone(), block_of.origin.name.to_string());
            self.origins.entry(key).or_default().add(verdicts);
        }
        self.verdicts.next = *self.arrivals;
        self.judged.push(block);
    }

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}
