//! Sessions of browsers: the key of each cookie, and its expiry.
//!
//! A cookie holds 256 random bits; what is stored is their hash, so the catalog opens nothing. A
//! session names a key instead of copying its rights: revoking the key ends the session at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Catalog, Change, Table};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::keys::{self, KeyId};

/// Idle time after which a session ends: a night.
const IDLE: i64 = 12 * HOUR;
/// Age at which a session ends in any case.
const AGE_MAX: i64 = 7 * 24 * HOUR;
/// Interval at which the time of last use is stored.
const SEEN_EVERY: i64 = HOUR / 6;
const HOUR: i64 = 3_600_000_000_000;
/// Wrong keys that an address may try in a minute.
const ATTEMPTS_MAX: u32 = 10;
const MINUTE: i64 = 60_000_000_000;
/// Maximum of remembered addresses.
const ADDRESSES_MAX: usize = 10_000;

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrowserSession {
    /// The key with which it acts.
    pub key: KeyId,
    /// Keys of other namespaces with which it was signed in, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<KeyId>,
    /// Time of sign-in, in nanoseconds.
    pub created_ns: i64,
    /// Last use, in nanoseconds.
    pub seen_ns: i64,
}

impl BrowserSession {
    /// Returns the time at which it ends if it is not used again.
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_nanos((self.seen_ns + IDLE).min(self.created_ns + AGE_MAX))
    }
}

/// All sessions, by the hash of their cookie.
#[derive(Debug, Default)]
pub struct Browsers {
    sessions: Mutex<BTreeMap<String, BrowserSession>>,
    attempts: Mutex<BTreeMap<IpAddr, (i64, u32)>>,
}

/// Returns the name of a session in the catalog.
pub fn hash(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// Returns the value that a page repeats in a header with every change.
pub fn csrf(token: &str) -> String {
    HEXLOWER.encode(&Sha256::new().chain_update("csrf ").chain_update(token).finalize())
}

impl Browsers {
    /// Reads the stored sessions.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn open(catalog: &dyn Catalog) -> Result<Browsers, Error> {
        let browsers = Browsers::default();
        for (key, value) in catalog.scan(Table::BrowserSessions, b"", None, usize::MAX)? {
            let session = serde_json::from_slice::<BrowserSession>(&value);
            if let (Ok(name), Ok(session)) = (String::from_utf8(key), session) {
                browsers.lock().insert(name, session);
            }
        }
        Ok(browsers)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BrowserSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session for a key, together with the entry of the audit. `others` are the keys of the
    /// browser's session so far, which it replaces. Returns the value of its cookie.
    pub fn begin(
        &self,
        catalog: &dyn Catalog,
        key: KeyId,
        (before, others): (Option<&str>, Vec<KeyId>),
        now: Timestamp,
        entry: Vec<Change>,
    ) -> Result<String, Error> {
        let failed = |why: keys::Error| Error::new(flowmeter_engine::Kind::Unavailable, why.to_string());
        let token = keys::random::secret().map_err(failed)?;
        let session = BrowserSession { key, others, created_ns: now.nanos(), seen_ns: now.nanos() };
        let name = hash(&token);
        let mut changes = vec![put(&name, &session)];
        let mut sessions = self.lock();
        let before = before.map(hash);
        // Expired sessions are removed with the next sign-in.
        let is_over = |name: &String, session: &BrowserSession| session.expires() <= now || before.as_ref() == Some(name);
        let over: Vec<String> =
            sessions.iter().filter(|(name, session)| is_over(name, session)).map(|(name, _)| name.clone()).collect();
        changes.extend(over.iter().map(|name| Change::Remove(Table::BrowserSessions, name.clone().into_bytes())));
        changes.extend(entry);
        catalog.commit(&changes)?;
        sessions.retain(|name, _| !over.contains(name));
        sessions.insert(name, session);
        Ok(token)
    }

    /// Returns the session of a cookie and notes its use.
    pub fn find(&self, catalog: &dyn Catalog, token: &str, now: Timestamp) -> Option<BrowserSession> {
        let name = hash(token);
        let mut sessions = self.lock();
        let session = sessions.get_mut(&name)?;
        if session.expires() <= now {
            return None;
        }
        if now.nanos() - session.seen_ns > SEEN_EVERY {
            session.seen_ns = now.nanos();
            if let Err(why) = catalog.commit(&[put(&name, session)]) {
                tracing::warn!("the last use of a browser's session was not written: {why}");
            }
        }
        Some(session.clone())
    }

    /// Whether the session of a name still acts with a key.
    pub fn acts_with(&self, name: &str, key: KeyId, now: Timestamp) -> bool {
        self.lock().get(name).is_some_and(|session| session.key == key && session.expires() > now)
    }

    /// Lets a session act with another of its keys, together with the entry of the audit.
    pub fn switch(&self, catalog: &dyn Catalog, token: &str, to: KeyId, entry: Vec<Change>) -> Result<(), Error> {
        let name = hash(token);
        let mut sessions = self.lock();
        let Some(session) = sessions.get_mut(&name) else { return Ok(()) };
        let mut switched = session.clone();
        if let Some(other) = switched.others.iter_mut().find(|other| **other == to) {
            *other = std::mem::replace(&mut switched.key, to);
            let mut changes = vec![put(&name, &switched)];
            changes.extend(entry);
            catalog.commit(&changes)?;
            *session = switched;
        }
        Ok(())
    }

    /// Ends the session of a cookie, together with the entry of the audit.
    pub fn end(&self, catalog: &dyn Catalog, token: &str, entry: Vec<Change>) -> Result<Option<BrowserSession>, Error> {
        self.end_named(catalog, &hash(token), entry)
    }

    /// Ends a session by its name, or by the prefix of it that lists show, together with the entry
    /// of the audit.
    pub fn end_named(&self, catalog: &dyn Catalog, name: &str, entry: Vec<Change>) -> Result<Option<BrowserSession>, Error> {
        let mut sessions = self.lock();
        let found = sessions.keys().find(|known| known.starts_with(name)).cloned();
        let Some(name) = found.filter(|_| name.len() >= NAME_CHARS) else { return Ok(None) };
        let mut changes = vec![Change::Remove(Table::BrowserSessions, name.clone().into_bytes())];
        changes.extend(entry);
        catalog.commit(&changes)?;
        Ok(sessions.remove(&name))
    }

    /// Returns every session with the prefix of its name.
    pub fn list(&self, now: Timestamp) -> Vec<(String, BrowserSession)> {
        let sessions = self.lock();
        let open = sessions.iter().filter(|(_, session)| session.expires() > now);
        open.map(|(name, session)| (name[..NAME_CHARS].to_owned(), session.clone())).collect()
    }

    /// Whether an address may try a key; `was_wrong` notes a wrong one.
    pub fn may_try(&self, from: IpAddr, now: Timestamp, was_wrong: bool) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.nanos().div_euclid(MINUTE);
        if attempts.len() >= ADDRESSES_MAX {
            attempts.retain(|_, (at, _)| *at == minute);
        }
        let (at, count) = attempts.entry(from).or_insert((minute, 0));
        if *at != minute {
            (*at, *count) = (minute, 0);
        }
        *count += u32::from(was_wrong);
        *count < ATTEMPTS_MAX || was_wrong
    }
}

/// Characters of a name that lists show.
const NAME_CHARS: usize = 16;

fn put(name: &str, session: &BrowserSession) -> Change {
    Change::Put(Table::BrowserSessions, name.as_bytes().to_vec(), serde_json::to_vec(session).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use flowmeter_store::catalog::LocalCatalog;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_nanos(hours * HOUR)
    }

    #[test]
    fn a_session_ends_after_a_night_or_a_week_or_by_hand() {
        let catalog = LocalCatalog::in_memory().unwrap();
        let browsers = Browsers::open(&catalog).unwrap();
        let key: KeyId = serde_json::from_str("\"0000000000000001\"").unwrap();
        let token = browsers.begin(&catalog, key, (None, Vec::new()), at(0), Vec::new()).unwrap();
        assert_eq!(token.len(), 64);
        assert!(browsers.find(&catalog, &token, at(11)).is_some());
        assert!(browsers.find(&catalog, &token, at(22)).is_some(), "used after 11 hours");
        assert!(browsers.find(&catalog, &token, at(35)).is_none(), "idle for 13 hours");
        let again = Browsers::open(&catalog).unwrap();
        assert!(again.find(&catalog, &token, at(30)).is_some(), "it survives a restart");
        assert!(again.find(&catalog, "another", at(30)).is_none());
        let used = |hour| again.find(&catalog, &token, at(hour)).is_some();
        assert!((40..168).step_by(10).all(used));
        assert!(!used(168), "a week");
        let second: KeyId = serde_json::from_str("\"0000000000000002\"").unwrap();
        let first = again.begin(&catalog, key, (None, Vec::new()), at(200), Vec::new()).unwrap();
        let other = again.begin(&catalog, second, (Some(&first), vec![key]), at(200), Vec::new()).unwrap();
        assert_eq!(again.list(at(200)).len(), 1, "sessions that are over or replaced leave with the next sign-in");
        assert!(again.find(&catalog, &first, at(200)).is_none());
        again.switch(&catalog, &other, key, Vec::new()).unwrap();
        let again = Browsers::open(&catalog).unwrap();
        let session = again.find(&catalog, &other, at(200)).unwrap();
        assert_eq!((session.key, session.others), (key, vec![second]));
        assert!(again.end(&catalog, &other, Vec::new()).unwrap().is_some());
        assert!(again.find(&catalog, &other, at(200)).is_none());
    }

    #[test]
    fn wrong_keys_are_slowed_down_by_address() {
        let browsers = Browsers::default();
        let [one, two] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        for _ in 0..10 {
            assert!(browsers.may_try(one, at(0), false));
            browsers.may_try(one, at(0), true);
        }
        assert!(!browsers.may_try(one, at(0), false));
        assert!(browsers.may_try(two, at(0), false));
        assert!(browsers.may_try(one, at(1), false), "a minute later");
    }

    #[test]
    fn the_stored_name_and_the_header_tell_nothing_of_the_cookie() {
        assert_ne!(hash("t"), csrf("t"));
        assert_eq!(csrf("t"), csrf("t"));
    }
}
