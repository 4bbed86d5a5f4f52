//! API keys: who may come in, and what for.
//!
//! A key is `fm_<id>_<secret>`: an id of 64 bits that names it in lists and logs, and a
//! secret of 256 random bits that is shown once. What is stored is SHA-256 of a salt and
//! the secret. Slow hashes (argon2, bcrypt) make guessing dear where people choose the
//! secret; nobody guesses 256 random bits, fast hash or slow, so they would only make
//! each request cost milliseconds and give a stranger a cheap way to keep the processor
//! busy. The salt keeps equal secrets from looking equal. Comparison takes the same time
//! whatever differs.
//!
//! The ring holds the keys in memory and never changes by itself: [`issue`],
//! [`KeyRing::rotated`] and [`KeyRing::revoked`] say what to store; the caller makes that
//! durable and then gives it to [`KeyRing::put`]. So no key works that would be forgotten
//! at a crash, and no revocation is undone by one.

mod format;
pub(crate) mod random;
mod ring;
mod scope;
mod stored;
#[cfg(test)]
mod tests;

pub use format::KeyId;
pub use random::ShownOnce;
pub use ring::{KeyRing, Principal, Refusal};
pub use scope::{Scope, Scopes};
pub use stored::{Key, StoredKey};

use flowmeter_core::time::Timestamp;

/// What a new key shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it: the program that uses it.
    pub name: String,
    /// The tenant it belongs to; it sees no other.
    pub namespace: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key just made: what to store, and the text to show once.
#[derive(Debug)]
pub struct Issued {
    /// What to store.
    pub stored: StoredKey,
    /// What to show. It cannot be had again.
    pub text: ShownOnce,
}

/// Why a key could not be made, rotated or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The wish makes no sense; the sentence says what to change.
    #[error("{0}")]
    Invalid(String),
    /// There is no such key.
    #[error("no key {0}; `flowmeter keys list` shows those there are")]
    Unknown(KeyId),
    /// The operating system gave no random bytes: nothing is made rather than something weak.
    #[error("the operating system gives no random bytes ({0}); no key was made")]
    NoRandom(String),
}

/// Makes a key. It does not work before it is [`put`](KeyRing::put) into a ring.
///
/// # Errors
/// A name, namespace or set of scopes that is empty, or an end that is past.
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

/// Characters of a name: it stands in lists and in every line of the audit.
const NAME_CHARS_MAX: usize = 200;
