//! Samples: real messages over the channels of a notification that say that they are samples.
//!
//! A sample has the fields of the event of its notification with made-up values, and `sample: true`.
//! It is sent once, is not stored, and changes nothing in the state of its channel.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::Who;
use crate::notifications::channels::{Channel, Message};
use crate::notifications::courier::Courier;
use crate::notifications::vocabulary::{EventKind, FieldKind, event_kind};
use crate::notifications::{Notification, wrong};
use crate::refusal::{Refused, refusal_of};
use crate::sessions::SessionEvent;

/// The field that marks a sample.
pub(crate) const SAMPLE: &str = "sample";

/// Returns made-up fields of an event.
fn payload(kind: &EventKind, now: Timestamp) -> Map<String, Value> {
    let value = |name: &str, kind: FieldKind| match kind {
        FieldKind::Text => json!(format!("sample of {name}")),
        FieldKind::Status | FieldKind::RunType => json!(kind.names().and_then(|names| names.first().copied())),
        FieldKind::Number => json!(1),
        FieldKind::Decimal => json!("12345678901234567890.123456789012345678"),
        FieldKind::Time => json!(now.to_string()),
    };
    let mut payload: Map<String, Value> = kind.fields().map(|(name, kind)| (name.to_owned(), value(name, kind))).collect();
    payload.insert(SAMPLE.to_owned(), json!(true));
    payload
}

impl Courier {
    /// Sends a sample over each channel of a notification, or over one of them. Returns the attempts.
    ///
    /// # Errors
    /// There is no such notification or channel.
    pub async fn send_sample(
        self: Arc<Self>,
        who: Who,
        notification: Notification,
        only: Option<String>,
    ) -> Result<Vec<Value>, Refused> {
        let channels: Vec<&Channel> = match &only {
            None => notification.channels.iter().collect(),
            Some(name) => {
                let found = notification.channels.iter().find(|channel| channel.name == *name);
                let names = || notification.channels.iter().map(|channel| channel.name.as_str()).collect::<Vec<_>>().join(", ");
                let missing = || wrong("channel", format!("the notification has no channel `{name}`; it has {}", names()));
                vec![found.ok_or_else(missing)?]
            }
        };
        let Some(kind) = event_kind(&notification.event_type) else {
            return Err(wrong("eventType", format!("there is no event `{}`", notification.event_type)));
        };
        let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
        let installation = self.installation();
        let noted = {
            let (installation, who, name) = (Arc::clone(installation), who, notification.name.clone());
            let after = json!({"channels": names});
            let note = move || installation.note_audit(&who, "notification.sample", &name, Value::Null, after);
            tokio::task::spawn_blocking(note).await
        };
        let broken = |why| flowmeter_engine::Error::new(flowmeter_engine::Kind::Bug, format!("noting failed: {why}"));
        noted.map_err(broken).and_then(|noted| noted).map_err(|why| refusal_of(&why))?;
        let now = installation.wall();
        let event = SessionEvent {
            number: 0,
            at: now.to_string(),
            event_type: notification.event_type.clone(),
            namespace: notification.namespace.clone(),
            payload: Value::Object(payload(kind, now)),
        };
        let id = format!("msg_sample_{:x}", now.nanos());
        let mut attempts = Vec::with_capacity(channels.len());
        for channel in channels {
            let began = installation.wall();
            let attempt = format!("{id}.1");
            let message = Message { id: &id, attempt: &attempt, notification: &notification.name, at: began, event: &event };
            let sent = channel.send(&message, self.outside()).await;
            let duration_ms = u64::try_from(installation.wall().since(began) / 1_000_000).unwrap_or_default();
            attempts.push(json!({
                "channel": channel.name, "id": attempt, "at": began.to_string(), "durationMs": duration_ms,
                "accepted": sent.accepted, "request": sent.request, "answer": sent.answer,
            }));
        }
        Ok(attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::vocabulary::EVENT_KINDS;

    #[test]
    fn samples_have_every_field_of_their_event_and_say_that_they_are_samples() {
        for kind in EVENT_KINDS {
            let payload = payload(kind, Timestamp::from_nanos(0));
            assert!(kind.fields().all(|(name, _)| payload.get(name).is_some_and(|value| !value.is_null())), "{}", kind.name);
            assert_eq!(payload[SAMPLE], true);
        }
    }
}
