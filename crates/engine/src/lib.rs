//! The loop around the core.
//!
//! Work is done in rounds. A round takes some blocks from the source and passes them through
//! mediation on all threads. Then every partition handles its part, and the flows continue with the
//! next stage. At the end the verdicts of the round are added up. Within a step every task has its
//! own memory, so the only lock is the one on the source. Between steps everything is in the order
//! of arrival, so the result does not depend on the number of threads or partitions.
//!
//! ```text
//! receive ─► mediate ─► (partitions answer ─► mediate)* ─► tally        one round
//! close: every partition flushes, records are merged in order ─► target
//! ```

#![allow(missing_docs)] // documentation says what names and types do not

mod checkpoint;
mod derived;
mod displaced;
mod error;
mod in_order;
pub mod journal;
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
mod slot;
mod source;
mod tables;
mod unseen;
pub mod vault;

pub use checkpoint::examine as examine_checkpoints;
pub use displaced::{Displaced, StateChoice, StateChoices, choice_without_state};
pub use error::{Error, Kind};
pub use lane::Superseded;
pub use merge::RecordSink;
pub use noted::{Happening, Noted};
pub use observer::{DerivedEvent, Observer, ParkedEvent, Totals};
pub use recount::{Arrival, Counted, Recount, Steps};
pub use round::{Engine, Settings};
pub use source::{Received, Source};
pub use tables::tables_of;
