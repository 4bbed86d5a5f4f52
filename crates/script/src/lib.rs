//! Scripts of pipelines: JavaScript that turns one event into one, several or none.
//!
//! A run is a function of the code, the event, the state of its key and the instant of receipt.
//! A script sees no clock, no randomness, no network and no file. Its world is frozen and its
//! top level runs again for each event, so that no event depends on another one but through the
//! state of its key. Limits are counted, never timed: a verdict must not depend on the machine.

mod fields;
mod host;
mod memory;
mod numbers;
mod projected;
mod read;
mod sandbox;
mod steps;
mod survey;
#[cfg(test)]
mod tests;
mod write;

pub use numbers::{Arithmetic, Operation};
pub use projected::Given;
use projected::Projection;
pub use steps::CodeError;

/// The depth to which the JSON of events, results and state may be nested. It is that of events that
/// come in.
pub const DEPTH_MAX: usize = 128;

/// The bounds of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Turns of loops and calls of functions.
    pub steps: u64,
    /// Bytes of memory, without those of the built-in objects.
    pub memory: usize,
    /// Bytes of the stack.
    pub stack: usize,
    /// Bytes of a key's state as JSON.
    pub state_bytes: usize,
    /// Events that one event may become.
    pub children_max: usize,
}

/// A script that has been checked.
#[derive(Clone, Debug)]
pub struct Program {
    id: u128,
    counted: String,
    /// The fields of the event that the code names, if it sees nothing else of it.
    projection: Option<Projection>,
    operator: String,
    limits: Limits,
    arithmetic: Arithmetic,
}

impl Program {
    /// Checks a script: it must parse, and its top level must define the function `step`.
    /// `operator` is the id of the operator that the code belongs to.
    pub fn compile(code: &str, operator: &str, limits: Limits, arithmetic: Arithmetic) -> Result<Program, CodeError> {
        let tree = steps::parse(code)?;
        let counted = steps::count_steps(&tree, code)?;
        let projection = fields::named(tree.root_node(), code).map(Projection::new);
        let id = xxhash_rust::xxh3::xxh3_128(format!("{limits:?}\n{operator}\n{code}").as_bytes());
        let program = Program { id, counted, projection, operator: operator.to_owned(), limits, arithmetic };
        sandbox::check(&program)?;
        Ok(program)
    }

    /// A program that drops every event, in the place of one that has problems.
    pub fn idle(limits: Limits, arithmetic: Arithmetic) -> Program {
        let counted = "function step() { return null; }".to_owned();
        Program { id: 0, counted, projection: None, operator: String::new(), limits, arithmetic }
    }

    /// Returns the names that lead to each field that the code names, if it sees nothing else of its
    /// event.
    pub fn fields(&self) -> Option<&[Vec<String>]> {
        self.projection.as_ref().map(|projection| projection.fields.as_slice())
    }

    /// Whether an event with these values may be given by its fields; otherwise it is given whole.
    pub fn takes(&self, given: &[Given<'_>]) -> bool {
        self.projection.as_ref().is_some_and(|projection| projection.fits(given))
    }

    /// Runs the script for an event. The state is replaced only if the run succeeds.
    pub fn run(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        sandbox::run(self, call)
    }
}

/// An event for a script.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The event that the script sees.
    pub event: Event<'a>,
    /// The values of its key: a JSON list.
    pub key: &'a [u8],
    /// The state of its key, by name: JSON.
    pub state: &'a State,
    /// Milliseconds since the epoch at which the event was received.
    pub received_at: i64,
}

/// An event as it is given to a script.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The whole event: a JSON object.
    Whole(&'a [u8]),
    /// The fields that the code names, in the order of [`Program::fields`].
    Fields(&'a [Given<'a>]),
}

/// The state of a key: names with values as JSON, in the order in which they were set first.
pub type State = Vec<(String, String)>;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The value that the script returned.
    pub returned: Returned,
    /// The state of the key, if the script changed it.
    pub state: Option<State>,
    /// The counters that it added to, by name.
    pub counts: Vec<(String, i64)>,
}

/// The value that a script returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The event from now on: a JSON object.
    Event(Vec<u8>),
    /// The event that came, with other values of some fields: the number of each, and its value as
    /// JSON, or nothing for one that is removed.
    Changed(Vec<(usize, Option<Vec<u8>>)>),
    /// Its children: JSON objects.
    Children(Vec<Vec<u8>>),
    /// Nothing: the event is dropped.
    Nothing,
}

/// Why a run gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An exception, `fail`, or a result that is no event.
    Error(String),
    /// A limit of steps, memory or stack.
    Limit(String),
    /// The state of the key would be larger than it may.
    StateFull(String),
    /// More children than an event may have.
    TooMany(String),
    /// The run took more than ten seconds of real time.
    Stalled,
}

/// Returns how many bytes a state takes as JSON.
pub(crate) fn state_len(state: &State) -> usize {
    let members: usize = state.iter().map(|(name, value)| write::quoted(name).len() + value.len() + 2).sum();
    members.max(1) + 1
}
