//! Refusals of the node as problems of requests.

use flowmeter_engine::Error;
use flowmeter_node::keys::Unauthenticated;
use flowmeter_node::refusal::{self, Refusal, RefusalKind};

use super::{Code, Problem};

/// A failed request, answered as a problem.
pub type Refused = Box<Problem>;

impl From<RefusalKind> for Code {
    fn from(kind: RefusalKind) -> Code {
        match kind {
            RefusalKind::Invalid => Code::Invalid,
            RefusalKind::AlreadyExists => Code::AlreadyExists,
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::Conflict => Code::Conflict,
            RefusalKind::Stale => Code::Stale,
            RefusalKind::InvalidDocument => Code::InvalidDocument,
            RefusalKind::TableRefused => Code::TableRefused,
            RefusalKind::DerivedEvent => Code::DerivedEvent,
            RefusalKind::StateIncompatible => Code::StateIncompatible,
            RefusalKind::TargetUnavailable => Code::TargetUnavailable,
            RefusalKind::PipelineStopped => Code::PipelineStopped,
            RefusalKind::ScopeMissing => Code::ScopeMissing,
            RefusalKind::ClockBackwards => Code::ClockBackwards,
            RefusalKind::NoTestClock => Code::NoTestClock,
            RefusalKind::ClockBehind => Code::ClockBehind,
            RefusalKind::Overloaded => Code::Overloaded,
            RefusalKind::DiskFull => Code::DiskFull,
            RefusalKind::MetersFull => Code::MetersFull,
            RefusalKind::Poisoned => Code::Poisoned,
            RefusalKind::NotReady => Code::NotReady,
            RefusalKind::Internal => Code::Internal,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let Refusal { kind, detail, field, remedy, missing, retry_after_s, extra } = refusal;
        let list = missing.and_then(|what| LISTS.iter().find(|(known, _)| *known == what));
        let remedy = remedy.or_else(|| list.map(|(_, list)| format!("{list} lists what there is; names are case-sensitive.")));
        Problem { field, remedy, retry_after_s, extra, ..Problem::new(kind.into(), detail) }
    }
}

impl From<Box<Refusal>> for Box<Problem> {
    fn from(refusal: Box<Refusal>) -> Box<Problem> {
        Box::new(Problem::from(*refusal))
    }
}

impl From<Unauthenticated> for Problem {
    fn from(reason: Unauthenticated) -> Problem {
        let (code, detail) = match reason {
            Unauthenticated::Missing => (Code::KeyMissing, "the request has no Authorization header"),
            Unauthenticated::Malformed => (Code::KeyMalformed, "what was sent is no API key; keys begin with `fm_`"),
            Unauthenticated::Unknown => (Code::KeyUnknown, "no key has this id and this secret"),
            Unauthenticated::Expired => (Code::KeyExpired, "the key has expired"),
            Unauthenticated::Revoked => (Code::KeyRevoked, "the key was revoked"),
        };
        Problem::new(code, detail).field("Authorization")
    }
}

/// Returns an error of the engine as a problem for the caller.
pub fn problem_of(why: &Error) -> Refused {
    refusal::refusal_of(why).into()
}

/// Returns the problem of a missing object.
pub fn not_found(what: &'static str, name: &str) -> Refused {
    refusal::not_found(what, name).into()
}

/// The endpoints that list the objects of each kind.
const LISTS: &[(&str, &str)] = &[
    ("delivery", "GET /api/v1/deliveries"),
    ("event", "GET /api/v1/events"),
    ("key", "GET /api/v1/keys"),
    ("meter", "GET /api/v1/meters"),
    ("meter type", "GET /api/v1/meter-types"),
    ("notification", "GET /api/v1/notifications"),
    ("parked event", "GET /api/v1/corrections"),
    ("pipeline", "GET /api/v1/pipelines"),
    ("pipeline at work", "GET /api/v1/sessions?status=RUNNING"),
    ("record", "GET /api/v1/records"),
    ("session", "GET /api/v1/sessions"),
    ("target", "GET /api/v1/deliveries/targets"),
    ("test data", "GET /api/v1/test-data"),
];
