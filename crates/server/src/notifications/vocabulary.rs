//! The events there are, and the fields of each: what conditions may ask for.

use flowmeter_core::session::{RunType, Status};

/// A session changed its status.
pub const STATUS: &str = "meter.session.status";
/// The counts of one operator, now and then and at the end.
pub const OPERATORS: &str = "meter.session.operators";
/// A session has had no input for the time of `sessions.silence`.
pub const INPUT_SILENT: &str = "meter.input.silent";
/// It has again.
pub const INPUT_RESUMED: &str = "meter.input.resumed";
/// More parked events wait than `sessions.corrections_bound`.
pub const CORRECTIONS_GROWN: &str = "meter.corrections.grown";
/// A target of a pipeline does not take records.
pub const DELIVERY_FAILED: &str = "meter.delivery.failed";
/// It does again.
pub const DELIVERY_RECOVERED: &str = "meter.delivery.recovered";

/// What the value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// The name of a status.
    Status,
    /// `NORMAL` or `DEBUG`.
    RunType,
    /// A number.
    Number,
    /// An instant, RFC 3339.
    Time,
}

impl FieldKind {
    /// The only texts there are, if there are such.
    pub fn names(self) -> Option<Vec<&'static str>> {
        match self {
            FieldKind::Status => Some(Status::ALL.iter().map(|status| status.name()).collect()),
            FieldKind::RunType => Some(vec![RunType::Normal.name(), RunType::Debug.name()]),
            _ => None,
        }
    }

    /// Whether one value may be before another.
    pub fn has_order(self) -> bool {
        matches!(self, FieldKind::Number | FieldKind::Time)
    }

    /// Its name, for people.
    pub fn noun(self) -> &'static str {
        match self {
            FieldKind::Text => "text",
            FieldKind::Status => "a status",
            FieldKind::RunType => "a run type",
            FieldKind::Number => "a number",
            FieldKind::Time => "a time (RFC 3339)",
        }
    }
}

/// An event.
#[derive(Debug)]
pub struct EventKind {
    /// Its type.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Its fields.
    pub fields: &'static [(&'static str, FieldKind)],
}

impl EventKind {
    /// A field.
    pub fn field(&self, name: &str) -> Option<FieldKind> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// The event of a type.
pub fn event_kind(name: &str) -> Option<&'static EventKind> {
    EVENT_KINDS.iter().find(|kind| kind.name == name)
}

const PIPELINE: (&str, FieldKind) = ("meterId", FieldKind::Text);
const PIPELINE_NAME: (&str, FieldKind) = ("meterName", FieldKind::Text);
const SESSION: (&str, FieldKind) = ("sessionId", FieldKind::Text);
const RUN_TYPE: (&str, FieldKind) = ("sessionRunType", FieldKind::RunType);
const START: (&str, FieldKind) = ("sessionStartTime", FieldKind::Time);
const END: (&str, FieldKind) = ("sessionEndTime", FieldKind::Time);

/// Every event.
pub const EVENT_KINDS: &[EventKind] = &[
    EventKind {
        name: STATUS,
        help: "A session changed its status",
        fields: &[
            PIPELINE,
            PIPELINE_NAME,
            SESSION,
            RUN_TYPE,
            ("sessionStatus", FieldKind::Status),
            ("sessionPreviousStatus", FieldKind::Status),
            START,
            END,
            ("sessionError", FieldKind::Text),
        ],
    },
    EventKind {
        name: OPERATORS,
        help: "The counts of one operator since its session's start: every status interval, and at the end",
        fields: &[
            PIPELINE,
            PIPELINE_NAME,
            ("operatorId", FieldKind::Text),
            SESSION,
            RUN_TYPE,
            START,
            END,
            ("operatorOutputCount", FieldKind::Number),
            ("operatorErrorCount", FieldKind::Number),
            ("operatorTotalCount", FieldKind::Number),
            ("operatorErrorPercentage", FieldKind::Number),
        ],
    },
    EventKind {
        name: INPUT_SILENT,
        help: "A session has had no input for the time of sessions.silence",
        fields: &[
            PIPELINE,
            PIPELINE_NAME,
            SESSION,
            RUN_TYPE,
            ("lastInputTime", FieldKind::Time),
            ("receivedCount", FieldKind::Number),
        ],
    },
    EventKind {
        name: INPUT_RESUMED,
        help: "A silent session has input again",
        fields: &[
            PIPELINE,
            PIPELINE_NAME,
            SESSION,
            RUN_TYPE,
            ("lastInputTime", FieldKind::Time),
            ("receivedCount", FieldKind::Number),
        ],
    },
    EventKind {
        name: CORRECTIONS_GROWN,
        help: "More parked events wait for a correction than sessions.corrections_bound",
        fields: &[PIPELINE, PIPELINE_NAME, SESSION, RUN_TYPE, ("waitingCount", FieldKind::Number), ("bound", FieldKind::Number)],
    },
    EventKind {
        name: DELIVERY_FAILED,
        help: "A target of a pipeline does not take records; they are kept and offered again",
        fields: &[PIPELINE, PIPELINE_NAME, SESSION, RUN_TYPE, ("error", FieldKind::Text)],
    },
    EventKind {
        name: DELIVERY_RECOVERED,
        help: "The targets of a pipeline take records again",
        fields: &[PIPELINE, PIPELINE_NAME, SESSION, RUN_TYPE],
    },
];
