//! Received events in the order of arrival, each with its result: joins the entries of the log with
//! the verdicts and parked events of a pipeline.
//!
//! Runs beside the thread that owns the pipeline. It may read items that are not durable yet: a
//! crash makes them again, identically.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{Entry, Reader, Spot, segments_of};

use super::items::{JudgedBlock, judged, parked_item};
use super::outlet::items;
use crate::journal::Entries;
use crate::{Error, Kind};

/// Events of one entry of the log, with verdicts.
pub struct Arrived {
    /// The entry, with the letter of the events.
    pub entry: Arc<Entry>,
    /// Number of lines of the letter before the first of these events.
    pub skip: usize,
    /// Its number in the order of arrival.
    pub first: u64,
    /// The verdict of each event, from that line on.
    pub verdicts: Vec<Verdict>,
    /// The reasons of the parked ones, by arrival.
    pub parked: BTreeMap<u64, ParkedNote>,
}

/// The reason for parking an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedNote {
    pub reason: Reason,
    /// The operator; empty if the event could not be read.
    pub operator: String,
    pub detail: String,
}

impl Arrived {
    /// Returns the time of receipt.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.entry.at)
    }
}

/// The places from which the events of an entry, and later ones, are read without searching.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The arrival of the first event of the entry.
    pub arrival: u64,
    /// The place of the entry in the log.
    pub log: Spot,
    /// The place in the verdicts: at the entry's first verdicts, or before.
    verdicts: Spot,
    /// The place in the parked events: at the entry's first one, or before; none if none was read.
    parked: Option<Spot>,
}

/// A reader of received events.
pub struct Arrivals {
    disk: Arc<dyn Disk>,
    log: Box<dyn Entries>,
    /// The first entry of the log when reading began.
    log_first: u64,
    /// Entries before this one are known to be durable.
    log_end: u64,
    verdicts: Reader,
    parked_folder: String,
    parked: Option<Reader>,
    notes: VecDeque<(u64, ParkedNote)>,
    /// The arrival of the first event of entries of the parked events, and their places: from the one
    /// in which the notes of the next events may begin.
    note_spots: VecDeque<(u64, Spot)>,
    blocks: VecDeque<JudgedBlock>,
    /// The first arrival of entries of the verdicts that were read, and their places: from the one
    /// with the last event that was read.
    spots: VecDeque<(u64, Spot)>,
    /// The last entry, and the arrival of its first event.
    entry: Option<(u64, u64)>,
    held: Option<Arc<Entry>>,
    next: u64,
}

impl Arrivals {
    /// Reads from an arrival on: the log from its first entry up to one that is known to be durable,
    /// and the folder of a pipeline.
    ///
    /// # Errors
    /// `Unavailable` if the verdicts of that arrival were removed.
    pub fn open(
        disk: &Arc<dyn Disk>,
        (log_first, log): (u64, Box<dyn Entries>),
        folder: &str,
        from: u64,
        end: u64,
    ) -> Result<Arrivals, Error> {
        let verdicts_folder = format!("{folder}/verdicts");
        let entry = entry_before(disk, &verdicts_folder, from)?;
        let verdicts = Reader::of_item_beside(Arc::clone(disk), &verdicts_folder, from)?;
        Ok(Arrivals { entry, ..Arrivals::new(disk, (log_first, log), verdicts, folder, from, end) })
    }

    /// Reads from a mark on: the log from the place of the mark up to an entry that is known to be
    /// durable, and the folder of a pipeline.
    ///
    /// # Errors
    /// The verdicts cannot be read, or no longer have the place.
    pub fn open_at(disk: &Arc<dyn Disk>, mark: &Mark, log: Box<dyn Entries>, folder: &str, end: u64) -> Result<Arrivals, Error> {
        let verdicts = Reader::from_spot(Arc::clone(disk), &format!("{folder}/verdicts"), mark.verdicts, mark.arrival)?;
        let mut arrivals = Arrivals::new(disk, (mark.log.position, log), verdicts, folder, mark.arrival, end);
        let parked = mark.parked.map(|spot| Reader::from_spot(Arc::clone(disk), &arrivals.parked_folder, spot, 0));
        arrivals.parked = parked.transpose()?;
        Ok(arrivals)
    }

    fn new(
        disk: &Arc<dyn Disk>,
        (log_first, log): (u64, Box<dyn Entries>),
        verdicts: Reader,
        folder: &str,
        next: u64,
        end: u64,
    ) -> Arrivals {
        Arrivals {
            disk: Arc::clone(disk),
            log,
            log_first,
            log_end: end,
            verdicts,
            parked_folder: format!("{folder}/parked"),
            parked: None,
            notes: VecDeque::new(),
            note_spots: VecDeque::new(),
            blocks: VecDeque::new(),
            spots: VecDeque::new(),
            entry: None,
            held: None,
            next,
        }
    }

    /// Returns the first arrival whose verdict still exists.
    pub fn first(disk: &Arc<dyn Disk>, folder: &str) -> Result<u64, Error> {
        Ok(segments_of(&**disk, &format!("{folder}/verdicts"))?.first().map_or(0, |(_, item)| *item))
    }

    /// Moves the end of the log.
    pub fn follow(&mut self, end: u64) -> Result<(), Error> {
        self.log_end = end;
        self.log.follow(end)?;
        self.verdicts.follow(u64::MAX)?;
        self.parked.as_mut().map_or(Ok(()), |parked| parked.follow(u64::MAX))?;
        Ok(())
    }

    /// Returns the next arrival.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the last entry and the arrival of its first event.
    pub fn entry(&self) -> Option<(u64, u64)> {
        self.entry
    }

    /// Returns the mark of the events that were read last, if they begin an entry.
    pub fn mark(&self, arrived: &Arrived) -> Option<Mark> {
        let log = self.log.last_spot().filter(|spot| spot.position == arrived.entry.position)?;
        let verdicts = self.spots.iter().rev().find(|(first, _)| *first <= arrived.first).map(|(_, spot)| *spot)?;
        let parked = self.note_spots.iter().rev().find(|(first, _)| *first < arrived.first).map(|(_, spot)| *spot);
        (arrived.skip == 0).then_some(Mark { arrival: arrived.first, log, verdicts, parked })
    }

    /// Skips the events before an arrival; returns whether it is there. The reader must have been at
    /// the beginning of an entry.
    pub fn skip_to(&mut self, arrival: u64) -> Result<bool, Error> {
        while let Some(blocks) = self.blocks_of_entry()? {
            let (position, first) = (blocks[0].position, blocks[0].first_arrival);
            if self.entry.is_none_or(|(known, _)| known != position) {
                self.entry = Some((position, first));
            }
            let end = blocks.last().map_or(first, |last| last.first_arrival + last.verdicts.len() as u64);
            if end > arrival {
                self.next = self.next.max(arrival);
                self.put_back(blocks);
                return Ok(true);
            }
            self.next = end;
        }
        Ok(false)
    }

    /// Reads a single event, which is not before the next one; `None` if it is not there yet. The
    /// reader must have been at the beginning of an entry.
    pub fn read_one(&mut self, arrival: u64) -> Result<Option<Arrived>, Error> {
        loop {
            let Some(blocks) = self.blocks_of_entry()? else { return Ok(None) };
            let (position, first) = (blocks[0].position, blocks[0].first_arrival);
            if position >= self.log_end {
                self.put_back(blocks);
                return Ok(None);
            }
            if self.entry.is_none_or(|(known, _)| known != position) {
                self.entry = Some((position, first));
            }
            let until = |block: &JudgedBlock| block.first_arrival + block.verdicts.len() as u64;
            let holding = blocks.iter().find(|block| (block.first_arrival..until(block)).contains(&arrival));
            let Some(holding) = holding else {
                self.next = blocks.last().map_or(self.next, until);
                continue;
            };
            let verdict = holding.verdicts[(arrival - holding.first_arrival) as usize];
            let start = self.entry.map_or(first, |(_, start)| start);
            let parked = match verdict {
                // The notes of a block are in no order.
                Verdict::Parked(_) => self.notes_of(start, holding.first_arrival, until(holding))?,
                _ => BTreeMap::new(),
            };
            // Others of the block may be asked for next.
            parked.iter().rev().for_each(|(arrival, note)| self.notes.push_front((*arrival, note.clone())));
            let parked = parked.into_iter().filter(|(known, _)| *known == arrival).collect();
            // Others of the entry may be asked for next.
            self.next = arrival + 1;
            self.put_back(blocks);
            let Some(entry) = self.entry_at(position)? else { return Ok(None) };
            let skip = (arrival - start) as usize;
            return Ok(Some(Arrived { entry, skip, first: arrival, verdicts: vec![verdict], parked }));
        }
    }

    /// Passes entries in whose verdicts nothing is wanted, up to an arrival. Their content is not read.
    pub fn pass_unwanted(&mut self, until: u64, is_wanted: &dyn Fn(Verdict) -> bool) -> Result<(), Error> {
        while self.next < until
            && let Some(blocks) = self.blocks_of_entry()?
        {
            let (position, first) = (blocks[0].position, blocks[0].first_arrival);
            let is_wanted = blocks.iter().any(|block| block.verdicts.iter().any(|verdict| is_wanted(*verdict)));
            if is_wanted || position >= self.log_end {
                self.put_back(blocks);
                break;
            }
            if self.entry.is_none_or(|(known, _)| known != position) {
                self.entry = Some((position, first));
            }
            self.next = blocks.last().map_or(self.next, |last| last.first_arrival + last.verdicts.len() as u64);
        }
        Ok(())
    }

    /// Reads the next events; `None` at the end. With `patient`, it waits for parked events whose
    /// reason is not written yet, although their verdict is.
    pub fn read(&mut self, patient: bool) -> Result<Option<Arrived>, Error> {
        let Some(blocks) = self.blocks_of_entry()? else { return Ok(None) };
        let position = blocks[0].position;
        if position >= self.log_end {
            // Counted after the end of the log was last moved.
            self.put_back(blocks);
            return Ok(None);
        }
        if self.entry.is_none_or(|(known, _)| known != position) {
            self.entry = Some((position, blocks[0].first_arrival));
        }
        let start = self.entry.map_or(0, |(_, start)| start);
        let first = blocks[0].first_arrival.max(self.next);
        let end = blocks.last().map_or(first, |block| block.first_arrival + block.verdicts.len() as u64);
        let parked = self.notes_of(start, first, end)?;
        let all = blocks.iter().flat_map(|block| (block.first_arrival..).zip(block.verdicts.iter().copied()));
        let verdicts: Vec<(u64, Verdict)> = all.filter(|(arrival, _)| *arrival >= first).collect();
        let lacks = |(arrival, verdict): &(u64, Verdict)| matches!(verdict, Verdict::Parked(_)) && !parked.contains_key(arrival);
        if patient && verdicts.iter().any(lacks) {
            parked.into_iter().rev().for_each(|note| self.notes.push_front(note));
            self.put_back(blocks);
            return Ok(None);
        }
        self.next = end;
        let Some(entry) = self.entry_at(position)? else {
            if self.log.position() > position {
                // Lost to damage: the event was counted, and its content no longer exists.
                return self.read(patient);
            }
            return Err(Error::new(Kind::Corrupt, format!("entry {position} has verdicts, but is not in the log")));
        };
        let verdicts = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
        Ok(Some(Arrived { entry, skip: (first - start) as usize, first, verdicts, parked }))
    }

    fn put_back(&mut self, blocks: Vec<JudgedBlock>) {
        blocks.into_iter().rev().for_each(|block| self.blocks.push_front(block));
    }

    /// Returns the blocks of the next entry, as far as they are written.
    fn blocks_of_entry(&mut self) -> Result<Option<Vec<JudgedBlock>>, Error> {
        loop {
            // Skips blocks whose entries the log no longer has, and blocks that were read before.
            while self.blocks.front().is_some_and(|block| {
                block.position < self.log_first || block.first_arrival + (block.verdicts.len() as u64) <= self.next
            }) {
                self.blocks.pop_front();
            }
            let position = self.blocks.front().map(|block| block.position);
            let whole = position.is_some_and(|position| self.blocks.iter().any(|block| block.position != position));
            if !whole && let Some(entry) = self.verdicts.read()? {
                let before = self.blocks.len();
                self.blocks.extend(judged(&entry));
                self.note_spot(before);
                continue;
            }
            let Some(position) = position else { return Ok(None) };
            let count = self.blocks.iter().take_while(|block| block.position == position).count();
            return Ok(Some(self.blocks.drain(..count).collect()));
        }
    }

    /// Keeps the place of the entry of the verdicts that was read last, by its first block.
    fn note_spot(&mut self, block: usize) {
        let (Some(block), Some(spot)) = (self.blocks.get(block), self.verdicts.last_spot()) else { return };
        self.spots.push_back((block.first_arrival, spot));
        // Those before the one with the last entry are not needed any more.
        let start = self.entry.map_or(self.next, |(_, start)| start.min(self.next));
        while self.spots.get(1).is_some_and(|(first, _)| *first <= start) {
            self.spots.pop_front();
        }
    }

    /// Reads an entry of the log. Keeps the last one: its blocks may come in parts.
    fn entry_at(&mut self, position: u64) -> Result<Option<Arc<Entry>>, Error> {
        if let Some(held) = self.held.as_ref().filter(|held| held.position == position) {
            return Ok(Some(Arc::clone(held)));
        }
        self.log.skip_to(position)?;
        self.held = self.log.read()?.filter(|entry| entry.position == position).map(Arc::new);
        Ok(self.held.clone())
    }

    /// Keeps the place of an entry of the parked events that was just read. Entries before one whose
    /// first event arrived before `start` are not needed for the events from `start` on.
    fn note_parked_spot(&mut self, entry: &Entry, parked: &Reader, start: u64) {
        let (Some(first), Some(spot)) = (first_parked(entry), parked.last_spot()) else { return };
        self.note_spots.push_back((first, spot));
        while self.note_spots.get(1).is_some_and(|(first, _)| *first < start) {
            self.note_spots.pop_front();
        }
    }

    /// Returns the reasons of parked events in a range of arrivals. The events of a block are in no
    /// order, the blocks are; so everything before `start` belongs to earlier ones.
    fn notes_of(&mut self, start: u64, first: u64, end: u64) -> Result<BTreeMap<u64, ParkedNote>, Error> {
        let mut parked = match self.parked.take() {
            Some(parked) => parked,
            None => parked_from(&self.disk, &self.parked_folder, start)?,
        };
        let mut found = BTreeMap::new();
        loop {
            while let Some((arrival, note)) = self.notes.pop_front_if(|(arrival, _)| *arrival < end) {
                if arrival >= first {
                    found.entry(arrival).or_insert(note);
                }
            }
            if !self.notes.is_empty() {
                break;
            }
            let Some(entry) = parked.read()? else { break };
            self.note_parked_spot(&entry, &parked, start);
            let notes = items(&entry).filter_map(|(_, item)| parked_item(item));
            let kept = |item: super::ParkedItem<'_>| {
                let note = ParkedNote { reason: item.reason, operator: item.operator.to_owned(), detail: item.detail.to_owned() };
                (item.arrival, note)
            };
            self.notes.extend(notes.filter(|item| item.arrival >= first && !item.is_derived).map(kept));
        }
        self.parked = Some(parked);
        Ok(found)
    }
}

/// Returns the arrival of the first event of an entry of the parked events.
fn first_parked(entry: &Entry) -> Option<u64> {
    items(entry).next().and_then(|(_, item)| Some(parked_item(item)?.arrival))
}

/// Returns the entry of the event before an arrival, and the arrival of its first event.
fn entry_before(disk: &Arc<dyn Disk>, folder: &str, from: u64) -> Result<Option<(u64, u64)>, Error> {
    let first_kept = segments_of(&**disk, folder)?.first().map_or(0, |(_, item)| *item);
    let mut found: Option<(u64, u64)> = None;
    loop {
        let before = found.map_or(from, |(_, start)| start);
        if before <= first_kept {
            return Ok(found);
        }
        let Some(entry) = Reader::of_item_beside(Arc::clone(disk), folder, before - 1)?.read()? else { return Ok(found) };
        let blocks: Vec<JudgedBlock> = judged(&entry).filter(|block| block.first_arrival < before).collect();
        let position = match (found, blocks.last()) {
            (Some((position, _)), _) => position,
            (None, Some(block)) => block.position,
            (None, None) => return Ok(None),
        };
        let Some(start) = blocks.iter().filter(|block| block.position == position).map(|block| block.first_arrival).min() else {
            return Ok(found);
        };
        found = Some((position, start));
        // An earlier block of the same entry may be in the previous entry of verdicts.
        if blocks.first().is_some_and(|block| block.position != position) {
            return Ok(found);
        }
    }
}

/// Returns the last entry of the log that a pipeline's verdicts name.
pub(super) fn last_position(disk: &Arc<dyn Disk>, folder: &str) -> Result<Option<u64>, Error> {
    let verdicts = format!("{folder}/verdicts");
    let Some((_, item)) = segments_of(&**disk, &verdicts)?.pop() else { return Ok(None) };
    let mut reader = Reader::of_item_beside(Arc::clone(disk), &verdicts, item)?;
    let mut last = None;
    while let Some(entry) = reader.read()? {
        last = judged(&entry).map(|block| block.position).max().max(last);
    }
    Ok(last)
}

/// Reads parked events from the last entry on that begins before an arrival, with which an entry of
/// the log begins.
fn parked_from(disk: &Arc<dyn Disk>, folder: &str, arrival: u64) -> Result<Reader, Error> {
    for (segment, item) in segments_of(&**disk, folder)?.into_iter().rev() {
        let open = || Reader::of_item_beside(Arc::clone(disk), folder, item);
        if open()?.read()?.and_then(|entry| first_parked(&entry)).is_none_or(|first| first >= arrival) {
            continue;
        }
        let (mut passing, mut places) = (open()?, Vec::new());
        while let Some(place) = passing.pass_one()?.filter(|place| place.segment == segment) {
            places.push(place);
        }
        let at = |place: &Spot| Reader::from_spot(Arc::clone(disk), folder, *place, 0);
        let (mut before, mut after) = (0, places.len());
        while before + 1 < after {
            let middle = usize::midpoint(before, after);
            match at(&places[middle])?.read()?.and_then(|entry| first_parked(&entry)) {
                Some(first) if first < arrival => before = middle,
                _ => after = middle,
            }
        }
        return places.get(before).map_or_else(open, at).map_err(Error::from);
    }
    Ok(Reader::of_item_beside(Arc::clone(disk), folder, 0)?)
}
