//! A stored key: everything about it but its secret.

use data_encoding::HEXLOWER;
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keys::format::KeyId;
use crate::keys::random::ShownOnce;
use crate::keys::scope::{Scope, Scopes};
use crate::keys::{Error, Issued, NewKey, format, random};
use crate::rows::instant;

/// The public part of a key, which may be shown in lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Its id in lists and logs.
    pub id: KeyId,
    /// The name of its program.
    pub name: String,
    /// The namespace it belongs to.
    pub namespace: String,
    /// The scopes of its rights.
    pub scopes: Scopes,
    /// The time of its creation.
    #[serde(with = "instant")]
    pub created_at: Timestamp,
    /// The time of its expiry: from this instant on it is refused.
    #[serde(with = "instant::optional", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The key that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<KeyId>,
    /// The time of its revocation. A revoked key stays in the list, so that the audit can name it.
    #[serde(with = "instant::optional", default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// A key as it is written to disk: the hash gives no access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// The public part of the key.
    #[serde(flatten)]
    pub key: Key,
    salt: String,
    hash: String,
}

impl StoredKey {
    /// Creates the key with which an operator makes the first others: all scopes, no expiry. The
    /// text must come from [`issue`](super::issue) (or be `fm_`, 16, `_` and 64 random hexadecimal
    /// digits), since a password could be guessed. Pass it to
    /// [`KeyRing::put_new`](super::KeyRing::put_new).
    ///
    /// # Errors
    /// A text that is not a key; the message does not show it.
    pub fn bootstrap(text: &str, namespace: &str, now: Timestamp) -> Result<StoredKey, Error> {
        let Some((id, secret)) = format::parse(text.trim()) else {
            let how = "auth.bootstrap_key must be a whole key: `fm_`, 16 hexadecimal digits, `_`, 64 hexadecimal digits; \
                       `echo fm_$(openssl rand -hex 8)_$(openssl rand -hex 32)` makes one";
            return Err(Error::Invalid(how.to_owned()));
        };
        let new = NewKey {
            name: "bootstrap".to_owned(),
            namespace: namespace.to_owned(),
            scopes: Scopes::of(&[Scope::Admin]),
            expires_at: None,
        };
        seal(id, secret, new, None, now)
    }

    /// Whether the secret is this key's. The comparison takes constant time.
    pub(crate) fn opens(&self, secret: &str) -> bool {
        hash(&self.salt, secret).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }
}

/// Creates a key with a new secret.
pub(crate) fn make(new: NewKey, rotated_from: Option<KeyId>, now: Timestamp) -> Result<Issued, Error> {
    let id = KeyId(random::id()?);
    let secret = random::secret()?;
    let stored = seal(id, &secret, new, rotated_from, now)?;
    Ok(Issued { stored, text: ShownOnce::new(format::write(id, &secret)) })
}

fn seal(id: KeyId, secret: &str, new: NewKey, rotated_from: Option<KeyId>, now: Timestamp) -> Result<StoredKey, Error> {
    let salt = random::salt()?;
    let hash = hash(&salt, secret);
    let NewKey { name, namespace, scopes, expires_at } = new;
    let key = Key { id, name, namespace, scopes, created_at: now, expires_at, rotated_from, revoked_at: None };
    Ok(StoredKey { key, salt, hash })
}

/// Returns SHA-256 of salt and secret. Both have a fixed length, so no part can move from one to
/// the other.
fn hash(salt: &str, secret: &str) -> String {
    HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(secret).finalize())
}
