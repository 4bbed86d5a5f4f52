//! Application of entries of the log: events, settlements, commands.

use std::sync::Arc;

use flowmeter_core::partition::Command;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_store::log::{Entry, EntryKind};

use super::source::Entries;
use super::{Letter, Live, LogCommand, Settlement, Settles};
use crate::{Error, Kind};

impl Live {
    /// Applies entries of the log in order. Skips entries of other pipelines and namespaces.
    pub fn take(&mut self, entries: &[Arc<Entry>], plan_of: &dyn Fn(u32) -> Result<Arc<Plan>, Error>) -> Result<(), Error> {
        let mut events = Vec::new();
        for entry in entries {
            let next = events.last().map_or(self.position, |last: &Arc<Entry>| last.position + 1);
            if entry.position > next {
                let message = format!(
                    "the entries from {next} to {} of the log are lost; restore the data folder from a backup",
                    entry.position - 1
                );
                return Err(Error::new(Kind::Corrupt, message));
            }
            if entry.position < next {
                let message = format!("entry {} was read, but {next} is next", entry.position);
                return Err(Error::new(Kind::Bug, message));
            }
            if entry.kind == EntryKind::Events && !Letter::is_settling(&entry.bytes) {
                events.push(Arc::clone(entry));
                continue;
            }
            self.take_events(&mut events)?;
            if entry.kind == EntryKind::Events {
                self.settle(entry)?;
                continue;
            }
            self.clock = self.clock.max(Timestamp::from_nanos(entry.at));
            self.command(&LogCommand::read(&entry.bytes)?, plan_of)?;
            self.position = entry.position + 1;
        }
        self.take_events(&mut events)
    }

    /// Applies an entry that settles a parked event: its events count, unless the parked event is
    /// settled already.
    fn settle(&mut self, entry: &Arc<Entry>) -> Result<(), Error> {
        let letter = Letter::read(&entry.bytes)?;
        let is_mine = letter.is_for(&self.namespace, self.plan.id, true);
        let at = self.clock.max(Timestamp::from_nanos(entry.at));
        let settles = letter.settles.filter(|_| is_mine);
        let is_first = settles.is_some_and(|Settles { arrival, number, how, who }| {
            let by = (!letter.lines.is_empty()).then(|| self.outlet.arrivals());
            let position = entry.position;
            self.outlet.settle(arrival, Settlement { how, at, who: who.to_owned(), by, position, number: Some(number) })
        });
        if is_first {
            return self.take_events(&mut vec![Arc::clone(entry)]);
        }
        (self.position, self.clock) = (entry.position + 1, at);
        Ok(())
    }

    fn take_events(&mut self, events: &mut Vec<Arc<Entry>>) -> Result<(), Error> {
        let Some(last) = events.last() else { return Ok(()) };
        let position = last.position + 1;
        let arrivals = self.outlet.arrivals();
        let mut source = Entries::new(events, &self.namespace, &self.plan, &self.decoders, arrivals, self.clock)?;
        let at = source.clock;
        for fed in source.fed.drain(..) {
            fed.take(self.taken.entry(fed.source.clone()).or_default());
        }
        let (mut sink, mut watch) = self.outlet.split(&self.plan, at);
        self.engine.ingest(&mut source, at, &mut sink, &mut watch)?;
        events.clear();
        (self.position, self.clock) = (position, at);
        self.check()?;
        self.answers.forget_used();
        self.outlet.write(self.clock)
    }

    /// Checks the invariants after a step.
    fn check(&mut self) -> Result<(), Error> {
        if let Some(why) = self.engine.identities_mut().find_map(|known| known.failure().cloned()) {
            return Err(why.into());
        }
        self.answers.check()?;
        if let Some(why) = self.engine.rollups_failure() {
            return Err(why.clone().into());
        }
        let tally = &self.engine.totals().tally;
        if !tally.is_complete() || tally.received != self.outlet.arrivals() {
            return Err(Error::new(Kind::Bug, format!("events were lost: {tally:?}")));
        }
        Ok(())
    }

    fn command(&mut self, command: &LogCommand, plan_of: &dyn Fn(u32) -> Result<Arc<Plan>, Error>) -> Result<(), Error> {
        if command.pipeline().is_some_and(|pipeline| pipeline != self.plan.id) {
            return Ok(());
        }
        let at = self.clock;
        match command {
            // Where every source ends, periods close at the end of input only.
            LogCommand::Tick if self.plan.is_bounded() => {}
            LogCommand::Tick => self.tick(at)?,
            LogCommand::Close { at, .. } => {
                // A session that ends with its input has a clock of its own.
                let at = match self.plan.is_bounded() {
                    true => Timestamp::from_nanos(*at),
                    false => self.clock.max(Timestamp::from_nanos(*at)),
                };
                // Where the input has ended, windows by watermark end too.
                self.engine.follow_watermarks(!self.plan.is_bounded());
                self.tick(at)?;
                self.engine.follow_watermarks(true);
                // No later tick may come that would send them.
                let (mut sink, _) = self.outlet.split(&self.plan, self.clock);
                self.engine.revise(at, &mut sink)?;
            }
            LogCommand::Flush { .. } => {
                let (mut sink, mut watch) = self.outlet.split(&self.plan, at);
                self.engine.flush_open(at, &mut sink, &mut watch)?;
            }
            LogCommand::Open { meter, .. } => self.apply(meter, |declared| Command::Open(declared)),
            LogCommand::Edit { meter, .. } => self.apply(meter, |declared| Command::Edit(declared)),
            LogCommand::Delete { meter, .. } => self.apply(meter, |declared| Command::Delete(declared)),
            LogCommand::Listen { listens, .. } => self.engine.listen(*listens),
            LogCommand::Table { table, content, .. } => self.put_table(table, content)?,
            LogCommand::Forget { meter_type, .. } => self.forget(*meter_type),
            LogCommand::Adopt { version, document, state, .. } => {
                let plan = match document {
                    Some(document) => document.plan(self.plan.id)?,
                    None => plan_of(*version)?,
                };
                self.adopt(*version, plan, state)?;
            }
            LogCommand::Change { commands, .. } => {
                return commands.iter().try_for_each(|command| self.command(command, plan_of));
            }
        }
        // Events that operators released may have asked.
        self.answers.check()?;
        self.answers.forget_used();
        self.outlet.write(at)
    }

    /// Releases and flushes what is due at an instant.
    fn tick(&mut self, at: Timestamp) -> Result<(), Error> {
        let (mut sink, mut watch) = self.outlet.split(&self.plan, self.clock);
        self.engine.tick(at, &mut sink, &mut watch)
    }
}
