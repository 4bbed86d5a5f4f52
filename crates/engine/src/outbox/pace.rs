//! The pauses between attempts, and their end.
//!
//! A pause doubles after every failure, from a second up to five minutes, changed by up to a
//! quarter, so that simultaneous failures do not retry simultaneously. The change is derived from
//! the meter and the number of attempts: it is the same in every run.

use flowmeter_core::time::Timestamp;

const SECOND: i64 = 1_000_000_000;
/// The pause after the first failure, short because a target may just be restarting.
const FIRST: i64 = SECOND;
/// The longest pause: a recovered target waits no longer than this and a quarter.
const LONGEST: i64 = 300 * SECOND;

/// The time for which a record is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Nanoseconds from the first attempt to the last; a later failure makes the record dead.
    pub total: i64,
}

impl Patience {
    /// A day: enough time for a person to notice.
    pub const DAY: Patience = Patience { total: 86_400 * SECOND };

    /// Returns whether the time is over.
    pub(super) fn is_over(self, since: i64, now: Timestamp) -> bool {
        now.nanos().saturating_sub(since) >= self.total
    }
}

/// Returns the time of the next attempt after a number of attempts. A target may ask for a pause of
/// up to an hour; longer pauses are cut.
pub(super) fn next_attempt(whose: u64, attempts: u32, now: Timestamp, asked: Option<i64>) -> Timestamp {
    let doubled = FIRST.saturating_mul(1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(i64::MAX).max(1));
    let pause = doubled.min(LONGEST);
    // 75 to 125 per cent.
    let jittered = pause / 100 * (75 + share(whose, attempts));
    now.saturating_add(jittered.max(asked.unwrap_or(0).clamp(0, 3_600 * SECOND)))
}

/// Returns a pseudo-random number from 0 to 50.
fn share(whose: u64, attempts: u32) -> i64 {
    let mixed = (whose ^ (u64::from(attempts) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) % 51) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let start = Timestamp::from_nanos(0);
        let (mut now, mut attempts, mut pauses) = (start, 1, Vec::new());
        while !Patience::DAY.is_over(start.nanos(), now) {
            let next = next_attempt(7, attempts, now, None);
            pauses.push(next.since(now));
            (now, attempts) = (next, attempts + 1);
        }
        let second = i128::from(SECOND);
        assert!((second * 3 / 4..=second * 5 / 4).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= 375 * second), "{pauses:?}");
        assert!(attempts > 200, "{attempts}");
        assert_eq!(next_attempt(7, 3, start, Some(90 * SECOND)), Timestamp::from_nanos(90 * SECOND));
        assert_eq!(next_attempt(7, 1, start, Some(i64::MAX)), Timestamp::from_nanos(3_600 * SECOND));
    }
}
