//! The rate of one key: a token bucket for requests and one for events.
//!
//! A bucket is one number, the instant at which it will be full again (the generic cell rate
//! algorithm): taking tokens moves it later; time alone fills the bucket. A request is paid for on
//! arrival. Events are paid for when they have been counted in the body, which may make a debt: a
//! batch is never split, and the next request waits until the debt is paid. A key in debt is
//! refused before its body is read.
//!
//! The time is an argument. If the clock jumps back, no key waits longer than its window and the
//! largest debt would take.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::KeyId;
use flowmeter_node::settings::Rates;

use crate::problem::{Code, Problem};

/// Locks over which the keys are spread, so that requests of different keys seldom share one.
const SHARDS: usize = 16;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The buckets of all keys. There are as many as keys that sent requests, so the number of keys
/// bounds them.
#[derive(Debug)]
pub struct RateLimits {
    rates: Rates,
    shards: [Mutex<BTreeMap<u64, Buckets>>; SHARDS],
}

/// Instants, in nanoseconds, at which the buckets are full.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    requests_full_at: i64,
    events_full_at: i64,
}

impl RateLimits {
    /// Creates the same rates for every key.
    pub fn new(rates: Rates) -> RateLimits {
        RateLimits { rates, shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Takes one request, if there is a token for it and no debt of events. Requests without a key
    /// (`None`) share one bucket.
    ///
    /// # Errors
    /// `rate_limited`, with the seconds after which it would be accepted.
    pub fn admit(&self, key: Option<KeyId>, now: Timestamp) -> Result<(), Box<Problem>> {
        let Rates { requests_per_second, events_per_second, .. } = self.rates;
        if requests_per_second == 0 && events_per_second == 0 {
            return Ok(());
        }
        let now = now.nanos();
        self.with(key, |buckets| {
            let wait = self.wait(&mut buckets.events_full_at, events_per_second, 1, now);
            if wait > 0 {
                return Err(refused("events", events_per_second, "rate.events_per_second", wait));
            }
            let wait = self.wait(&mut buckets.requests_full_at, requests_per_second, 1, now);
            if wait > 0 {
                return Err(refused("requests", requests_per_second, "rate.requests_per_second", wait));
            }
            spend(&mut buckets.requests_full_at, requests_per_second, 1, now);
            Ok(())
        })
    }

    /// Takes tokens for the events of an admitted request. It never refuses: missing tokens become
    /// a debt.
    pub fn spend_events(&self, key: Option<KeyId>, events: u64, now: Timestamp) {
        let rate = self.rates.events_per_second;
        if rate == 0 {
            return;
        }
        self.with(key, |buckets| spend(&mut buckets.events_full_at, rate, events, now.nanos()));
    }

    /// Returns the nanoseconds until the bucket holds `tokens`.
    fn wait(&self, full_at: &mut i64, per_second: u64, tokens: u64, now: i64) -> i64 {
        if per_second == 0 {
            return 0;
        }
        let window = cost(self.rates.burst_s.max(1).saturating_mul(per_second), per_second);
        // The clock was set back: limit the bucket to the debt that one batch can make.
        let debt = cost(DEBT_TOKENS_MAX, per_second);
        *full_at = (*full_at).min(now.saturating_add(window).saturating_add(debt));
        let needed = full_at.saturating_add(cost(tokens, per_second));
        needed.saturating_sub(now.saturating_add(window)).max(0)
    }

    fn with<T>(&self, key: Option<KeyId>, act: impl FnOnce(&mut Buckets) -> T) -> T {
        // Ids are random, so their lowest bits spread them; 0 is the id of requests without a key.
        let id = key.map_or(0, KeyId::as_u64);
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        act(buckets.entry(id).or_default())
    }
}

/// The largest debt that is kept: the largest batch that `limits.batch_events_max` may allow. The
/// debt of concurrent requests beyond it is dropped.
const DEBT_TOKENS_MAX: u64 = 10_000_000;

fn spend(full_at: &mut i64, per_second: u64, tokens: u64, now: i64) {
    if per_second > 0 {
        *full_at = (*full_at).max(now).saturating_add(cost(tokens, per_second));
    }
}

/// Returns the nanoseconds in which this many tokens arrive, rounded up.
fn cost(tokens: u64, per_second: u64) -> i64 {
    let nanos = (i128::from(tokens) * NANOS_PER_SECOND + i128::from(per_second) - 1) / i128::from(per_second);
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn refused(what: &str, per_second: u64, setting: &str, wait_ns: i64) -> Box<Problem> {
    let seconds = u64::try_from((i128::from(wait_ns) + NANOS_PER_SECOND - 1) / NANOS_PER_SECOND).unwrap_or(1);
    let detail = format!("this key may send {per_second} {what} a second ({setting}); try again in {seconds} s");
    Box::new(Problem::new(Code::RateLimited, detail).retry_after(seconds.max(1)))
}
