//! Threads around the log and the running pipelines.
//!
//! ```text
//! senders ─► Writer ─► log, durable ─► Tail ─► Worker of each pipeline ─► records, parked, verdicts
//!               ▲  group commit                   │ applies entries, makes checkpoints
//!               └── ticks, when something is due ◄┘
//! ```
//!
//! Only the writer appends. A sender is answered when its events are durable. A slow worker reads
//! from the disk the entries that the tail no longer has; it never holds up the writer.

mod behind;
mod board;
mod known;
mod steady;
mod test_clock;
mod ticker;
mod worker;
mod writer;

pub use board::Board;
pub use known::Shown;
pub use steady::{SteadyClock, Stopwatch};
pub use test_clock::{TestClock, WallOf};
pub use ticker::Ticker;
pub use worker::{After, Judgement, Surroundings, Worker, WorkerSettings};
pub use writer::{Placed, Reply, Submission, Writer, WriterSettings};

use flowmeter_core::time::Timestamp;

/// A source of time, the only one in this module.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns the nanoseconds by which the machine's clock is ahead, while it is not followed.
    fn difference(&self) -> Option<i64> {
        None
    }

    /// Returns the time of the wall clock, which a test clock does not follow.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Returns the clock as one that moves only on demand, if it is one.
    fn as_test(&self) -> Option<&TestClock> {
        None
    }
}
