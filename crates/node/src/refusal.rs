//! Refusals: why a request to the node was not carried out.

use flowmeter_engine::{Error, Kind};
use serde_json::{Map, Value};

/// A refused request. Boxed, so that results which may contain one stay small.
pub type Refused = Box<Refusal>;

/// The reason of a refusal, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is not valid.
    Invalid,
    /// There is one of that name already.
    AlreadyExists,
    /// There is no such thing.
    NotFound,
    /// The state of the thing does not allow it.
    Conflict,
    /// It was changed since it was read.
    Stale,
    /// A document has problems.
    InvalidDocument,
    /// Rows do not fit their table.
    TableRefused,
    /// An operator made the event, so it is corrected where it was made.
    DerivedEvent,
    /// A new version has no place for the state of operators.
    StateIncompatible,
    /// A target could not take records.
    TargetUnavailable,
    /// A pipeline that is concerned has stopped.
    PipelineStopped,
    /// A scope is missing.
    ScopeMissing,
    /// A test clock moves forward only.
    ClockBackwards,
    /// There is no test clock.
    NoTestClock,
    /// The machine's clock is behind the log.
    ClockBehind,
    /// Too much is going on.
    Overloaded,
    /// The disk is full.
    DiskFull,
    /// Meters have reached the bound of their memory.
    MetersFull,
    /// A durable write failed, and nothing may follow it.
    Poisoned,
    /// The program is not ready yet.
    NotReady,
    /// The program itself failed.
    Internal,
}

/// A refused request: the reason, and what a person needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The reason, for programs.
    pub kind: RefusalKind,
    /// The description of this occurrence, for people.
    pub detail: String,
    /// The field or parameter that caused it.
    pub field: Option<String>,
    /// The remedy, if it is more precise than that of the reason.
    pub remedy: Option<String>,
    /// The kind of thing that does not exist.
    pub missing: Option<&'static str>,
    /// Seconds after which a retry may succeed.
    pub retry_after_s: Option<u64>,
    /// Further members for programs (lines of a document).
    pub extra: Map<String, Value>,
}

impl Refusal {
    /// Creates a refusal for this reason.
    pub fn new(kind: RefusalKind, detail: impl Into<String>) -> Refusal {
        let detail = detail.into();
        Refusal { kind, detail, field: None, remedy: None, missing: None, retry_after_s: None, extra: Map::new() }
    }

    /// Sets the field or parameter that caused it.
    pub fn field(self, field: impl Into<String>) -> Refusal {
        Refusal { field: Some(field.into()), ..self }
    }

    /// Sets a remedy that is more precise than that of the reason.
    pub fn remedy(self, remedy: impl Into<String>) -> Refusal {
        Refusal { remedy: Some(remedy.into()), ..self }
    }

    /// Sets the seconds after which a retry may succeed.
    pub fn retry_after(self, seconds: u64) -> Refusal {
        Refusal { retry_after_s: Some(seconds), ..self }
    }

    /// Adds a member for programs.
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Refusal {
        self.extra.insert(name.into(), value.into());
        self
    }
}

/// Returns an error of the engine as a refusal.
pub fn refusal_of(why: &Error) -> Refused {
    let kind = match why.kind {
        Kind::Invalid => RefusalKind::Conflict,
        Kind::Full => RefusalKind::DiskFull,
        Kind::Unavailable => RefusalKind::Overloaded,
        Kind::Corrupt | Kind::Bug => RefusalKind::Internal,
    };
    let refusal = Refusal::new(kind, why.to_string());
    Box::new(if matches!(why.kind, Kind::Unavailable | Kind::Full) { refusal.retry_after(1) } else { refusal })
}

/// Returns the refusal of a request for something that does not exist.
pub fn not_found(what: &'static str, name: &str) -> Refused {
    let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no {what} `{name}`"));
    Box::new(Refusal { missing: Some(what), ..refusal })
}
