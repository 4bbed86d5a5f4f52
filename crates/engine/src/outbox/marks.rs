//! How far a target has come, and who keeps that.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Delivery;
use crate::Error;

/// How far a target has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marks {
    /// The first record of the window under way, or of the next: everything before was
    /// accepted, or has a delivery of its own.
    pub next: u64,
    /// Behind the last record of the window under way; `next` when there is none.
    pub sent: u64,
    /// Everything before was read back and is there, or has a delivery of its own.
    pub confirmed: u64,
    /// Records that were accepted.
    pub accepted: u64,
    /// Records that are dead.
    pub dead: u64,
    /// Records that people left out.
    pub skipped: u64,
    /// When the window under way was sent first; nanoseconds.
    pub sent_at: i64,
    /// How often the window under way was sent in vain.
    pub attempts: u32,
    /// Since when the target has taken nothing; nanoseconds.
    pub failing_since: Option<i64>,
    /// What it said then.
    pub answer: String,
    /// What the target must remember.
    pub memory: Value,
}

impl Marks {
    /// The marks without what the target remembers, which is long and nobody else's.
    pub fn shown(&self) -> Marks {
        let Marks { next, sent, confirmed, accepted, dead, skipped, sent_at, attempts, failing_since, .. } = *self;
        let (answer, memory) = (self.answer.clone(), Value::Null);
        Marks { next, sent, confirmed, accepted, dead, skipped, sent_at, attempts, failing_since, answer, memory }
    }

    /// Whether a window is under way.
    pub fn is_under_way(&self) -> bool {
        self.sent > self.next
    }
}

/// What is kept of a target's deliveries.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// How far it has come.
    pub marks: Marks,
    /// Deliveries that are tried again.
    pub retrying: Vec<Delivery>,
}

/// Keeps how far a target has come.
pub trait Shelf {
    /// Keeps marks and what changed of deliveries in one durable act.
    ///
    /// # Errors
    /// Nothing of it is kept.
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[u64]) -> Result<(), Error>;

    /// What is kept, to go on from.
    ///
    /// # Errors
    /// It cannot be read.
    fn kept(&self) -> Result<Kept, Error>;

    /// A delivery by the number of its record.
    ///
    /// # Errors
    /// It cannot be read.
    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error>;
}
