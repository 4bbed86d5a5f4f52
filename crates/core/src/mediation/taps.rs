//! Notes about single events at operators, for people who test a pipeline.

use std::fmt;
use std::sync::Arc;

use super::flow::{Flow, Token};
use crate::verdict::Verdict;

/// An event as it left an operator, for people who test a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The operator that the event passed.
    pub operator: u16,
    /// The event in its batch.
    pub event: u32,
    /// The derived event, as in [`Token`].
    pub part: u32,
    /// The fields as the event entered the operator, if the flow notes every step.
    pub before: Option<String>,
    /// The fields the pipeline reads, as JSON.
    pub fields: String,
    /// The nanoseconds from the entry to the exit, if a stopwatch runs.
    pub nanos: Option<u64>,
}

/// An event that entered an operator and did not leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stayed {
    /// The operator at which the event stayed.
    pub operator: u16,
    /// The event in its batch.
    pub event: u32,
    /// The derived event, as in [`Token`].
    pub part: u32,
    /// The fields the pipeline reads, as JSON.
    pub before: String,
    /// The verdict of the event.
    pub verdict: Verdict,
    /// The nanoseconds from the entry to this verdict, if a stopwatch runs.
    pub nanos: Option<u64>,
}

/// A clock for the time that steps take, in nanoseconds. It changes no result.
#[derive(Clone)]
pub struct Stopwatch(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Stopwatch {
    /// A stopwatch that reads a clock.
    pub fn new(read: impl Fn() -> i64 + Send + Sync + 'static) -> Stopwatch {
        Stopwatch(Arc::new(read))
    }
}

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopwatch")
    }
}

/// An event that entered an operator.
#[derive(Clone, Debug)]
pub(super) struct Entered {
    /// The fields the pipeline reads, as JSON.
    fields: String,
    /// The time of the entry.
    at: Option<i64>,
    /// The time of its verdict there.
    end: Option<i64>,
}

fn between(from: Option<i64>, to: Option<i64>) -> Option<u64> {
    Some(u64::try_from(to? - from?).unwrap_or(0))
}

/// A value of [`Flow::taps_max`] that notes every step of the first events of a block.
pub const ALL_STEPS: usize = usize::MAX;
/// The number of these events.
const STEPPED_MAX: u32 = 1_000;

impl Flow {
    /// Whether the steps of an event are noted.
    pub(super) fn is_stepped(&self, token: Token) -> bool {
        self.taps_max == ALL_STEPS && token.event < STEPPED_MAX
    }

    fn read_stopwatch(&self) -> Option<i64> {
        self.stopwatch.as_ref().map(|stopwatch| (stopwatch.0)())
    }

    /// Notes that an event enters an operator, with its fields.
    pub(super) fn enter_step(&mut self, operator: u16, token: Token, fields: String) {
        let entered = Entered { fields, at: self.read_stopwatch(), end: None };
        self.entered.insert((operator, token.event, token.part), entered);
    }

    /// Notes that an event has its verdict at an operator; the last one holds.
    pub(super) fn end_step(&mut self, operator: u16, token: Token) {
        if self.is_stepped(token) {
            let end = self.read_stopwatch();
            if let Some(entered) = self.entered.get_mut(&(operator, token.event, token.part)) {
                entered.end = end;
            }
        }
    }

    /// Returns the fields of an event as it entered an operator that it leaves, and the nanoseconds
    /// since; of a derived event, those of the event that it was made of.
    pub(super) fn leave_step(&mut self, operator: u16, token: Token) -> (Option<String>, Option<u64>) {
        if !self.is_stepped(token) {
            return (None, None);
        }
        let own = self.entered.remove(&(operator, token.event, token.part));
        let entered = own.or_else(|| {
            let parent = self.derived.get((token.part as usize).checked_sub(1)?)?.parent;
            self.entered.get(&(operator, parent.event, parent.part)).cloned()
        });
        match entered {
            Some(Entered { fields, at, .. }) => (Some(fields), between(at, self.read_stopwatch())),
            None => (None, None),
        }
    }

    /// Returns the events that stayed at an operator, if every step is noted, after the last stage.
    pub fn stayed(&self) -> impl Iterator<Item = Stayed> + '_ {
        self.entered.iter().map(|(&(operator, event, part), Entered { fields, at, end })| {
            let verdict = match part {
                0 => self.verdict(event),
                part => self.derived[part as usize - 1].verdict,
            };
            Stayed { operator, event, part, before: fields.clone(), verdict, nanos: between(*at, *end) }
        })
    }
}
