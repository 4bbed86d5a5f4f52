//! Connections that are kept for a while: to make one costs more than what is said over it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = places.get_mut(place)?;
        waiting.retain(|idle| now.since(idle.since) < IDLE_MAX);
        waiting.pop().map(|idle| idle.speaker)
    }

    /// Keeps a connection over which everything was said.
    pub(super) fn keep(&self, place: &str, speaker: Speaker, now: Timestamp) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, waiting| {
            waiting.retain(|idle| now.since(idle.since) < IDLE_MAX);
            !waiting.is_empty()
        });
        let waiting = places.entry(place.to_owned()).or_default();
        if waiting.len() < KEPT_MAX {
            waiting.push(Idle { speaker, since: now });
        }
    }
}
