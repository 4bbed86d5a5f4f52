//! Finds the window of a minute.

use std::sync::Arc;

use flowmeter_core::schedule::{Calendar, Period, Schedule};
use flowmeter_core::time::Timestamp;

use super::block::{MINUTE, instant};
use super::query::{Window, WindowSize};

const HOUR: i64 = 60 * MINUTE;

/// The windows of a query.
pub(super) struct Windows {
    size: WindowSize,
    calendar: Calendar,
}

impl Windows {
    pub(super) fn new(window: &Window) -> Windows {
        let name = if window.size == WindowSize::Month { "monthly" } else { "daily" };
        let schedule = Arc::new(Schedule::named(name).unwrap_or(Schedule::Never));
        Windows { size: window.size, calendar: Calendar::new(schedule, window.zone.clone()) }
    }

    pub(super) fn at(&mut self, minute: i32) -> Period {
        let at = instant(minute);
        match self.size {
            WindowSize::Minute => Period { start: at, end: at.saturating_add(MINUTE) },
            WindowSize::Day | WindowSize::Month => self.calendar.period_at(at),
            WindowSize::Hour => {
                let day = self.calendar.period_at(at);
                let hours = (at.since(day.start) / i128::from(HOUR)) as i64;
                let start = Timestamp::from_nanos(day.start.nanos() + hours * HOUR);
                Period { start, end: start.saturating_add(HOUR).min(day.end) }
            }
        }
    }
}
