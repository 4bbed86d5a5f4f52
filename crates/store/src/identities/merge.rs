//! Merges of runs: sorted files are streamed into one, step by step.
//!
//! A merge reads its inputs in chunks, writes continuously and builds the filter part by part. Its
//! memory does not depend on the length of the runs, except for the new filter, which stays. A
//! merge has no visible effect: its output answers like its inputs, so no answer depends on its
//! timing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use flowmeter_core::time::Timestamp;

use super::page::{Entry, PAGE_BYTES, Page};
use super::run::{Place, Run};
use super::write::Writer;
use super::{MERGE_RUNS, Merging};
use crate::{Error, Kind};

/// Bytes of an input read at a time.
const READ_BYTES: usize = 64 * PAGE_BYTES;
/// Entries between two checks whether a background merge is still needed.
const STEP: usize = 1 << 14;
/// Runs of up to four to the power of this are merged with each other, whatever their size.
const TIER_MIN: u32 = 8;

/// Returns the runs to merge next: the oldest of a tier that has enough of them. The runs of a tier
/// differ in length by at most a factor of four, so every entry is written once for each tier it
/// climbs.
pub(super) fn next<'a>(runs: &(impl Iterator<Item = &'a Arc<Run>> + Clone)) -> Option<Vec<Arc<Run>>> {
    (TIER_MIN..=32).find_map(|tier| {
        let of_tier = runs.clone().filter(|run| tier_of(run.outline.count) == tier);
        let chosen: Vec<_> = of_tier.take(MERGE_RUNS).cloned().collect();
        (chosen.len() == MERGE_RUNS).then_some(chosen)
    })
}

fn tier_of(count: u64) -> u32 {
    (count.max(1).ilog2() / 2).max(TIER_MIN)
}

pub(super) struct Underway {
    pub(super) inputs: Vec<Arc<Run>>,
    work: Work,
}

enum Work {
    Paced(Box<Merge>),
    Background { thread: Option<JoinHandle<Result<Option<Run>, Error>>>, stop: Arc<AtomicBool> },
    Finished(Result<Option<Run>, Error>),
}

impl Underway {
    pub(super) fn begin(
        place: &Place,
        inputs: Vec<Arc<Run>>,
        number: u64,
        horizon: Timestamp,
        merging: Merging,
    ) -> Result<Underway, Error> {
        let merge = Merge::begin(place, &inputs, number, horizon)?;
        let work = match merging {
            Merging::Paced => Work::Paced(Box::new(merge)),
            Merging::Background => {
                let stop = Arc::new(AtomicBool::new(false));
                let heard = Arc::clone(&stop);
                let thread = Builder::new().name("identities".into()).spawn(move || merge.run(&heard));
                Work::Background { thread: Some(thread.map_err(|why| Error::io("a thread", &why))?), stop }
            }
        };
        Ok(Underway { inputs, work })
    }

    /// Processes a number of entries, if this thread does the merge.
    pub(super) fn step(&mut self, entries: usize) {
        let Work::Paced(merge) = &mut self.work else { return };
        let ended = merge.step(entries);
        if !matches!(ended, Ok(false)) {
            let before = std::mem::replace(&mut self.work, Work::Finished(Ok(None)));
            if let (Work::Paced(merge), Ok(_)) = (before, &ended) {
                self.work = Work::Finished(merge.finish());
            }
            if let Err(error) = ended {
                self.work = Work::Finished(Err(error));
            }
        }
    }

    /// Does all the remaining work, or waits for it.
    pub(super) fn complete(&mut self) {
        self.step(usize::MAX);
        if let Work::Background { thread, .. } = &mut self.work {
            let result = thread.take().map(JoinHandle::join);
            self.work = Work::Finished(match result {
                Some(Ok(result)) => result,
                _ => Err(Error::new(Kind::Bug, "a merge of identities panicked")),
            });
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match &self.work {
            Work::Finished(_) => true,
            Work::Background { thread, .. } => thread.as_ref().is_none_or(JoinHandle::is_finished),
            Work::Paced(_) => false,
        }
    }

    /// Completes the merge and returns the new run, or `None` if nothing was left to be in it.
    pub(super) fn result(mut self) -> Result<Option<Run>, Error> {
        self.complete();
        match std::mem::replace(&mut self.work, Work::Finished(Ok(None))) {
            Work::Finished(result) => result,
            _ => Err(Error::new(Kind::Bug, "a merge of identities did not end")),
        }
    }

    /// Assumes that a background merge is half done.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.work {
            Work::Paced(merge) => merge.memory_bytes(),
            Work::Background { .. } => {
                let filters: usize = self.inputs.iter().map(|run| run.memory_bytes()).sum();
                filters / 2 + MERGE_RUNS * READ_BYTES
            }
            Work::Finished(result) => result.as_ref().map_or(0, |run| run.as_ref().map_or(0, Run::memory_bytes)),
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Work::Background { thread, stop } = &mut self.work {
            stop.store(true, Ordering::Relaxed);
            // Neither its result nor its error is needed.
            drop(thread.take().map(JoinHandle::join));
        }
    }
}

struct Merge {
    inputs: Vec<Scan>,
    writer: Writer,
    horizon: Timestamp,
}

impl Merge {
    fn begin(place: &Place, inputs: &[Arc<Run>], number: u64, horizon: Timestamp) -> Result<Merge, Error> {
        let writer = Writer::create(place, number)?;
        let inputs = inputs.iter().map(|run| Scan::begin(Arc::clone(run))).collect::<Result<_, _>>()?;
        Ok(Merge { inputs, writer, horizon })
    }

    /// Processes a number of entries. Returns whether these were the last.
    fn step(&mut self, entries: usize) -> Result<bool, Error> {
        for _ in 0..entries {
            let heads = self.inputs.iter().enumerate().filter_map(|(input, scan)| Some((scan.head?, input)));
            let Some((entry, input)) = heads.min() else { return Ok(true) };
            self.inputs[input].advance()?;
            if entry.at >= self.horizon {
                self.writer.push(entry)?;
            }
        }
        Ok(false)
    }

    fn finish(self) -> Result<Option<Run>, Error> {
        self.writer.finish()
    }

    fn run(mut self, stop: &AtomicBool) -> Result<Option<Run>, Error> {
        while !self.step(STEP)? {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        self.finish()
    }

    fn memory_bytes(&self) -> usize {
        self.inputs.len() * READ_BYTES + self.writer.memory_bytes()
    }
}

/// A run that is read from beginning to end.
struct Scan {
    run: Arc<Run>,
    /// The current entry, or `None` at the end.
    head: Option<Entry>,
    entries: Vec<Entry>,
    place: usize,
    room: Vec<u8>,
    /// Numbers of the pages in memory that were not used yet.
    pages: std::ops::Range<u64>,
    first: u64,
}

impl Scan {
    fn begin(run: Arc<Run>) -> Result<Scan, Error> {
        let room = vec![0; READ_BYTES];
        let mut scan = Scan { run, head: None, entries: Vec::new(), place: 0, room, pages: 0..0, first: 0 };
        scan.advance()?;
        Ok(scan)
    }

    fn advance(&mut self) -> Result<(), Error> {
        if self.place == self.entries.len() {
            self.next_page()?;
        }
        self.head = self.entries.get(self.place).copied();
        self.place = (self.place + 1).min(self.entries.len());
        Ok(())
    }

    fn next_page(&mut self) -> Result<(), Error> {
        self.entries.clear();
        self.place = 0;
        if self.pages.is_empty() {
            self.first = self.pages.end;
            self.pages = self.first..self.first + self.run.read_pages(self.first, &mut self.room)?;
        }
        let Some(number) = self.pages.next() else { return Ok(()) };
        let start = (number - self.first) as usize * PAGE_BYTES;
        let page = Page::read(number, &self.room[start..]).ok_or_else(|| self.run.broken(number))?;
        self.entries.extend((0..page.len()).map(|place| page.entry(place)));
        Ok(())
    }
}
