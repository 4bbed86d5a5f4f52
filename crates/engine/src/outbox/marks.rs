//! The progress of a target, and its storage.

use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attempt, Delivery};
use crate::Error;

/// The progress of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marks {
    /// The first record of the current window, or of the next one: everything before was accepted,
    /// or has a delivery of its own.
    pub next: u64,
    /// The number after the last record of the current window; `next` if there is none.
    pub sent: u64,
    /// Every record before was read back, or has a delivery of its own.
    pub confirmed: u64,
    /// Number of accepted records.
    pub accepted: u64,
    /// Number of dead records.
    pub dead: u64,
    /// Number of records that people skipped.
    pub skipped: u64,
    /// Time of the first attempt of the current window; nanoseconds.
    pub sent_at: i64,
    /// Number of failed attempts of the current window.
    pub attempts: u32,
    /// Time since when the target accepts nothing; nanoseconds.
    pub failing_since: Option<i64>,
    /// The answer of the failing target.
    pub answer: String,
    /// Time since when there are dead records; nanoseconds.
    pub dead_since: Option<i64>,
    /// The answer by which the newest dead record was refused.
    pub refusal: String,
    /// The last attempts of the current window, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
    /// State that the target must remember.
    pub memory: Value,
}

impl Marks {
    /// Returns the marks without the state of the target, which is long and private.
    pub fn shown(&self) -> Marks {
        Marks { memory: Value::Null, ..self.clone() }
    }

    /// Adds dead records, with the answer by which the newest was refused.
    pub(super) fn add_dead(&mut self, count: u64, refusal: &str, now: Timestamp) {
        if count > 0 {
            self.dead += count;
            self.dead_since.get_or_insert(now.nanos());
            refusal.clone_into(&mut self.refusal);
        }
    }

    /// Takes away records that are dead no more.
    pub(super) fn take_dead(&mut self, count: u64) {
        self.dead -= count;
        if self.dead == 0 {
            self.dead_since = None;
            self.refusal.clear();
        }
    }

    /// Returns the time of the last attempt of the window that is being sent; nanoseconds.
    pub fn tried_last(&self) -> i64 {
        self.history.last().map_or(self.sent_at, |attempt| attempt.at)
    }

    /// Returns whether a window is being sent.
    pub fn is_under_way(&self) -> bool {
        self.sent > self.next
    }
}

/// The stored state of a target's deliveries.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub marks: Marks,
    /// Deliveries that are retried.
    pub retrying: Vec<Delivery>,
}

/// The storage of a target's progress.
pub trait Shelf {
    /// Stores marks and changed deliveries, and deletes deliveries that were accepted, in one durable
    /// act.
    ///
    /// # Errors
    /// Nothing was stored.
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error>;

    /// Reads the stored state, to resume from.
    ///
    /// # Errors
    /// It cannot be read.
    fn kept(&self) -> Result<Kept, Error>;

    /// Reads a delivery by the number of its record.
    ///
    /// # Errors
    /// It cannot be read.
    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error>;
}
