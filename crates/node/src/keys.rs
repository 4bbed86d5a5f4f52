//! API keys: authentication and scopes.
//!
//! A key is `fm_<id>_<secret>`: an id of 64 bits that names it in lists and logs, and a secret of
//! 256 random bits that is shown once. The server stores SHA-256 of a salt and the secret. Slow
//! hashes (argon2, bcrypt) make guessing expensive where people choose the secret. 256 random bits
//! cannot be guessed with any hash, so a slow one would only cost milliseconds per request and give
//! strangers a cheap way to overload the processor. The salt keeps equal secrets from having equal
//! hashes. Comparison takes constant time.
//!
//! The ring holds the keys in memory and never changes by itself: [`issue`], [`KeyRing::rotated`]
//! and [`KeyRing::revoked`] return what to store. The caller makes that durable and then passes it
//! to [`KeyRing::put`]. So a crash neither loses a key that already works nor undoes a revocation.

pub mod browsers;
mod first;
mod format;
pub mod random;
mod ring;
mod scope;
mod stored;
mod storing;
#[cfg(test)]
mod tests;

pub use first::key_offline;
pub use format::KeyId;
pub use random::ShownOnce;
pub use ring::{KeyRing, Principal, Unauthenticated};
pub use scope::{Scope, Scopes};
pub use stored::{Key, StoredKey};

use flowmeter_core::time::Timestamp;

/// The properties of a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its name: the program that uses it.
    pub name: String,
    /// Its namespace; it has access to no other.
    pub namespace: String,
    /// The scopes of its rights.
    pub scopes: Scopes,
    /// The time of its expiry.
    pub expires_at: Option<Timestamp>,
}

/// A new key: the part to store, and the text to show once.
#[derive(Debug)]
pub struct Issued {
    /// The part to store.
    pub stored: StoredKey,
    /// The text of the key. It cannot be shown again.
    pub text: ShownOnce,
}

/// The reason why a key could not be created, rotated or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is invalid; the sentence says what to change.
    #[error("{0}")]
    Invalid(String),
    /// The key does not exist.
    #[error("no key {0}; `flowmeter keys list` shows those there are")]
    Unknown(KeyId),
    /// The operating system gave no random bytes, so no key was created.
    #[error("the operating system gives no random bytes ({0}); no key was made")]
    NoRandom(String),
}

/// Creates a key. It does not work before it is [`put`](KeyRing::put) into a ring.
///
/// # Errors
/// A name, namespace or set of scopes that is empty, or an expiry in the past.
pub fn issue(new: NewKey, now: Timestamp) -> Result<Issued, Error> {
    let invalid = |message: &str| Err(Error::Invalid(message.to_owned()));
    if new.name.trim().is_empty() || new.name.chars().count() > NAME_CHARS_MAX {
        return invalid("a key needs a name of 1 to 200 characters: say which program uses it");
    }
    if new.namespace.is_empty() {
        return invalid("a key belongs to a namespace; name it");
    }
    if new.scopes.is_empty() {
        return invalid("a key without scopes may do nothing; give it ingest, read, operate or admin");
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return invalid("the key would have expired already; choose a later end");
    }
    stored::make(new, None, now)
}

/// Characters of a name, which is shown in lists and in every line of the audit.
const NAME_CHARS_MAX: usize = 200;
