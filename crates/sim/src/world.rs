//! A world: a node, its disk, its senders and its clock; the steps that a seed takes there; and the
//! checks after every restart and at the end.

mod acts;
mod damage;
mod delivery;
mod recovery;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_engine::live::{Live, LogCommand, copy_answers, copy_contents, folder_of};
use flowmeter_store::log::{Encoded, Entry, EntryKind, Log};

use crate::audit::{self, Seen};
use crate::disk::{Faults, SimDisk};
use crate::documents::{DOCUMENTS, HOUR, SECOND, plan_of};
use crate::node::{Layout, NAMESPACE};
use crate::oracle::Oracle;
use crate::producer::Producer;
use crate::random::Random;
use crate::services::Liar;

/// The reason why a step did not finish.
pub(crate) enum Stop {
    /// Something is wrong that no failing disk explains.
    Wrong(String),
    /// The disk failed, or the program ended.
    Disk,
}

impl From<String> for Stop {
    fn from(what: String) -> Stop {
        Stop::Wrong(what)
    }
}

/// An entry of the log as it was appended.
#[derive(Clone, Debug)]
struct Kept {
    kind: EntryKind,
    at: i64,
    bytes: Vec<u8>,
}

/// A pipeline, and the facts about it outside of it.
struct Slot {
    document: usize,
    /// The entry and the instant it begins with.
    begun: (u64, i64),
    live: Option<Live>,
    paused: bool,
    seen: Seen,
    /// The oracle; none for a pipeline that mediates.
    oracle: Option<Oracle>,
    released: u64,
    /// The version that was adopted last.
    version: u32,
    delivering: delivery::Delivering,
}

pub struct World {
    random: Random,
    trace: bool,
    disk: SimDisk,
    layout: Layout,
    now: i64,
    producer: Producer,
    log: Option<Log>,
    slots: Vec<Slot>,
    /// Acknowledged entries, and those found in the log.
    truth: Vec<Kept>,
    /// Entries that were appended and not acknowledged: they may exist or not.
    pending: Vec<Kept>,
    /// Letters that were not acknowledged, to be sent again.
    unanswered: Vec<Vec<u8>>,
    happened: BTreeMap<&'static str, u64>,
    /// The service that operators ask.
    service: Arc<Liar>,
}

/// The first instant of all worlds: the night before clocks change in Oslo.
const BEGINNING: i64 = 1_711_756_800 * SECOND;

impl World {
    /// Returns the world of a seed before its first step.
    pub fn new(seed: u64, trace: bool) -> World {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.fork());
        let layout = Layout {
            partitions: 1 + random.index(3),
            segment_bytes: 600 + random.below(4000),
            outlet_bytes: 400 + random.below(6000),
            identities_bytes: 0,
        };
        let service = Arc::new(Liar::new(random.fork()));
        World {
            service,
            trace,
            disk,
            layout,
            now: BEGINNING + random.below(48 * 3600) as i64 * SECOND + random.below(1000) as i64 * 1_000_000,
            producer: Producer::default(),
            log: None,
            slots: Vec::new(),
            truth: Vec::new(),
            pending: Vec::new(),
            unanswered: Vec::new(),
            happened: BTreeMap::new(),
            random,
        }
    }

    /// Takes a number of steps, then checks everything. Returns how often each step happened.
    ///
    /// # Errors
    /// The broken promise, in a sentence.
    pub fn run(mut self, steps: u64) -> Result<BTreeMap<&'static str, u64>, String> {
        self.recover()?;
        for step in 0..steps {
            let acted = self.act();
            self.settle(acted).map_err(|what| format!("step {step}: {what}"))?;
        }
        self.end().map_err(|what| format!("at the end: {what}"))?;
        Ok(self.happened)
    }

    fn settle(&mut self, acted: Result<(), Stop>) -> Result<(), String> {
        match acted {
            Ok(()) if !self.disk.is_down() => Ok(()),
            Err(Stop::Wrong(what)) if !self.disk.is_down() => Err(what),
            _ => {
                self.note("crash");
                self.recover()
            }
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
        if self.trace {
            eprintln!("{what} (call {}, entry {})", self.disk.calls(), self.truth.len());
        }
    }

    fn print(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("  {}", what());
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.disk.set_faults(Faults::default());
        let power = self.random.chance(500);
        self.restart(power)?;
        self.slots.iter_mut().for_each(|slot| slot.paused = false);
        // Everything that was open ends.
        self.now += 60 * HOUR;
        for _ in 0..2 {
            self.append(EntryKind::Command, self.now, LogCommand::Tick.to_json());
            self.now += 10 * SECOND;
        }
        let committed = self.commit().and_then(|()| self.audit());
        self.settle(committed)?;
        for number in 0..self.slots.len() {
            self.deliver_all(number).map_err(|stopped| match stopped {
                Stop::Wrong(what) => what,
                Stop::Disk => "a sound disk failed while records left".to_owned(),
            })?;
        }
        self.replay()
    }

    /// Compares every pipeline with one that applies the log again, on a disk without faults, in
    /// batches of other sizes.
    fn replay(&mut self) -> Result<(), String> {
        let fresh = SimDisk::new(self.random.fork());
        let entries: Vec<Arc<Entry>> =
            self.truth.iter().enumerate().map(|(position, kept)| entry(kept, position as u64)).collect();
        let mut happened = Vec::new();
        for slot in &mut self.slots {
            let plans = |version| plan_of(slot.document, version);
            let failed = |why: flowmeter_engine::Error| format!("applying the log again: {why}");
            let folder = folder_of(plans(1).map_err(failed)?.id);
            copy_answers(&self.disk, &fresh, &folder).map_err(failed)?;
            copy_contents(&self.disk, &fresh).map_err(failed)?;
            let mut replay = self.layout.open_live(&fresh, slot.document, slot.begun, u64::MAX, None).map_err(failed)?;
            let mut rest = entries.get(slot.begun.0 as usize..).unwrap_or_default();
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(1 + self.random.index(rest.len().min(20)));
                replay.take(batch, &plans).map_err(failed)?;
                rest = behind;
            }
            replay.commit().map_err(failed)?;
            let mut again = Seen::default();
            again.read(&replay)?.map_err(failed)?;
            match &slot.live {
                Some(live) => audit::against_replay(live, &slot.seen, &replay, &again)?,
                None => return Err(format!("{} is not loaded", DOCUMENTS[slot.document].name)),
            }
            let tally = replay.tally();
            let made = [("derived events", tally.derived), ("absorbed", tally.absorbed), ("split", tally.split)];
            happened.extend(made.into_iter().filter(|(_, count)| *count > 0));
            if DOCUMENTS[slot.document].mediates {
                happened.push(("records of mediated usage", again.records.len() as u64));
            }
        }
        for (what, count) in happened {
            *self.happened.entry(what).or_default() += count;
        }
        Ok(())
    }

    /// Brings every pipeline to the end of the log and compares it with the oracle.
    fn audit(&mut self) -> Result<(), Stop> {
        self.disk.set_faults(Faults::default());
        self.note("audit");
        for number in 0..self.slots.len() {
            self.revive(number)?;
            if !self.slots[number].paused {
                while self.take(number, 50)? {}
            }
            self.look(number)?;
        }
        Ok(())
    }

    /// Reads the streams of a pipeline; compares them with the oracle if both are at the same
    /// entry.
    fn look(&mut self, number: usize) -> Result<(), Stop> {
        let World { slots, truth, .. } = self;
        let slot = &mut slots[number];
        let Some(live) = &mut slot.live else { return Ok(()) };
        live.commit().map_err(stop)?;
        slot.seen.read(live)?.map_err(stop)?;
        let Some(oracle) = &mut slot.oracle else {
            let tally = live.tally();
            return match tally.is_complete() {
                true => Ok(()),
                false => Err(Stop::Wrong(format!("{}: events were lost: {tally:?}", DOCUMENTS[slot.document].name))),
            };
        };
        while oracle.position < live.position() {
            let kept = &truth[oracle.position as usize];
            match kept.kind {
                EntryKind::Events => oracle.events(kept.at, &kept.bytes, NAMESPACE)?,
                _ => oracle.command(kept.at, &LogCommand::read(&kept.bytes).map_err(|why| why.to_string())?),
            }
        }
        // After a restart it may be behind its earlier writes.
        let outlet = live.outlet();
        let streams = [outlet.records(), outlet.parked(), outlet.verdicts(), outlet.notes(), outlet.settled(), outlet.derived()];
        let caught_up = streams.iter().all(|stream| stream.next() == stream.written());
        if oracle.position == live.position() && caught_up {
            audit::against_oracle(live, &slot.seen, oracle)?;
        }
        Ok(())
    }

    /// Lets a pipeline apply entries. Returns whether there were any.
    fn take(&mut self, number: usize, entries_max: usize) -> Result<bool, Stop> {
        let World { slots, log, .. } = self;
        let slot = &mut slots[number];
        let (Some(live), Some(log)) = (&mut slot.live, log) else { return Ok(false) };
        let mut reader = log.reader(live.position()).map_err(|why| stop(why.into()))?;
        let mut batch = Vec::new();
        while batch.len() < entries_max
            && let Some(entry) = reader.read().map_err(|why| stop(why.into()))?
        {
            batch.push(Arc::new(entry));
        }
        let document = slot.document;
        live.take(&batch, &|version| plan_of(document, version)).map_err(stop)?;
        Ok(!batch.is_empty())
    }

    fn append(&mut self, kind: EntryKind, at: i64, bytes: Vec<u8>) {
        let Some(log) = &mut self.log else { return };
        let items = if kind == EntryKind::Events { 1 } else { 0 };
        if let Ok(position) = log.append(&Encoded::new(kind, at, items, &bytes)) {
            self.print(|| format!("entry {position} at {}: {}", crate::documents::at(at), String::from_utf8_lossy(&bytes)));
            self.pending.push(Kept { kind, at, bytes });
        }
    }

    /// Makes appended entries durable and acknowledges them.
    fn commit(&mut self) -> Result<(), Stop> {
        let Some(log) = &mut self.log else { return Err(Stop::Disk) };
        match log.commit() {
            Ok(_) => {
                self.truth.append(&mut self.pending);
                match log.next() == self.truth.len() as u64 {
                    true => Ok(()),
                    false => Err(Stop::Wrong(format!("the log is at {}, not at {}", log.next(), self.truth.len()))),
                }
            }
            Err(why) if why.kind == flowmeter_store::Kind::Full && log.poison().is_none() => {
                let next = log.next();
                self.note("full");
                let taken_back = std::mem::take(&mut self.pending);
                self.keep_unanswered(taken_back);
                match next == self.truth.len() as u64 {
                    true => Ok(()),
                    false => Err(Stop::Wrong(format!("the full log is at {next}, not at {}", self.truth.len()))),
                }
            }
            Err(_) => Err(Stop::Disk),
        }
    }

    fn keep_unanswered(&mut self, kept: Vec<Kept>) {
        let letters = kept.into_iter().filter(|kept| kept.kind == EntryKind::Events).map(|kept| kept.bytes);
        self.unanswered.extend(letters);
    }
}

fn entry(kept: &Kept, position: u64) -> Arc<Entry> {
    let Kept { kind, at, ref bytes } = *kept;
    Arc::new(Entry { kind, at, items: 1, position, first_item: 0, bytes: bytes.clone() })
}

/// Converts an error: a failing disk is expected, damage without a flipped bit is not.
#[allow(clippy::needless_pass_by_value)] // it is what errors are mapped with
fn stop(why: flowmeter_engine::Error) -> Stop {
    use flowmeter_engine::Kind;
    match why.kind {
        Kind::Unavailable | Kind::Full => Stop::Disk,
        kind => Stop::Wrong(format!("{kind:?}: {why}")),
    }
}
