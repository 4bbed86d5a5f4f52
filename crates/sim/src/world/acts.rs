//! The possible steps.

use flowmeter_core::plan::Plan;
use flowmeter_core::table::Content;
use flowmeter_engine::live::{How, Letter, LogCommand, MeterName, Settles, TableVersion, hash_of, keep_content, parked_item};
use flowmeter_engine::{StateChoice, StateChoices};
use flowmeter_store::log::{EntryKind, Log};
use uuid::Uuid;

use super::{Slot, Stop, World};
use crate::audit::Seen;
use crate::disk::Faults;
use crate::documents::{DOCUMENTS, HOUR, SECOND, plan_of};
use crate::node::NAMESPACE;
use crate::oracle::Oracle;
use crate::producer::REGIONS;

impl World {
    pub(super) fn act(&mut self) -> Result<(), Stop> {
        match self.random.below(100) {
            0..26 => self.send(),
            26..30 => self.settle_parked(),
            30..45 => self.work(),
            45..50 => self.deliver(),
            50..58 => self.checkpoint(),
            58..72 => self.wait(),
            72..80 => self.order(),
            80..82 => self.pause(),
            82..84 => self.release(),
            84..89 => self.fault(),
            89..92 => {
                self.note("stopped");
                Err(Stop::Disk)
            }
            92..94 => self.damage(),
            94..96 => self.start(),
            _ => self.audit(),
        }
    }

    fn send(&mut self) -> Result<(), Stop> {
        for _ in 0..1 + self.random.below(4) {
            // The sender encodes a large body, a little before it is appended.
            let at = self.now - if self.random.chance(100) { self.random.below(3) as i64 * SECOND } else { 0 };
            let bytes = match self.random.chance(400).then(|| self.unanswered.pop()).flatten() {
                Some(letter) => letter,
                None => self.letter(),
            };
            self.append(EntryKind::Events, at, bytes);
        }
        self.commit()
    }

    fn letter(&mut self) -> Vec<u8> {
        let lines = self.producer.lines(&mut self.random, self.now);
        let pipeline = match self.random.below(10) {
            0 => plan_of(self.random.index(DOCUMENTS.len()), 1).ok().map(|plan| plan.id),
            _ => None,
        };
        let namespace = if self.random.chance(30) { "elsewhere" } else { NAMESPACE };
        let again = self.random.chance(60);
        let mut bytes = Vec::new();
        Letter { namespace, pipeline, again, settles: None, fed: None, lines: lines.as_bytes() }.write_to(&mut bytes);
        bytes
    }

    /// Corrects, reprocesses or discards a parked event; perhaps one that left the queue before,
    /// since two people may look at it.
    fn settle_parked(&mut self) -> Result<(), Stop> {
        let Some(number) = self.some_slot() else { return Ok(()) };
        let slot = &self.slots[number];
        let Some(item) = slot.seen.parked.last_chunk::<8>().map_or(slot.seen.parked.as_slice(), |last| last).first() else {
            return Ok(());
        };
        let Some(parked) = parked_item(item) else { return Err(Stop::Wrong("a parked event cannot be read".to_owned())) };
        // An event that an operator made is corrected where it was made.
        let Some(arrival) = parked.settled_by() else { return Ok(()) };
        let (how, lines) = match self.random.below(4) {
            0 => (How::Discarded, Vec::new()),
            1 => (How::Reprocessed, parked.raw.to_vec()),
            _ => (How::Corrected, self.producer.mend(&mut self.random, self.now, parked.raw).into_bytes()),
        };
        let plan = plan_of(slot.document, 1).map_err(super::stop)?;
        let settles = Some(Settles { arrival, number: 0, how, who: "sam" });
        let letter = Letter { namespace: NAMESPACE, pipeline: Some(plan.id), again: true, settles, fed: None, lines: &lines };
        let mut bytes = Vec::new();
        letter.write_to(&mut bytes);
        self.note("settled");
        for _ in 0..1 + self.random.below(2) {
            self.append(EntryKind::Events, self.now, bytes.clone());
        }
        self.commit()
    }

    /// Loads a pipeline that is not loaded and returns it; one that fails again waits.
    pub(super) fn some_slot(&mut self) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let number = self.random.index(self.slots.len());
        Some(number)
    }

    fn work(&mut self) -> Result<(), Stop> {
        let Some(number) = self.some_slot() else { return self.start() };
        self.alone(number, |world| {
            world.revive(number)?;
            if !world.slots[number].paused {
                let entries_max = 1 + world.random.index(12);
                world.take(number, entries_max)?;
            }
            if world.random.chance(300) { world.look(number) } else { Ok(()) }
        })
    }

    /// Runs an act on a pipeline; a failure ends only that pipeline, which is loaded again later.
    pub(super) fn alone(&mut self, number: usize, act: impl FnOnce(&mut World) -> Result<(), Stop>) -> Result<(), Stop> {
        match act(self) {
            Err(Stop::Disk) if !self.disk.is_down() => {
                self.note("a pipeline ended");
                self.slots[number].live = None;
                Ok(())
            }
            acted => acted,
        }
    }

    fn checkpoint(&mut self) -> Result<(), Stop> {
        let Some(number) = self.some_slot() else { return Ok(()) };
        self.note("checkpoint");
        self.alone(number, |world| {
            let slot = &mut world.slots[number];
            let Some(live) = &mut slot.live else { return Ok(()) };
            slot.released = live.checkpoint().map_err(super::stop)?;
            Ok(())
        })
    }

    /// Advances the clock and appends a tick if something falls due.
    fn wait(&mut self) -> Result<(), Stop> {
        self.now += match self.random.below(10) {
            0..5 => self.random.below(10) as i64 * SECOND,
            5..8 => self.random.below(1800) as i64 * SECOND,
            8 => HOUR - self.now.rem_euclid(HOUR),
            _ => self.random.below(9 * 3600) as i64 * SECOND,
        };
        let due = self.slots.iter().filter_map(|slot| slot.live.as_ref()?.next_due()).min();
        if due.is_some_and(|due| due.nanos() <= self.now) {
            self.note("tick");
            self.append(EntryKind::Command, self.now, LogCommand::Tick.to_json());
        }
        self.commit()
    }

    /// Takes a command of a person.
    fn order(&mut self) -> Result<(), Stop> {
        let Some(number) = self.some_slot() else { return Ok(()) };
        let document = self.slots[number].document;
        let plan = plan_of(document, 1).map_err(super::stop)?;
        let pipeline = plan.id;
        let sort = self.random.index(DOCUMENTS[document].sorts.len());
        let meter = MeterName {
            user_id: format!("user-{}", self.random.below(6)),
            meter_type_id: plan.meter_types[sort].id,
            meter_key: Uuid::parse_str(DOCUMENTS[document].key).unwrap_or_default(),
            id: None,
            delete_on_reset: self.random.chance(200),
            custom_fields: serde_json::Map::new(),
            limits: serde_json::Map::new(),
            timezone: None,
            created_at: None,
        };
        if !plan.tables.is_empty() && self.random.chance(300) {
            return self.change_table(&plan);
        }
        let command = match self.random.below(22) {
            0..6 => LogCommand::Open { pipeline, meter },
            6..9 => LogCommand::Edit { pipeline, meter },
            9..13 => LogCommand::Delete { pipeline, meter },
            13 => LogCommand::Flush { pipeline },
            20..22 => LogCommand::Listen { pipeline, listens: self.random.chance(500) },
            _ => {
                self.slots[number].version += 1;
                LogCommand::Adopt { pipeline, version: self.slots[number].version, document: None, state: self.choices() }
            }
        };
        self.append(EntryKind::Command, self.now, command.to_json());
        self.commit()
    }

    /// Returns decisions about state that has no place in another version.
    fn choices(&mut self) -> StateChoices {
        let choose = |operator: &str| match self.random.below(3) {
            0 => None,
            1 => Some((operator.to_owned(), StateChoice::Release)),
            _ => Some((operator.to_owned(), StateChoice::Forget)),
        };
        ["hours", "pairs"].into_iter().filter_map(choose).collect()
    }

    /// Gives a table other rows.
    fn change_table(&mut self, plan: &Plan) -> Result<(), Stop> {
        let mut rows = String::new();
        for region in REGIONS {
            if self.random.chance(700) {
                rows.push_str(&format!("{{\"plan\":\"p{}\",\"region\":\"{region}\"}}\n", self.random.below(4)));
            }
        }
        let table = &plan.tables[0];
        let content = Content::of_canonical(table, rows.as_bytes()).map_err(|why| Stop::Wrong(why.to_string()))?;
        let hash = hash_of(content.canonical());
        // Without its rows on disk the version is not put in force.
        if keep_content(&self.disk, &hash, content.canonical()).is_err() {
            return if self.disk.is_down() { Err(Stop::Disk) } else { Ok(()) };
        }
        self.note("table");
        let content = TableVersion { version: self.random.below(1000), hash };
        let command = LogCommand::Table { pipeline: plan.id, table: table.name.clone(), content };
        self.append(EntryKind::Command, self.now, command.to_json());
        self.commit()
    }

    fn pause(&mut self) -> Result<(), Stop> {
        if let Some(number) = self.some_slot() {
            self.slots[number].paused = !self.slots[number].paused;
        }
        Ok(())
    }

    /// Removes entries that no pipeline needs.
    fn release(&mut self) -> Result<(), Stop> {
        let Some(before) = self.slots.iter().map(|slot| slot.released).min() else { return Ok(()) };
        self.note("release");
        // A file that cannot be removed now does no harm.
        if let Some(log) = &mut self.log {
            drop(log.release(before));
        }
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Stop> {
        let mut faults = Faults::default();
        match self.random.below(4) {
            0 | 1 => faults.crash_in = Some(self.random.below(60)),
            2 => faults.errors = 200 + self.random.below(3000),
            _ => faults.full_for = 1 + self.random.below(6),
        }
        self.print(|| format!("{faults:?}"));
        self.disk.set_faults(faults);
        Ok(())
    }

    /// Starts another pipeline with the next entry of the log.
    fn start(&mut self) -> Result<(), Stop> {
        let number = self.slots.len();
        let idle = (0..DOCUMENTS.len()).filter(|document| self.slots.iter().all(|slot| slot.document != *document));
        let idle: Vec<usize> = idle.collect();
        let Some(document) = idle.get(self.random.index(idle.len())).copied() else { return Ok(()) };
        self.note("start");
        let position = self.log.as_ref().map_or(0, Log::next);
        self.slots.push(Slot {
            document,
            begun: (position, self.now),
            live: None,
            paused: false,
            seen: Seen::default(),
            oracle: match DOCUMENTS[document].mediates {
                true => None,
                false => Some(Oracle::new(document, position, self.now)?),
            },
            released: position,
            version: 1,
            delivering: super::delivery::Delivering::new(self.random.fork()),
        });
        let plan = plan_of(document, 1).map_err(super::stop)?;
        if !plan.tables.is_empty() {
            // A pipeline starts with the rows of its tables.
            self.change_table(&plan)?;
        }
        self.alone(number, |world| world.revive(number))
    }
}
