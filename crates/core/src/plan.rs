//! A pipeline compiled: every name resolved to an index, every expression to code.
//!
//! `flowmeter_document` makes a plan out of a document; [`crate::mediation`] and
//! [`crate::partition`] run it. A plan never changes: a new version is a new plan.

mod required;

use std::sync::Arc;

use uuid::Uuid;

use crate::decimal::Decimal;
use crate::event::{Batch, Kind, Leaf, Path};
use crate::meter_type::{MeterType, Threshold};
use crate::operator::{Node, Operator};
use crate::schedule::RunSchedule;
use crate::source::SourcePlan;
use crate::table::Table;
use crate::time::{TimeFormat, Timestamp, Zone};

/// A pipeline, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's id: derived from its name.
    pub id: Uuid,
    /// The name of the pipeline.
    pub name: String,
    /// The fields it reads; a row has a slot for each.
    pub paths: Vec<Path>,
    /// The operators, each after all it reads from.
    pub nodes: Vec<Node>,
    /// The first operators of the events of each source.
    pub entries: Vec<Vec<u16>>,
    /// The meter processors, in order.
    pub processors: Vec<Processor>,
    /// The meter types they count in.
    pub meter_types: Vec<MeterType>,
    /// The names of the fields of each breakdown that a rule has.
    pub breakdowns: Vec<Vec<Path>>,
    /// The fields that rules carry.
    pub carried: Vec<Path>,
    /// Stateful operators by depth: those of a stage depend only on earlier stages.
    pub stages: Vec<Vec<u16>>,
    /// The tables in which operators look up rows.
    pub tables: Vec<Table>,
    /// The sources of events.
    pub sources: Vec<SourcePlan>,
    /// Meters that exist from the start.
    pub meters: Vec<DeclaredMeter>,
    /// Whether sources give all columns of a record, even those that no operator reads.
    pub all_columns: bool,
    /// Maximal bytes of one event.
    pub event_bytes_max: usize,
    /// Maximum by which an event may be ahead of the clock, in nanoseconds.
    pub future_tolerance: i64,
    /// Maximum by which an event may be behind the clock, in nanoseconds, in a run over files and
    /// in a server; `None`: unlimited.
    pub past_tolerance: PastTolerance,
    /// The fields that the document names and that events must have, with their readers.
    pub reads: Vec<Read>,
    /// Share of parked events, in per cent, that fails a session.
    pub error_percent_max: Option<crate::decimal::Decimal>,
    /// When sessions start by themselves.
    pub schedule: Option<RunSchedule>,
    /// The time between periodic updates of a session's operators, in nanoseconds; `None`: that of
    /// the installation.
    pub status_interval: Option<i64>,
}

/// The meter processor: reads user, time and value, and guides events to meters.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Unique in the installation; shown in records.
    pub key: Uuid,
    /// The fields with the user; the first one that is present counts.
    pub user: Vec<u16>,
    /// The field with the time.
    pub time: TimeField,
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// Whether the value of a rule is computed.
    pub computes: bool,
    /// Whether every applying rule counts, or only the first.
    pub match_all: bool,
    /// Whether events that no rule applies to are dropped rather than parked.
    pub drop_unmatched: bool,
    /// Whether a number may be written as text.
    pub text_numbers: bool,
}

/// Maximum by which an event may be behind the clock, in nanoseconds; `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastTolerance {
    /// For a run over files, where all events have one instant.
    pub run: Option<i64>,
    /// For a server, where events have their time of receipt.
    pub serve: Option<i64>,
}

/// A field that the document names to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The slot of the field.
    pub slot: u16,
    /// The reader of the field.
    pub by: Reader,
}

/// A reader of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A source, for the attributes that it gives to events.
    Source(usize),
    /// An operator of the plan.
    Node(u16),
}

/// The field with an event's time, and its format.
#[derive(Clone, Debug)]
pub struct TimeField {
    /// The first of these fields that is present; all of them, where they are joined.
    pub slots: Vec<u16>,
    /// The format of the time.
    pub format: TimeFormat,
    /// Whether the document names the field; then an event without it is parked.
    pub declared: bool,
    /// Whether an event without it has its time of receipt, as the document requests.
    pub missing_received: bool,
    /// The text between the fields if the time is made of all of them.
    pub join: Option<Box<str>>,
}

/// A rule that guides events.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name for the audit.
    pub name: String,
    /// The condition under which it applies; without one, it always applies.
    pub condition: Option<Arc<crate::expression::Program>>,
    /// The meter types of its category.
    pub meter_types: Vec<u16>,
    /// The fields that they read from events; empty if none of them reads any.
    pub own: Vec<OwnFields>,
    /// The slot of the value.
    pub value: u16,
    /// Computes the value into its slot, where it is an expression.
    pub computed: Option<Arc<crate::expression::Program>>,
    /// The fields that the value is read or computed from.
    pub value_from: Vec<u16>,
    /// How the value is rounded where it is read.
    pub round: Option<crate::decimal::Round>,
    /// The fields that distinguish the counters or levels of one user.
    pub series: Vec<u16>,
    /// Whether any of the meter types needs a number.
    pub numeric: bool,
    /// Whether the rule always counts when its condition holds: every meter type of its category is
    /// always active and opens meters itself.
    pub final_say: bool,
    /// Breakdowns: their index, and the slots of their fields.
    pub group_by: Vec<(u16, Vec<u16>)>,
    /// Fields whose first occurrence is kept: their index and their slot.
    pub carry_first: Vec<(u16, u16)>,
    /// Fields whose last occurrence is kept: their index and their slot.
    pub carry_last: Vec<(u16, u16)>,
}

/// The fields from which meters of a type take what they have of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnFields {
    /// The slot of the time zone.
    pub zone: Option<u16>,
    /// The slot of the capacity.
    pub capacity: Option<u16>,
}

/// A meter that the pipeline declares.
#[derive(Clone, Debug, Default)]
pub struct DeclaredMeter {
    /// The given id, if any.
    pub id: Option<Uuid>,
    /// The user of the meter.
    pub user: String,
    /// Index of the processor.
    pub processor: u16,
    /// Index of the meter type.
    pub meter_type: u16,
    /// The start of the meter; `None`: when the session starts.
    pub created_at: Option<Timestamp>,
    /// Whether it is deleted at its next reset.
    pub delete_on_reset: bool,
    /// Custom fields of its records: name and JSON text, by name.
    pub custom_fields: Vec<(String, String)>,
    /// Its time zone, where its type lets a meter have one of its own.
    pub zone: Option<Zone>,
    /// Its capacity in place of that of its type.
    pub capacity: Option<Decimal>,
    /// Its thresholds in place of those of its type.
    pub thresholds: Option<Vec<Threshold>>,
}

impl Plan {
    /// Describes a field without a value, for a message: it is missing, null, or an empty field of
    /// a row.
    #[cold]
    pub(crate) fn absence(&self, batch: &Batch, leaf: Leaf<'_>) -> &'static str {
        let source = self.sources.get(batch.block.origin.source);
        match leaf.kind {
            Kind::Missing => "missing",
            Kind::Null if source.is_some_and(SourcePlan::is_text_only) => "empty",
            Kind::Null => "null",
            _ => "empty",
        }
    }

    /// Whether an operator reads whole events, so that every column of a file is read.
    pub fn needs_whole_events(&self) -> bool {
        self.all_columns || self.nodes.iter().any(|node| matches!(node.operator, Operator::Script(_)))
    }

    /// Whether every source ends with what is there when a session starts.
    pub fn is_bounded(&self) -> bool {
        self.sources.iter().all(|source| source.kind.is_bounded())
    }

    /// Whether events of the server's event API come in here.
    pub fn takes_http(&self) -> bool {
        self.sources.iter().any(SourcePlan::is_http)
    }

    /// Returns the index of the source with an id.
    pub fn source_of(&self, id: &str) -> Option<usize> {
        self.sources.iter().position(|source| source.id == id)
    }

    /// Whether an operator keeps state by key; then the events of a round pass all stages in their
    /// order.
    pub fn is_ordered(&self) -> bool {
        self.nodes.iter().any(|node| node.operator.is_keyed())
    }

    /// Returns the partition of a user. It must never change, since stored data depends on it.
    pub fn partition_of(user_hash: u64, partitions: usize) -> usize {
        ((u128::from(user_hash) * partitions as u128) >> 64) as usize
    }

    /// Returns the hash that partitions users.
    pub fn user_hash(user: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(user)
    }
}
