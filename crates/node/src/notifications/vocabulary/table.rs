//! Every event with its fields.

use crate::notifications::vocabulary::{
    AMENDED, CORRECTIONS_GROWN, DELETED, DELIVERY_DEAD, DELIVERY_FAILED, DELIVERY_RECOVERED, EventKind, FLUSH_OVERDUE,
    FLUSH_RECOVERED, FLUSHED, Field, FieldKind, INPUT_RESUMED, INPUT_SILENT, OPENED, OPERATORS, QUERY_FINISHED, RESET,
    SOURCE_FAILED, SOURCE_RECOVERED, STATUS, TABLE_REFUSED, THRESHOLD_REACHED, THRESHOLD_RECOVERED,
};

/// The pipeline, by its usual names in mediation, and the session that runs it.
const SESSION: &[Field] = &[
    ("meterId", FieldKind::Text),
    ("meterName", FieldKind::Text),
    ("sessionId", FieldKind::Text),
    ("sessionRunType", FieldKind::RunType),
];
const SPAN: &[Field] = &[("sessionStartTime", FieldKind::Time), ("sessionEndTime", FieldKind::Time)];
const INPUT: &[Field] = &[("lastInputTime", FieldKind::Time), ("receivedCount", FieldKind::Number)];
/// The meter of one user.
const METER: &[Field] = &[
    ("userMeterId", FieldKind::Text),
    ("userId", FieldKind::Text),
    ("meterTypeId", FieldKind::Text),
    ("meterTypeName", FieldKind::Text),
    ("meterKey", FieldKind::Text),
    ("unit", FieldKind::Text),
];
const CREATED: &[Field] = &[("createdAt", FieldKind::Time)];
const RECORD: &[Field] = &[
    ("periodStart", FieldKind::Time),
    ("periodEnd", FieldKind::Time),
    ("value", FieldKind::Decimal),
    ("eventCount", FieldKind::Number),
    ("recordId", FieldKind::Text),
    ("revision", FieldKind::Number),
];
const DELTA: &[Field] = &[("delta", FieldKind::Decimal)];
const THRESHOLD: &[Field] =
    &[("threshold", FieldKind::Text), ("thresholdValue", FieldKind::Decimal), ("percentOfCapacity", FieldKind::Decimal)];
const SOURCE: &[Field] = &[("source", FieldKind::Text)];
const TARGET: &[Field] = &[("target", FieldKind::Text)];

/// All events with their fields.
pub const EVENT_KINDS: &[EventKind] = &[
    EventKind {
        name: STATUS,
        help: "A session changed its status",
        groups: &[
            SESSION,
            &[("sessionStatus", FieldKind::Status), ("sessionPreviousStatus", FieldKind::Status)],
            SPAN,
            &[("sessionError", FieldKind::Text)],
        ],
    },
    EventKind {
        name: OPERATORS,
        help: "The counts of one operator since its session's start: every status interval, and at the end",
        groups: &[
            SESSION,
            &[("operatorId", FieldKind::Text)],
            SPAN,
            &[
                ("operatorOutputCount", FieldKind::Number),
                ("operatorErrorCount", FieldKind::Number),
                ("operatorTotalCount", FieldKind::Number),
                ("operatorErrorPercentage", FieldKind::Number),
            ],
        ],
    },
    EventKind {
        name: INPUT_SILENT,
        help: "A session has had no input for the time of sessions.silence",
        groups: &[SESSION, INPUT],
    },
    EventKind { name: INPUT_RESUMED, help: "A silent session has input again", groups: &[SESSION, INPUT] },
    EventKind {
        name: SOURCE_FAILED,
        help: "A source of a session cannot be read; it is tried again, unless the session failed",
        groups: &[SESSION, SOURCE, &[("error", FieldKind::Text)]],
    },
    EventKind { name: SOURCE_RECOVERED, help: "A source can be read again", groups: &[SESSION, SOURCE] },
    EventKind {
        name: CORRECTIONS_GROWN,
        help: "More parked events wait for a correction than sessions.corrections_bound",
        groups: &[SESSION, &[("waitingCount", FieldKind::Number), ("bound", FieldKind::Number)]],
    },
    EventKind {
        name: DELIVERY_FAILED,
        help: "A target of a pipeline does not take records; they are kept and offered again",
        groups: &[SESSION, TARGET, &[("error", FieldKind::Text)]],
    },
    EventKind { name: DELIVERY_RECOVERED, help: "The targets of a pipeline take records again", groups: &[SESSION, TARGET] },
    EventKind {
        name: DELIVERY_DEAD,
        help: "A record was given up: its target does not take it, however often it is offered",
        groups: &[SESSION, TARGET, &[("recordId", FieldKind::Text), ("answer", FieldKind::Text)]],
    },
    EventKind {
        name: FLUSH_OVERDUE,
        help: "The flush of a period is overdue for longer than sessions.flush_overdue",
        groups: &[SESSION, &[("dueTime", FieldKind::Time), ("overdueSeconds", FieldKind::Number)]],
    },
    EventKind {
        name: FLUSH_RECOVERED,
        help: "No flush of the pipeline is overdue any more",
        groups: &[SESSION, &[("overdueSeconds", FieldKind::Number)]],
    },
    EventKind {
        name: OPENED,
        help: "A meter was opened, by an event, a document or a person",
        groups: &[SESSION, METER, CREATED],
    },
    EventKind {
        name: RESET,
        help: "A meter's period was flushed, and the next begins from its initial value",
        groups: &[SESSION, METER, RECORD],
    },
    EventKind { name: FLUSHED, help: "A period of a meter became a metered record", groups: &[SESSION, METER, RECORD] },
    EventKind {
        name: AMENDED,
        help: "A period that was flushed before became another revision of its record",
        groups: &[SESSION, METER, RECORD, DELTA],
    },
    EventKind { name: DELETED, help: "A meter is gone: at its reset, or by hand", groups: &[SESSION, METER, CREATED] },
    EventKind {
        name: THRESHOLD_REACHED,
        help: "The value of a meter rose to a threshold of its type",
        groups: &[SESSION, METER, RECORD, THRESHOLD],
    },
    EventKind {
        name: THRESHOLD_RECOVERED,
        help: "The value of a meter fell below a threshold again",
        groups: &[SESSION, METER, RECORD, THRESHOLD],
    },
    EventKind {
        name: TABLE_REFUSED,
        help: "New rows of a table were refused; the version before stays in force",
        groups: &[&[
            ("table", FieldKind::Text),
            ("line", FieldKind::Number),
            ("key", FieldKind::Text),
            ("detail", FieldKind::Text),
        ]],
    },
    EventKind {
        name: QUERY_FINISHED,
        help: "A question to the event store was answered: a search, a trace or an explanation",
        groups: &[&[
            ("query", FieldKind::Text),
            ("parameters", FieldKind::Text),
            ("askedBy", FieldKind::Text),
            ("outcome", FieldKind::Text),
            ("rowCount", FieldKind::Number),
            ("durationMs", FieldKind::Number),
        ]],
    },
];
