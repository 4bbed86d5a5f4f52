//! The delivery of one record to one target, where it is not told by how far the target
//! has come.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Names;
use flowmeter_core::time::Timestamp;

/// Where the delivery of a record to a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It waits for its turn.
    Pending,
    /// It is on its way.
    Sent,
    /// The target said that it has it.
    Accepted,
    /// It was read back, or the target cannot be asked and has accepted it.
    Confirmed,
    /// It did not go and is tried again.
    Retrying,
    /// It was refused for good, or tried for longer than is reasonable.
    Dead,
    /// A person decided that it need not go, and said why.
    Skipped,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [DeliveryState; 7] = [
        DeliveryState::Pending,
        DeliveryState::Sent,
        DeliveryState::Accepted,
        DeliveryState::Confirmed,
        DeliveryState::Retrying,
        DeliveryState::Dead,
        DeliveryState::Skipped,
    ];

    /// The name on the wire.
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

    /// The state of a name.
    pub fn named(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A delivery that did not simply go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The record's number.
    pub number: u64,
    /// The record.
    pub record_id: Uuid,
    /// Its meter.
    pub meter: Uuid,
    /// Where it stands: retrying, dead or skipped.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was sent first, since it was last resent by hand; nanoseconds.
    pub tried_first: i64,
    /// When it was sent last; nanoseconds.
    pub tried_last: i64,
    /// When it is sent next; nanoseconds.
    pub next_attempt: i64,
    /// Since when the target may have it all the same; nanoseconds.
    pub in_doubt: Option<i64>,
    /// What the target said last, or why a person left it out.
    pub answer: String,
}

impl Delivery {
    /// One that waits behind another of its meter.
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
        }
    }
}
