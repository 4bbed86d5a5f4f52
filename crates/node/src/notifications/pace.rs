//! The times at which a failed delivery is tried again, and the end of attempts.
//!
//! The pause doubles after every failure, from five seconds up to an hour, and varies by a quarter,
//! so that notices that failed together are not repeated together. The variation follows from the
//! id and the number of the attempt, so it is the same after a restart and in tests.

use flowmeter_core::time::Timestamp;
use sha2::{Digest, Sha256};

const SECOND: i64 = 1_000_000_000;
/// The pause after the first failure, in nanoseconds: a receiver that restarts misses little.
const FIRST: i64 = 5 * SECOND;
/// The longest pause: a receiver that recovers waits no longer than this and a quarter.
const LONGEST: i64 = 3_600 * SECOND;
/// Minimal time for which a delivery is tried. A failure after that makes it dead.
pub(crate) const PATIENCE: i64 = 24 * LONGEST;

/// Returns the time of the next attempt after `attempts` attempts, the last at `now`. A receiver
/// may ask for a longer pause, up to a day.
pub(crate) fn next_attempt(id: &str, attempts: u32, now: Timestamp, asked: Option<i64>) -> Timestamp {
    let doubled = FIRST.saturating_mul(1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(i64::MAX).max(1));
    let pause = doubled.min(LONGEST);
    // 75 to 125 per cent.
    let jittered = pause / 100 * (75 + i64::from(share(id, attempts)));
    now.saturating_add(jittered.max(asked.unwrap_or(0).clamp(0, PATIENCE)))
}

/// Returns a pseudo-random number from 0 to 50.
fn share(id: &str, attempts: u32) -> u8 {
    let digest = Sha256::digest(format!("{id}/{attempts}"));
    digest[0] % 51
}

/// The times of a notice that was not accepted at `now`.
pub(crate) struct Patience {
    /// The first attempt since it was created or sent again.
    pub(crate) tried_first: Timestamp,
    /// The time at which it was created or sent again.
    pub(crate) since: Timestamp,
    /// The time since which its channel has accepted nothing.
    pub(crate) failing_since: Timestamp,
}

impl Patience {
    /// Whether attempts have ended: it was tried for a day, or it waited for a day behind others of
    /// its session while the channel accepted nothing.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let a_day = |from: Timestamp| now.since(from) >= i128::from(PATIENCE);
        a_day(self.tried_first) || (a_day(self.since) && a_day(self.failing_since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_last_attempt_is_after_a_day() {
        let start = Timestamp::from_nanos(0);
        let (mut now, mut attempts, mut pauses) = (start, 1, Vec::new());
        let patience = || Patience { tried_first: start, since: start, failing_since: start };
        while !patience().is_over(now) {
            let next = next_attempt("msg_1", attempts, now, None);
            pauses.push(next.since(now));
            (now, attempts) = (next, attempts + 1);
        }
        assert!(now.since(start) >= i128::from(PATIENCE), "{now}");
        assert!(attempts > 24 && attempts < 60, "{attempts}");
        let second = i128::from(SECOND);
        assert!((3 * second..7 * second).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= 4_500 * second), "{pauses:?}");
        assert_ne!(next_attempt("msg_1", 9, now, None), next_attempt("msg_2", 9, now, None));
        assert_eq!(next_attempt("msg_1", 9, now, None), next_attempt("msg_1", 9, now, None));
    }

    #[test]
    fn the_receiver_may_ask_for_more_and_not_for_less() {
        let now = Timestamp::from_nanos(0);
        assert_eq!(next_attempt("m", 1, now, Some(600 * SECOND)), Timestamp::from_nanos(600 * SECOND));
        assert_eq!(next_attempt("m", 1, now, Some(0)), next_attempt("m", 1, now, None));
        assert_eq!(next_attempt("m", 1, now, Some(i64::MAX)), Timestamp::from_nanos(PATIENCE));
        assert!(next_attempt("m", u32::MAX, now, None) <= Timestamp::from_nanos(LONGEST / 100 * 125));
    }

    #[test]
    fn a_notice_that_waited_while_the_server_was_off_is_tried_for_a_day() {
        let at = |hours: i64| Timestamp::from_nanos(hours * LONGEST);
        let patience = Patience { tried_first: at(30), since: at(0), failing_since: at(30) };
        assert!(!patience.is_over(at(31)) && patience.is_over(at(54)));
        let behind = Patience { tried_first: at(25), since: at(1), failing_since: at(1) };
        assert!(behind.is_over(at(25)));
    }
}
