//! Events of the meters of a session over files. Its meters live as long as the session, so the
//! events are sent while it runs; a repeated session sends them again, under its own id.

use std::sync::Arc;

use flowmeter_connectors::bounded::Beside;
use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{NoteKind, note_of_meter};
use flowmeter_engine::{Error, Noted, RecordSink};
use serde_json::Value;

use super::{EVENTS_AT_ONCE, Listeners, OF_NOTES, OF_RECORDS, Runner, tell_note, tell_record};
use crate::installation::{Installation, KeptSession};
use crate::notifications::Notification;

/// Sends the events of a session's meters.
pub(in crate::installation) struct BatchTeller<'i> {
    installation: &'i Installation,
    namespace: String,
    plan: Arc<Plan>,
    runner: Runner,
    /// The notifications at the start of the session.
    notifications: Arc<Vec<Notification>>,
    wants_records: bool,
    at: Timestamp,
    events: Vec<(Timestamp, &'static str, Value)>,
}

impl<'i> BatchTeller<'i> {
    pub(in crate::installation) fn new(
        installation: &'i Installation,
        session: &KeptSession,
        plan: Arc<Plan>,
        at: Timestamp,
    ) -> Result<BatchTeller<'i>, Error> {
        let notifications = installation.all_notifications()?;
        Ok(BatchTeller {
            namespace: session.namespace.clone(),
            runner: Runner::of_session(session),
            wants_records: !Listeners::of(&session.namespace, &notifications, &OF_RECORDS).are_none(),
            notifications,
            events: Vec::new(),
            installation,
            plan,
            at,
        })
    }

    /// Commits the collected events.
    pub(in crate::installation) fn tell(&mut self) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let _telling = self.installation.teller.hold();
        let changes = self.installation.told_at(&self.namespace, std::mem::take(&mut self.events).into_iter())?;
        Ok(self.installation.catalog.commit(&changes)?)
    }

    fn relieve(&mut self) -> Result<(), Error> {
        if self.events.len() >= EVENTS_AT_ONCE { self.tell() } else { Ok(()) }
    }
}

impl Beside for BatchTeller<'_> {
    fn wants_meters(&self) -> bool {
        !Listeners::of(&self.namespace, &self.notifications, &OF_NOTES).are_none()
    }
}

impl RecordSink for BatchTeller<'_> {
    fn record(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        if !self.wants_records {
            return Ok(());
        }
        let listeners = Listeners::of(&self.namespace, &self.notifications, &OF_RECORDS);
        tell_record(json, self.at, &self.runner, &listeners, &mut self.events);
        self.relieve()
    }

    fn threshold(&mut self, _key: RecordKey<'_>, json: &[u8]) -> Result<(), Error> {
        let listeners = Listeners::of(&self.namespace, &self.notifications, &OF_NOTES);
        tell_note(NoteKind::Threshold, json, self.at, &self.runner, &listeners, &mut self.events);
        self.relieve()
    }

    fn noted(&mut self, noted: &Noted) -> Result<(), Error> {
        let listeners = Listeners::of(&self.namespace, &self.notifications, &OF_NOTES);
        let (kind, json) = note_of_meter(&self.plan, noted);
        tell_note(kind, json.as_bytes(), self.at, &self.runner, &listeners, &mut self.events);
        self.relieve()
    }
}
