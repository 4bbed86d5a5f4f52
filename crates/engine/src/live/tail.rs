//! The end of the log in memory: entries that have just become durable, for pipelines that keep up.
//! Others read from the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowmeter_store::log::Entry;

/// The last entries of the log.
pub struct Tail {
    held: Mutex<Held>,
    news: Condvar,
    bytes_max: usize,
}

struct Held {
    /// In order, without gaps, the newest last.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The position after the last durable entry.
    end: u64,
}

/// The content of the tail from a position on.
pub enum Found {
    Entries(Vec<Arc<Entry>>),
    Nothing,
    /// The tail begins later: the entry has to be read from the log.
    Behind,
}

impl Tail {
    /// Returns a tail that begins at a position and has a maximum of bytes.
    pub fn new(end: u64, bytes_max: usize) -> Tail {
        Tail { held: Mutex::new(Held { entries: VecDeque::new(), bytes: 0, end }), news: Condvar::new(), bytes_max }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries that have become durable.
    pub fn push(&self, entries: Vec<Arc<Entry>>) {
        let mut held = self.held();
        for entry in entries {
            held.end = entry.position + 1;
            held.bytes += entry.bytes.len();
            held.entries.push_back(entry);
        }
        while held.bytes > self.bytes_max
            && held.entries.len() > 1
            && let Some(oldest) = held.entries.pop_front()
        {
            held.bytes -= oldest.bytes.len();
        }
        drop(held);
        self.news.notify_all();
    }

    /// Wakes all waiting threads without a new entry.
    pub fn wake(&self) {
        self.news.notify_all();
    }

    /// Returns the position after the last durable entry.
    pub fn end(&self) -> u64 {
        self.held().end
    }

    /// Returns entries from a position on, up to a number of bytes. Waits up to `patience` if there
    /// are none.
    pub fn from(&self, position: u64, bytes_max: usize, patience: Duration) -> Found {
        let mut held = self.held();
        if position >= held.end && !patience.is_zero() {
            held = self.news.wait_timeout(held, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        if position >= held.end {
            return Found::Nothing;
        }
        let first = held.entries.front().map_or(held.end, |entry| entry.position);
        if position < first {
            return Found::Behind;
        }
        let mut bytes = 0;
        let within = held.entries.range((position - first) as usize..).take_while(|entry| {
            let before = bytes;
            bytes += entry.bytes.len();
            before == 0 || bytes <= bytes_max
        });
        Found::Entries(within.cloned().collect())
    }
}
