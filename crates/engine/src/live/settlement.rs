//! Settlements: how parked events left the correction queue.
//!
//! The log decides how a parked event is settled. An entry that settles one carries the event
//! that is counted in its place, if any. The first such entry for a parked event takes effect;
//! later ones are ignored. An event that replaces a parked one with the same identity settles it
//! too. Every settlement is an item of the pipeline's log `settled`.

use std::collections::BTreeMap;

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::time::Timestamp;

/// The way a parked event left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Counted with other content.
    Corrected,
    /// Counted as it was.
    Reprocessed,
    /// Nothing is counted in its place.
    Discarded,
    /// Replaced by an event with the same identity.
    Superseded,
}

impl How {
    const ALL: [How; 4] = [How::Corrected, How::Reprocessed, How::Discarded, How::Superseded];

    pub(super) fn read(code: u8) -> Option<How> {
        How::ALL.get(usize::from(code)).copied()
    }

    /// Returns the name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            How::Corrected => "corrected",
            How::Reprocessed => "reprocessed",
            How::Discarded => "discarded",
            How::Superseded => "superseded",
        }
    }
}

/// The way, time and author of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub how: How,
    pub at: Timestamp,
    /// The name of the API key that settled it; empty if an event did.
    pub who: String,
    /// The number, in the order of arrival, of the event that is counted in its place.
    pub by: Option<u64>,
    /// The entry of the log with the settlement.
    pub position: u64,
    /// The parked event's number in the queue, if a person settled it.
    pub number: Option<u64>,
}

/// An item of the log of settlements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementItem {
    /// The parked event's number in the order of arrival.
    pub arrival: u64,
    pub settlement: Settlement,
}

/// Decodes an item of the log of settlements.
pub fn settlement_item(item: &[u8]) -> Option<SettlementItem> {
    let read = || -> Seen<Option<SettlementItem>> {
        let mut glass = Glass::new(item);
        let arrival = glass.count()?;
        let Some(how) = How::read(glass.byte()?) else { return Ok(None) };
        let at = glass.time()?;
        let (by, position) = (glass.count()?.checked_sub(1), glass.count()?);
        let number = glass.count()?.checked_sub(1);
        let who = String::from_utf8_lossy(glass.text()?).into_owned();
        let settlement = Settlement { how, at, who, by, position, number };
        Ok(Some(SettlementItem { arrival, settlement }))
    };
    read().ok().flatten()
}

impl SettlementItem {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Settlement { how, at, who, by, position, number } = &self.settlement;
        let mut pen = Pen::default();
        pen.count(self.arrival);
        pen.byte(*how as u8);
        pen.time(*at);
        pen.count(by.map_or(0, |by| by + 1));
        pen.count(*position);
        pen.count(number.map_or(0, |number| number + 1));
        pen.text(who.as_bytes());
        pen.bytes
    }
}

/// The settled parked events of a pipeline, by arrival.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    by_arrival: BTreeMap<u64, Settlement>,
}

impl Settled {
    /// Returns the settlement of a parked event, if it is settled.
    pub fn get(&self, arrival: u64) -> Option<&Settlement> {
        self.by_arrival.get(&arrival)
    }

    /// Returns whether a parked event is settled.
    pub fn contains(&self, arrival: u64) -> bool {
        self.by_arrival.contains_key(&arrival)
    }

    /// Returns the number of settled events.
    pub fn len(&self) -> usize {
        self.by_arrival.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    /// Settles a parked event, unless it is settled already. Returns whether it did.
    pub(super) fn add(&mut self, arrival: u64, settlement: &Settlement) -> bool {
        if self.contains(arrival) {
            return false;
        }
        self.by_arrival.insert(arrival, settlement.clone());
        true
    }
}
