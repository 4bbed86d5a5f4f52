//! A notice: one notification of one event over one channel, as stored in the catalog, with every
//! attempt to deliver it.

use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Maximum of attempts that are stored with a notice: those of a day, and a few on request.
const ATTEMPTS_KEPT: usize = 60;

/// The state of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// It waits for its delivery.
    Waiting,
    /// The receiver accepted it.
    Delivered,
    /// It was tried for a day, or its notification or channel no longer exists.
    Dead,
}

/// One notification of one event over one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// A number that counts up.
    pub number: u64,
    /// The id `msg_…`, by which the receiver deduplicates.
    pub id: String,
    /// The namespace of the notice.
    pub namespace: String,
    /// Id of the notification.
    pub notification_id: Uuid,
    /// Name of the notification at that time.
    pub notification: String,
    /// Name of the channel.
    pub channel: String,
    /// The number of the event.
    pub event: u64,
    /// Type of the event.
    pub event_type: String,
    /// The session, within which the order is preserved.
    pub session_id: String,
    /// The state of its delivery.
    pub state: NoticeState,
    /// The time of its creation.
    pub created_at: String,
    /// The start of its attempts: its creation, or a request to send it again.
    pub since: String,
    /// The time of the next attempt; none while it waits for another notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// The time of the first attempt since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_first: Option<String>,
    /// The number of attempts since then.
    #[serde(default)]
    pub tries: u32,
    /// The number of all attempts.
    #[serde(default)]
    pub attempt_count: u32,
    /// The number of times it was sent again after it was accepted.
    #[serde(default)]
    pub repeated: u32,
    /// The last attempts, in order.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// A unique id; sent along where the channel can.
    pub id: String,
    /// The time of its start.
    pub at: String,
    /// The duration in milliseconds.
    pub duration_ms: u64,
    /// Whether the receiver accepted it.
    pub accepted: bool,
    /// The request, without secrets.
    pub request: Value,
    /// The response or the error.
    pub answer: Value,
}

impl Notice {
    /// Returns the id of a number: it contains the number for lookups, and a hash that
    /// distinguishes installations.
    pub(crate) fn id_of(number: u64, notification: Uuid, event: u64, channel: &str) -> String {
        let digest = Sha256::digest(format!("{notification}/{event}/{channel}"));
        format!("msg_{number:08}_{}", data_encoding::HEXLOWER.encode(&digest[..8]))
    }

    /// Returns the number in an id.
    pub(crate) fn number_in(id: &str) -> Option<u64> {
        id.strip_prefix("msg_")?.split_once('_')?.0.parse().ok()
    }

    /// Returns the id in the message. A notice that was accepted and is sent again on request has a
    /// new one, or its receiver would drop it as a repetition.
    pub fn wire_id(&self) -> String {
        if self.repeated == 0 { self.id.clone() } else { format!("{}_{}", self.id, self.repeated) }
    }

    /// Returns its lane, within which the order is preserved.
    pub(crate) fn lane(&self) -> (Uuid, String) {
        (self.notification_id, self.channel.clone())
    }

    /// Reads an instant of a notice.
    pub(crate) fn instant(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text.as_bytes()).unwrap_or_default()
    }

    /// Adds an attempt, and drops the oldest beyond the bound.
    pub(crate) fn add(&mut self, attempt: Attempt) {
        if self.attempts.len() >= ATTEMPTS_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
        self.tries += 1;
        self.attempt_count += 1;
    }

    /// Returns its form in lists, without requests and responses.
    pub fn listed(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = shown.as_object_mut() {
            let last = self.attempts.last().map(|attempt| json!(attempt)).unwrap_or_default();
            members.remove("attempts");
            members.insert("lastAttempt".to_owned(), last);
            members.insert("webhookId".to_owned(), json!(self.wire_id()));
        }
        shown
    }

    /// Returns the notice with every attempt.
    pub fn shown(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        shown["webhookId"] = json!(self.wire_id());
        shown
    }
}

/// The state of a channel of a notification.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// The time since which it has accepted nothing; none if the last attempt was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// The time at which it last accepted a notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<String>,
    /// The number of failed attempts since then.
    #[serde(default)]
    pub failures: u64,
    /// The last response or error.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub last_answer: Value,
    /// The number of accepted notices.
    #[serde(default)]
    pub delivered: u64,
    /// The number of dead notices.
    #[serde(default)]
    pub dead: u64,
}

impl ChannelState {
    /// Updates the state after an attempt.
    pub(crate) fn saw(&mut self, accepted: bool, at: &str, answer: &Value) {
        self.last_answer = answer.clone();
        if accepted {
            (self.failing_since, self.failures) = (None, 0);
            self.accepted_at = Some(at.to_owned());
            self.delivered += 1;
        } else {
            self.failing_since.get_or_insert_with(|| at.to_owned());
            self.failures += 1;
        }
    }
}
