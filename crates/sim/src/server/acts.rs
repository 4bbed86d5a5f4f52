//! Steps of a history: requests, crashes, disk faults, jumps of the clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use flowmeter_core::session::{Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::StateChoices;
use flowmeter_engine::live::{How, Letter};
use flowmeter_engine::node::Submission;
use flowmeter_node::corrections::{Correction, CorrectionFilter, CorrectionState};
use flowmeter_node::installation::Installation;
use flowmeter_node::refusal::RefusalKind;
use flowmeter_node::sessions::{KeptSession, SessionFilter, StartOptions};
use serde_json::{Map, Value, json};

use super::model::{PIPELINES, SHARED_TYPE, Sent};
use super::{Site, who};
use crate::disk::Faults;
use crate::documents::{HOUR, SECOND};

const SCHEDULES: [&str; 3] = ["weekly", "daily", "monthly"];

fn document(name: &str) -> String {
    let key = format!("00000000-0000-4000-8000-00000000000{}", name.len());
    format!(
        r#"{{"pipeline": "{name}", "source": {{"http": {{}}}}, "operators": [
          {{"dedupe": {{"key": ["source", "id"], "window": "400d"}}}},
          {{"meter": {{"key": "{key}", "user": "subject", "time": "time", "match": "all", "rules": [
            {{"name": "own", "category": "own {name}", "value": "data.n"}},
            {{"name": "shared", "category": "shared", "value": "data.n"}}]}}}}],
          "meterTypes": [{{"name": "own {name}", "category": "own {name}", "resetSchedule": {{"every": "hour", "count": 6}}}}],
          "targets": [{{"name": "{name}", "webhook": {{"url": "https://biller.example.com/usage"}}}}]}}"#
    )
}

impl Site {
    /// Starts a server with two running pipelines.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.start()?;
        let server = self.server()?;
        let refused = |why: Box<flowmeter_node::refusal::Refusal>| why.detail.clone();
        let fields = json!({"name": SHARED_TYPE, "category": "shared", "resetSchedule": "daily"});
        server.create_meter_type(&who(), fields.as_object().cloned().unwrap_or_default()).map_err(refused)?;
        self.model.schedules = vec!["daily".to_owned()];
        for name in PIPELINES {
            let pipeline = server.create_pipeline(&who(), &document(name), false).map_err(refused)?;
            server.start(&who(), &pipeline, StartOptions::default()).map_err(refused)?;
        }
        Ok(())
    }

    pub(super) fn server(&self) -> Result<Arc<Installation>, String> {
        self.server.clone().ok_or_else(|| "there is no server".to_owned())
    }

    pub(super) fn act(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..30 => self.send()?,
            30..46 => self.work()?,
            46..50 => self.handle_deliveries()?,
            50..62 => self.wait(),
            62..72 => self.correct()?,
            72..76 => self.change_type()?,
            76..79 => self.change_pipeline()?,
            79..84 if self.model.is_steady => return self.damage_end(),
            79..84 => self.steer()?,
            84..90 => self.fault(),
            90..93 => return self.restart("ended"),
            _ => return self.audit(),
        }
        let is_poisoned = self.server()?.failure().is_some();
        match (self.disk.is_down(), is_poisoned) {
            (true, _) => self.restart("crash"),
            // A person restarts a server that accepts nothing.
            (false, true) => self.restart("poisoned"),
            (false, false) => Ok(()),
        }
    }

    fn send(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.random.below(3) {
            let mut ids = Vec::new();
            for _ in 0..1 + self.random.below(3) {
                ids.push(self.compose());
            }
            self.post(&ids)?;
        }
        Ok(())
    }

    /// Composes an event, or takes one that was sent before.
    fn compose(&mut self) -> u64 {
        let count = self.model.events.len() as u64;
        if count > 0 && self.random.chance(150) {
            let known = self.random.below(count);
            // A discarded event that comes again may count, if its period is open by now.
            if self.model.discarded.iter().all(|(_, id)| *id != known) {
                return known;
            }
        }
        let lag = match self.random.below(10) {
            0..5 => self.random.below(900) as i64 * SECOND,
            5..8 => self.random.below(5 * 3600) as i64 * SECOND,
            // A period that ended long ago: of last month, and older.
            _ => (20 + self.random.below(30) as i64) * 24 * HOUR,
        };
        let at = Timestamp::from_nanos(self.now() - lag);
        let user = self.random.below(4);
        let value = self.random.chance(850).then(|| self.random.below(50) as i64);
        let n = value.map_or_else(|| "\"much\"".to_owned(), |value| value.to_string());
        let line = format!(r#"{{"id":"{count}","source":"s","subject":"user-{user}","time":"{at}","data":{{"n":{n}}}}}"#);
        self.model.events.insert(count, Sent { user, value, is_acknowledged: false, line });
        count
    }

    /// Sends events in one request.
    pub(super) fn post(&mut self, ids: &[u64]) -> Result<(), String> {
        let server = self.server()?;
        let letter = Letter::open("default", &[]);
        let mut bytes = Vec::new();
        letter.write_head(&mut bytes);
        let head = bytes.len();
        for id in ids {
            bytes.extend_from_slice(self.model.events[id].line.as_bytes());
            bytes.push(b'\n');
        }
        let (answer, answered) = channel();
        let reply = Box::new(move |placed: Result<_, _>| {
            let _no_receiver = answer.send(placed.is_ok());
        });
        let events = ids.len() as u32;
        server.put(Submission::events(head, bytes, events, &**server.clock(), reply));
        server.turn();
        if answered.try_recv() == Ok(true) && !self.disk.is_down() {
            for id in ids {
                if let Some(sent) = self.model.events.get_mut(id) {
                    sent.is_acknowledged = true;
                }
            }
        }
        self.note("sent");
        Ok(())
    }

    fn work(&mut self) -> Result<(), String> {
        self.pass_at_targets();
        let server = self.server()?;
        for _ in 0..1 + self.random.below(6) {
            match self.random.below(3) {
                0 => server.look_after(),
                _ => server.turn(),
            }
        }
        Ok(())
    }

    /// Advances the clock, which sometimes jumps.
    fn wait(&mut self) {
        let by = match self.random.below(12) {
            0..6 => self.random.below(20) as i64 * SECOND,
            6..10 => self.random.below(3 * 3600) as i64 * SECOND,
            10 => self.random.below(40 * 24) as i64 * HOUR,
            _ => -(self.random.below(600) as i64) * SECOND,
        };
        self.clock.0.fetch_add(by, Ordering::AcqRel);
        self.note("waited");
    }

    /// Settles a parked event; two people may do it at the same time.
    fn correct(&mut self) -> Result<(), String> {
        let pipeline = self.random.index(PIPELINES.len());
        let Some((id, parked)) = self.choose_parked(pipeline)? else { return Ok(()) };
        self.note("corrected");
        match self.random.below(5) {
            0 => self.discard(pipeline, id, &parked),
            _ => self.settle_one(pipeline, id, &parked).map(drop),
        }
    }

    fn choose_parked(&mut self, pipeline: usize) -> Result<Option<(u64, Correction)>, String> {
        let open = self.corrections(pipeline, CorrectionState::Open)?;
        if open.is_empty() {
            return Ok(None);
        }
        let at = self.random.index(open.len());
        Ok(open.into_iter().nth(at))
    }

    /// Returns the parked events in a state with the ids of their events; none while that cannot be
    /// queried.
    pub(super) fn corrections(&self, pipeline: usize, state: CorrectionState) -> Result<Vec<(u64, Correction)>, String> {
        let server = self.server()?;
        let served = server.served().into_iter().find(|served| served.kept.name == PIPELINES[pipeline]);
        let Some(served) = served else { return Ok(Vec::new()) };
        let filter = CorrectionFilter { state: Some(state), ..CorrectionFilter::default() };
        let Ok((open, _)) = server.corrections(&served, 0, usize::MAX, &filter) else { return Ok(Vec::new()) };
        let id_of = |correction: &Correction| {
            let event: Value = serde_json::from_slice(&correction.raw).ok()?;
            event["id"].as_str()?.parse().ok()
        };
        open.into_iter().map(|correction| Ok((id_of(&correction).ok_or("a parked event without its id")?, correction))).collect()
    }

    /// Corrects a parked event. Returns whether that was done.
    pub(super) fn settle_one(&mut self, pipeline: usize, id: u64, parked: &Correction) -> Result<bool, String> {
        let server = self.server()?;
        let (user, value) = match self.model.unsure.get(&(pipeline, id)) {
            Some(known) => *known,
            None => (self.random.below(4), self.random.below(50) as i64),
        };
        let at = server.clock().now();
        let event = format!(r#"{{"id":"{id}","source":"s","subject":"user-{user}","time":"{at}","data":{{"n":{value}}}}}"#);
        let settled = server.settle_correction(&who(), &parked.id(), How::Corrected, Some(event.clone().into_bytes()));
        self.print(|| {
            format!("{} {}: {event}: {:?}", PIPELINES[pipeline], parked.id(), settled.as_ref().map(|known| known.state))
        });
        match settled {
            Ok(_) => {
                self.model.unsure.remove(&(pipeline, id));
                self.model.corrected.insert((pipeline, id), (user, value));
                Ok(true)
            }
            // Another parked event with this id was corrected and replaced this one.
            Err(_) if self.model.corrected.contains_key(&(pipeline, id)) => Ok(true),
            // A correction that is refused for good has no effect.
            Err(why) if why.kind == RefusalKind::Conflict && why.detail.contains("already") => Ok(true),
            Err(_) => {
                self.model.unsure.insert((pipeline, id), (user, value));
                // Another event with this id was discarded; or this one, which the pipeline has not seen yet.
                let before = self.model.discarded.len();
                self.model.discarded.retain(|known| *known != (pipeline, id));
                if self.model.discarded.len() < before {
                    self.model.perhaps_discarded.push((pipeline, id));
                }
                Ok(false)
            }
        }
    }

    fn discard(&mut self, pipeline: usize, id: u64, parked: &Correction) -> Result<(), String> {
        let server = self.server()?;
        if self.model.unsure.contains_key(&(pipeline, id)) {
            return Ok(());
        }
        // Answered or not: none of it may count, unless it is corrected later.
        let done = server.settle_correction(&who(), &parked.id(), How::Discarded, None);
        self.print(|| {
            let done = done.as_ref().map(|known| known.state).map_err(|why| &why.detail);
            format!("{} {}: {id} is discarded: {done:?}", PIPELINES[pipeline], parked.id())
        });
        match done.is_ok() {
            true => self.model.discarded.push((pipeline, id)),
            // Perhaps it was discarded: the event is sent again, and counts once.
            false => {
                self.model.perhaps_discarded.push((pipeline, id));
                self.model.events.entry(id).and_modify(|sent| sent.is_acknowledged = false);
            }
        }
        Ok(())
    }

    /// Gives the shared type another schedule.
    fn change_type(&mut self) -> Result<(), String> {
        let server = self.server()?;
        let Ok(known) = server.meter_type("default", SHARED_TYPE) else { return Ok(()) };
        let schedule = SCHEDULES[self.random.index(SCHEDULES.len())];
        let fields = json!({"category": "shared", "resetSchedule": schedule});
        let fields: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
        let made = server.update_meter_type(&who(), &known, fields);
        self.print(|| format!("the shared type resets {schedule}: {:?}", made.as_ref().map(|_| ()).map_err(|why| &why.detail)));
        self.note("type changed");
        match (made, self.disk.is_down()) {
            (Ok(_), _) => self.model.schedules = vec![schedule.to_owned()],
            // The program ended before it could answer.
            (Err(_), true) => self.model.schedules.push(schedule.to_owned()),
            // A log that is uncertain whether it has the change is checked at the next start.
            (Err(_), false) if server.failure().is_some() => self.model.schedules.push(schedule.to_owned()),
            (Err(_), false) => self.model.doubtful = server.is_in_doubt().then(|| schedule.to_owned()),
        }
        Ok(())
    }

    fn change_pipeline(&mut self) -> Result<(), String> {
        let server = self.server()?;
        let name = PIPELINES[self.random.index(PIPELINES.len())];
        let Ok(pipeline) = server.pipeline("default", name) else { return Ok(()) };
        self.note("pipeline changed");
        drop(server.update_pipeline(&who(), &pipeline, &document(name), &StateChoices::new()));
        Ok(())
    }

    /// Pauses, resumes, finishes or starts a session.
    fn steer(&mut self) -> Result<(), String> {
        let server = self.server()?;
        let name = PIPELINES[self.random.index(PIPELINES.len())];
        let Ok(pipeline) = server.pipeline("default", name) else { return Ok(()) };
        let Some(session) = newest(&server, name) else { return Ok(()) };
        let choice = self.random.below(3);
        let (what, done) = match session.session_status {
            Status::Running if choice == 0 => ("paused", server.act(&who(), &session.session_id, Trigger::Pause).map(drop)),
            Status::Running if choice == 1 => ("finished", server.act(&who(), &session.session_id, Trigger::Finish).map(drop)),
            Status::Paused => ("resumed", server.act(&who(), &session.session_id, Trigger::Resume).map(drop)),
            status if status.is_final() => ("started", server.start(&who(), &pipeline, StartOptions::default()).map(drop)),
            _ => return Ok(()),
        };
        self.note(what);
        self.print(|| format!("{name} {what}: {:?}", done.map_err(|why| why.detail)));
        Ok(())
    }

    /// Damages the newest entry of the log while the program is down. Its events are lost, as the
    /// start reports, unless a checkpoint has them.
    fn damage_end(&mut self) -> Result<(), String> {
        self.settle()?;
        let id = self.compose();
        self.post(&[id])?;
        if self.server()?.failure().is_some() || !self.model.events[&id].is_acknowledged {
            return self.restart("ended");
        }
        if self.random.chance(700) {
            // Every pipeline makes a checkpoint behind the entry.
            self.clock.0.fetch_add(120 * SECOND, Ordering::AcqRel);
            let server = self.server()?;
            (0..10).for_each(|_| server.turn());
        }
        self.note("damage at the end");
        self.disk.stop();
        self.server = None;
        self.disk.restart();
        if self.disk.flip_end("log/") {
            // It is the newest entry, or a tick behind it.
            self.model.events.entry(id).and_modify(|sent| sent.is_acknowledged = false);
        }
        self.is_damaged = true;
        self.start()
    }

    /// Returns whether a pipeline that had not counted lost entries says so and fails: then a person
    /// restores a backup, and this history is over.
    pub(super) fn needs_backup(&mut self) -> bool {
        let is_told = |server: &Arc<Installation>| {
            server.stopped().into_iter().any(|stopped| stopped.has_failed && stopped.why.to_string().contains("are lost"))
        };
        let needs = self.is_damaged && self.server.as_ref().is_some_and(is_told);
        if needs {
            self.note("damage reported");
        }
        needs
    }

    fn fault(&mut self) {
        let mut faults = Faults::default();
        match self.random.below(4) {
            0 | 1 => faults.crash_in = Some(self.random.below(300)),
            2 => faults.errors = 200 + self.random.below(3000),
            _ => faults.full_for = 1 + self.random.below(12),
        }
        self.print(|| format!("{faults:?}"));
        self.disk.set_faults(faults);
    }
}

/// Returns the newest session of a pipeline.
pub(super) fn newest(server: &Installation, name: &str) -> Option<KeptSession> {
    let pipeline = server.pipeline("default", name).ok()?;
    server.sessions("default", &SessionFilter::of(pipeline.id), None, 1).ok()?.into_iter().next()
}
