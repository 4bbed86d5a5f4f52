//! A seeded simulation of the store and the pipelines at work.
//!
//! One number makes a whole history: senders that are late, repeat themselves and send
//! nonsense; a clock; people who change pipelines and meters; a disk that fails, fills up
//! and forgets; a machine that loses power. The node is built of the parts the server is
//! built of ([`node`]); only the threads are missing: what they do at any moment is done
//! one after the other, as the seed says. So a history can be had again, to the byte.
//!
//! After every restart and at the end the auditor looks ([`audit`]):
//! - nothing acknowledged is lost, and the log holds nothing that nobody sent;
//! - what was read from a stream of records, parked events or verdicts is there for ever,
//!   to the byte, numbered without a gap;
//! - verdicts, parked events, records and sums are those of a naive [`oracle`];
//! - a pipeline that takes the whole log anew, without a checkpoint and in other batches,
//!   makes the same streams and the same meters;
//! - every metered record is in effect exactly once at a [`target`] that lies, is away for a
//!   day and loses what it had;
//! - a bit that turns over is told as damage, or does no harm.
//!
//! `cargo run -p sim -- SEED` tells the history of a seed, `-- --seeds A..B` runs many.

pub mod audit;
pub mod decoders;
pub mod disk;
pub mod documents;
pub mod node;
pub mod oracle;
pub mod producer;
pub mod random;
pub mod server;
pub mod target;
pub mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Things that happen in a history, if nobody says otherwise.
pub const STEPS: u64 = 45;

/// Runs a seed of pipelines on a log. Tells what happened how often.
///
/// # Errors
/// What is wrong, and how to see it again. A panic is wrong, too.
pub fn run(seed: u64, steps: u64, trace: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    caught(seed, "", || world::World::new(seed, trace).run(steps))
}

/// Runs a seed of a whole server. Tells what happened how often.
///
/// # Errors
/// As [`run`].
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
