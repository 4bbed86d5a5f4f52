//! The outcomes of a running pipeline: records, parked and derived events, verdicts, notes, settlements. Each
//! is a log of its own with numbered items, so that items which a restart makes a second time are
//! recognised and not written again. They must be the same: other items mean that the log of the
//! server no longer has what they were made of.

mod stream;
mod written;

use std::sync::Arc;

use flowmeter_core::event::Batch;
use flowmeter_core::image::Pen;
use flowmeter_core::mediation::Tap;
use flowmeter_core::mutant::{self, Mutant};
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Tally, Verdict};
use flowmeter_store::disk::Disk;
use flowmeter_store::log;

use super::derived;
use super::items::{DERIVED, JudgedBlock, write_judged};
use super::note::{self, NoteKind};
use super::origins::Origins;
use super::settlement::{How, Settled, Settlement, SettlementItem, settlement_item};
use crate::{DerivedEvent, Error, Kind, Noted, Observer, ParkedEvent, RecordSink, Superseded};
use stream::GATHERED_BYTES;
pub use stream::{Stream, items};

/// Called with the number of records that are durable and readable, while more are still being
/// written.
pub type Announce = Box<dyn FnMut(u64) + Send>;

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
    /// Events that operators made.
    pub derived: u64,
}

pub struct Outlet {
    records: Stream,
    parked: Stream,
    verdicts: Stream,
    notes: Stream,
    settlements: Stream,
    /// Events that operators made.
    derived: Stream,
    keeps_derived: bool,
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
            derived: open("derived")?,
            keeps_derived: true,
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
        let Items { records, parked, arrivals, notes, settled, derived } = items;
        let streams = [
            ("records", &mut self.records, records),
            ("parked", &mut self.parked, parked),
            ("verdicts", &mut self.verdicts, arrivals),
            ("notes", &mut self.notes, notes),
            ("settled", &mut self.settlements, settled),
            ("derived", &mut self.derived, derived),
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
            derived: self.derived.next,
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
        let Outlet { records, parked, verdicts, notes, settlements, derived, .. } = self;
        let streams = [records, parked, verdicts, notes, settlements, derived];
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

    /// Returns the log of events that operators made.
    pub fn derived(&self) -> &Stream {
        &self.derived
    }

    /// Sets whether events that operators make are kept. Those that an earlier start kept stay.
    pub(super) fn keep_derived(&mut self, keeps: bool) {
        self.keeps_derived = keeps;
    }

    /// Removes whole files of derived events that were all made before an instant, and the oldest ones
    /// until the rest has no more bytes than this.
    pub(super) fn release_derived(&mut self, before: Option<Timestamp>, bytes_max: Option<u64>) -> Result<(), Error> {
        let log = &mut self.derived.log;
        before.map(|before| log.release_older(before.nanos())).transpose()?;
        bytes_max.map(|bytes| log.release_beyond(bytes)).transpose()?;
        Ok(())
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
        let Outlet {
            records,
            parked,
            verdicts,
            notes,
            settlements,
            derived,
            settled,
            arrivals,
            judged,
            origins,
            announce,
            keeps_derived,
            ..
        } = self;
        // Those that an earlier start wrote are made again until all are, so that each keeps its number.
        let keeps_derived = *keeps_derived || derived.next < derived.log.items();
        let derived = keeps_derived.then_some(derived);
        let watch = Watch { parked, verdicts, settlements, derived, settled, arrivals, judged, origins, plan, at };
        (Sink { records, notes, announce, plan, at }, watch)
    }

    /// Writes the gathered items if they are many; records, notes and settlements always.
    pub(super) fn write(&mut self, at: Timestamp) -> Result<(), Error> {
        self.records.write(at)?;
        self.notes.write(at)?;
        self.settlements.write(at)?;
        for stream in [&mut self.parked, &mut self.verdicts, &mut self.derived] {
            if stream.gathered.len() >= GATHERED_BYTES {
                stream.write(at)?;
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, at: Timestamp) -> Result<(), Error> {
        let Outlet { records, parked, verdicts, notes, settlements, derived, .. } = self;
        let streams = [records, parked, verdicts, notes, settlements, derived];
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

/// Receives parked and derived events, verdicts, and superseded parked events.
pub(super) struct Watch<'o> {
    parked: &'o mut Stream,
    verdicts: &'o mut Stream,
    settlements: &'o mut Stream,
    /// The log of derived events, if they are kept.
    derived: Option<&'o mut Stream>,
    settled: &'o mut Settled,
    arrivals: &'o mut u64,
    judged: &'o mut Vec<JudgedBlock>,
    origins: &'o mut Origins,
    plan: &'o Plan,
    at: Timestamp,
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
        self.parked.relieve(self.at).map(drop)
    }

    fn wants_derived(&self) -> bool {
        self.derived.is_some()
    }

    fn derived(&mut self, event: &DerivedEvent<'_>) -> Result<(), Error> {
        if let Some(derived) = &mut self.derived {
            derived.push(&derived::head_of(event), event.json);
            // One tick may release more than an entry can hold.
            derived.relieve(self.at)?;
        }
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
