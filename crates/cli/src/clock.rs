//! The only source of time; all other code takes the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::node::Clock;

/// Returns the time of the wall clock.
#[allow(clippy::disallowed_methods)] // the one room that has a clock
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The wall clock as a [`Clock`](flowmeter_engine::node::Clock).
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// Returns the time since the machine booted, suspension included. It cannot be set.
pub(crate) struct SinceBoot;

impl flowmeter_engine::node::Stopwatch for SinceBoot {
    fn elapsed(&self) -> i64 {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    }
}

pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods)] // the one room that has a clock
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
