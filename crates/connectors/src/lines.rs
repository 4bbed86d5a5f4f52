//! The events of a request in OTLP or remote write: one JSON object in each line, as the log has them.

use serde_json::Value;

use crate::otlp::Fault;

/// Bounds of the events of a request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// Events of the request.
    pub events_max: usize,
    /// Bytes of all events: what a request repeats for each of them can be much longer than itself.
    pub bytes_max: usize,
}

/// The events of a request.
#[derive(Debug)]
pub struct Lines {
    /// The events, each with a line end.
    pub bytes: Vec<u8>,
    /// The number of events.
    pub count: u32,
    /// The number of items that are no events.
    pub rejected: u32,
    /// Why the first of them is none.
    pub why: Option<String>,
    bounds: Bounds,
    excess: Option<Fault>,
}

impl Lines {
    /// Creates a list without events.
    pub fn new(bounds: Bounds) -> Lines {
        Lines { bytes: Vec::new(), count: 0, rejected: 0, why: None, bounds, excess: None }
    }

    /// Adds an event; one that is too long is rejected.
    pub fn push(&mut self, event: &Value) {
        if self.excess.is_some() {
            return;
        }
        let line = event.to_string();
        let Bounds { event_bytes_max, events_max, bytes_max } = self.bounds;
        if line.len() > event_bytes_max {
            return self.reject(format!("an event of {} bytes is longer than the limit of {event_bytes_max}", line.len()));
        }
        if self.count as usize >= events_max {
            self.excess = Some(Fault::TooMany(format!("the request has more than {events_max} events")));
        } else if self.bytes.len() + line.len() > bytes_max {
            self.excess = Some(Fault::TooLarge(format!("the events of the request have more than {bytes_max} bytes")));
        } else {
            self.bytes.extend_from_slice(line.as_bytes());
            self.bytes.push(b'\n');
            self.count += 1;
        }
    }

    /// Adds an item as an event, or counts it as none.
    pub fn take(&mut self, item: Result<Value, String>) {
        match item {
            _ if self.is_over() => {}
            Ok(event) => self.push(&event),
            Err(why) => self.reject(why),
        }
    }

    /// Counts an item that is no event.
    pub fn reject(&mut self, why: String) {
        self.rejected += 1;
        self.why.get_or_insert(why);
        if self.rejected as usize > self.bounds.events_max {
            let why = format!("the request has more than {} items that are no events", self.bounds.events_max);
            self.excess = Some(Fault::TooMany(why));
        }
    }

    /// Returns the bounds of the request.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Returns whether a bound is exceeded: then nothing of the request is taken.
    pub fn is_over(&self) -> bool {
        self.excess.is_some()
    }

    /// Returns the events, unless there are too many: then none is taken.
    ///
    /// # Errors
    /// The bound that is exceeded.
    pub fn finish(self) -> Result<Lines, Fault> {
        match self.excess {
            Some(excess) => Err(excess),
            None => Ok(self),
        }
    }
}
