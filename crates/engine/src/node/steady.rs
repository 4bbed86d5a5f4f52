//! A clock that does not follow jumps of the machine's clock.
//!
//! Time closes periods, so a clock that is wrong for a minute could close a month early. The
//! machine has two sources of time: its clock, and the time since boot, which cannot be set. While
//! both agree, the clock is used. If the clock jumps further than a bound, this clock advances by
//! the time since boot, and reports the difference until the machine's clock is right again or a
//! restart accepts it.

use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_core::time::Timestamp;

use super::Clock;

/// A source of elapsed time, in nanoseconds since some instant.
pub trait Stopwatch: Send + Sync {
    /// Returns the elapsed time.
    fn elapsed(&self) -> i64;
}

/// A clock that is followed while it agrees with the elapsed time.
pub struct SteadyClock {
    clock: Arc<dyn Clock>,
    stopwatch: Arc<dyn Stopwatch>,
    /// Nanoseconds that the clock may jump; `None`: it is always followed.
    jump_max: Option<i64>,
    trusted: Mutex<Trusted>,
}

/// A trusted instant, and the stopwatch at that instant.
#[derive(Clone, Copy)]
struct Trusted {
    at: i64,
    elapsed: i64,
    /// Nanoseconds by which the clock is ahead, while it is not followed.
    difference: Option<i64>,
}

impl SteadyClock {
    /// Follows a clock, starting with its current time.
    pub fn new(clock: Arc<dyn Clock>, stopwatch: Arc<dyn Stopwatch>, jump_max: Option<i64>) -> SteadyClock {
        let (at, elapsed) = (clock.now().nanos(), stopwatch.elapsed());
        let trusted = Mutex::new(Trusted { at, elapsed, difference: None });
        SteadyClock { clock, stopwatch, jump_max, trusted }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock, elapsed) = (self.clock.now().nanos(), self.stopwatch.elapsed());
        let expected = trusted.at.saturating_add(elapsed - trusted.elapsed);
        let difference = clock.saturating_sub(expected);
        let follows = self.jump_max.is_none_or(|max| difference.abs() <= max);
        let (at, difference) = if follows { (clock, None) } else { (expected, Some(difference)) };
        *trusted = Trusted { at, elapsed, difference };
        Timestamp::from_nanos(at)
    }

    fn difference(&self) -> Option<i64> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).difference
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
        }
    }

    impl Stopwatch for Hands {
        fn elapsed(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_jump_beyond_the_bound_is_not_followed() {
        let (clock, passed) = (Arc::new(Hands::default()), Arc::new(Hands::default()));
        let steady = SteadyClock::new(clock.clone(), passed.clone(), Some(100));
        // Changes of clock and stopwatch, the resulting time, and the difference.
        let steps = [
            ("both advance", 50, 50, 50, None),
            ("the clock is set a little", 90, 10, 140, None),
            ("and back", -60, 10, 80, None),
            ("it jumps ahead", 1_010, 10, 90, Some(1_000)),
            ("and stays there while time passes", 30, 30, 120, Some(1_000)),
            ("it is set right", -970, 30, 150, None),
            ("it jumps back", -500, 10, 160, Some(-510)),
            ("it is set right again, but for less than the bound", 520, 10, 170, None),
        ];
        for (name, clock_by, passed_by, at, difference) in steps {
            clock.0.fetch_add(clock_by, Ordering::Relaxed);
            passed.0.fetch_add(passed_by, Ordering::Relaxed);
            assert_eq!((steady.now().nanos(), steady.difference()), (at, difference), "{name}");
        }
    }
}
