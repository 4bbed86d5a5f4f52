//! Signatures of requests, by the scheme of Standard Webhooks: a MAC over id, timestamp and
//! body. While a secret is replaced a request carries one for each; a receiver with either
//! of them is content.

use data_encoding::BASE64;
use flowmeter_core::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret begins with this, in Base64 behind it.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks wants them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The seconds of an instant, as requests say when they were signed.
pub fn seconds(at: Timestamp) -> i64 {
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
