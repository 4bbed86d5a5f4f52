//! What a target is.

use flowmeter_core::partition::RecordKey;
use flowmeter_core::plan::Plan;

use crate::Error;

/// A record on its way to a target.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Which record.
    pub key: RecordKey<'a>,
    /// The record.
    pub json: &'a [u8],
    /// The names behind the key.
    pub plan: &'a Plan,
}

/// Where records go.
///
/// The contract:
/// - after [`Target::accept`] returned for every record, the target holds them;
/// - the same records delivered again, whole or in part, leave it as it was;
/// - [`Target::confirm`] reads back what it can and tells of any difference;
/// - a target that is dropped before `accept` leaves nothing behind that looks whole.
pub trait Target: Send {
    /// Hands over a record, in order.
    fn push(&mut self, delivery: &Delivery<'_>) -> Result<(), Error>;

    /// Ends the delivery: the target has accepted everything.
    fn accept(&mut self) -> Result<(), Error>;

    /// Confirms that the target holds what it accepted.
    fn confirm(&mut self) -> Result<(), Error>;

    /// Whether it writes to standard output.
    fn is_stdout(&self) -> bool {
        false
    }
}
