//! What comes out of a pipeline at work: records, parked events, verdicts, notes. Each is a log
//! of its own whose items are numbered, so that what a restart makes a second time is
//! recognised and left out.

use std::sync::Arc;

use flowmeter_core::event::Batch;
use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::mediation::Tap;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Encoded, Entry, EntryKind, Log, Reader};

use super::items::{DERIVED, JudgedBlock, write_judged};
use super::note::{self, NoteKind};
use super::settlement::{How, Settled, Settlement, SettlementItem, settlement_item};
use crate::{Error, Kind, Noted, Observer, ParkedEvent, RecordSink, Superseded};

/// Bytes of items that become an entry, where nobody waits.
const GATHERED_BYTES: usize = 1 << 20;
/// Bytes of items that are made durable together, where there are many: so the disk is waited
/// for seldom, and whoever delivers has something to begin with.
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
    /// The error that kept items from being written. They are missing from the log, so later
    /// items must not be written either; the pipeline must be loaded again.
    failure: Option<Error>,
}

/// Is told up to which number records can be read, while there come more.
pub type Announce = Box<dyn FnMut(u64) + Send>;

impl Stream {
    fn open(disk: &Arc<dyn Disk>, folder: &str, settings: log::Settings) -> Result<Stream, Error> {
        let (log, _) = Log::open(Arc::clone(disk), folder, settings)?;
        Ok(Stream { next: log.items(), log, gathered: Vec::new(), count: 0, appended: 0, failure: None })
    }

    /// Adds an item, of two parts.
    fn push(&mut self, head: &[u8], rest: &[u8]) {
        self.next += 1;
        // It was written before the restart.
        if self.next <= self.log.items() {
            return;
        }
        let mut pen = Pen { bytes: std::mem::take(&mut self.gathered) };
        pen.count((head.len() + rest.len()) as u64);
        pen.bytes.extend_from_slice(head);
        pen.bytes.extend_from_slice(rest);
        self.gathered = pen.bytes;
        self.count += 1;
    }

    /// Makes an entry of what has gathered.
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

    /// Makes everything durable.
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

    /// Writes what has gathered, if it is much; whether more can be read than before.
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

    /// The number of the next item.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Items that can be read.
    pub fn written(&self) -> u64 {
        self.log.durable_items()
    }

    /// The number of the first item that is still there.
    pub fn first(&self) -> u64 {
        self.log.first_item()
    }

    /// Lets go of whole files whose items all come before one.
    pub fn release(&mut self, before: u64) -> Result<usize, Error> {
        Ok(self.log.release_items(before)?)
    }

    /// Reads entries from the one on that holds an item.
    pub fn reader(&self, item: u64) -> Result<Reader, Error> {
        Ok(self.log.reader_of_item(item)?)
    }
}

/// The items of an entry, with their numbers.
pub fn items(entry: &Entry) -> impl Iterator<Item = (u64, &[u8])> {
    let mut glass = Glass::new(&entry.bytes);
    let items = std::iter::from_fn(move || if glass.is_at_end() { None } else { glass.text().ok() });
    (entry.first_item..).zip(items)
}

/// How many items a pipeline's logs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Metered records and partial ones.
    pub records: u64,
    /// Parked events.
    pub parked: u64,
    /// Events received.
    pub arrivals: u64,
    /// Events of single meters, thresholds.
    pub notes: u64,
    /// Parked events that left the queue.
    pub settled: u64,
}

/// A pipeline's logs.
pub struct Outlet {
    records: Stream,
    parked: Stream,
    verdicts: Stream,
    notes: Stream,
    settlements: Stream,
    settled: Settled,
    arrivals: u64,
    judged: Vec<JudgedBlock>,
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
            announce: None,
        })
    }

    /// Goes on from what a checkpoint says. What was written after it is made again, alike.
    pub(super) fn go_on_from(&mut self, items: Items) -> Result<(), Error> {
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
                let message = format!("the log `{name}` has {there} items; a checkpoint has seen {items}");
                return Err(Error::new(Kind::Corrupt, message));
            }
            stream.next = items;
        }
        // Verdicts are numbered by arrival; those written before are told by their block.
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

    /// How parked events left the queue, in order.
    pub fn settled(&self) -> &Stream {
        &self.settlements
    }

    /// Which parked events left the queue, as of the entries taken so far.
    pub fn settled_events(&self) -> &Settled {
        &self.settled
    }

    /// Settles a parked event, unless it is settled already; says whether it does.
    pub(super) fn settle(&mut self, arrival: u64, settlement: Settlement) -> bool {
        let is_first = self.settled.add(arrival, &settlement);
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

    /// Events received so far.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Metered records, and partial ones.
    pub fn records(&self) -> &Stream {
        &self.records
    }

    /// The correction queue.
    pub fn parked(&self) -> &Stream {
        &self.parked
    }

    /// Verdicts, block by block.
    pub fn verdicts(&self) -> &Stream {
        &self.verdicts
    }

    /// What happened to single meters, and thresholds that were crossed.
    pub fn notes(&self) -> &Stream {
        &self.notes
    }

    /// From now on somebody is told of records while more of them come.
    pub(super) fn announce_to(&mut self, announce: Announce) {
        self.announce = Some(announce);
    }

    /// Takes note of what a command did to meters.
    pub(super) fn note(&mut self, plan: &Plan, noted: &[Noted]) {
        let before = self.records.next;
        noted.iter().for_each(|noted| self.notes.push(&[], &note::of_meter(plan, noted, before)));
    }

    /// Lets go of notes before one.
    pub(super) fn release_notes(&mut self, before: u64) -> Result<usize, Error> {
        self.notes.release(before)
    }

    /// Lets go of verdicts of events that came before one.
    pub(super) fn release_verdicts(&mut self, arrival: u64) -> Result<usize, Error> {
        self.verdicts.release(arrival)
    }

    pub(super) fn take_judged(&mut self) -> Vec<JudgedBlock> {
        std::mem::take(&mut self.judged)
    }

    /// The two hands of a round: one for records, one for everything else.
    pub(super) fn split<'o>(&'o mut self, plan: &'o Plan, at: Timestamp) -> (Sink<'o>, Watch<'o>) {
        let Outlet { records, parked, verdicts, notes, settlements, settled, arrivals, judged, announce } = self;
        let watch = Watch { parked, verdicts, settlements, settled, arrivals, judged };
        (Sink { records, notes, announce, plan, at }, watch)
    }

    /// Writes what has gathered, if it is much; records, notes and settlements always.
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

/// Takes records and notes, made at an instant.
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
        // Beside the records, so that who asks only for thresholds need not read all of them.
        self.notes.push(&[], &note::written(NoteKind::Threshold, self.records.next, json));
        self.records.push(&[THRESHOLD], json);
        Ok(())
    }

    fn noted(&mut self, noted: &Noted) -> Result<(), Error> {
        self.notes.push(&[], &note::of_meter(self.plan, noted, self.records.next));
        self.notes.relieve(self.at).map(drop)
    }
}

/// The folder of the log of records of the pipeline in a folder.
pub fn records_folder(folder: &str) -> String {
    format!("{folder}/records")
}

/// A record as its log holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordItem<'a> {
    /// Whether it is a partial one.
    pub is_threshold: bool,
    /// The record.
    pub json: &'a [u8],
}

/// Reads an item of the log of records.
pub fn record_item(item: &[u8]) -> Option<RecordItem<'_>> {
    let (kind, json) = item.split_first()?;
    Some(RecordItem { is_threshold: *kind == THRESHOLD, json })
}

/// Takes parked events, verdicts, and parked events that were superseded.
pub(super) struct Watch<'o> {
    parked: &'o mut Stream,
    verdicts: &'o mut Stream,
    settlements: &'o mut Stream,
    settled: &'o mut Settled,
    arrivals: &'o mut u64,
    judged: &'o mut Vec<JudgedBlock>,
}

impl Observer for Watch<'_> {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        let mut pen = Pen::default();
        // What an operator released has no line of its own: it came after the last arrival.
        let arrival = event.line - 1;
        pen.count(if event.is_released { self.arrivals.saturating_sub(1) } else { arrival });
        pen.byte(event.reason as u8 | if event.is_derived { DERIVED } else { 0 });
        pen.text(event.operator.unwrap_or_default().as_bytes());
        pen.text(event.detail.as_bytes());
        pen.text(event.raw);
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
        // Each event is an item of no length but of the first of its block, so that items
        // are numbered by arrival and a block is found by any of its events.
        if first_arrival >= self.verdicts.log.items() + u64::from(self.verdicts.count) {
            let mut pen = Pen { bytes: std::mem::take(&mut self.verdicts.gathered) };
            write_judged(&block, &mut pen);
            self.verdicts.gathered = pen.bytes;
            self.verdicts.count += verdicts.len() as u32;
        }
        self.verdicts.next = *self.arrivals;
        self.judged.push(block);
    }

    fn progress(&mut self, _tally: &Tally, _bytes: (u64, Option<u64>)) {}
}
