//! Operators: the steps of a pipeline, compiled.

use std::sync::Arc;

use crate::event::csv::ColumnType;
use crate::expression::Program;
use crate::plan::TimeField;
use crate::schedule::Schedule;
use crate::time::Zone;

mod http;
mod keyed;
mod lookup;
mod script;

pub use http::{Http, HttpAnswer, HttpMeaning, HttpRequest, OnRefused, OnUnavailable};
pub use keyed::{
    Accumulate, Aggregate, Correlate, Cut, Fold, Function, Keyed, LateInputs, LateInputsPolicy, Missing, OnTimeout, PriceTable,
    Rate, Release, Repeat, Running, Stamp, Tariffs, Windows,
};
pub use lookup::{Currency, CurrencyCode, Empty, Enrich, Split, Unmatched};
pub use script::{STALLED, Script, ScriptFailure, Scripted, compute};

/// One step of a pipeline.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id: the given one, or one made of its kind and place.
    pub id: String,
    /// The operator and its options.
    pub operator: Operator,
    /// The operators that follow, by port. Most operators have one port.
    pub outputs: Vec<Vec<u16>>,
    /// The names of the ports in the document; empty for an operator with one port.
    pub routes: Vec<String>,
}

impl Node {
    /// Returns the name of a port: that of its route, or `default`.
    pub fn output_name(&self, port: usize) -> &str {
        self.routes.get(port).filter(|name| !name.is_empty()).map_or("default", String::as_str)
    }
}

/// The kinds of operators.
#[derive(Clone, Debug)]
pub enum Operator {
    /// Keeps the events for which a condition holds.
    Filter(Program),
    /// Changes fields step by step.
    Map(Vec<Step>),
    /// Parks events that a JSON Schema refuses.
    Validate(Arc<Validate>),
    /// Drops events whose identity was seen before.
    Dedupe(Dedupe),
    /// Sends each event to the first port whose condition holds; the last port takes
    /// the rest.
    Branch(Vec<Program>),
    /// Leads events to meters; the number is that of the plan's processor.
    Meter(u16),
    /// Makes an event of each element of a list.
    Split(Split),
    /// Sets fields from the row of a table.
    Enrich(Box<Enrich>),
    /// Converts an amount by an exchange rate.
    Currency(Box<Currency>),
    /// Computes the price of a quantity.
    Rate(Box<Rate>),
    /// Sets fields to running aggregates of a key.
    Aggregate(Box<Aggregate>),
    /// Gathers the events of a window into one.
    Accumulate(Box<Accumulate>),
    /// Pairs starts with stops.
    Correlate(Box<Correlate>),
    /// Runs code of the document's author.
    Script(Arc<Script>),
    /// Asks an HTTP service.
    Http(Box<Http>),
}

impl Operator {
    /// Whether events leave it with the fields that they came with.
    pub fn keeps_fields(&self) -> bool {
        match self {
            Operator::Filter(_) | Operator::Validate(_) | Operator::Dedupe(_) | Operator::Branch(_) | Operator::Meter(_) => true,
            Operator::Map(_)
            | Operator::Split(_)
            | Operator::Enrich(_)
            | Operator::Currency(_)
            | Operator::Rate(_)
            | Operator::Aggregate(_)
            | Operator::Accumulate(_)
            | Operator::Correlate(_)
            | Operator::Script(_)
            | Operator::Http(_) => false,
        }
    }

    /// Returns the name in a pipeline.
    pub fn name(&self) -> &'static str {
        match self {
            Operator::Filter(_) => "filter",
            Operator::Map(_) => "map",
            Operator::Validate(_) => "validate",
            Operator::Dedupe(_) => "dedupe",
            Operator::Branch(_) => "branch",
            Operator::Meter(_) => "meter",
            Operator::Split(_) => "split",
            Operator::Enrich(_) => "enrich",
            Operator::Currency(_) => "currency",
            Operator::Rate(_) => "rate",
            Operator::Aggregate(_) => "aggregate",
            Operator::Accumulate(_) => "accumulate",
            Operator::Correlate(_) => "correlate",
            Operator::Script(_) => "script",
            Operator::Http(_) => "http",
        }
    }

    /// Whether its answer depends on earlier events. Such an operator belongs to partitions.
    pub fn is_stateful(&self) -> bool {
        matches!(self, Operator::Dedupe(_) | Operator::Meter(_)) || self.is_keyed()
    }

    /// Whether it keeps state by a key of its own, in the order of arrival.
    pub fn is_keyed(&self) -> bool {
        self.keyed().is_some()
    }

    /// Returns the options of an operator that keeps state by key; `None` for one without such
    /// state.
    pub fn keyed(&self) -> Option<Keyed<'_>> {
        match self {
            Operator::Rate(rate) => rate.running.as_ref().map(|running| Keyed::Rate(rate, running)),
            Operator::Aggregate(aggregate) => Some(Keyed::Aggregate(aggregate)),
            Operator::Accumulate(accumulate) => Some(Keyed::Accumulate(accumulate)),
            Operator::Correlate(correlate) => Some(Keyed::Correlate(correlate)),
            Operator::Script(script) => script.keeps_state.then_some(Keyed::Script(script)),
            Operator::Filter(_)
            | Operator::Map(_)
            | Operator::Validate(_)
            | Operator::Dedupe(_)
            | Operator::Branch(_)
            | Operator::Meter(_)
            | Operator::Split(_)
            | Operator::Enrich(_)
            | Operator::Currency(_)
            | Operator::Http(_) => None,
        }
    }

    /// Whether it holds events and releases others at a tick.
    pub fn releases(&self) -> bool {
        matches!(self, Operator::Accumulate(_) | Operator::Correlate(_))
    }

    /// Whether it sets fields that may be inside others, or shows whole events.
    pub fn sets_fields(&self) -> bool {
        let sets = |operator: &Operator| {
            use Operator::{Currency, Enrich, Http, Rate, Script, Split};
            matches!(operator, Split(_) | Enrich(_) | Currency(_) | Rate(_) | Script(_) | Http(_))
        };
        sets(self) || self.is_keyed()
    }
}

/// One change of a field.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sets a field to the value of an expression.
    Set(u16, Program),
    /// Renames a field: from, to.
    Rename(u16, u16),
    /// Removes a field of this slot.
    Remove(u16),
    /// Reads a field as another type. A value that cannot be read parks the event.
    Convert(u16, ColumnType),
}

/// A compiled JSON Schema, and the fields it needs to see an event as it is now.
#[derive(Debug)]
pub struct Validate {
    /// The compiled JSON schema.
    pub validator: jsonschema::Validator,
    /// Fields that earlier operators may have changed, with their slots.
    pub changed: Vec<(crate::event::Path, u16)>,
    /// Fields that the schema names; a row must have them.
    pub named: Vec<(crate::event::Path, u16)>,
}

/// The options of exact deduplication.
#[derive(Clone, Debug)]
pub struct Dedupe {
    /// The fields that identify an event.
    pub key: Vec<u16>,
    /// The fields of the key without which an event has no identity.
    pub required: Vec<u16>,
    /// The time for which an identity is remembered.
    pub window: Window,
    /// The clock of the window.
    pub by: Clock,
    /// The field with the event's time.
    pub time: TimeField,
    /// A constant that keeps the identities of several operators apart.
    pub salt: u64,
}

/// The time for which an identity is remembered.
#[derive(Clone, Debug)]
pub enum Window {
    /// This many nanoseconds before and after.
    Rolling(i64),
    /// Within the same period of a schedule.
    Calendar(Arc<Schedule>, Zone),
    /// Identities are kept for ever.
    Forever,
}

/// The clock of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The time of the event.
    Event,
    /// The time of receipt.
    Arrival,
}
