//! Merges of runs: neighbours in age, of about the same size.
//!
//! A merge is independent work with everything it needs: the owner requests it, any thread runs it,
//! and the owner adopts its result. Until then, and as long as a manifest may need them, the old
//! runs stay. Cells of one key become one, older first, so that of equal event times the later
//! arrival is the latest.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::amount::{Amount, Form};
use super::block::{Block, Grain, Key};
use super::manifest::{Forgotten, Named};
use super::run::{Pressing, Run, Writer};
use crate::Error;
use crate::disk::Disk;

/// Number of runs in a merge: fewer mean more writing, more mean more files to query.
pub(super) const FAN_IN: usize = 8;

/// Runs to be merged, from the oldest to the newest.
#[must_use = "a merge changes nothing until it is run and adopted"]
pub struct Merge {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: String,
    pub(super) number: u64,
    pub(super) runs: Vec<Arc<Run>>,
    pub(super) forgotten: Vec<Forgotten>,
    /// Cells of minutes before this one become cells of hours.
    pub(super) hours_before: Option<i32>,
    /// While this lives no other merge begins.
    pub(super) token: Arc<()>,
}

/// The result of a merge.
#[must_use = "what a merge made counts once it is adopted"]
pub struct Merged {
    pub(super) of: Vec<u64>,
    pub(super) number: u64,
    /// `None` if no cell was left.
    pub(super) run: Option<Run>,
    pub(super) _token: Arc<()>,
}

/// Returns the place among run sizes, oldest first, where a merge is due.
pub(super) fn due(sizes: &[u64]) -> Option<std::ops::Range<usize>> {
    let tiers: Vec<u32> = sizes.iter().map(|bytes| bytes.max(&4096).ilog2() / 3).collect();
    let mut wanted = tiers.clone();
    wanted.sort_unstable();
    wanted.dedup();
    for tier in wanted {
        let mut start = 0;
        for at in 0..=tiers.len() {
            if tiers.get(at).is_some_and(|known| *known <= tier) {
                continue;
            }
            if at - start >= FAN_IN {
                return Some(start..at.min(start + 2 * FAN_IN));
            }
            start = at + 1;
        }
    }
    None
}

impl Merge {
    /// Reads the runs and writes one in their place.
    pub fn run(self) -> Result<Merged, Error> {
        let of = self.runs.iter().map(|run| run.named.number).collect();
        let newest = self.runs.iter().map(|run| run.named.newest).max().unwrap_or(0);
        let mut streams = self.runs.iter().map(|run| self.stream(run)).collect::<Result<Vec<_>, _>>()?;
        let mut sink =
            Sink { writer: Writer::create(&*self.disk, &self.folder, self.number, Pressing::Firm)?, held: None, hour: None };
        // The streams that have more, by their next key and age: a step moves only one of them.
        let mut order: Vec<usize> = (0..streams.len()).filter(|age| streams[*age].key().is_some()).collect();
        order.sort_by_key(|age| (streams[*age].key(), *age));
        while let Some(&age) = order.first() {
            let Some((key, amount)) = streams[age].head() else { break };
            match self.hours_before {
                Some(before) if key.start < before => sink.push_hourly(&key, age, amount)?,
                _ => sink.push(&key, amount)?,
            }
            streams[age].step()?;
            match streams[age].key() {
                None => drop(order.remove(0)),
                Some(key) => {
                    let before = |other: &usize| (streams[*other].key(), *other) < (Some(key), age);
                    let place = order[1..].partition_point(before);
                    order[..=place].rotate_left(1);
                }
            }
        }
        sink.end_hour()?;
        sink.flush()?;
        let named = sink.writer.finish(newest)?;
        let run = (named.cells > 0).then(|| Run::open(&*self.disk, &self.folder, named)).transpose()?;
        Ok(Merged { of, number: self.number, run, _token: self.token })
    }

    fn stream<'m>(&'m self, run: &'m Run) -> Result<Stream<'m>, Error> {
        let mut stream = Stream { run, forgotten: &self.forgotten, next: 0, block: Block::default(), owner: None, at: 0 };
        stream.fill()?;
        Ok(stream)
    }
}

/// The cells of a run, in order.
struct Stream<'m> {
    run: &'m Run,
    forgotten: &'m [Forgotten],
    /// Index of the next block.
    next: usize,
    block: Block,
    owner: Option<(Uuid, Form)>,
    at: usize,
}

impl Stream<'_> {
    fn key(&self) -> Option<Key<'_>> {
        self.head().map(|(key, _)| key)
    }

    fn head(&self) -> Option<(Key<'_>, &Amount)> {
        let (cell, (meter_type, form)) = (self.block.cells.get(self.at)?, self.owner?);
        let (user, tuple) = (self.block.users.get(cell.user), self.block.tuples.get(cell.tuple));
        Some((Key { meter_type, form, start: cell.start, grain: cell.grain, user, tuple }, &cell.amount))
    }

    fn step(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.fill()
    }

    fn fill(&mut self) -> Result<(), Error> {
        while self.at >= self.block.cells.len() {
            let Some(place) = self.run.places.get(self.next) else {
                self.owner = None;
                return Ok(());
            };
            self.next += 1;
            if !is_hidden(self.forgotten, place.meter_type, &self.run.named) {
                self.block = self.run.block(place)?;
                self.owner = Some((place.meter_type, place.form));
                self.at = 0;
            }
        }
        Ok(())
    }
}

/// Returns whether the cells of a meter type in a run are forgotten.
pub(super) fn is_hidden(forgotten: &[Forgotten], meter_type: Uuid, run: &Named) -> bool {
    forgotten.iter().any(|forgotten| forgotten.hides(meter_type, run))
}

/// The key of the cells that are being combined.
struct Held {
    meter_type: Uuid,
    form: Form,
    start: i32,
    grain: Grain,
    user: Vec<u8>,
    tuple: Vec<u8>,
    amount: Amount,
}

impl Held {
    fn key(&self) -> Key<'_> {
        let Held { meter_type, form, start, grain, .. } = *self;
        Key { meter_type, form, start, grain, user: &self.user, tuple: &self.tuple }
    }
}

/// An amount with the age of its run.
type Aged = (usize, Amount);

/// An hour of one meter type, being combined from its minutes.
struct Hour {
    meter_type: Uuid,
    form: Form,
    start: i32,
    /// By user and tuple, with the age of the run: minutes are in order, but later arrivals must be
    /// added later.
    cells: BTreeMap<(Vec<u8>, Vec<u8>), Vec<Aged>>,
}

/// Combines cells of one key and writes them.
struct Sink<'d> {
    writer: Writer<'d>,
    held: Option<Held>,
    hour: Option<Hour>,
}

impl Sink<'_> {
    fn push(&mut self, key: &Key<'_>, amount: &Amount) -> Result<(), Error> {
        self.end_hour()?;
        self.write(key, amount)
    }

    fn write(&mut self, key: &Key<'_>, amount: &Amount) -> Result<(), Error> {
        if let Some(held) = &mut self.held
            && held.key() == *key
            && held.amount.merge(key.form, amount)
        {
            return Ok(());
        }
        self.flush()?;
        let Key { meter_type, form, start, grain, user, tuple } = *key;
        self.held = Some(Held { meter_type, form, start, grain, user: user.into(), tuple: tuple.into(), amount: amount.clone() });
        Ok(())
    }

    fn push_hourly(&mut self, key: &Key<'_>, age: usize, amount: &Amount) -> Result<(), Error> {
        let start = key.start - key.start.rem_euclid(Grain::Hour.minutes());
        let is_same = |hour: &Hour| (hour.meter_type, hour.form, hour.start) == (key.meter_type, key.form, start);
        if !self.hour.as_ref().is_some_and(is_same) {
            self.end_hour()?;
        }
        let (meter_type, form) = (key.meter_type, key.form);
        let hour = self.hour.get_or_insert_with(|| Hour { meter_type, form, start, cells: BTreeMap::new() });
        let cells = hour.cells.entry((key.user.into(), key.tuple.into())).or_default();
        let known = cells.iter_mut().rfind(|(known, _)| *known == age);
        if !known.is_some_and(|(_, known)| known.merge(form, amount)) {
            cells.push((age, amount.clone()));
        }
        Ok(())
    }

    fn end_hour(&mut self) -> Result<(), Error> {
        let Some(Hour { meter_type, form, start, cells }) = self.hour.take() else { return Ok(()) };
        for ((user, tuple), mut amounts) in cells {
            amounts.sort_by_key(|(age, _)| *age);
            let key = Key { meter_type, form, start, grain: Grain::Hour, user: &user, tuple: &tuple };
            amounts.iter().try_for_each(|(_, amount)| self.write(&key, amount))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        match self.held.take() {
            Some(held) => self.writer.push(&held.key(), &held.amount),
            None => Ok(()),
        }
    }
}
