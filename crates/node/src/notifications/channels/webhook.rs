//! Webhooks: CloudEvents in structured JSON, signed by the scheme of Standard Webhooks.
//!
//! `webhook-id` is the same for every attempt at a notice, `flowmeter-attempt-id` is not.
//! `webhook-signature` is a MAC over id, timestamp and body, one for each secret. While a secret is
//! replaced, both are listed here, and a receiver accepts either of them.

use flowmeter_connectors::signature::{Signer, seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::notifications::channels::http::{Post, check_url, post};
use crate::notifications::channels::{Message, Outside, Sent};
use crate::sessions::SessionEvent;
use crate::settings::Secret;

/// The fields of this channel.
pub(crate) const FIELDS: [&str; 2] = ["url", "secrets"];
/// A webhook with its secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// The address of the receiver.
    url: String,
    /// References to the secrets: one, or two while one is replaced.
    #[serde(default)]
    secrets: Vec<String>,
}

impl Webhook {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        check_url(&self.url).map_err(|why| ("url", why))?;
        if self.secrets.is_empty() || self.secrets.len() > 2 {
            return Err(("secrets", "a webhook is signed: one secret, or two while one is replaced".to_owned()));
        }
        self.secrets.iter().try_for_each(|secret| Secret::parse(secret).map(drop)).map_err(|why| ("secrets", why))
    }

    pub(crate) async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
        let body = cloud_event(message.event).to_string().into_bytes();
        let signers = self.secrets.iter().map(|secret| Signer::new(&Secret::parse(secret)?.reveal()?)).collect();
        let signers: Vec<Signer> = match signers {
            Ok(signers) => signers,
            Err(why) => return Sent::failed(json!({"method": "POST", "url": self.url}), why),
        };
        let signatures: Vec<String> = signers.iter().map(|signer| signer.sign(message.id, message.at, &body)).collect();
        let headers = vec![
            ("content-type", "application/cloudevents+json; charset=utf-8".to_owned()),
            ("webhook-id", message.id.to_owned()),
            ("webhook-timestamp", seconds(message.at).to_string()),
            ("webhook-signature", signatures.join(" ")),
            ("flowmeter-attempt-id", message.attempt.to_owned()),
        ];
        post(Post { url: self.url.clone(), shown: self.url.clone(), headers, body, at: message.at }, outside).await
    }
}

/// Returns the event as a CloudEvent.
pub(crate) fn cloud_event(event: &SessionEvent) -> Value {
    json!({
        "specversion": "1.0",
        "id": event.number.to_string(),
        "source": format!("/flowmeter/{}", event.namespace),
        "type": event.event_type,
        "subject": event.payload["sessionId"],
        "time": event.at,
        "datacontenttype": "application/json",
        "data": event.payload,
    })
}
