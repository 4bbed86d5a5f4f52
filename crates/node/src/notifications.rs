//! Notifications: an event of a session, conditions on it, and the channels by which it is sent.
//!
//! An event has a number and is in the catalog before anything here reads it. The courier turns
//! events into notices, one for each notification and channel, in the same commit as the cursor
//! over the events. Then it delivers them until they are accepted or dead. Counting never waits for
//! any of this.

pub mod channels;
pub mod condition;
pub mod courier;
pub mod declared;
pub mod definitions;
pub mod notice;
mod pace;
mod sample;
pub mod vocabulary;
pub mod worker;

use channels::Channel;
use condition::Condition;
use flowmeter_core::suggest::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use vocabulary::EventKind;

use crate::refusal::{Refusal, RefusalKind, Refused};
use crate::sessions::SessionEvent;

/// Channels of one notification: more would be a mailing list or a queue.
const CHANNELS_MAX: usize = 16;
/// Words that are paths next to the names of notifications.
const RESERVED: [&str; 4] = ["try", "deliveries", "channels", "event-types"];

/// A notification as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its id, made at its creation.
    pub id: Uuid,
    /// The namespace of the notification.
    pub namespace: String,
    /// A name that is unique in its namespace.
    pub name: String,
    /// Whether it is enabled. Waiting notices of a disabled notification keep waiting.
    pub enabled: bool,
    /// The type of its events.
    pub event_type: String,
    /// The conditions on these events; without any, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Condition>,
    /// The channels of delivery.
    pub channels: Vec<Channel>,
    /// The time of its creation.
    pub created_at: String,
    /// The time of its last change.
    pub updated_at: String,
    /// The newest event when it was created or enabled: it sends later ones.
    #[serde(default)]
    pub after_event: u64,
    /// Whether the settings file declares it; then it is changed there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// The part of a notification that people write.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Name of the notification.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Type of the event.
    pub event_type: String,
    /// Conditions on the event.
    pub conditions: Option<Condition>,
    /// Channels of the notification.
    pub channels: Vec<Channel>,
}

/// Returns the problem of an invalid field.
pub fn wrong(field: impl Into<String>, detail: impl Into<String>) -> Refused {
    Box::new(Refusal::new(RefusalKind::Invalid, detail).field(field))
}

/// Returns "; did you mean …?" if one of the names is similar.
pub fn meant<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Draft {
    /// Reads the fields of a notification to store.
    ///
    /// # Errors
    /// The first field that is missing, unknown or has a wrong value.
    pub fn read(fields: &Map<String, Value>) -> Result<Draft, Refused> {
        const FIELDS: [&str; 5] = ["name", "enabled", "eventType", "conditions", "channels"];
        // Fields that only the server writes are allowed, so that a notification can be read and
        // sent back.
        const WRITTEN: [&str; 5] = ["id", "namespace", "createdAt", "updatedAt", "declared"];
        let known = FIELDS.iter().chain(&WRITTEN);
        if let Some(other) = fields.keys().find(|name| !known.clone().any(|known| known == name)) {
            let meant = meant(other, FIELDS);
            return Err(wrong(other, format!("a notification has no `{other}`{meant}; it has {}", FIELDS.join(", "))));
        }
        let name = fields.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default();
        if name.is_empty() || name.chars().count() > 80 || RESERVED.contains(&name) || name.contains('/') {
            let detail = format!("a notification needs a name of 1 to 80 characters, without `/`, not {}", RESERVED.join(", "));
            return Err(wrong("name", detail));
        }
        let enabled = match fields.get("enabled") {
            None => true,
            Some(Value::Bool(enabled)) => *enabled,
            Some(_) => return Err(wrong("enabled", "true or false")),
        };
        let (kind, conditions) = Draft::what(fields)?;
        let channels = fields.get("channels").and_then(Value::as_array).filter(|list| !list.is_empty());
        let channels = channels.ok_or_else(|| wrong("channels", "a list with one channel at least"))?;
        if channels.len() > CHANNELS_MAX {
            return Err(wrong("channels", format!("{CHANNELS_MAX} channels at most")));
        }
        let read = |(at, value): (usize, &Value)| Channel::read(value, &format!("channels[{at}]"));
        let channels = channels.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        for (at, channel) in channels.iter().enumerate() {
            if channels[..at].iter().any(|other| other.name == channel.name) {
                let detail = format!("two channels are called `{}`; give each a name of its own", channel.name);
                return Err(wrong(format!("channels[{at}].name"), detail));
            }
        }
        Ok(Draft { name: name.to_owned(), enabled, event_type: kind.name.to_owned(), conditions, channels })
    }

    /// Reads the event and the conditions, which is all a preview needs.
    ///
    /// # Errors
    /// As [`Draft::read`].
    pub fn what(fields: &Map<String, Value>) -> Result<(&'static EventKind, Option<Condition>), Refused> {
        let event_type = fields.get("eventType").and_then(Value::as_str).unwrap_or_default();
        let kind = vocabulary::event_kind(event_type).ok_or_else(|| {
            let names: Vec<&str> = vocabulary::EVENT_KINDS.iter().map(|kind| kind.name).collect();
            let meant = meant(event_type, names.iter().copied());
            wrong("eventType", format!("`{event_type}` is no event{meant}; there are {}", names.join(", ")))
        })?;
        let conditions = match fields.get("conditions") {
            None | Some(Value::Null) => None,
            Some(written) => Some(Condition::read(written, kind)?),
        };
        Ok((kind, conditions))
    }
}

impl Notification {
    /// Returns a tag of its content, which every change replaces.
    pub fn tag(&self) -> String {
        crate::rows::content_tag(self)
    }

    /// Whether it sends this event.
    pub fn wants(&self, event: &SessionEvent) -> bool {
        self.enabled
            && event.number > self.after_event
            && self.namespace == event.namespace
            && self.event_type == event.event_type
            && self.conditions.as_ref().is_none_or(|condition| condition.holds(&event.payload))
    }

    /// Whether it equals a draft.
    pub fn says(&self, draft: &Draft) -> bool {
        self.enabled == draft.enabled
            && self.event_type == draft.event_type
            && self.conditions == draft.conditions
            && self.channels == draft.channels
    }

    /// Returns its JSON form. It has only references of secrets.
    pub fn shown(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = shown.as_object_mut() {
            members.remove("afterEvent");
            members.insert("declared".to_owned(), json!(self.declared));
        }
        shown
    }

    /// Returns the part that people wrote, for the audit.
    pub fn written(&self) -> Value {
        json!({
            "name": self.name, "enabled": self.enabled, "eventType": self.event_type, "conditions": self.conditions,
            "channels": self.channels,
        })
    }
}
