//! Items of the log of derived events: each event that an operator made, as it was made, with its
//! verdict.

use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;

use super::items::{code, verdict};
use crate::DerivedEvent;

/// A derived event in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DerivedItem<'a> {
    /// When it was made: at a tick, or when its parent was received.
    pub at: Timestamp,
    /// The number of the received event that it descends from; none if it was released at a tick.
    pub arrival: Option<u64>,
    /// The verdict after the round in which it was made. An operator that took it into its state may
    /// have parked it later: see the log of parked events.
    pub verdict: Verdict,
    /// The operator that made it.
    pub made_by: &'a str,
    /// The operator that parked it; empty if none did.
    pub operator: &'a str,
    /// The message to it; may be empty.
    pub detail: &'a str,
    /// The event as it was made: JSON.
    pub json: &'a [u8],
}

/// Returns the head of an item, which its JSON follows.
pub(super) fn head_of(event: &DerivedEvent<'_>) -> Vec<u8> {
    let mut pen = Pen::default();
    pen.time(event.at);
    pen.count(event.arrival.map_or(0, |arrival| arrival + 1));
    pen.byte(code(event.verdict));
    pen.text(event.made_by.as_bytes());
    pen.text(event.operator.unwrap_or_default().as_bytes());
    pen.text(event.detail.as_bytes());
    pen.bytes
}

/// Decodes an item of the log of derived events.
pub fn derived_item(item: &[u8]) -> Option<DerivedItem<'_>> {
    let mut glass = Glass::new(item);
    Some(DerivedItem {
        at: glass.time().ok()?,
        arrival: glass.count().ok()?.checked_sub(1),
        verdict: verdict(glass.byte().ok()?)?,
        made_by: text(&mut glass)?,
        operator: text(&mut glass)?,
        detail: text(&mut glass)?,
        json: glass.rest(),
    })
}

fn text<'a>(glass: &mut Glass<'a>) -> Option<&'a str> {
    std::str::from_utf8(glass.text().ok()?).ok()
}
