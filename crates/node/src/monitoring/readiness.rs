//! Readiness: the conditions under which the server is not ready.
//!
//! [`Condition`] is the one list. Adding a condition takes a variant, its names in
//! [`Condition::name`] and [`Condition::code`], and its test in [`Installation::detail_of`].

use std::sync::PoisonError;

use flowmeter_core::time::Timestamp;

use crate::installation::{Installation, RESERVE_BYTES};
use crate::pipelines::stopped::Stopped;
use crate::refusal::RefusalKind;

/// A reason not to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A durable write failed; only a restart helps.
    LogFailed,
    /// A pipeline that should run does not.
    PipelineStopped,
    /// A period should have been flushed long ago.
    FlushOverdue,
    /// The log has no room for a request of the largest size.
    DiskFull,
    /// Meters take all the memory they may.
    MetersFull,
    /// The newest entry of the log is of a time to which the machine's clock has yet to come.
    ClockBehind,
}

impl Condition {
    /// All conditions, the gravest first.
    pub const ALL: [Condition; 6] = [
        Condition::LogFailed,
        Condition::ClockBehind,
        Condition::PipelineStopped,
        Condition::DiskFull,
        Condition::MetersFull,
        Condition::FlushOverdue,
    ];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Condition::LogFailed => "log_failed",
            Condition::PipelineStopped => "pipeline_stopped",
            Condition::FlushOverdue => "flush_overdue",
            Condition::DiskFull => "disk_full",
            Condition::MetersFull => "meters_full",
            Condition::ClockBehind => "clock_behind",
        }
    }

    /// Its description in a few words, for people.
    pub fn title(self) -> &'static str {
        match self {
            Condition::LogFailed => "A durable write failed: nothing more is taken",
            Condition::PipelineStopped => "A pipeline has stopped",
            Condition::FlushOverdue => "Periods that have ended are not flushed",
            Condition::DiskFull => "The disk is full: nothing was taken",
            Condition::MetersFull => "Meters take all the memory they may: nothing was taken",
            Condition::ClockBehind => "The machine's clock is behind the newest entry of the log",
        }
    }

    /// The reason of refusals while it holds.
    pub fn kind(self) -> RefusalKind {
        match self {
            Condition::LogFailed => RefusalKind::Poisoned,
            Condition::PipelineStopped => RefusalKind::PipelineStopped,
            Condition::FlushOverdue => RefusalKind::NotReady,
            Condition::DiskFull => RefusalKind::DiskFull,
            Condition::MetersFull => RefusalKind::MetersFull,
            Condition::ClockBehind => RefusalKind::ClockBehind,
        }
    }
}

/// A condition that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The condition that holds.
    pub condition: Condition,
    /// A sentence that names the cause.
    pub detail: String,
    /// The time at which it was first seen. Checked every second.
    pub since: Timestamp,
}

/// The time at which each present condition was first seen.
pub(crate) type Since = [Option<Timestamp>; Condition::ALL.len()];

impl Installation {
    /// Returns the conditions that are present, the gravest first. Empty: the server is ready.
    pub fn conditions(&self) -> Vec<Standing> {
        let now = self.now();
        let details = Condition::ALL.map(|condition| self.detail_of(condition));
        let mut since = self.conditions_since.lock().unwrap_or_else(PoisonError::into_inner);
        let mut standing = Vec::new();
        for ((condition, detail), since) in Condition::ALL.into_iter().zip(details).zip(since.iter_mut()) {
            match detail {
                None => *since = None,
                Some(detail) => {
                    let since = *since.get_or_insert(now);
                    standing.push(Standing { condition, detail, since });
                }
            }
        }
        standing
    }

    /// Returns the cause of a condition, if it is present.
    fn detail_of(&self, condition: Condition) -> Option<String> {
        match condition {
            Condition::LogFailed => self.failure().map(|why| why.to_string()),
            Condition::PipelineStopped => {
                let stopped = self.stopped();
                let sentences: Vec<String> = stopped.iter().map(Stopped::sentence).collect();
                (!sentences.is_empty()).then(|| sentences.join("; "))
            }
            Condition::FlushOverdue => {
                let (pipeline, overdue) = self.late_flush()?;
                let seconds = overdue.as_secs();
                Some(format!("pipeline `{pipeline}`: the flush of a period is overdue by {seconds} s"))
            }
            Condition::DiskFull => match self.disk.free_bytes() {
                Ok(free) => no_room(free, self.settings.limits.decompressed_bytes_max),
                // If the free space is unknown, a write will show whether there is room.
                Err(_) => None,
            },
            Condition::MetersFull => self.meters_have_room().err().map(|refused| refused.detail),
            Condition::ClockBehind => self.clock_behind(),
        }
    }
}

/// Returns why a request of the largest size may not fit on the disk.
fn no_room(free: u64, largest: u64) -> Option<String> {
    (free.saturating_sub(RESERVE_BYTES) < largest).then(|| {
        format!(
            "{free} bytes are free on the disk of the data folder; {RESERVE_BYTES} are held back for checkpoints, \
             and a request may have {largest} (limits.decompressed_bytes_max)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_the_largest_size_must_fit_beside_the_reserve() {
        for (free, largest, is_full) in [
            (RESERVE_BYTES + 10, 10, false),
            (RESERVE_BYTES + 9, 10, true),
            (RESERVE_BYTES, 1, true),
            (0, 1, true),
            (u64::MAX, 1, false),
        ] {
            assert_eq!(no_room(free, largest).is_some(), is_full, "{free} {largest}");
        }
    }

    #[test]
    fn names_differ() {
        let mut names = Condition::ALL.map(Condition::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
