//! The loop around the core.
//!
//! Work goes in rounds. A round takes some blocks from the source, leads them through
//! mediation on all threads, lets every partition answer for its part, and goes on to
//! the next stage; then the round's verdicts are added up. Within a step every task has
//! its own memory, so there are no locks but the one on the source; between steps
//! everything is in the order of arrival, so the answer does not depend on how many
//! threads or partitions there are.
//!
//! ```text
//! receive ─► mediate ─► (partitions answer ─► mediate)* ─► tally        one round
//! close: every partition flushes, records are merged in order ─► target
//! ```

mod checkpoint;
mod error;
mod in_order;
mod lane;
pub mod ledger;
pub mod live;
mod merge;
pub mod node;
mod noted;
mod observer;
pub mod outbox;
mod recount;
mod release;
mod repeats;
mod roll;
mod round;
mod source;
mod tables;

pub use checkpoint::examine as examine_checkpoints;
pub use error::{Error, Kind};
pub use lane::Superseded;
pub use merge::RecordSink;
pub use noted::{Happening, Noted};
pub use observer::{Observer, ParkedEvent, Totals};
pub use recount::{Counted, Recount, Steps};
pub use round::{Engine, Settings};
pub use source::{Received, Source};
