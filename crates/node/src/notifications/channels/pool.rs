//! Connections that are kept for a while: opening one costs more than a request over it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use http_body_util::Full;
use hyper::body::Bytes;

/// Time for which an unused connection is kept, in nanoseconds: shorter than the timeouts of
/// servers and proxies.
const IDLE_MAX: i128 = 15_000_000_000;
/// Maximum of connections kept to one place, which many channels may share: each has at most four
/// attempts in progress.
const KEPT_MAX: usize = 64;

/// The sending end of a connection.
pub(crate) type Speaker = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// An unused connection, and the time since then.
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
pub(crate) struct Pool(Mutex<BTreeMap<String, Vec<Idle>>>);

impl Pool {
    /// Returns an unused connection to a place that the other side has not closed.
    pub(crate) async fn take(&self, place: &str, now: Timestamp) -> Option<Speaker> {
        loop {
            let mut speaker = self.pop(place, now)?;
            if speaker.ready().await.is_ok() {
                return Some(speaker);
            }
        }
    }

    fn pop(&self, place: &str, now: Timestamp) -> Option<Speaker> {
        // The last one is the most recently used.
        let idle = self.lock().get_mut(place)?.pop()?;
        idle.is_fresh(now).then_some(idle.speaker)
    }

    /// Keeps a connection after a complete exchange.
    pub(crate) fn keep(&self, place: &str, speaker: Speaker, now: Timestamp) {
        let mut places = self.lock();
        let waiting = places.entry(place.to_owned()).or_default();
        if waiting.len() < KEPT_MAX {
            waiting.push(Idle { speaker, since: now });
        }
    }

    /// Closes connections that have been unused for long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.lock().retain(|_, waiting| {
            waiting.retain(|idle| idle.is_fresh(now));
            !waiting.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Idle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
