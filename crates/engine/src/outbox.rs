//! The outbox: what a pipeline has made and its targets shall have.
//!
//! The log of records is the outbox itself. A record enters it in the act that closes its
//! period, under a number that a restart gives it again, so nothing has to be written a
//! second time. What is kept for each target is how far it has come, as [`Marks`], and a
//! [`Delivery`] for each of the few records that did not simply go: those that are tried
//! again, were refused for good, or were left out by a person.
//!
//! Records leave in windows. Where a window ends is made durable before anything of it is
//! sent, and what became of it afterwards: so after a crash the same window is sent again,
//! with the same keys, and a target that keeps its contract ([`Target`]) is not changed by
//! that. An answer that did not come leaves records in doubt, not failed: they are sent
//! again under the same key, or looked for first where the target would double them.
//!
//! Order is kept for each meter: behind a record that waits, later ones of its meter wait.
//! A record that is dead holds nothing up.
//!
//! Nothing here reads a clock or waits. Whoever drives it tells the time and is told when
//! to come back: a thread in the server, the simulation in tests.

mod ahead;
mod answer;
mod delivery;
mod marks;
mod pace;
mod reconcile;
mod records;
mod sending;
mod target;
#[cfg(test)]
mod tests;
mod window;

pub use ahead::ReadAhead;
pub use answer::{Answer, Held};
pub use delivery::{Delivery, DeliveryState};
pub use marks::{Kept, Marks, Shelf};
pub use pace::Patience;
pub use reconcile::{Amount, Difference, Part, Report, Sums};
pub use records::{RecordLog, Records, WindowLimits};
pub use sending::{Outbox, Progress};
pub use target::{Repeat, Target};
pub use window::{Names, Outgoing, Span, Window};

/// Deliveries of one target that may be tried again on their own at once. Each holds up
/// its meter only; past this many the target is not well, and the whole window waits.
pub const RETRYING_MAX: usize = 10_000;
/// Records a target may refuse for good before its delivery stands still: so many are no
/// flaw of records but of the target or its template, and a person must look.
pub const DEAD_MAX: u64 = 100_000;
