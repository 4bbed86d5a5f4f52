//! What a target says of a record.

/// What became of a record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The target has it.
    Accepted,
    /// The target will not have it, however often it is sent: it says why.
    Refused(String),
    /// Not this record, not now: what the target said.
    Later(String),
    /// The target is not there, is busy or does not know us; that says nothing of the
    /// record.
    Unavailable {
        /// What it said, or what kept it from saying anything.
        why: String,
        /// How long it asks to be left alone, in nanoseconds.
        after: Option<i64>,
    },
    /// It was sent and no answer came: the target may have it or not.
    InDoubt(String),
    /// It was not sent: one before it did not go.
    NotTried,
}

/// What a target holds of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It, as it was sent.
    Same,
    /// It, but not as it was sent: what is different.
    Different(String),
    /// Nothing of it.
    Missing,
}
