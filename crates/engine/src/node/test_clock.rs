//! A clock that moves only on demand, to play a history faster than it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flowmeter_core::time::Timestamp;

use super::Clock;

/// A clock that keeps its instant until it is moved. Deliveries and keys follow the wall clock.
pub struct TestClock {
    now: AtomicI64,
    wall: Arc<dyn Clock>,
}

impl TestClock {
    /// Creates a clock at an instant.
    pub fn at(start: Timestamp, wall: Arc<dyn Clock>) -> TestClock {
        TestClock { now: AtomicI64::new(start.nanos()), wall }
    }

    /// Moves the clock forward; an earlier instant leaves it where it is.
    pub fn advance(&self, to: Timestamp) {
        self.now.fetch_max(to.nanos(), Ordering::AcqRel);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now.load(Ordering::Acquire))
    }

    fn wall(&self) -> Timestamp {
        self.wall.now()
    }

    fn as_test(&self) -> Option<&TestClock> {
        Some(self)
    }
}

/// The wall clock behind another clock.
pub struct WallOf(pub Arc<dyn Clock>);

impl Clock for WallOf {
    fn now(&self) -> Timestamp {
        self.0.wall()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_forward_only_and_keeps_the_wall_clock() {
        let wall = Arc::new(TestClock::at(Timestamp::from_nanos(7), Arc::new(WallOf(fixed(0)))));
        let clock = TestClock::at(Timestamp::from_nanos(100), wall);
        clock.advance(Timestamp::from_nanos(50));
        assert_eq!(clock.now().nanos(), 100);
        clock.advance(Timestamp::from_nanos(150));
        assert_eq!((clock.now().nanos(), clock.wall().nanos()), (150, 7));
    }

    fn fixed(at: i64) -> Arc<dyn Clock> {
        struct Fixed(i64);
        impl Clock for Fixed {
            fn now(&self) -> Timestamp {
                Timestamp::from_nanos(self.0)
            }
        }
        Arc::new(Fixed(at))
    }
}
