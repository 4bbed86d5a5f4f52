//! The delivery of one record to one target, if the target's progress does not already imply it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Attempt, Names};
use flowmeter_core::time::Timestamp;

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Waits for its turn.
    Pending,
    Sent,
    /// The target said that it has the record.
    Accepted,
    /// The record was read back, or the target cannot be read and has accepted it.
    Confirmed,
    /// An attempt failed, and another one follows.
    Retrying,
    /// The record was refused for good, or attempts lasted too long.
    Dead,
    /// A person decided not to send it, with a reason.
    Skipped,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 7] = [
        DeliveryState::Pending,
        DeliveryState::Sent,
        DeliveryState::Accepted,
        DeliveryState::Confirmed,
        DeliveryState::Retrying,
        DeliveryState::Dead,
        DeliveryState::Skipped,
    ];

    /// Returns the name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Sent => "sent",
            DeliveryState::Accepted => "accepted",
            DeliveryState::Confirmed => "confirmed",
            DeliveryState::Retrying => "retrying",
            DeliveryState::Dead => "dead",
            DeliveryState::Skipped => "skipped",
        }
    }

    /// Returns the state with a name.
    pub fn named(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A delivery whose first attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub number: u64,
    pub record_id: Uuid,
    pub meter: Uuid,
    /// Retrying, dead or skipped.
    pub state: DeliveryState,
    pub attempts: u32,
    /// Time of the first attempt since the delivery was last resent by hand; nanoseconds.
    pub tried_first: i64,
    /// Time of the last attempt; nanoseconds.
    pub tried_last: i64,
    /// Time of the next attempt; nanoseconds.
    pub next_attempt: i64,
    /// Time since when the target may have the record anyway; nanoseconds.
    pub in_doubt: Option<i64>,
    /// The target's last answer, or the reason for skipping.
    pub answer: String,
    /// Its last attempts, the oldest first. The deliveries that an outbox holds in memory have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
}

impl Delivery {
    /// Returns a delivery that waits for an earlier one of its meter.
    pub(super) fn behind(number: u64, names: Names, now: Timestamp) -> Delivery {
        let now = now.nanos();
        Delivery {
            number,
            record_id: names.record_id,
            meter: names.meter,
            state: DeliveryState::Retrying,
            attempts: 0,
            tried_first: now,
            tried_last: now,
            next_attempt: now,
            in_doubt: None,
            answer: "waits behind an earlier record of its meter".to_owned(),
            history: Vec::new(),
        }
    }
}
