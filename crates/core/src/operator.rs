//! Operators: the steps of a pipeline, compiled.

use std::sync::Arc;

use crate::event::csv::ColumnType;
use crate::expression::Program;
use crate::plan::TimeField;
use crate::schedule::Schedule;
use crate::time::Zone;

/// One step of a pipeline.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id: given, or its kind and place.
    pub id: String,
    /// What it does.
    pub operator: Operator,
    /// By port: where events go next. All operators but `branch` have one port.
    pub outputs: Vec<Vec<u16>>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Operator {
    /// Keeps the events for which a condition holds.
    Filter(Program),
    /// Changes fields.
    Map(Vec<Step>),
    /// Parks events that a JSON Schema refuses.
    Validate(Arc<Validate>),
    /// Drops what has been seen before.
    Dedupe(Dedupe),
    /// Sends each event to the first port whose condition holds; the last port takes
    /// the rest.
    Branch(Vec<Program>),
    /// Guides events to meters: which of the plan's processors.
    Meter(u16),
}

impl Operator {
    /// The name in a pipeline.
    pub fn name(&self) -> &'static str {
        match self {
            Operator::Filter(_) => "filter",
            Operator::Map(_) => "map",
            Operator::Validate(_) => "validate",
            Operator::Dedupe(_) => "dedupe",
            Operator::Branch(_) => "branch",
            Operator::Meter(_) => "meter",
        }
    }

    /// Whether its answer depends on what came before: then it belongs to partitions.
    pub fn is_stateful(&self) -> bool {
        matches!(self, Operator::Dedupe(_) | Operator::Meter(_))
    }
}

/// One change of a field.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sets a field to the value of an expression.
    Set(u16, Program),
    /// Moves a field.
    Rename(u16, u16),
    /// Takes a field away.
    Remove(u16),
    /// Reads a field as another type. What does not read as one parks the event.
    Convert(u16, ColumnType),
}

/// A compiled JSON Schema and what it needs to see an event as it is by now.
#[derive(Debug)]
pub struct Validate {
    /// The schema.
    pub validator: jsonschema::Validator,
    /// Fields that operators before may have changed, with their slots.
    pub changed: Vec<(crate::event::Path, u16)>,
    /// Fields the schema names: what a row has to show.
    pub named: Vec<(crate::event::Path, u16)>,
}

/// Exact deduplication.
#[derive(Clone, Debug)]
pub struct Dedupe {
    /// The fields that identify an event.
    pub key: Vec<u16>,
    /// Those of them without which an event has no identity.
    pub required: Vec<u16>,
    /// For how long.
    pub window: Window,
    /// Whose time the window is of.
    pub by: Clock,
    /// Where the event's time is.
    pub time: TimeField,
    /// Keeps the identities of several operators apart.
    pub salt: u64,
}

/// For how long an identity is remembered.
#[derive(Clone, Debug)]
pub enum Window {
    /// So many nanoseconds before and after.
    Rolling(i64),
    /// Within the same period of a schedule.
    Calendar(Arc<Schedule>, Zone),
    /// Always.
    Forever,
}

/// Whose time a window is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The event's own.
    Event,
    /// That of its arrival.
    Arrival,
}
