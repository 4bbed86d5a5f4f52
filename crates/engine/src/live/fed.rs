//! The origin of events that a source of a pipeline read, in their letter: the places where they come
//! from, and what the source has taken with them. Both are in the entry that carries the events, so that
//! they cannot part.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::time::Timestamp;

/// The origin of the events of a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// The id of the source in the document.
    pub source: String,
    /// The clock of a session that ends with its input; `None` for events that arrive one by one.
    pub as_of: Option<Timestamp>,
    /// Keys of what the source has taken, with the new value of each; `None` removes the key.
    pub taken: Vec<(String, Option<String>)>,
    /// The places of the events, in their order.
    pub runs: Vec<Run>,
}

/// Events that come from one place, line after line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The file, object, partition of a topic, table or address.
    pub origin: Arc<str>,
    /// The line, offset or row of the first event, as the number of its place
    /// ([`flowmeter_core::event::Place`]).
    pub line: u64,
    /// Number of events from there.
    pub events: u64,
}

/// Keys and values of a source that say what it has taken.
pub type Taken = BTreeMap<String, String>;

impl Fed {
    /// Adds an event that comes from a line, given as the number of its place.
    pub fn add(&mut self, origin: &Arc<str>, line: u64) {
        match self.runs.last_mut() {
            Some(last) if last.line + last.events == line && last.origin == *origin => last.events += 1,
            _ => self.runs.push(Run { origin: Arc::clone(origin), line, events: 1 }),
        }
    }

    /// Returns the number of events.
    pub fn events(&self) -> u64 {
        self.runs.iter().map(|run| run.events).sum()
    }

    /// Returns the origin of an event, counted from 0, and the number of its place there.
    pub fn place_of(&self, mut event: u64) -> Option<(&str, u64)> {
        for run in &self.runs {
            if event < run.events {
                return Some((&run.origin, run.line + event));
            }
            event -= run.events;
        }
        None
    }

    /// Applies what was taken with these events.
    pub fn take(&self, taken: &mut Taken) {
        for (key, value) in &self.taken {
            match value {
                Some(value) => drop(taken.insert(key.clone(), value.clone())),
                None => drop(taken.remove(key)),
            }
        }
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.text(self.source.as_bytes());
        pen.byte(u8::from(self.as_of.is_some()));
        if let Some(as_of) = self.as_of {
            pen.time(as_of);
        }
        pen.count(self.taken.len() as u64);
        for (key, value) in &self.taken {
            pen.text(key.as_bytes());
            pen.byte(u8::from(value.is_some()));
            pen.text(value.as_deref().unwrap_or_default().as_bytes());
        }
        pen.count(self.runs.len() as u64);
        for run in &self.runs {
            pen.text(run.origin.as_bytes());
            pen.count(run.line);
            pen.count(run.events);
        }
    }

    pub(super) fn read(glass: &mut Glass<'_>) -> Seen<Fed> {
        let source = glass.string()?;
        let as_of = if glass.byte()? != 0 { Some(glass.time()?) } else { None };
        let mut taken = Vec::new();
        for _ in 0..glass.length()? {
            let (key, is_there, value) = (glass.string()?, glass.byte()? != 0, glass.string()?);
            taken.push((key, is_there.then_some(value)));
        }
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..glass.length()? {
            let origin = glass.string()?;
            let origin = match runs.last() {
                Some(last) if *last.origin == *origin => Arc::clone(&last.origin),
                _ => origin.into(),
            };
            runs.push(Run { origin, line: glass.count()?, events: glass.count()? });
        }
        Ok(Fed { source, as_of, taken, runs })
    }
}

/// Returns the origin of an event as it is stored with the event: the id of its source and the
/// place there, or `http` for the event API.
pub fn shown_origin(source: &str, place: &str) -> String {
    format!("{source}:{place}")
}

/// Returns the id of the source and the place of a stored origin; without an id, the event came
/// over the event API.
pub fn read_origin(origin: &str) -> (Option<&str>, &str) {
    match origin.split_once(':') {
        Some((source, place)) => (Some(source), place),
        None => (None, origin),
    }
}
