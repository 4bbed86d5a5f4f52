//! A notice: one notification of one event over one channel, as the catalog keeps it,
//! with every attempt to deliver it.

use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Attempts that are kept with a notice: those of a day, with room for a few by hand.
const ATTEMPTS_KEPT: usize = 60;

/// The state of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// It is to be delivered.
    Waiting,
    /// It was accepted.
    Delivered,
    /// It was tried for a day, or there is nobody to deliver it to any more.
    Dead,
}

/// One notification of one event over one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Counting up.
    pub number: u64,
    /// `msg_…`: what the receiver tells repetitions by.
    pub id: String,
    /// The tenant.
    pub namespace: String,
    /// The notification.
    pub notification_id: Uuid,
    /// Its name at that time.
    pub notification: String,
    /// The channel of it.
    pub channel: String,
    /// The number of the event.
    pub event: u64,
    /// Its type.
    pub event_type: String,
    /// The session, within which the order is kept.
    pub session_id: String,
    /// The state of its delivery.
    pub state: NoticeState,
    /// When it was made.
    pub created_at: String,
    /// Since when it is tried: when it was made, or resent by hand.
    pub since: String,
    /// When it is tried next; not while it waits for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// The first attempt since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_first: Option<String>,
    /// Attempts since then.
    #[serde(default)]
    pub tries: u32,
    /// All attempts there were.
    #[serde(default)]
    pub attempt_count: u32,
    /// How often it was sent again after it was accepted.
    #[serde(default)]
    pub repeated: u32,
    /// The last attempts.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Unique; sent along where the channel can.
    pub id: String,
    /// When it began.
    pub at: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Whether it was accepted.
    pub accepted: bool,
    /// The request, without secrets.
    pub request: Value,
    /// The response or the error.
    pub answer: Value,
}

impl Notice {
    /// The id of a number: what it is looked up by, and what nobody can mistake for that of
    /// another installation.
    pub(crate) fn id_of(number: u64, notification: Uuid, event: u64, channel: &str) -> String {
        let digest = Sha256::digest(format!("{notification}/{event}/{channel}"));
        format!("msg_{number:08}_{}", data_encoding::HEXLOWER.encode(&digest[..8]))
    }

    /// The number in an id.
    pub(crate) fn number_in(id: &str) -> Option<u64> {
        id.strip_prefix("msg_")?.split_once('_')?.0.parse().ok()
    }

    /// The id on the wire. One that was accepted and is sent again by hand has a new one, or
    /// its receiver would take it for the old one.
    pub fn wire_id(&self) -> String {
        if self.repeated == 0 { self.id.clone() } else { format!("{}_{}", self.id, self.repeated) }
    }

    /// Which lane of the order it is in.
    pub(crate) fn lane(&self) -> (Uuid, String) {
        (self.notification_id, self.channel.clone())
    }

    /// An instant of it.
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

    /// As it is listed: without what was sent.
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

/// How a channel of a notification is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// Since when it has taken nothing; none: the last attempt was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// When it took something last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<String>,
    /// Attempts that failed since then.
    #[serde(default)]
    pub failures: u64,
    /// The last response or error.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub last_answer: Value,
    /// How many it took.
    #[serde(default)]
    pub delivered: u64,
    /// How many were given up.
    #[serde(default)]
    pub dead: u64,
}

impl ChannelState {
    /// Takes note of an attempt.
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
