//! Webhooks: CloudEvents in structured JSON, signed by the scheme of Standard Webhooks.
//!
//! `webhook-id` is the same for every attempt at a notice, `flowmeter-attempt-id` is not;
//! `webhook-signature` is a MAC over id, timestamp and body, one for each secret: while a
//! secret is replaced both are listed here, and a receiver with either of them is content.

use data_encoding::BASE64;
use flowmeter_core::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::{Post, check_url, post};
use super::{Message, Outside, Sent};
use crate::installation::SessionEvent;
use crate::settings::Secret;

/// Its fields.
pub(super) const FIELDS: [&str; 2] = ["url", "secrets"];
/// A secret begins with this, in Base64 behind it.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks wants them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where it is posted.
    url: String,
    /// Where the secrets are: one, or two while one is replaced.
    #[serde(default)]
    secrets: Vec<String>,
}

impl Webhook {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        check_url(&self.url).map_err(|why| ("url", why))?;
        if self.secrets.is_empty() || self.secrets.len() > 2 {
            return Err(("secrets", "a webhook is signed: one secret, or two while one is replaced".to_owned()));
        }
        self.secrets.iter().try_for_each(|secret| Secret::parse(secret).map(drop)).map_err(|why| ("secrets", why))
    }

    pub(super) async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
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

/// The event as a CloudEvent.
pub(super) fn cloud_event(event: &SessionEvent) -> Value {
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

fn seconds(at: Timestamp) -> i64 {
    at.nanos().div_euclid(1_000_000_000)
}

/// Signs with one secret.
pub struct Signer(Vec<u8>);

impl Signer {
    /// Reads `whsec_` and Base64. The message does not repeat the secret.
    ///
    /// # Errors
    /// Anything else.
    pub fn new(secret: &str) -> Result<Signer, String> {
        let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let bytes = BASE64.decode(encoded.as_bytes()).ok().filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
        let wrong = || "the secret of a webhook is whsec_ and 24 to 64 bytes in Base64; what is there is not".to_owned();
        bytes.map(Signer).ok_or_else(wrong)
    }

    /// `v1,` and the MAC in Base64.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{}.", seconds(at)).as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries of Standard Webhooks.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_nanos(1_614_265_330_000_000_000);
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_that_are_none() {
        for bad in ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="] {
            assert!(Signer::new(bad).is_err(), "{bad}");
        }
    }
}
