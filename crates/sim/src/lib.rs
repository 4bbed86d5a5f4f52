//! A seeded simulation of the store and the running pipelines.
//!
//! One number makes a whole history: senders with late, repeated and meaningless events; a clock;
//! people who change pipelines and meters; a disk that fails, fills up and loses unsynced writes; a
//! machine that loses power. The node consists of the parts of the server ([`node`]) without its
//! threads: their steps are taken one after the other, as the seed decides. So a history can be
//! repeated to the byte.
//!
//! After every restart and at the end the auditor ([`audit`]) checks:
//! - no acknowledged entry is lost, and the log has only entries that were sent;
//! - everything read from a stream of records, parked events or verdicts exists for ever, to the
//!   byte, numbered without a gap;
//! - verdicts, parked events, records and sums equal those of a naive [`oracle`];
//! - a pipeline that applies the whole log again, without a checkpoint and in other batches, makes
//!   the same streams and the same meters;
//! - every metered record is in effect exactly once at a dishonest [`target`] that is unavailable for a
//!   day and loses records;
//! - a flipped bit is reported as damage, or does no harm.
//!
//! `cargo run -p sim -- SEED` prints the history of a seed, `-- --seeds A..B` runs many.

#![allow(missing_docs)] // documentation says what names and types do not

pub mod audit;
pub mod decoders;
pub mod disk;
pub mod documents;
pub mod node;
pub mod oracle;
pub mod producer;
pub mod random;
pub mod server;
pub mod services;
pub mod target;
pub mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Default number of steps in a history.
pub const STEPS: u64 = 45;

/// Runs a seed of pipelines on a log. Returns how often each step happened.
///
/// # Errors
/// The broken promise, and how to repeat it. A panic is an error too.
pub fn run(seed: u64, steps: u64, trace: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    caught(seed, "", || world::World::new(seed, trace).run(steps))
}

/// Runs a seed of a whole server. Returns how often each step happened.
///
/// # Errors
/// As for [`run`].
pub fn run_server(seed: u64, trace: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    caught(seed, "--server ", || server::run(seed, server::STEPS, trace))
}

fn caught(
    seed: u64,
    flag: &str,
    run: impl FnOnce() -> Result<BTreeMap<&'static str, u64>, String>,
) -> Result<BTreeMap<&'static str, u64>, String> {
    let ran = catch_unwind(AssertUnwindSafe(run));
    let told = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("without words")))
    });
    told.map_err(|what| format!("seed {seed}: {what}\nreplay it with: cargo run -p sim -- {flag}{seed}"))
}
