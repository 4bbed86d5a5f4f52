//! All keys in memory, and the authentication of every request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use flowmeter_core::time::Timestamp;

use crate::keys::format::KeyId;
use crate::keys::scope::{Scope, Scopes};
use crate::keys::stored::{Key, StoredKey};
use crate::keys::{Error, Issued, NewKey, format, stored};
use crate::refusal::{Refusal, RefusalKind};

/// An authenticated caller. Cheap to copy into a request.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The key; `None` if no key was required.
    pub key: Option<KeyId>,
    /// Name for the audit.
    pub name: Arc<str>,
    /// The only namespace it has access to.
    pub namespace: Arc<str>,
    /// The scopes of its rights.
    pub scopes: Scopes,
}

impl Principal {
    /// Returns the caller on this machine when no key is required: it has all rights.
    pub fn local(namespace: &str) -> Principal {
        Principal { key: None, name: "local".into(), namespace: namespace.into(), scopes: Scopes::of(&[Scope::Admin]) }
    }

    /// Whether it has the scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.allows(scope)
    }

    /// Checks for a scope.
    ///
    /// # Errors
    /// `scope_missing`.
    pub fn require(&self, scope: Scope) -> Result<(), Box<Refusal>> {
        if self.allows(scope) {
            return Ok(());
        }
        let detail = format!("this needs the scope `{scope}`, which the key `{}` does not have", self.name);
        Err(Box::new(Refusal::new(RefusalKind::ScopeMissing, detail).extra("scope", scope.name())))
    }
}

/// The reason why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// The Authorization header is missing.
    Missing,
    /// The text is not a key (it may be another kind of token).
    Malformed,
    /// The id does not exist or the secret differs; the answer is the same for both.
    Unknown,
    /// The secret is right, but the key has expired.
    Expired,
    /// The secret is right, but the key was revoked.
    Revoked,
}

/// The keys of the server.
#[derive(Default)]
pub struct KeyRing {
    keys: RwLock<BTreeMap<KeyId, Arc<Entry>>>,
}

struct Entry {
    stored: StoredKey,
    principal: Principal,
    /// The time at which the key was last used since the start of the server, in nanoseconds; 0 if
    /// unused.
    used_at: AtomicI64,
}

impl KeyRing {
    /// Creates a ring of stored keys.
    pub fn new(stored: impl IntoIterator<Item = StoredKey>) -> KeyRing {
        let ring = KeyRing::default();
        stored.into_iter().for_each(|key| ring.put(key));
        ring
    }

    /// Authenticates an Authorization header (`Bearer fm_…`, or the key alone).
    ///
    /// Only a caller with the secret learns that a key has expired or was revoked.
    ///
    /// # Errors
    /// The reasons are those of [`Refusal`].
    pub fn authenticate(&self, authorization: Option<&str>, now: Timestamp) -> Result<Principal, Unauthenticated> {
        let header = authorization.filter(|text| !text.trim().is_empty()).ok_or(Unauthenticated::Missing)?;
        let (id, secret) = format::parse(format::bearer(header)).ok_or(Unauthenticated::Malformed)?;
        // The lock is held for a look-up only; hashing needs none.
        let entry = self.entry(id).ok_or(Unauthenticated::Unknown)?;
        let key = &entry.stored.key;
        if !entry.stored.opens(secret) {
            return Err(Unauthenticated::Unknown);
        }
        if key.revoked_at.is_some() {
            return Err(Unauthenticated::Revoked);
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(Unauthenticated::Expired);
        }
        entry.used_at.store(now.nanos(), Ordering::Relaxed);
        Ok(entry.principal.clone())
    }

    /// Returns the principal of a key that was shown before: a browser's session names its key, so
    /// that a revoked or expired key ends the session at once.
    ///
    /// # Errors
    /// The reasons are those of [`Refusal`].
    pub fn principal(&self, id: KeyId, now: Timestamp) -> Result<Principal, Unauthenticated> {
        let entry = self.entry(id).ok_or(Unauthenticated::Unknown)?;
        let key = &entry.stored.key;
        if key.revoked_at.is_some() {
            return Err(Unauthenticated::Revoked);
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(Unauthenticated::Expired);
        }
        entry.used_at.store(now.nanos(), Ordering::Relaxed);
        Ok(entry.principal.clone())
    }

    /// Adds a key, or the new state of a known one. Make it durable first.
    pub fn put(&self, stored: StoredKey) {
        let key = &stored.key;
        let principal = Principal {
            key: Some(key.id),
            name: key.name.as_str().into(),
            namespace: key.namespace.as_str().into(),
            scopes: key.scopes,
        };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let used_at = keys.get(&key.id).map_or(0, |entry| entry.used_at.load(Ordering::Relaxed));
        keys.insert(key.id, Arc::new(Entry { stored, principal, used_at: AtomicI64::new(used_at) }));
    }

    /// Adds a key unless one with its id exists. For the bootstrap key: once it was revoked, the
    /// next start must not restore it.
    pub fn put_new(&self, stored: StoredKey) {
        if self.entry(stored.key.id).is_none() {
            self.put(stored);
        }
    }

    /// Returns the rotation of a key: the old one with an expiry at most `grace_ns` from now, and a
    /// new one with the same rights. Store and put both.
    ///
    /// # Errors
    /// A key that does not exist, was revoked, or has expired; a negative grace period.
    pub fn rotated(
        &self,
        id: KeyId,
        grace_ns: i64,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(StoredKey, Issued), Error> {
        let mut old = self.entry(id).ok_or(Error::Unknown(id))?.stored.clone();
        if grace_ns < 0 {
            return Err(Error::Invalid("the grace period is negative; 0 ends the old key at once".to_owned()));
        }
        if old.key.revoked_at.is_some() || old.key.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Invalid(format!("the key {id} was revoked or has expired; make a new one")));
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Invalid("the new key would have expired already; choose a later end".to_owned()));
        }
        let Key { name, namespace, scopes, .. } = old.key.clone();
        let issued = stored::make(NewKey { name, namespace, scopes, expires_at }, Some(id), now)?;
        let end = now.saturating_add(grace_ns);
        old.key.expires_at = Some(old.key.expires_at.map_or(end, |before| before.min(end)));
        Ok((old, issued))
    }

    /// Returns a key as revoked. Store and put it. A key that was revoked before is unchanged, so a
    /// repetition changes nothing.
    ///
    /// # Errors
    /// A key that does not exist.
    pub fn revoked(&self, id: KeyId, now: Timestamp) -> Result<StoredKey, Error> {
        let mut stored = self.entry(id).ok_or(Error::Unknown(id))?.stored.clone();
        stored.key.revoked_at.get_or_insert(now);
        Ok(stored)
    }

    /// Returns the keys without secrets, by id.
    pub fn list(&self) -> Vec<Key> {
        self.read(|keys| keys.values().map(|entry| entry.stored.key.clone()).collect())
    }

    /// Returns when a key was used last since the server started.
    pub fn last_used(&self, id: KeyId) -> Option<Timestamp> {
        let used_at = self.entry(id)?.used_at.load(Ordering::Relaxed);
        (used_at != 0).then(|| Timestamp::from_nanos(used_at))
    }

    /// Returns the keys as they are stored, by id.
    pub fn stored(&self) -> Vec<StoredKey> {
        self.read(|keys| keys.values().map(|entry| entry.stored.clone()).collect())
    }

    /// Whether any key would be accepted now.
    pub fn has_usable(&self, now: Timestamp) -> bool {
        let usable = |key: &Key| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now);
        self.read(|keys| keys.values().any(|entry| usable(&entry.stored.key)))
    }

    fn entry(&self, id: KeyId) -> Option<Arc<Entry>> {
        self.read(|keys| keys.get(&id).cloned())
    }

    /// A poisoned lock is used all the same: the map is valid after every step.
    fn read<T>(&self, look: impl FnOnce(&BTreeMap<KeyId, Arc<Entry>>) -> T) -> T {
        look(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
