//! Occasional work: a full table becomes a run, merges begin and take effect, files without use are
//! removed.

use std::sync::Arc;

use super::merge::{self, Underway};
use super::page::Entry;
use super::run::Run;
use super::write::Writer;
use super::{Named, Retired, SpilledIdentities};
use crate::Error;

/// Runs at which all callers wait for merges: every run costs every identity a look-up in its
/// filter.
pub(super) const RUNS_MAX: usize = 24;
/// Entries of each merge that are processed when a run is written, however small it is.
const PACE_MIN: usize = 1 << 16;

impl SpilledIdentities {
    /// Writes the table as a run, adopts finished merges and starts new ones.
    pub(super) fn spill(&mut self) -> Result<(), Error> {
        if self.table.count() > 0 {
            let mut writer = Writer::create(&self.place, self.next)?;
            self.next += 1;
            for (fingerprint, at) in self.table.drain() {
                writer.push(Entry { fingerprint, at })?;
            }
            let run = writer.finish()?;
            self.runs.extend(run.map(|run| Named { run: Arc::new(run), after: self.generation }));
        }
        for merge in &mut self.merges {
            merge.step(PACE_MIN);
        }
        self.take_merged()?;
        self.begin_merges()?;
        while self.runs.len() > RUNS_MAX && !self.merges.is_empty() {
            self.merges.iter_mut().for_each(Underway::complete);
            self.take_merged()?;
            self.begin_merges()?;
        }
        Ok(())
    }

    /// Replaces merged runs by their merge.
    fn take_merged(&mut self) -> Result<(), Error> {
        let complete: Vec<Underway> = self.merges.extract_if(.., |merge| merge.is_complete()).collect();
        for merge in complete {
            let inputs = merge.inputs.clone();
            let run = merge.result()?;
            let is_input = |named: &mut Named| inputs.iter().any(|input| Arc::ptr_eq(input, &named.run));
            let gone: Vec<Named> = self.runs.extract_if(.., is_input).collect();
            self.retire_runs(gone);
            self.runs.extend(run.map(|run| Named { run: Arc::new(run), after: self.generation }));
        }
        // A file that cannot be removed does no harm; `retire` reports it.
        let _ = self.remove_retired();
        Ok(())
    }

    fn begin_merges(&mut self) -> Result<(), Error> {
        loop {
            let runs = self.runs.iter().map(|named| &named.run);
            let free = runs.filter(|run| !is_merged(&self.merges, run));
            let Some(inputs) = merge::next(&free) else { return Ok(()) };
            self.merges.push(Underway::begin(&self.place, inputs, self.next, self.horizon, self.merging)?);
            self.next += 1;
        }
    }

    pub(super) fn retire_runs(&mut self, runs: Vec<Named>) {
        for Named { run, after } in runs {
            // No manifest was returned in its lifetime, or the newest may name it.
            let from = if after == self.generation { 0 } else { self.generation + 1 };
            self.retired.push(Retired { name: run.name.clone(), from });
        }
    }

    pub(super) fn remove_retired(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        let (disk, durable) = (&self.place.disk, self.durable);
        self.retired.retain(|retired| {
            if retired.from > durable {
                return true;
            }
            match disk.remove(&retired.name) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                    first = first.clone().and(Err(Error::io(&retired.name, &why)));
                    true
                }
                _ => false,
            }
        });
        first
    }
}

/// Returns whether a run is being merged; it then stays until the merge is done.
pub(super) fn is_merged(merges: &[Underway], run: &Arc<Run>) -> bool {
    merges.iter().any(|merge| merge.inputs.iter().any(|input| Arc::ptr_eq(input, run)))
}
