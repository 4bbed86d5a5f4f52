//! Messages to a topic of Kafka, on the cluster of the settings: CloudEvents in structured JSON.
//!
//! The operator chooses the cluster and its login, not the author of a notification: a password is
//! sent to no other brokers than its own.

use std::sync::Arc;

use flowmeter_connectors::messages::TopicMessage;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::notifications::channels::webhook::cloud_event;
use crate::notifications::channels::{Message, Outside, Sent, TIMEOUT};

/// The fields of this channel.
pub(crate) const FIELDS: [&str; 1] = ["topic"];

/// A topic of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kafka {
    /// The name of the topic.
    topic: String,
}

impl Kafka {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        match (1..=249).contains(&self.topic.len()) && self.topic.chars().all(is_letter) {
            true => Ok(()),
            false => Err(("topic", "a topic has 1 to 249 letters, digits, `.`, `_` and `-`".to_owned())),
        }
    }

    pub(crate) async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
        let event = cloud_event(message.event);
        let key = event["subject"].as_str().unwrap_or(&message.event.event_type).to_owned();
        let request = json!({"topic": self.topic, "key": key});
        let Some(kafka) = &outside.kafka else {
            return Sent::failed(request, "there is no cluster of Kafka; set notifications.kafka");
        };
        let headers = [
            ("content-type", "application/cloudevents+json; charset=utf-8"),
            ("flowmeter-message-id", message.id),
            ("flowmeter-attempt-id", message.attempt),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let letter = TopicMessage { topic: self.topic.clone(), key, headers, value: event.to_string().into_bytes() };
        let kafka = Arc::clone(kafka);
        // A message that is late may still arrive; the next attempt has the same id.
        match tokio::time::timeout(TIMEOUT, tokio::task::spawn_blocking(move || kafka.send(letter))).await {
            Ok(Ok(Ok((partition, offset)))) => {
                Sent { accepted: true, request, answer: json!({"partition": partition, "offset": offset}), retry_after: None }
            }
            Ok(Ok(Err(why))) => Sent::failed(request, why),
            Ok(Err(why)) => Sent::failed(request, why.to_string()),
            Err(_) => Sent::failed(request, format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}
