//! Checks of the server's promises from outside.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use flowmeter_core::decimal::Decimal;
use flowmeter_core::session::{Status, Trigger};
use flowmeter_engine::live::{items, record_item};
use flowmeter_node::corrections::CorrectionState;
use flowmeter_node::installation::Served;
use flowmeter_node::meter_types::KeptMeterType;
use flowmeter_node::sessions::StartOptions;
use serde_json::value::RawValue;

use super::acts::newest;
use super::model::PIPELINES;
use super::{Site, who};
use crate::documents::HOUR;

impl Site {
    /// Runs the server without faults until it is idle, and checks its promises.
    pub(super) fn audit(&mut self) -> Result<(), String> {
        self.note("audit");
        self.settle()?;
        if self.server()?.failure().is_some() {
            return self.restart("poisoned");
        }
        self.load_all()?;
        for name in PIPELINES {
            self.looks_well(name)?;
        }
        self.has_one_truth()
    }

    /// Waits until stopped pipelines are loaded again, which is after a pause. An error of the disk
    /// may come to light only at the next checkpoint, which is meanwhile.
    fn load_all(&mut self) -> Result<(), String> {
        self.settle()?;
        for _ in 0..3 {
            self.clock.0.fetch_add(31_000_000_000, Ordering::AcqRel);
            self.settle()?;
            if self.server()?.stopped().iter().all(|stopped| stopped.has_failed) {
                break;
            }
        }
        Ok(())
    }

    /// Checks that a pipeline with a running session runs or is reported as stopped, and that
    /// nothing is overdue.
    fn looks_well(&self, name: &str) -> Result<(), String> {
        let server = self.server()?;
        let Some(session) = newest(&server, name) else { return Err(format!("{name} has no session")) };
        let served = server.served().into_iter().find(|served| served.kept.name == name);
        let stopped = server.stopped();
        let stopped = stopped.iter().find(|stopped| stopped.pipeline.name == name);
        if let Some(resting) = stopped.filter(|stopped| !stopped.has_failed) {
            return Err(format!("{name} is not loaded again on a sound disk: {}", resting.sentence()));
        }
        let is_told = stopped.is_some();
        match (session.session_status, served) {
            (Status::Running, Some(served)) if served.session() == session.number => {
                let due = served.board().due();
                match due <= self.now() {
                    true => Err(format!("{name}: something is due since {} s", (self.now() - due) / 1_000_000_000)),
                    false => Ok(()),
                }
            }
            (Status::Running | Status::Initializing, _) if is_told => Ok(()),
            (Status::Running | Status::Initializing, _) => Err(format!("{name} should run, does not, and nothing says so")),
            // A refused start may end the session; a session that ran must resume on a sound disk.
            (Status::Failed, _) if session.is_broken => {
                let why = session.error.clone().unwrap_or_default();
                Err(format!("{name} failed on a sound disk: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the catalog and the running pipelines agree on documents and meter types.
    fn has_one_truth(&self) -> Result<(), String> {
        let server = self.server()?;
        let shown = |why: flowmeter_engine::Error| why.to_string();
        let types = server.meter_types("default").map_err(shown)?;
        let types: Vec<String> = types.iter().map(KeptMeterType::document).collect();
        for served in server.served().iter().filter(|served| served.session() != 0 && !served.board().is_paused()) {
            let name = &served.kept.name;
            let pipeline = server.pipeline("default", name).map_err(|why| why.detail)?;
            let version = server.version(&pipeline, pipeline.version).map_err(|why| why.detail)?;
            let works_by = served.worker().ask(|live| live.version()).map_err(shown)?;
            if works_by != pipeline.version {
                return Err(format!("{name} works by version {works_by}, the newest is {}", pipeline.version));
            }
            if version.meter_types != types {
                return Err(format!("{name} counts in other meter types than there are"));
            }
        }
        let expected = &self.model.schedules;
        let there = types
            .iter()
            .any(|document| expected.iter().any(|schedule| document.contains(&format!("\"resetSchedule\":\"{schedule}\""))));
        match there {
            true => Ok(()),
            false => Err(format!("the meter types are {types:?}, expected a reset {}", expected.join(" or "))),
        }
    }

    /// Sends everything until it is acknowledged, corrects every parked event and ends every
    /// period. Then the sums must be those of the sent events.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.restart("ended")?;
        self.load_all()?;
        // A session that finishes ends when its target has everything.
        self.make_targets_honest();
        self.send_again()?;
        self.run_all()?;
        let is_steady = self.model.is_steady;
        let missing = self.model.events.iter().filter(|(_, sent)| !(is_steady && sent.is_acknowledged));
        let ids: Vec<u64> = missing.map(|(id, _)| *id).collect();
        for id in &ids {
            // Acknowledged events are sent again too, unless every pipeline must have them: they count once.
            self.post(&[*id])?;
        }
        self.settle()?;
        for (pipeline, name) in PIPELINES.iter().enumerate() {
            let open = self.corrections(pipeline, CorrectionState::Open)?;
            // An event that was discarded, came again and is not parked counts: its period is open by now.
            let is_parked = |id: &u64| open.iter().any(|(parked, _)| parked == id);
            self.model.discarded.retain(|(of, id)| *of != pipeline || !ids.contains(id) || is_parked(id));
            for (id, parked) in open {
                if !self.settle_one(pipeline, id, &parked)? {
                    return Err(format!("{name} {} cannot be corrected on a sound disk", parked.id()));
                }
            }
        }
        // A correction without an answer was made if the event no longer waits, unless an earlier
        // request discarded the event.
        for (of, correction) in std::mem::take(&mut self.model.unsure) {
            // An event that was parked twice may have been discarded once and corrected once.
            let is_there = |state| Ok::<_, String>(self.corrections(of.0, state)?.iter().any(|(id, _)| *id == of.1));
            let may_be_discarded = self.model.discarded.contains(&of) || self.model.perhaps_discarded.contains(&of);
            let was_discarded =
                may_be_discarded && is_there(CorrectionState::Discarded)? && !is_there(CorrectionState::Corrected)?;
            match was_discarded {
                true => self.model.discarded.push(of),
                false => drop(self.model.corrected.insert(of, correction)),
            }
        }
        self.clock.0.fetch_add(40 * 24 * HOUR, Ordering::AcqRel);
        self.audit()?;
        for (number, name) in PIPELINES.iter().enumerate() {
            self.adds_up(number, name)?;
        }
        self.deliver_all()
    }

    fn run_all(&mut self) -> Result<(), String> {
        self.settle()?;
        let server = self.server()?;
        for name in PIPELINES {
            for _ in 0..3 {
                let Some(session) = newest(&server, name) else { return Err(format!("{name} has no session")) };
                let refused = |why: Box<flowmeter_node::refusal::Refusal>| why.detail.clone();
                match session.session_status {
                    Status::Paused => drop(server.act(&who(), &session.session_id, Trigger::Resume).map_err(refused)?),
                    status if status.is_final() => {
                        let pipeline = server.pipeline("default", name).map_err(refused)?;
                        server.start(&who(), &pipeline, StartOptions::default()).map_err(refused)?;
                    }
                    _ => {}
                }
                self.settle()?;
            }
        }
        self.settle()
    }

    fn adds_up(&self, number: usize, name: &str) -> Result<(), String> {
        let server = self.server()?;
        let served = server.served().into_iter().find(|served| served.kept.name == name);
        let served = served.ok_or_else(|| format!("{name} is not loaded"))?;
        let sums = sums_of(&served)?;
        let expected: BTreeMap<u64, i64> = (0..4).map(|user| (user, self.model.expected(number, user))).collect();
        for kind in [format!("own {name}"), super::model::SHARED_TYPE.to_owned()] {
            for (user, expected) in &expected {
                let key = (format!("user-{user}"), kind.clone());
                let there = sums.get(&key).copied().unwrap_or_default();
                if there != Decimal::from_int(*expected) {
                    return Err(format!("{name}: {key:?} adds up to {there}, expected {expected}"));
                }
            }
        }
        Ok(())
    }
}

/// Returns the items of the pipeline's log of records.
pub(super) fn records_of(served: &Served) -> Result<Vec<Vec<u8>>, String> {
    let records = served.worker().ask(|live| -> Result<Vec<Vec<u8>>, flowmeter_engine::Error> {
        live.commit()?;
        let stream = live.outlet().records();
        let mut found = Vec::new();
        if stream.written() > 0 {
            let mut reader = stream.reader(0)?;
            while let Some(entry) = reader.read()? {
                found.extend(items(&entry).map(|(_, item)| item.to_vec()));
            }
        }
        Ok(found)
    });
    records.and_then(|records| records).map_err(|why| why.to_string())
}

/// Returns, by user and meter type, the newest values of all flushed periods.
fn sums_of(served: &Served) -> Result<BTreeMap<(String, String), Decimal>, String> {
    let records = records_of(served)?;
    let mut newest: BTreeMap<(String, String, String), (u64, Decimal)> = BTreeMap::new();
    for item in &records {
        let Some(record) = record_item(item).filter(|record| !record.is_threshold) else { continue };
        let record: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(record.json).map_err(|why| why.to_string())?;
        let text = |name: &str| record.get(name).map_or("", |raw| raw.get()).trim_matches('"').to_owned();
        let meta: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(record.get("meterMetaData").map_or("", |raw| raw.get())).map_err(|why| why.to_string())?;
        let revision: u64 = meta.get("revision").and_then(|raw| raw.get().parse().ok()).unwrap_or_default();
        let value: Decimal = text("value").parse().unwrap_or_default();
        let key = (text("userId"), text("meterTypeName"), text("periodStart"));
        let known = newest.entry(key).or_insert((revision, value));
        if revision >= known.0 {
            *known = (revision, value);
        }
    }
    let mut sums: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    for ((user, kind, _), (_, value)) in newest {
        let sum = sums.entry((user, kind)).or_default();
        *sum = sum.add(value).ok_or("a sum out of range")?;
    }
    Ok(sums)
}
