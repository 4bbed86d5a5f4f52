//! What can happen to a partition.

use crate::decimal::Decimal;
use crate::event::{Batch, Slot};
use crate::keyed::Input;
use crate::plan::DeclaredMeter;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// Everything that can happen to a partition. The list is closed.
#[derive(Debug)]
pub enum Command<'a> {
    /// Events ask to be admitted: those seen before are told.
    Admit {
        /// In order of arrival.
        identities: &'a [Identity],
        /// Nanoseconds of event time for which an identity is remembered.
        window: Option<i64>,
    },
    /// An event that was admitted did not spend its identity: the next one is no duplicate of
    /// it. Only within the round in which it was admitted.
    Withdraw {
        /// As it was admitted.
        identity: &'a Identity,
    },
    /// An event that was admitted is parked: its identity is withdrawn and waits for the event
    /// that takes its place.
    Park {
        /// As it was admitted.
        identity: &'a Identity,
        /// Its number in the order of arrival.
        arrival: u64,
    },
    /// An event that was admitted spent its identity: it takes the place of parked ones.
    Spend {
        /// As it was admitted.
        identity: &'a Identity,
        /// Nanoseconds of event time for which an identity is remembered.
        window: Option<i64>,
        /// Its number in the order of arrival.
        arrival: u64,
    },
    /// Mediation guided events here.
    Count {
        /// The meter processor that guides.
        processor: u16,
        /// The events.
        batch: &'a Batch,
        /// The usages of these events in this partition, in order of arrival.
        usages: &'a [Usage],
        /// Whether lateness is judged by the time of receipt, as in a server, or by what was
        /// flushed before, as in a run over files.
        by_receipt: bool,
    },
    /// Events came to an operator that keeps state by key.
    Keep {
        /// The operator.
        node: u16,
        /// The events.
        batch: &'a Batch,
        /// The inputs from these events in this partition, in order of arrival.
        inputs: &'a [Input],
    },
    /// A tick for an operator that keeps state by key: what is due is released.
    Release {
        /// The operator.
        node: u16,
        /// How far its watermark has come.
        until: Timestamp,
        /// Whether everything is released, due or not.
        everything: bool,
    },
    /// A meter is opened by hand.
    Open(&'a DeclaredMeter),
    /// What is set on a meter by hand changes: its custom fields, and whether it goes at
    /// its next reset.
    Edit(&'a DeclaredMeter),
    /// A meter is taken away, with what it holds and without a record.
    Delete(&'a DeclaredMeter),
    /// The plan may have other reset schedules than before: meters follow them from their
    /// next period on.
    Reschedule,
    /// Time has come: what ended by now is flushed.
    Tick,
    /// What is open is flushed as it is; period ends stay as scheduled.
    Flush,
}

/// Who an event is: a keyed 128-bit fingerprint of the fields that identify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of the identifying fields.
    pub fingerprint: u128,
    /// The event's time.
    pub at: Timestamp,
    /// Its place among those that wait for an answer.
    pub place: u32,
}

/// What an event brings to a meter processor.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The event in its batch.
    pub event: u32,
    /// Its row there.
    pub row: u32,
    /// Its place among those that wait for an answer.
    pub place: u32,
    /// Hash of the user.
    pub user_hash: u64,
    /// The user.
    pub user: Slot,
    /// The event's time.
    pub at: Timestamp,
    /// The rules whose conditions hold, as bits; at least one.
    pub rules: u64,
    /// The value the first of them reads.
    pub number: Decimal,
    /// Why that value is no number, if so.
    pub flaw: Option<Reason>,
}
