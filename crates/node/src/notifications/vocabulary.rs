//! The events that notifications may use, and the fields of each for conditions. Their table is in
//! `table.rs`.

mod table;

use flowmeter_core::session::{RunType, Status};

pub use table::EVENT_KINDS;

/// A session changed its status.
pub const STATUS: &str = "meter.session.status";
/// The counts of one operator, at intervals and at the end.
pub const OPERATORS: &str = "meter.session.operators";
/// A session has had no input for the time of `sessions.silence`.
pub const INPUT_SILENT: &str = "meter.input.silent";
/// A session has input again.
pub const INPUT_RESUMED: &str = "meter.input.resumed";
/// A source of a session cannot be read.
pub const SOURCE_FAILED: &str = "meter.source.failed";
/// A source can be read again.
pub const SOURCE_RECOVERED: &str = "meter.source.recovered";
/// More parked events wait than `sessions.corrections_bound`.
pub const CORRECTIONS_GROWN: &str = "meter.corrections.grown";
/// A target of a pipeline does not take records.
pub const DELIVERY_FAILED: &str = "meter.delivery.failed";
/// A target of a pipeline takes records again.
pub const DELIVERY_RECOVERED: &str = "meter.delivery.recovered";
/// A record is dead: its target does not accept it after all attempts.
pub const DELIVERY_DEAD: &str = "meter.delivery.dead";
/// The flush of a period is overdue for longer than `sessions.flush_overdue`.
pub const FLUSH_OVERDUE: &str = "meter.flush.overdue";
/// No flush is overdue any more.
pub const FLUSH_RECOVERED: &str = "meter.flush.recovered";
/// A meter was opened.
pub const OPENED: &str = "meter.opened";
/// A meter's period ended, and the next one began.
pub const RESET: &str = "meter.reset";
/// A period became a metered record.
pub const FLUSHED: &str = "meter.flushed";
/// A period that was flushed became another revision of its record.
pub const AMENDED: &str = "meter.amended";
/// A meter was deleted.
pub const DELETED: &str = "meter.deleted";
/// A meter's value rose to a threshold.
pub const THRESHOLD_REACHED: &str = "meter.threshold.reached";
/// A meter's value fell below the threshold again.
pub const THRESHOLD_RECOVERED: &str = "meter.threshold.recovered";
/// The content of a table was refused.
pub const TABLE_REFUSED: &str = "table.refused";
/// A query of the event store was answered.
pub const QUERY_FINISHED: &str = "event_store.query.finished";

/// The kind of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text without order.
    Text,
    /// The name of a status.
    Status,
    /// The value `NORMAL` or `DEBUG`.
    RunType,
    /// A number in JSON.
    Number,
    /// A number as text, so that no digit of it is lost.
    Decimal,
    /// An instant, RFC 3339.
    Time,
}

impl FieldKind {
    /// Returns the only possible texts, if they are limited.
    pub fn names(self) -> Option<Vec<&'static str>> {
        match self {
            FieldKind::Status => Some(Status::ALL.iter().map(|status| status.name()).collect()),
            FieldKind::RunType => Some(vec![RunType::Normal.name(), RunType::Debug.name()]),
            _ => None,
        }
    }

    /// Whether values have an order.
    pub fn has_order(self) -> bool {
        matches!(self, FieldKind::Number | FieldKind::Decimal | FieldKind::Time)
    }

    /// Returns its name, for people.
    pub fn noun(self) -> &'static str {
        match self {
            FieldKind::Text => "text",
            FieldKind::Status => "a status",
            FieldKind::RunType => "a run type",
            FieldKind::Number => "a number",
            FieldKind::Decimal => "a number (written as text)",
            FieldKind::Time => "a time (RFC 3339)",
        }
    }
}

/// A field: its name, and the kind of its value.
pub type Field = (&'static str, FieldKind);

/// An event with its fields.
#[derive(Debug)]
pub struct EventKind {
    /// Type of the event.
    pub name: &'static str,
    /// Description of the event.
    pub help: &'static str,
    /// Its fields, in groups that events share.
    pub groups: &'static [&'static [Field]],
}

impl EventKind {
    /// Returns the event's fields.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.groups.iter().flat_map(|group| group.iter().copied())
    }

    /// Returns the kind of a field.
    pub fn field(&self, name: &str) -> Option<FieldKind> {
        self.fields().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
}

/// Returns the event with this type.
pub fn event_kind(name: &str) -> Option<&'static EventKind> {
    EVENT_KINDS.iter().find(|kind| kind.name == name)
}
