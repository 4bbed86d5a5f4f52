//! Events of single meters: opened, reset, flushed, amended, deleted, thresholds.
//!
//! A month end may flush a million meters, so none of this is on the path of counting. It is read
//! afterwards from data that pipelines write anyway: the numbered records, and their notes.
//! Separate cursors mark the progress. The events and the cursors are one commit, so none is
//! doubled and none lost. Events of thresholds are always created. Of the others only those are
//! created that an enabled notification subscribes to, by its type and its conditions. Without such
//! a subscription records are not even read.

mod payload;
mod reading;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{LogCommand, NoteKind};
use flowmeter_store::catalog::{Change, Table, count_to};
use payload::{Runner, of_meter, of_record, of_threshold};
use reading::{Item, Reading};
use serde_json::Value;
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::notifications::Notification;
use crate::notifications::vocabulary::{AMENDED, DELETED, FLUSHED, OPENED, RESET};
use crate::sessions::SessionFilter;

/// Maximum of events in one commit.
const EVENTS_AT_ONCE: usize = 500;
/// Records and notes that are examined before the cursors are stored.
const LOOKED_AT_ONCE: usize = 20_000;

/// The progress in a pipeline's records and notes: the numbers of the next ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    records: u64,
    notes: u64,
}

fn records_key(pipeline: Uuid) -> Vec<u8> {
    format!("told_records/{pipeline}").into_bytes()
}

fn notes_key(pipeline: Uuid) -> Vec<u8> {
    format!("told_notes/{pipeline}").into_bytes()
}

impl Told {
    fn changes(self, pipeline: Uuid) -> [Change; 2] {
        [count_to(&records_key(pipeline), self.records), count_to(&notes_key(pipeline), self.notes)]
    }
}

/// The notifications of a namespace that subscribe to events of single meters.
struct Listeners<'n>(Vec<&'n Notification>);

impl<'n> Listeners<'n> {
    fn of(namespace: &str, all: &'n [Notification], types: &[&str]) -> Listeners<'n> {
        let asks =
            |known: &&Notification| known.enabled && known.namespace == namespace && types.contains(&known.event_type.as_str());
        Listeners(all.iter().filter(asks).collect())
    }

    fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    fn ask_for(&self, event_type: &str) -> bool {
        self.0.iter().any(|known| known.event_type == event_type)
    }

    /// Whether one of them subscribes to this event.
    fn want(&self, event_type: &str, payload: &Value) -> bool {
        self.0.iter().any(|known| {
            known.event_type == event_type && known.conditions.as_ref().is_none_or(|condition| condition.holds(payload))
        })
    }
}

/// Events that are derived from records.
const OF_RECORDS: [&str; 3] = [RESET, FLUSHED, AMENDED];
/// Events that are derived from notes, which pipelines make only while there is a subscription.
const OF_NOTES: [&str; 2] = [OPENED, DELETED];

impl Installation {
    /// Creates the events of meters since the last call.
    ///
    /// # Errors
    /// An error of the catalog or of a pipeline's logs. The other pipelines are processed all the
    /// same; the next call repeats the rest.
    pub fn tell_of_meters(&self) -> Result<(), Error> {
        let served = self.served();
        let told = served.iter().map(|served| self.tell_of_meters_of(served));
        // An error of one pipeline does not affect the others.
        told.collect::<Vec<_>>().into_iter().collect()
    }

    /// Creates the events of the meters of one pipeline.
    pub(crate) fn tell_of_meters_of(&self, served: &Served) -> Result<(), Error> {
        let _reading = self.teller.hold_reading();
        let (pipeline, namespace) = (served.kept.id, served.kept.namespace.as_str());
        // Notes first: a note precedes the records that exist by then.
        let ends = Told { notes: served.board().notes(), records: served.board().records() };
        let before = self.meters_told(pipeline)?;
        if before.records >= ends.records && before.notes >= ends.notes {
            return Ok(());
        }
        let mut told = before;
        let notifications = self.all_notifications()?;
        let of_records = Listeners::of(namespace, &notifications, &OF_RECORDS);
        let of_notes = Listeners::of(namespace, &notifications, &OF_NOTES);
        if of_records.are_none() {
            told.records = told.records.max(ends.records);
        }
        let runner = self.runner(served)?;
        let mut reading = Reading::open(served, [told.records, told.notes], [ends.records, ends.notes])?;
        let (mut events, mut looked) = (Vec::new(), 0);
        while !self.teller.is_ending()
            && let Some(item) = reading.next()?
        {
            looked += 1;
            match item {
                Item::Record(record) => {
                    told.records = record.number + 1;
                    if !record.is_threshold {
                        tell_record(&record.json, record.at, &runner, &of_records, &mut events);
                    }
                }
                Item::Note(note) => {
                    told.notes = note.number + 1;
                    tell_note(note.kind, &note.json, note.at, &runner, &of_notes, &mut events);
                }
            }
            if events.len() >= EVENTS_AT_ONCE || looked >= LOOKED_AT_ONCE {
                self.keep_told(served, told, std::mem::take(&mut events))?;
                looked = 0;
            }
        }
        // Notes may wait for records that are not there yet.
        if told == before {
            return Ok(());
        }
        self.keep_told(served, told, events)?;
        self.release_notes(served, told.notes)
    }

    fn meters_told(&self, pipeline: Uuid) -> Result<Told, Error> {
        let number = |key: Vec<u8>| self.catalog.counter(&key);
        Ok(Told { records: number(records_key(pipeline))?, notes: number(notes_key(pipeline))? })
    }

    fn keep_told(&self, served: &Served, told: Told, events: Vec<(Timestamp, &'static str, Value)>) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(self.catalog.commit(&told.changes(served.kept.id))?);
        }
        let _telling = self.teller.hold();
        let mut changes = self.told_at(&served.kept.namespace, events.into_iter())?;
        changes.extend(told.changes(served.kept.id));
        Ok(self.catalog.commit(&changes)?)
    }

    fn release_notes(&self, served: &Served, before: u64) -> Result<(), Error> {
        let Some(_free) = self.may_release() else { return Ok(()) };
        served.worker.ask(move |live| live.release_notes(before))?
    }

    /// Returns the session under which events are sent: the one that runs the pipeline, or the last
    /// one.
    fn runner(&self, served: &Served) -> Result<Runner, Error> {
        let sessions = self.sessions(&served.kept.namespace, &SessionFilter::of(served.kept.id), None, usize::MAX)?;
        let session = sessions.iter().find(|session| session.number == served.session()).or(sessions.first());
        Ok(Runner::new(&served.kept, session))
    }

    /// Sets the cursor of a pipeline that has none to the present end: records of an older program
    /// create no events.
    pub(crate) fn begin_to_tell(&self, pipeline: Uuid, records: u64) -> Result<(), Error> {
        match self.catalog.get(Table::Counters, &records_key(pipeline))? {
            Some(_) => Ok(()),
            None => Ok(self.catalog.commit(&Told { records, notes: 0 }.changes(pipeline))?),
        }
    }

    /// Whether a notification subscribes to events that need notes.
    pub(crate) fn wants_notes(&self, namespace: &str) -> Result<bool, Error> {
        let all = self.all_notifications()?;
        Ok(!Listeners::of(namespace, &all, &OF_NOTES).are_none())
    }

    /// Sets for the pipelines of a namespace whether they make notes: from one entry of the log on,
    /// so that notes are the same whenever they are made.
    pub(crate) fn attend(&self, namespace: &str) -> Result<(), Error> {
        let listens = self.wants_notes(namespace)?;
        for served in self.served_in(namespace) {
            if served.listens.swap(listens, std::sync::atomic::Ordering::AcqRel) != listens {
                self.command_listening(served.kept.id, listens)?;
            }
        }
        Ok(())
    }

    /// Appends the command that switches notes on or off; returns its position.
    pub(crate) fn command_listening(&self, pipeline: Uuid, listens: bool) -> Result<u64, Error> {
        self.command(&LogCommand::Listen { pipeline, listens })
    }
}

fn tell_record(
    json: &[u8],
    at: Timestamp,
    runner: &Runner,
    listeners: &Listeners<'_>,
    events: &mut Vec<(Timestamp, &'static str, Value)>,
) {
    let Some((payload, revision, ends)) = of_record(json, runner) else { return };
    let types: &[&'static str] = match (revision, ends) {
        (0, true) => &[FLUSHED, RESET],
        // A period without an end is never reset.
        (0, false) => &[FLUSHED],
        _ => &[AMENDED],
    };
    for event_type in types {
        if listeners.want(event_type, &payload) {
            events.push((at, event_type, payload.clone()));
        }
    }
}

fn tell_note(
    kind: NoteKind,
    json: &[u8],
    at: Timestamp,
    runner: &Runner,
    listeners: &Listeners<'_>,
    events: &mut Vec<(Timestamp, &'static str, Value)>,
) {
    let event_type = match kind {
        NoteKind::Threshold => return events.extend(of_threshold(json, runner).map(|(kind, payload)| (at, kind, payload))),
        NoteKind::Opened => OPENED,
        NoteKind::Deleted => DELETED,
    };
    if listeners.ask_for(event_type)
        && let Some(payload) = of_meter(json, runner)
        && listeners.want(event_type, &payload)
    {
        events.push((at, event_type, payload));
    }
}
