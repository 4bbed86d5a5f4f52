//! The commands of a partition.

use crate::decimal::Decimal;
use crate::event::{Batch, Slot};
use crate::keyed::{Input, ReleaseExtent};
use crate::plan::DeclaredMeter;
use crate::table::Tables;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// Every input of a partition. The list is closed.
#[derive(Debug)]
pub enum Command<'a> {
    /// Admits events by their identities and reports those that were seen before.
    Admit {
        /// In order of arrival.
        identities: &'a [Identity],
        /// Nanoseconds of event time for which an identity is remembered.
        window: Option<i64>,
    },
    /// Withdraws the identity of an event that was admitted but did not use it, so that the next
    /// event is not a duplicate of it. Only within the round in which it was admitted.
    Withdraw {
        /// The identity as it was admitted.
        identity: &'a Identity,
    },
    /// Parks an event that was admitted: its identity is withdrawn and waits for the event that
    /// takes its place.
    Park {
        /// The identity as it was admitted.
        identity: &'a Identity,
        /// Its number in the order of arrival.
        arrival: u64,
    },
    /// Spends the identity of an event that was admitted: it takes the place of parked ones.
    Spend {
        /// The identity as it was admitted.
        identity: &'a Identity,
        /// Nanoseconds of event time for which an identity is remembered.
        window: Option<i64>,
        /// Its number in the order of arrival.
        arrival: u64,
    },
    /// Counts events that mediation has guided to this partition.
    Count {
        /// The meter processor that guides the events.
        processor: u16,
        /// The batch of the events.
        batch: &'a Batch,
        /// The usages of these events in this partition, in order of arrival.
        usages: &'a [Usage],
        /// Whether lateness is judged by the time of receipt, as in a server, or by the periods
        /// that an earlier run has flushed, as in a run over files.
        by_receipt: bool,
    },
    /// Gives events to an operator that keeps state by key.
    Keep {
        /// The number of the operator.
        node: u16,
        /// The batch of the events.
        batch: &'a Batch,
        /// The tables in force for them.
        tables: &'a Tables,
        /// The inputs from these events in this partition, in order of arrival.
        inputs: &'a [Input],
    },
    /// Releases what is due at an operator that keeps state by key.
    Release {
        /// The number of the operator.
        node: u16,
        /// The instant that its watermark has reached.
        until: Timestamp,
        /// How much is released.
        extent: ReleaseExtent,
    },
    /// Parks the events that an operator holds; it begins empty.
    GiveUp {
        /// The number of the operator.
        node: u16,
    },
    /// Opens a declared meter.
    Open(&'a DeclaredMeter),
    /// Changes the settings of a declared meter: its custom fields, and whether it is deleted at
    /// its next reset.
    Edit(&'a DeclaredMeter),
    /// Deletes a meter with everything it holds, without a record.
    Delete(&'a DeclaredMeter),
    /// Adopts the reset schedules of the plan, which may be new: meters follow them from their next
    /// period on.
    Reschedule,
    /// Flushes the periods that ended by now.
    Tick,
    /// Sends the revisions of corrections at once.
    Revise,
    /// Flushes the open periods as they are; period ends stay as scheduled.
    Flush,
}

/// The identity of an event: a keyed 128-bit fingerprint of the fields that identify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The fingerprint of the identifying fields.
    pub fingerprint: u128,
    /// The time of the event.
    pub at: Timestamp,
    /// Its place among the events that wait for an answer.
    pub place: u32,
}

/// The contribution of an event to a meter processor.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The event in its batch.
    pub event: u32,
    /// The row of its fields.
    pub row: u32,
    /// Its place among the events that wait for an answer.
    pub place: u32,
    /// Hash of the user.
    pub user_hash: u64,
    /// The slot of the user.
    pub user: Slot,
    /// The time of the event.
    pub at: Timestamp,
    /// The rules whose conditions hold, as bits; at least one.
    pub rules: u64,
    /// The value that the first of these rules reads.
    pub number: Decimal,
    /// The reason why that value is not a number, if so.
    pub flaw: Option<Reason>,
}
