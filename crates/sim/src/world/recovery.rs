//! Ends and restarts: the program ends, alone or with the machine; it starts again, and may end
//! during the start.

use std::sync::Arc;

use flowmeter_core::mediation::Services;
use flowmeter_store::log::{Entry, Log};

use super::{Kept, Stop, World, stop};
use crate::disk::Faults;
use crate::documents::DOCUMENTS;

impl World {
    /// Restarts until that succeeds.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        loop {
            let power = self.random.chance(600);
            if self.random.chance(250) {
                let crash_in = Some(self.random.below(120));
                if self.begin_again(power, Faults { crash_in, ..Faults::default() })? {
                    return Ok(());
                }
                self.note("crash while recovering");
            } else if self.begin_again(power, Faults::default())? {
                return Ok(());
            }
        }
    }

    pub(super) fn restart(&mut self, power: bool) -> Result<(), String> {
        match self.begin_again(power, Faults::default())? {
            true => Ok(()),
            false => Err("a sound disk failed".to_owned()),
        }
    }

    fn begin_again(&mut self, power: bool, faults: Faults) -> Result<bool, String> {
        self.log = None;
        for slot in &mut self.slots {
            slot.live = None;
            slot.delivering.end();
        }
        match power {
            true => self.disk.lose_power(),
            false => self.disk.restart(),
        }
        self.note(if power { "power lost" } else { "killed" });
        self.disk.set_faults(faults);
        let begun = self.begin();
        match begun {
            Ok(()) => Ok(!self.disk.is_down()),
            Err(_) if self.disk.is_down() => Ok(false),
            Err(Stop::Disk) => Err("a sound disk failed".to_owned()),
            Err(Stop::Wrong(what)) => Err(format!("after a restart: {what}")),
        }
    }

    fn begin(&mut self) -> Result<(), Stop> {
        let log = self.layout.open_log(&self.disk).map_err(|why| stop(why.into()))?;
        self.compare_log(&log)?;
        self.log = Some(log);
        for number in 0..self.slots.len() {
            self.revive(number)?;
        }
        Ok(())
    }

    /// Checks that every acknowledged entry exists, to the byte, followed only by entries that were
    /// appended without an answer, in their order.
    fn compare_log(&mut self, log: &Log) -> Result<(), Stop> {
        let acknowledged = self.truth.len() as u64;
        if log.next() < acknowledged {
            return Err(Stop::Wrong(format!("{acknowledged} entries were acknowledged, {} are there", log.next())));
        }
        let mut reader = log.reader(log.first()).map_err(|why| stop(why.into()))?;
        let mut position = log.first();
        while let Some(entry) = reader.read().map_err(|why| stop(why.into()))? {
            let place = position as usize;
            let expected = self.truth.get(place).or_else(|| self.pending.get(place - self.truth.len()));
            if !expected.is_some_and(|kept| same(kept, &entry, position)) {
                return Err(Stop::Wrong(format!("entry {position} is {entry:?}, expected {expected:?}")));
            }
            position += 1;
        }
        if position != log.next() {
            return Err(Stop::Wrong(format!("the log says it ends at {}, it ends at {position}", log.next())));
        }
        let found = (position - acknowledged) as usize;
        let lost = self.pending.split_off(found);
        self.print(|| format!("{found} entries without an answer are there, {} are not", lost.len()));
        // Their senders do not know either: some send entries again that exist.
        let again = self.random.chance(300);
        let repeated = if again { self.pending.clone() } else { Vec::new() };
        self.truth.append(&mut self.pending);
        self.keep_unanswered(repeated);
        self.keep_unanswered(lost);
        Ok(())
    }

    /// Loads a pipeline that is not loaded.
    pub(super) fn revive(&mut self, number: usize) -> Result<(), Stop> {
        let World { slots, layout, disk, log, service, .. } = self;
        let slot = &mut slots[number];
        if slot.live.is_some() {
            return Ok(());
        }
        let end = log.as_ref().map_or(0, Log::next);
        let live = {
            let services = Arc::clone(service) as Arc<dyn Services>;
            layout.open_live(disk, slot.document, slot.begun, end, Some(services)).map_err(stop)?
        };
        slot.seen.read(&live)?.map_err(stop)?;
        let position = live.position();
        slot.live = Some(live);
        let name = DOCUMENTS[slot.document].name;
        self.print(|| format!("{name} resumes from entry {position}"));
        Ok(())
    }
}

fn same(kept: &Kept, entry: &Entry, position: u64) -> bool {
    entry.position == position && entry.kind == kept.kind && entry.at == kept.at && entry.bytes == kept.bytes
}
