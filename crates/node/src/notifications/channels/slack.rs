//! A message in a room, in the format of incoming webhooks of Slack, Mattermost, Rocket.Chat and
//! others. The address is the secret here, so it is a reference.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::notifications::channels::http::{Post, post};
use crate::notifications::channels::{Message, Outside, Sent, headline};
use crate::settings::Secret;

/// The fields of this channel.
pub(crate) const FIELDS: [&str; 1] = ["url"];

/// A room with its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slack {
    /// Reference to its address: `${env:NAME}` or `${file:PATH}`.
    url: String,
}

impl Slack {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        Secret::parse(&self.url).map(drop).map_err(|why| ("url", why))
    }

    pub(crate) async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
        let url = match Secret::parse(&self.url).and_then(|secret| secret.reveal()) {
            Ok(url) => url,
            Err(why) => return Sent::failed(json!({"method": "POST", "url": self.url}), why),
        };
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = body(message).to_string().into_bytes();
        let mut sent = post(Post { url, shown: self.url.clone(), headers, body, at: message.at }, outside).await;
        // The error contains at most hosts and addresses, never the path, which is the secret.
        sent.request["url"] = json!(self.url);
        sent
    }
}

fn body(message: &Message<'_>) -> Value {
    let line = escape(&headline(message.event));
    let fields = message.event.payload.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let facts: Vec<String> = fields.map(|(name, value)| format!("*{name}* {}", escape(&text(value)))).collect();
    json!({
        "text": line,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": format!("*{line}*")}},
            {"type": "section", "text": {"type": "mrkdwn", "text": facts.join("\n").chars().take(2_900).collect::<String>()}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": format!("{} · {} · {}", escape(message.notification), message.event.event_type, message.id)}]},
        ],
    })
}

/// Escapes the three characters with a meaning in Slack's text, so that the name of a pipeline
/// cannot mention a channel.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
