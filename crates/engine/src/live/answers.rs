//! Recorded answers of HTTP services.
//!
//! Every outcome of a request is an item of the pipeline's log `answers`, durable before the event
//! that it is for is counted. A replay finds it there by that event and makes no request, so the
//! same log gives the same numbers, whatever a service says by then.

mod item;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::mediation::{Asked, Services};
use flowmeter_core::operator::HttpAnswer;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_store::disk::{Disk, read_all, write_whole};
use flowmeter_store::log::{self, Encoded, EntryKind, Log, first_since, segments_of};

use super::outlet::items;
use crate::{Error, Kind};
use item::Key;

pub use item::hash_of;

/// Opens the services that the operators of a plan ask, and fills the secrets into the plan.
pub type OpenServices = Arc<dyn Fn(&mut Plan) -> Result<Option<Arc<dyn Services>>, Error> + Send + Sync>;

/// Returns the folder of a pipeline's answers.
fn answers_folder(pipeline: &str) -> String {
    format!("{pipeline}/answers")
}

/// The answers of a pipeline.
pub struct RecordedAnswers(Mutex<State>);

struct State {
    disk: Arc<dyn Disk>,
    folder: String,
    settings: log::Settings,
    /// Opened with the first answer.
    log: Option<Log>,
    /// Answers that events may still need.
    known: BTreeMap<Key, HttpAnswer>,
    /// Those of them that were used since the last call of [`RecordedAnswers::forget_used`].
    used: BTreeSet<Key>,
    /// None in a replay, which finds every answer in the log.
    services: Option<Arc<dyn Services>>,
    /// The error that kept an event from its answer. Everything counted since is wrong.
    failure: Option<Error>,
}

impl fmt::Debug for RecordedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedAnswers")
    }
}

impl RecordedAnswers {
    /// Opens the answers of a pipeline, of which it needs those since an instant.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        pipeline: &str,
        settings: log::Settings,
        since: Timestamp,
    ) -> Result<Arc<RecordedAnswers>, Error> {
        let mut state = State::new(disk, answers_folder(pipeline), settings);
        if !segments_of(&**disk, &state.folder)?.is_empty() {
            let (log, _) = Log::open(Arc::clone(disk), &state.folder, settings)?;
            state.read(&log, since)?;
            state.log = Some(log);
        }
        Ok(Arc::new(RecordedAnswers(Mutex::new(state))))
    }

    /// Returns a reader of the answers for events that were received at an instant or later.
    pub(super) fn since(&self, at: Timestamp) -> Result<PastAnswers, Error> {
        let state = self.state();
        let reader = match &state.log {
            None => None,
            Some(log) => Some(state.reader_since(log, at)?),
        };
        let (disk, folder, settings) = (Arc::clone(&state.disk), state.folder.clone(), state.settings);
        Ok(PastAnswers { disk, folder, settings, reader, next: None, latest: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks these services from now on. They remember the answers since an instant.
    pub(super) fn use_services(&self, services: Option<Arc<dyn Services>>, since: Timestamp) -> Result<(), Error> {
        let mut state = self.state();
        if let (Some(services), Some(log)) = (&services, &state.log) {
            let mut reader = state.reader_since(log, since)?;
            while let Some(entry) = reader.read()? {
                let past = items(&entry).filter_map(|(_, bytes)| item::read(bytes)?.into_past());
                past.filter(|past| past.received >= since).for_each(|past| services.remember(past));
            }
        }
        state.services = services;
        Ok(())
    }

    /// Forgets the answers of events that have been counted.
    pub(super) fn forget_used(&self) {
        let mut state = self.state();
        for key in std::mem::take(&mut state.used) {
            state.known.remove(&key);
        }
    }

    /// Returns an error if an event did not get its answer: everything counted since is wrong.
    pub fn check(&self) -> Result<(), Error> {
        self.state().failure.clone().map_or(Ok(()), Err)
    }

    /// Removes whole files of answers to events that were received before an instant.
    pub(super) fn release(&self, before: Timestamp) -> Result<(), Error> {
        let mut state = self.state();
        let State { log: Some(log), .. } = &mut *state else { return Ok(()) };
        log.release_older(before.nanos())?;
        Ok(())
    }
}

impl State {
    fn new(disk: &Arc<dyn Disk>, folder: String, settings: log::Settings) -> State {
        State {
            disk: Arc::clone(disk),
            folder,
            settings,
            log: None,
            known: BTreeMap::new(),
            used: BTreeSet::new(),
            services: None,
            failure: None,
        }
    }

    /// Returns a reader of all entries since an instant; earlier ones may come before them.
    fn reader_since(&self, log: &Log, since: Timestamp) -> Result<log::Reader, Error> {
        let from = first_since(&*self.disk, &self.folder, log.next(), since.nanos())?;
        Ok(log.reader(from.max(log.first()))?)
    }

    /// Reads the answers since an instant.
    fn read(&mut self, log: &Log, since: Timestamp) -> Result<(), Error> {
        let mut reader = self.reader_since(log, since)?;
        while let Some(entry) = reader.read()? {
            if entry.at >= since.nanos() {
                self.note(&entry)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, entry: &log::Entry) -> Result<(), Error> {
        for (number, bytes) in items(entry) {
            let damaged = || Error::new(Kind::Corrupt, format!("{}: item {number} is no answer", self.folder));
            let item::Item { key, answer, .. } = item::read(bytes).ok_or_else(damaged)?;
            self.known.insert(key, answer);
        }
        Ok(())
    }

    /// Asks about events whose answers are not recorded, and records what the services say.
    fn ask(&mut self, asked: &[(Key, Asked<'_>)]) -> Result<(), Error> {
        let Some(services) = self.services.clone() else {
            let Some((key, _)) = asked.first() else { return Ok(()) };
            return Err(Error::new(Kind::Corrupt, format!("{}: there is no answer for {key}", self.folder)));
        };
        let requests: Vec<Asked<'_>> = asked.iter().map(|(_, one)| *one).collect();
        let said = services.ask(&requests);
        let (mut bytes, mut count, mut later) = (Vec::new(), 0, None);
        for ((key, one), answer) in asked.iter().zip(said) {
            match &answer {
                HttpAnswer::Later(why) => {
                    later.get_or_insert_with(|| format!("operator `{}`: {why}", one.operator));
                }
                HttpAnswer::Answered(_) | HttpAnswer::Refused(_) | HttpAnswer::Unavailable(_) | HttpAnswer::Skipped => {
                    item::write(key, one, &answer, &mut bytes);
                    count += 1;
                    self.known.insert(key.clone(), answer);
                }
            }
        }
        if let (1.., Some((_, first))) = (count, asked.first()) {
            let entry = Encoded::new(EntryKind::Items, first.received.nanos(), count, &bytes);
            let log = match &mut self.log {
                Some(log) => log,
                None => self.log.insert(Log::open(Arc::clone(&self.disk), &self.folder, self.settings)?.0),
            };
            log.append(&entry)?;
            log.commit()?;
        }
        later.map_or(Ok(()), |why| Err(Error::new(Kind::Unavailable, why)))
    }
}

impl Services for RecordedAnswers {
    fn ask(&self, asked: &[Asked<'_>]) -> Vec<HttpAnswer> {
        let mut state = self.state();
        let keys: Vec<Key> = asked.iter().map(Key::of).collect();
        let unknown = keys.iter().zip(asked).filter(|(key, _)| !state.known.contains_key(key));
        let unknown: Vec<(Key, Asked<'_>)> = unknown.map(|(key, one)| (key.clone(), *one)).collect();
        if !unknown.is_empty()
            && state.failure.is_none()
            && let Err(why) = state.ask(&unknown)
        {
            state.failure = Some(why);
        }
        let later = || HttpAnswer::Later(String::new());
        let answers = keys.iter().map(|key| state.known.get(key).cloned().unwrap_or_else(later)).collect();
        state.used.extend(keys);
        answers
    }
}

/// Recorded answers, read in the order of receipt to count events again.
pub struct PastAnswers {
    disk: Arc<dyn Disk>,
    folder: String,
    settings: log::Settings,
    reader: Option<log::Reader>,
    /// An entry that was read and belongs to a later instant.
    next: Option<log::Entry>,
    /// Those of the latest instant: several events may have been received at once.
    latest: Option<(Timestamp, Arc<RecordedAnswers>)>,
}

impl PastAnswers {
    /// Returns the answers for events that were received at an instant. The instants of calls do
    /// not decrease.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn at(&mut self, at: Timestamp) -> Result<Arc<RecordedAnswers>, Error> {
        if let Some((_, latest)) = self.latest.as_ref().filter(|(known, _)| *known == at) {
            return Ok(Arc::clone(latest));
        }
        let mut found = State::new(&self.disk, self.folder.clone(), self.settings);
        while let Some(reader) = &mut self.reader {
            let Some(entry) = self.next.take().map_or_else(|| reader.read(), |entry| Ok(Some(entry)))? else { break };
            if entry.at > at.nanos() {
                self.next = Some(entry);
                break;
            }
            if entry.at == at.nanos() {
                found.note(&entry)?;
            }
        }
        let found = Arc::new(RecordedAnswers(Mutex::new(found)));
        self.latest = Some((at, Arc::clone(&found)));
        Ok(found)
    }
}

/// Copies the answers of a pipeline to another disk.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_answers(from: &dyn Disk, to: &dyn Disk, pipeline: &str) -> Result<(), Error> {
    let folder = answers_folder(pipeline);
    let at = |why: std::io::Error| Error::from(flowmeter_store::Error::io(&folder, &why));
    for name in from.list(&folder).map_err(at)? {
        let bytes = read_all(from, &format!("{folder}/{name}")).map_err(at)?;
        to.create_folder(&folder).and_then(|()| write_whole(to, &folder, &name, &bytes)).map_err(at)?;
    }
    Ok(())
}
