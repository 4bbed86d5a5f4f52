//! Connections that are kept for a while: to make one costs more than what is said over it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use http_body_util::Full;
use hyper::body::Bytes;

/// How long a connection is kept that nobody uses, in nanoseconds: shorter than servers and
/// what lies between keep theirs.
const IDLE_MAX: i128 = 15_000_000_000;
/// How many are kept to one place, which many channels may share: each has at most four
/// attempts under way.
const KEPT_MAX: usize = 64;

/// One end of a connection.
pub(super) type Speaker = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// A connection that waits, and since when.
struct Idle {
    speaker: Speaker,
    since: Timestamp,
}

impl Idle {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.since) < IDLE_MAX
    }
}

/// Connections by scheme and authority.
#[derive(Default)]
pub(super) struct Pool(Mutex<BTreeMap<String, Vec<Idle>>>);

impl Pool {
    /// A connection to a place, if one waits that the other side has not closed.
    pub(super) async fn take(&self, place: &str, now: Timestamp) -> Option<Speaker> {
        loop {
            let mut speaker = self.pop(place, now)?;
            if speaker.ready().await.is_ok() {
                return Some(speaker);
            }
        }
    }

    fn pop(&self, place: &str, now: Timestamp) -> Option<Speaker> {
        // The last is the one that was used last.
        let idle = self.lock().get_mut(place)?.pop()?;
        idle.is_fresh(now).then_some(idle.speaker)
    }

    /// Keeps a connection over which everything was said.
    pub(super) fn keep(&self, place: &str, speaker: Speaker, now: Timestamp) {
        let mut places = self.lock();
        let waiting = places.entry(place.to_owned()).or_default();
        if waiting.len() < KEPT_MAX {
            waiting.push(Idle { speaker, since: now });
        }
    }

    /// Closes what nobody has used for long.
    pub(super) fn sweep(&self, now: Timestamp) {
        self.lock().retain(|_, waiting| {
            waiting.retain(|idle| idle.is_fresh(now));
            !waiting.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Idle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
