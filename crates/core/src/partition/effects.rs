//! The effects of commands.

use super::{Identity, Input, Meter, Rejudged, Released, Usage};
use crate::aggregation::Contribution;
use crate::event::{Batch, Kind};
use crate::meter_type::MeterType;
use crate::operator::Scripted;
use crate::record::Record;
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// Receives the effects of a command. External effects happen afterwards and are based on these: a
/// record is reported here before it is sent anywhere. Every method does nothing by default, since
/// few commands have every effect.
pub trait Effects {
    /// The event was seen before.
    fn duplicate(&mut self, _identity: &Identity) {}
    /// The event's identity is known, but only outside the window.
    fn beside(&mut self, _identity: &Identity) {}
    /// Called when an event superseded a parked one; both are numbers in the order of arrival.
    fn superseded(&mut self, _parked: u64, _by: u64) {}
    /// The event was counted, but into a flushed period or carried out of it.
    fn late(&mut self, _usage: &Usage) {}
    /// The event was counted in a meter. The default costs nothing: it is called for every event.
    #[inline]
    fn counted(&mut self, _counted: &Counted<'_>) {}
    /// The event goes to the correction queue. Every other usage was counted.
    fn parked(&mut self, _usage: &Usage, _reason: Reason, _detail: String) {}
    /// No rule applied to the event, and the pipeline drops such events.
    fn unmatched(&mut self, _usage: &Usage) {}
    /// An operator sets a field of an event.
    fn set(&mut self, _input: &Input, _slot: u16, _kind: Kind, _bytes: &[u8]) {}
    /// A script has run for an event.
    fn scripted(&mut self, _input: &Input, _scripted: Scripted) {}
    /// An operator took an event into its state; whether it was late for its window.
    fn absorbed(&mut self, _input: &Input, _is_late: bool) {}
    /// An operator found an event to be a repetition.
    fn repeated(&mut self, _input: &Input) {}
    /// An operator parks an event.
    fn refused(&mut self, _input: &Input, _reason: Reason, _detail: String) {}
    /// A script did not end for an event: nothing that was done since may be kept.
    fn stalled(&mut self, _input: &Input) {}
    /// An operator released a derived event.
    fn released(&mut self, _released: Released) {}
    /// The verdict of an event that an operator held has changed.
    fn rejudged(&mut self, _rejudged: Rejudged) {}
    /// A meter was opened.
    fn opened(&mut self, _meter: &Meter) {}
    /// A meter was deleted.
    fn deleted(&mut self, _meter: &Meter) {}
    /// A metered record, to be written as JSON.
    fn record(&mut self, _key: RecordKey<'_>, _record: &Record<'_>) {}
    /// An event made a threshold reached or recovered: the record so far, as JSON.
    fn threshold(&mut self, _event: u32, _key: RecordKey<'_>, _json: &[u8]) {}
}

/// The contribution of an event to a meter.
#[derive(Debug)]
pub struct Counted<'a> {
    /// The batch of the event.
    pub batch: &'a Batch,
    /// The usage of the processor.
    pub usage: &'a Usage,
    /// The user of the meter.
    pub user: &'a [u8],
    /// Index of the processor in the plan.
    pub processor: u16,
    /// Index of its rule.
    pub rule: u16,
    /// The type of the meter.
    pub meter_type: &'a MeterType,
    /// The value that was added.
    pub contribution: &'a Contribution,
}

/// The position of a record among others: by the end of its period, then by meter. Records of all
/// partitions, merged by this key, are in an order that does not depend on the number of
/// partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey<'a> {
    /// The instant at which it was due.
    pub due: Timestamp,
    /// The user of the meter.
    pub user: &'a [u8],
    /// Index of the meter type in the plan.
    pub meter_type: u16,
    /// Index of the processor in the plan.
    pub processor: u16,
    /// The period of the record.
    pub period: Period,
    /// The number of the revision.
    pub revision: u32,
}
