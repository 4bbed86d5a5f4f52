//! The outbox: the records of a pipeline on their way to its targets.
//!
//! The log of records is the outbox itself. A record enters it with the act that closes its period,
//! under a number that is the same after a restart, so nothing needs to be written a second time.
//! For each target two things are stored: its progress ([`Marks`]), and a [`Delivery`] for each of
//! the few records whose first attempt failed: those that are retried, were refused for good, or
//! were skipped by a person.
//!
//! Records are sent in windows. The end of a window is made durable before anything of it is sent,
//! and the results afterwards. So after a crash the same window is sent again with the same keys,
//! which does not change a target that keeps its contract ([`Target`]). Without an answer records
//! are in doubt, not failed: they are sent again under the same key, or looked for first if the
//! target would double them.
//!
//! Order is kept for each meter: if a record waits, later ones of its meter wait too. A dead record
//! holds nothing up.
//!
//! This module reads no clock and does not wait. The caller passes the time and learns when to call
//! again: a thread in the server, the simulation in tests.

mod ahead;
mod answer;
mod delivery;
mod index;
mod marks;
mod pace;
mod reconcile;
mod records;
mod sending;
mod story;
mod target;
#[cfg(test)]
mod tests;
mod window;

pub use ahead::ReadAhead;
pub use answer::{Answer, Held};
pub use delivery::{Delivery, DeliveryState};
pub use index::{INDEX_FOLDER, RecordIndex, RecordKey};
pub use marks::{Kept, Marks, Shelf};
pub use pace::Patience;
pub use reconcile::{Amount, Difference, Part, Report, Sums};
pub use records::{RecordLog, Records, WindowLimits};
pub use sending::{Outbox, Progress};
pub use story::{ANSWER_BYTES_MAX, ATTEMPTS_MAX, Attempt};
pub use target::{Exchange, Repeat, Target};
pub use window::{Names, Outgoing, Span, Window};

/// The maximum of deliveries of one target that are retried on their own. Each holds up only its
/// meter. Beyond this number the target itself is at fault, and the whole window waits.
pub const RETRYING_MAX: usize = 10_000;
/// Records that a target may refuse for good before its delivery stops. So many refusals are caused
/// by the target or its template, not by records, and a person must look.
pub const DEAD_MAX: u64 = 100_000;
