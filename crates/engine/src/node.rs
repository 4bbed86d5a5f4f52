//! Threads around the log and the pipelines at work on it.
//!
//! ```text
//! senders ─► Writer ─► log, durable ─► Tail ─► Worker of each pipeline ─► records, parked, verdicts
//!               ▲  group commit                   │ takes entries, makes checkpoints
//!               └── ticks, when something is due ◄┘
//! ```
//!
//! The writer is the only one that appends. A sender is answered when its events are
//! durable. A worker that is slow reads from the disk what the tail no longer holds; it
//! never holds up the writer.

mod board;
mod known;
mod steady;
mod ticker;
mod worker;
mod writer;

pub use board::Board;
pub use known::Shown;
pub use steady::{SteadyClock, Stopwatch};
pub use ticker::Ticker;
pub use worker::{After, Judgement, Surroundings, Worker, WorkerSettings, open_reader};
pub use writer::{Placed, Reply, Submission, Writer, WriterSettings};

use flowmeter_core::time::Timestamp;

/// What time it is. The only clock the node asks.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Nanoseconds by which the machine's clock is ahead, while it is not followed.
    fn difference(&self) -> Option<i64> {
        None
    }
}
