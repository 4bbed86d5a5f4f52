//! Operators that keep state by key: they take events in the order of arrival.

use std::sync::Arc;

use super::script::Script;
use crate::expression::Program;
use crate::plan::TimeField;
use crate::price::{Tariff, Terms};
use crate::schedule::Schedule;
use crate::time::Zone;

/// An operator that keeps state by key, with its options.
#[derive(Clone, Copy, Debug)]
pub enum Keyed<'a> {
    /// Prices a running quantity.
    Rate(&'a Rate, &'a Running),
    /// Sets fields to running aggregates.
    Aggregate(&'a Aggregate),
    /// Gathers the events of a window into one.
    Accumulate(&'a Accumulate),
    /// Pairs starts with stops.
    Correlate(&'a Correlate),
    /// Runs code that keeps state.
    Script(&'a Script),
}

impl<'a> Keyed<'a> {
    /// The fields whose values are the key.
    pub fn key(self) -> &'a [u16] {
        match self {
            Keyed::Rate(_, running) => &running.key,
            Keyed::Aggregate(aggregate) => &aggregate.key,
            Keyed::Accumulate(accumulate) => &accumulate.key,
            Keyed::Correlate(correlate) => &correlate.key,
            Keyed::Script(script) => &script.key,
        }
    }
}

/// Computes the price of a quantity.
#[derive(Clone, Debug)]
pub struct Rate {
    /// The field with the quantity.
    pub quantity: u16,
    /// The field that the price is written to.
    pub set: u16,
    /// The tariff, or where it is looked up.
    pub tariff: Tariffs,
    /// The terms under which it applies.
    pub terms: Terms,
    /// Whether the quantity may be a number written as text.
    pub text_numbers: bool,
    /// The running quantity to which quantities add up; `None`: each event is priced by itself.
    pub running: Option<Running>,
}

/// The tariff of an event.
#[derive(Clone, Debug)]
pub enum Tariffs {
    /// The same tariff for every event.
    Fixed(Tariff),
    /// The tariff of the row that an event is looked up by.
    Table(PriceTable),
}

/// A table of tariffs.
#[derive(Clone, Debug)]
pub struct PriceTable {
    /// Its number in the plan.
    pub table: u16,
    /// The fields of the table's key.
    pub on: Vec<u16>,
    /// The field with the instant for which a row must hold, where the table has validity.
    pub at: Option<TimeField>,
}

/// State by key that restarts in each period of a schedule.
#[derive(Clone, Debug)]
pub struct Running {
    /// The fields of the key.
    pub key: Vec<u16>,
    /// The schedule; without it, the state never restarts.
    pub schedule: Option<(Arc<Schedule>, Zone)>,
    /// The field with the event's time, which selects the period.
    pub time: TimeField,
    /// Nanoseconds for which a period is kept after its end.
    pub amend_within: i64,
}

/// Sets fields to running aggregates of a key.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The fields of the key.
    pub key: Vec<u16>,
    /// The fields that it computes.
    pub fields: Vec<Fold>,
    /// The schedule by which its state restarts.
    pub running: Running,
    /// The handling of an event without a value.
    pub missing: Missing,
    /// Whether a value may be a number written as text.
    pub text_numbers: bool,
}

/// A field that is computed from the events of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The field that is set.
    pub set: u16,
    /// The function that computes the field.
    pub function: Function,
    /// The field that is read; `count` reads none.
    pub value: u16,
}

/// A function over the events of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The exact sum of the values.
    Sum,
    /// The number of events.
    Count,
    /// The least of the numbers.
    Min,
    /// The greatest of the numbers.
    Max,
    /// The sum divided by the number of values.
    Avg,
    /// The value of the first event.
    First,
    /// The value of the last event.
    Last,
    /// The number of distinct values.
    Unique,
    /// The last number minus the one before.
    Delta,
}

impl Function {
    /// Functions with their names.
    pub const NAMES: [(&'static str, Function); 9] = [
        ("sum", Function::Sum),
        ("count", Function::Count),
        ("min", Function::Min),
        ("max", Function::Max),
        ("avg", Function::Avg),
        ("first", Function::First),
        ("last", Function::Last),
        ("unique", Function::Unique),
        ("delta", Function::Delta),
    ];

    /// Returns the name in a pipeline.
    pub fn name(self) -> &'static str {
        Function::NAMES.iter().find(|(_, function)| *function == self).map_or("sum", |(name, _)| name)
    }
}

/// The handling of an event without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The event is parked as `no_value`.
    Park,
    /// It does not change the aggregate.
    Skip,
}

/// Gathers the events of a window into one.
#[derive(Clone, Debug)]
pub struct Accumulate {
    /// The fields of the key.
    pub key: Vec<u16>,
    /// The field with the event's time.
    pub time: TimeField,
    /// The windows in which events are gathered.
    pub windows: Windows,
    /// The time zone of the schedule.
    pub zone: Zone,
    /// The fields computed from a window's events.
    pub fields: Vec<Fold>,
    /// Fields that are kept of the window's last event.
    pub keep: Vec<u16>,
    /// The handling of an event without a value.
    pub missing: Missing,
    /// The time of the derived event.
    pub stamp: Stamp,
    /// The clock by which windows end.
    pub release: Release,
    /// The handling of events for released windows.
    pub late: LateInputs,
    /// Maximum of events of one window of one key.
    pub events_max: u64,
    /// Whether a value may be a number written as text.
    pub text_numbers: bool,
}

/// The windows of time in which events are gathered.
#[derive(Clone, Debug, PartialEq)]
pub enum Windows {
    /// A window of `size` nanoseconds begins every `step`, counted from the epoch plus `offset`.
    Size {
        /// Nanoseconds of a window; a multiple of the step.
        size: i64,
        /// Nanoseconds from one beginning to the next.
        step: i64,
        /// Nanoseconds from the epoch to the first beginning.
        offset: i64,
    },
    /// The periods of a schedule.
    Schedule(Arc<Schedule>),
    /// Sessions: events less than `gap` apart, together shorter than `max`.
    Sessions {
        /// The gap, in nanoseconds.
        gap: i64,
        /// The maximal length, in nanoseconds.
        max: i64,
    },
}

/// The time of a derived event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The start of its window.
    Start,
    /// The time of its last event.
    Last,
    /// The end of its window.
    End,
}

/// The clock by which windows end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The clock of the server.
    Clock,
    /// The greatest event time so far; after this many nanoseconds without an event, the clock.
    Watermark(i64),
}

/// The handling of events for released windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateInputs {
    /// The policy for such events.
    pub policy: LateInputsPolicy,
    /// Nanoseconds for which a window waits after its end.
    pub grace: i64,
    /// Nanoseconds after the grace for which a window is remembered.
    pub amend_within: i64,
}

/// The policy for an event of a released window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateInputsPolicy {
    /// The derived event is amended.
    Amend,
    /// The event goes into the window of its receipt.
    Carry,
    /// The event is parked.
    Park,
}

/// Pairs starts with stops.
#[derive(Clone, Debug)]
pub struct Correlate {
    /// The fields of the key.
    pub key: Vec<u16>,
    /// The field with the event's time.
    pub time: TimeField,
    /// Whether an event is a start.
    pub start: Program,
    /// Whether an event is a stop.
    pub stop: Program,
    /// The field that the length is written to.
    pub duration: u16,
    /// Nanoseconds of the unit of the length.
    pub unit: i64,
    /// Fields that are copied from the stop.
    pub stop_fields: Vec<u16>,
    /// The boundaries at which open pairs are cut.
    pub cut: Option<Cut>,
    /// Nanoseconds for which a boundary or a stop waits.
    pub grace: i64,
    /// The handling of a start within an open pair.
    pub repeat: Repeat,
    /// Nanoseconds for which a start waits for its stop; `None`: for ever.
    pub timeout: Option<i64>,
    /// The handling of a start that has timed out.
    pub on_timeout: OnTimeout,
    /// Nanoseconds for which a stop waits for its start.
    pub wait: i64,
    /// Nanoseconds after its end for which a pair is remembered.
    pub amend_within: i64,
    /// Maximum of held events of one key.
    pub events_max: usize,
}

/// The boundaries at which open pairs are cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The schedule with the boundaries.
    pub schedule: Arc<Schedule>,
    /// The time zone of the schedule.
    pub zone: Zone,
}

/// The handling of a start within an open pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The later start is a duplicate.
    First,
    /// The earlier start is parked.
    Last,
}

/// The handling of a start that has timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// The start is parked.
    Park,
    /// The pair ends at the timeout.
    Close,
}
