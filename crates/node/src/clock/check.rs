//! Whether the machine's clock agrees with the time of the server.
//!
//! The server's time never goes back: an entry of the log is received no earlier than the one before.
//! So a clock that was ahead while entries were written, and was set right afterwards, stops
//! time until the clock reaches the newest entry. Meanwhile no period closes, and events with
//! right times may be too late. A jump while the server runs is not followed at all; see
//! [`flowmeter_engine::node::SteadyClock`].

use std::sync::atomic::Ordering;

use flowmeter_core::time::Timestamp;

use crate::installation::Installation;

/// How far the clock may be behind the log before a line says so, in nanoseconds.
const BEHIND_MAX: i64 = 5_000_000_000;

impl Installation {
    /// Returns the nanoseconds by which the machine's clock is ahead of the server's time: 0 while both
    /// agree, below 0 while the log is ahead.
    pub fn clock_ahead(&self) -> i64 {
        if self.clock.as_test().is_some() {
            return 0;
        }
        let now = self.clock.now();
        match self.clock.difference() {
            Some(difference) => difference,
            None => now.nanos().saturating_sub(self.log_time().max(now).nanos()),
        }
    }

    /// Returns the time of the newest entry of the log.
    fn log_time(&self) -> Timestamp {
        self.journal.last_at()
    }

    /// Returns why time has stopped: the log is further ahead of the clock than a clock may jump.
    pub(crate) fn clock_behind(&self) -> Option<String> {
        let bound = self.settings.clock_jump_max?;
        let behind = u64::try_from(self.clock_ahead().saturating_neg()).ok()?;
        let is_followed = self.clock.difference().is_none();
        (is_followed && u128::from(behind) > bound.as_nanos()).then(|| {
            format!(
                "the machine's clock says {} and the newest entry of the log is of {}: no period closes before that time",
                self.clock.now(),
                self.log_time()
            )
        })
    }

    /// Writes to the log of the process when the machine's clock jumps, and when it is right again.
    pub(crate) fn look_at_clock(&self) {
        let ahead = self.clock_ahead();
        let seconds = ahead / 1_000_000_000;
        let (is_followed, is_behind) = (self.clock.difference().is_none(), ahead < -BEHIND_MAX);
        let is_wrong = !is_followed || is_behind;
        if self.clock_is_wrong.swap(is_wrong, Ordering::AcqRel) == is_wrong {
            return;
        }
        match (is_followed, is_behind) {
            (false, _) => tracing::error!(
                seconds,
                "the machine's clock jumped and is not followed; set it right, or restart the server to accept it"
            ),
            (true, true) => tracing::error!(
                seconds,
                "the machine's clock is behind the newest entry of the log; no period closes until it reaches that time"
            ),
            (true, false) => tracing::info!("the machine's clock is right again"),
        }
    }
}
