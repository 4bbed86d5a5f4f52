//! The test clock of a server: moved on demand, with a tick for each instant at which something is
//! due.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::LogCommand;
use flowmeter_engine::node::{Clock as _, TestClock};

use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// How far the clock may be moved at once: 400 days.
const MOVE_MAX: i128 = 400 * 86_400 * 1_000_000_000;
/// Ticks of one move. A move of 400 days has fewer unless windows last seconds.
const TICKS_MAX: u64 = 10_000_000;

/// The result of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The instant of the clock.
    pub now: Timestamp,
    /// The ticks that were made.
    pub ticks: u64,
    /// The records that the ticks flushed.
    pub records: u64,
}

impl Installation {
    fn test_clock(&self) -> Result<&TestClock, Refused> {
        self.clock.as_test().ok_or_else(|| {
            let detail = "the server follows the wall clock; start it with --test-clock to move its clock";
            Box::new(Refusal::new(RefusalKind::NoTestClock, detail)) as Refused
        })
    }

    /// Moves the test clock to an instant. With `ticks`, everything that falls due on the way is
    /// done, in order, and records are in the outbox when this returns.
    ///
    /// # Errors
    /// There is no test clock, or the instant is earlier than its own, or too far ahead.
    pub fn move_clock(self: &Arc<Self>, to: Timestamp, ticks: bool) -> Result<Moved, Refused> {
        let now = self.test_clock()?.now();
        if to < now {
            let detail = format!("the clock is at {now}; it moves forward only");
            return Err(Box::new(Refusal::new(RefusalKind::ClockBackwards, detail).field("to")));
        }
        if to.since(now) > MOVE_MAX {
            let detail = format!("from {now} to {to} are more than 400 days; move it in several steps");
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("to")));
        }
        if !ticks {
            return self.move_to(to, false);
        }
        // Runs that were due already follow `catchUp`; those that fall due on the way start at their times.
        self.run_scheduled(now).map_err(|why| refusal_of(&why))?;
        let mut whole = Moved { now, ticks: 0, records: 0 };
        loop {
            let stop = self.next_scheduled(whole.now, to).map_err(|why| refusal_of(&why))?;
            let moved = self.move_to(stop.unwrap_or(to), true)?;
            whole = Moved { now: moved.now, ticks: whole.ticks + moved.ticks, records: whole.records + moved.records };
            match stop {
                Some(at) => self.run_scheduled(at).map_err(|why| refusal_of(&why))?,
                None => return Ok(whole),
            }
        }
    }

    /// Moves the clock to an instant before which no scheduled session starts.
    fn move_to(&self, to: Timestamp, ticks: bool) -> Result<Moved, Refused> {
        let clock = self.test_clock()?;
        let _change = self.begin_change()?;
        if !ticks {
            clock.advance(to);
            return Ok(Moved { now: to, ticks: 0, records: 0 });
        }
        let running: Vec<Arc<Served>> =
            self.served().into_iter().filter(|served| served.session() != 0 && !served.board().is_paused()).collect();
        self.tick_until(clock, &running, to).map_err(|why| refusal_of(&why))
    }

    fn tick_until(&self, clock: &TestClock, running: &[Arc<Served>], to: Timestamp) -> Result<Moved, Error> {
        self.fold(running)?;
        let before = written(running)?;
        let mut made = 0;
        let mut last = None;
        while made < TICKS_MAX {
            let due = running.iter().map(|served| served.board().due()).min().unwrap_or(i64::MAX);
            // The next tick does everything that was due before the clock came here.
            let next = Timestamp::from_nanos(due).max(clock.now());
            let is_new = last.is_none_or(|last| next > last);
            if next >= to || !is_new {
                break;
            }
            self.tick_at(clock, running, next)?;
            (made, last) = (made + 1, Some(next));
        }
        self.tick_at(clock, running, to)?;
        Ok(Moved { now: to, ticks: made + 1, records: written(running)?.saturating_sub(before) })
    }

    fn tick_at(&self, clock: &TestClock, running: &[Arc<Served>], at: Timestamp) -> Result<(), Error> {
        clock.advance(at);
        self.command(&LogCommand::Tick)?;
        self.fold(running)
    }

    /// Waits until pipelines have applied the whole log.
    fn fold(&self, running: &[Arc<Served>]) -> Result<(), Error> {
        let end = self.log_end();
        running.iter().try_for_each(|served| served.worker().wait_for(end))
    }
}

/// The number of records that pipelines have written.
fn written(running: &[Arc<Served>]) -> Result<u64, Error> {
    running.iter().map(|served| served.worker().ask(|live| live.outlet().records().written())).sum()
}
