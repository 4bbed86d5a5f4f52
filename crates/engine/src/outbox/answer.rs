//! Answers of targets about records.

/// The result of sending a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The target has the record.
    Accepted,
    /// The target refuses the record for good, with this reason.
    Refused(String),
    /// The target does not take this record now, with this answer.
    Later(String),
    /// The target cannot be reached, is busy or refuses the login. This says nothing about the
    /// record.
    Unavailable {
        /// Its answer, or why there is none.
        why: String,
        /// The pause that it asks for, in nanoseconds.
        after: Option<i64>,
    },
    /// The record was sent and no answer came: the target may have it or not.
    InDoubt(String),
    /// The record was not sent, because an earlier one failed.
    NotTried,
}

/// The state of a record at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The target has it as it was sent.
    Same,
    /// The target has it, but with this difference.
    Different(String),
    Missing,
}
