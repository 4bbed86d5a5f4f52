//! A line of the server's own log, for installations that collect the log anyway.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::notifications::channels::{Message, Outside, Sent, headline};

/// The fields of this channel.
pub(crate) const FIELDS: [&str; 1] = ["level"];

/// The options of a line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    #[serde(default)]
    level: Level,
}

/// The level of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Info,
    Warn,
    Error,
}

impl LogLine {
    #[allow(clippy::unused_async)] // as the other channels
    pub(crate) async fn send(&self, message: &Message<'_>, _outside: &Outside) -> Sent {
        let (id, notification, event) = (message.id, message.notification, &message.event.event_type);
        let (line, payload) = (headline(message.event), &message.event.payload);
        match self.level {
            Level::Info => tracing::info!(id, notification, event, %payload, "{line}"),
            Level::Warn => tracing::warn!(id, notification, event, %payload, "{line}"),
            Level::Error => tracing::error!(id, notification, event, %payload, "{line}"),
        }
        Sent { accepted: true, request: json!({"line": line}), answer: json!({}), retry_after: None }
    }
}
