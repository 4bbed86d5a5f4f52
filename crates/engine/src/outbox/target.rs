//! What a target is.

use serde_json::Value;

use super::{Answer, Held, Outgoing, Span};
use crate::{Error, Kind};

/// Where records go.
///
/// The contract, which one suite of tests checks for every target:
/// - a record whose answer is [`Answer::Accepted`] is held by the target, durably;
/// - the same records sent again, whole or in part, leave the target as it was, unless it
///   says [`Repeat::ReadFirst`]: then they are looked for before;
/// - records of one meter go in order: behind one that was not accepted, no later one of
///   its meter is sent;
/// - what a target must remember to keep this promise is its [`Target::memory`], which is
///   kept together with how far it has come.
pub trait Target: Send {
    /// Looks whether records could be sent, as far as that can be seen without sending
    /// any: whether the target is there, lets us in, and has or gets what it needs.
    ///
    /// # Errors
    /// It could not take a record now: what it said and what to do. [`Kind::Invalid`] where
    /// only a person can change that.
    fn probe(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Where it is, for a person: without a login, a password or a path.
    fn address(&self) -> String {
        String::new()
    }

    /// Whether what it said last does not change until a person does something.
    fn needs_a_person(&self) -> bool {
        false
    }

    /// Sends records, in order. An answer for each.
    ///
    /// The window they are of is the same again after a crash.
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer>;

    /// What it means to send a record again that may have arrived.
    fn repeat(&self) -> Repeat {
        Repeat::Harmless
    }

    /// What it must remember.
    fn memory(&self) -> Value {
        Value::Null
    }

    /// Whether it can be asked what it holds.
    fn can_be_asked(&self) -> bool {
        false
    }

    /// It is about to be asked: what it remembers of earlier answers may no longer be so.
    fn look_afresh(&mut self) {}

    /// What it holds of these records, one by one.
    ///
    /// # Errors
    /// It does not answer, or cannot be asked.
    fn read_back(&mut self, _records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        Err(Error::new(Kind::Bug, "a target that cannot be asked was asked"))
    }

    /// Nothing more comes: what it kept back until it is whole becomes visible.
    ///
    /// # Errors
    /// It does not, and nothing looks as if it did.
    fn seal(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Looks at everything it took at once, where that is cheaper than record by record.
    ///
    /// # Errors
    /// Something is not as it was written.
    fn confirm(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it writes to standard output.
    fn is_stdout(&self) -> bool {
        false
    }
}

/// What it means to send a record again that may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: the target knows it by its key.
    Harmless,
    /// Nothing, for so many nanoseconds after it was sent first; then the target has
    /// forgotten the key.
    HarmlessFor(i64),
    /// It would be there twice: look whether it is there first.
    ReadFirst,
}
