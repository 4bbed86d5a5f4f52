//! A pipeline compiled: every name resolved to an index, every expression to code.
//!
//! [`crate::pipeline`] makes a plan out of a document; [`crate::mediation`] and
//! [`crate::partition`] run it. A plan never changes: a new version is a new plan.

use std::sync::Arc;

use uuid::Uuid;

use crate::event::Path;
use crate::meter_type::MeterType;
use crate::operator::Node;
use crate::pipeline::SourcePlan;
use crate::table::Table;
use crate::time::{TimeFormat, Timestamp};

/// A pipeline, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's id: derived from its name.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The fields it reads; a row has a slot for each.
    pub paths: Vec<Path>,
    /// The operators, each behind all it reads from.
    pub nodes: Vec<Node>,
    /// Where the events of each source go first.
    pub entries: Vec<Vec<u16>>,
    /// The meter processors.
    pub processors: Vec<Processor>,
    /// The meter types they count in.
    pub meter_types: Vec<MeterType>,
    /// The names of the fields of each breakdown any rule asks for.
    pub breakdowns: Vec<Vec<Path>>,
    /// The fields that rules carry.
    pub carried: Vec<Path>,
    /// Stateful operators by depth: those of a stage wait for none but earlier stages.
    pub stages: Vec<Vec<u16>>,
    /// The tables that operators look things up in.
    pub tables: Vec<Table>,
    /// The sources.
    pub sources: Vec<SourcePlan>,
    /// Meters that exist from the beginning.
    pub meters: Vec<DeclaredMeter>,
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// How far ahead of the clock an event may be, in nanoseconds.
    pub future_tolerance: i64,
    /// How far behind the clock an event may be, in nanoseconds, in a run over files and in a
    /// server; none: any time.
    pub past_tolerance: PastTolerance,
    /// The fields that the document names and that events must bring, with who reads them.
    pub reads: Vec<Read>,
    /// Share of parked events, in per cent, that fails a session.
    pub error_percent_max: Option<crate::decimal::Decimal>,
    /// The time between periodic updates of a session's operators, in nanoseconds; none:
    /// the installation's.
    pub status_interval: Option<i64>,
}

/// The meter processor: reads user, time and value, and guides events to meters.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Unique in the installation; shown in records.
    pub key: Uuid,
    /// Where the user is: the first that is there.
    pub user: Vec<u16>,
    /// Where the time is.
    pub time: TimeField,
    /// In order.
    pub rules: Vec<Rule>,
    /// Whether the value of any rule is computed.
    pub computes: bool,
    /// Whether every applying rule counts, or only the first.
    pub match_all: bool,
    /// Whether events that no rule applies to are dropped rather than parked.
    pub drop_unmatched: bool,
    /// Whether a number may be written as text.
    pub text_numbers: bool,
}

/// How far behind the clock an event may be, in nanoseconds; `None`: any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastTolerance {
    /// Where all events have one instant: a run over files.
    pub run: Option<i64>,
    /// Where events have their instants of receipt: a server.
    pub serve: Option<i64>,
}

/// A field that the document names to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its slot.
    pub slot: u16,
    /// The reader of the field.
    pub by: Reader,
}

/// A reader of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A source, for the attributes it gives to events.
    Source(usize),
    /// An operator.
    Node(u16),
}

/// Where an event's time is and how it is written.
#[derive(Clone, Debug)]
pub struct TimeField {
    /// The first of these fields that is there; all of them, where they are joined.
    pub slots: Vec<u16>,
    /// How it is written.
    pub format: TimeFormat,
    /// Whether the document names the field: then an event without it is parked.
    pub declared: bool,
    /// Whether an event without it has its time of receipt, by the document.
    pub missing_received: bool,
    /// The text between the fields if the time is made of all of them.
    pub join: Option<Box<str>>,
}

/// A guiding rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// For the audit.
    pub name: String,
    /// When it applies; always, without.
    pub condition: Option<Arc<crate::expression::Program>>,
    /// The meter types of its category.
    pub meter_types: Vec<u16>,
    /// Where the value is.
    pub value: u16,
    /// Computes the value into its slot, where it is an expression.
    pub computed: Option<Arc<crate::expression::Program>>,
    /// The fields that the value is read or computed from.
    pub value_from: Vec<u16>,
    /// How the value is rounded where it is read.
    pub round: Option<crate::decimal::Round>,
    /// The fields that tell the counters or levels of one user apart.
    pub series: Vec<u16>,
    /// Whether any of the meter types needs a number.
    pub numeric: bool,
    /// Whether the rule counts whenever its condition holds: every meter type of its
    /// category is always active and opens meters itself.
    pub final_say: bool,
    /// Breakdowns: which, and where its fields are.
    pub group_by: Vec<(u16, Vec<u16>)>,
    /// Fields whose first occurrence is kept: which, and where it is.
    pub carry_first: Vec<(u16, u16)>,
    /// Fields whose last occurrence is kept.
    pub carry_last: Vec<(u16, u16)>,
}

/// A meter that the pipeline declares.
#[derive(Clone, Debug)]
pub struct DeclaredMeter {
    /// Given, or derived.
    pub id: Option<Uuid>,
    /// Whose it is.
    pub user: String,
    /// Which processor.
    pub processor: u16,
    /// Which type.
    pub meter_type: u16,
    /// When it begins; `None`: when the session starts.
    pub created_at: Option<Timestamp>,
    /// Whether it goes at its next reset.
    pub delete_on_reset: bool,
    /// Copied to its records: name and JSON text, by name.
    pub custom_fields: Vec<(String, String)>,
}

impl Plan {
    /// Whether an operator keeps state by key: then the events of a round are taken in their
    /// order through all stages.
    pub fn is_ordered(&self) -> bool {
        self.nodes.iter().any(|node| node.operator.is_keyed())
    }

    /// The partition of a user, of so many. Stable for ever: data is laid out by it.
    pub fn partition_of(user_hash: u64, partitions: usize) -> usize {
        ((u128::from(user_hash) * partitions as u128) >> 64) as usize
    }

    /// The hash that partitions users.
    pub fn user_hash(user: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(user)
    }
}
