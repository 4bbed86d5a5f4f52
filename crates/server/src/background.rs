//! Threads that yield to events: where every core has something to do, what comes in and is
//! counted goes first, and what reads files, delivers records or tells people takes what is
//! left. Where a core is free it makes no difference.

use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use flowmeter_engine::{Error, Kind};

/// How much a thread yields.
#[derive(Clone, Copy)]
pub(crate) enum Yields {
    /// Work there may be much of and that shall come to an end: reading files, delivering.
    /// As `nice` has it, 10: it gets about a ninth of what one of the others gets.
    Somewhat,
    /// What takes next to nothing, however often it happens: telling people. As `nice` has
    /// it, 19: a sixty-eighth, in which a busy machine still tells hundreds in a second.
    Wholly,
}

#[cfg(target_os = "linux")]
impl Yields {
    const fn nice(self) -> i32 {
        match self {
            Yields::Somewhat => 10,
            Yields::Wholly => 19,
        }
    }
}

/// Starts such a thread. Those it starts are such threads too.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    yields: Yields,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // Elsewhere it would be the whole process that yields. If it may not, it does not.
        #[cfg(target_os = "linux")]
        let _may_not = rustix::process::setpriority_process(None, yields.nice());
        #[cfg(not(target_os = "linux"))]
        let _ = yields;
        work()
    });
    thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))
}

/// How often [`wait_until`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until something holds, at most for about so long. Returns whether it does.
pub(crate) fn wait_until(patience: Duration, holds: impl Fn() -> bool) -> bool {
    for _ in 0..patience.as_millis() / LOOK_EVERY.as_millis() {
        if holds() {
            return true;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    holds()
}
