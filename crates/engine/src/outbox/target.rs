//! The contract of targets.

use serde_json::Value;

use super::{Answer, Held, Outgoing, Span};
use crate::{Error, Kind};

/// A destination of records.
///
/// One suite of tests checks this contract for every target:
/// - A record with the answer [`Answer::Accepted`] is stored by the target, durably.
/// - Sending the same records again, all or some of them, does not change the target, unless it
///   returns [`Repeat::ReadFirst`]: then they are looked for before.
/// - Records of one meter are sent in order: after a record that was not accepted, no later one of
///   its meter is sent.
/// - State that a target needs for this is its [`Target::memory`], which is stored together with
///   its progress.
pub trait Target: Send {
    /// Checks whether records could be sent, as far as possible without sending any: whether the
    /// target can be reached, accepts the login, and has or can create what it needs.
    ///
    /// # Errors
    /// It could not take a record now, with its answer and the remedy. [`Kind::Invalid`] if only a
    /// person can change that.
    fn probe(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the address for people, without login, password or path.
    fn address(&self) -> String {
        String::new()
    }

    /// Returns whether its last answer does not change until a person acts.
    fn needs_a_person(&self) -> bool {
        false
    }

    /// Sends records, in order, and returns an answer for each.
    ///
    /// After a crash their window is the same again.
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer>;

    /// Returns the exchange by which a record of the last [`Target::send`] was sent, by its place.
    fn exchange(&self, _place: usize) -> Exchange {
        Exchange::default()
    }

    /// Returns the effect of sending a record again that may have arrived.
    fn repeat(&self) -> Repeat {
        Repeat::Harmless
    }

    /// Returns the state that the target must remember.
    fn memory(&self) -> Value {
        Value::Null
    }

    /// Returns whether records can be read back.
    fn can_be_asked(&self) -> bool {
        false
    }

    /// Prepares for reading back: forgets cached answers.
    fn look_afresh(&mut self) {}

    /// Reads records back, one by one.
    ///
    /// # Errors
    /// The target does not answer, or cannot be read.
    fn read_back(&mut self, _records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        Err(Error::new(Kind::Bug, "a target that cannot be read back was read"))
    }

    /// Completes the output: files that are hidden until they are whole become visible.
    ///
    /// # Errors
    /// It failed, and nothing became visible.
    fn seal(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks all of the output at once, if that is cheaper than record by record.
    ///
    /// # Errors
    /// Something differs from what was written.
    fn confirm(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns whether it writes to standard output.
    fn is_stdout(&self) -> bool {
        false
    }
}

/// The exchange with a target by which a record was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Its duration in milliseconds, if it was measured.
    pub ms: Option<u64>,
    /// The status of the answer, of a target with an HTTP API that answered.
    pub status: Option<u16>,
    /// The whole answer of a target that did not take the record, where its meaning is shorter.
    pub answer: Option<String>,
}

/// The effect of sending a record again that may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// None: the target recognises it by its key.
    Harmless,
    /// None, for a number of nanoseconds after the first attempt; then the target has forgotten the
    /// key.
    HarmlessFor(i64),
    /// The target would have it twice: look for it first.
    ReadFirst,
}
