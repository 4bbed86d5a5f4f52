//! Threads with a lower priority than those of events. If every core is busy, receiving and
//! counting come first, and threads that read files, deliver records or send notifications get the
//! rest. With a free core there is no difference.

use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use flowmeter_engine::{Error, Kind};

/// The priority of a thread.
#[derive(Clone, Copy)]
pub enum Yields {
    /// Long work that must make progress: reading files, delivering. Its `nice` value is 10, which
    /// gives it about a ninth of the time of a normal thread.
    Somewhat,
    /// Work that is short, however often it happens: notifications. Its `nice` value is 19, which
    /// gives it a sixty-eighth of the time; a busy machine still sends hundreds per second.
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

/// Starts a thread with this priority. Threads that it starts inherit it.
///
/// # Errors
/// No thread could be created.
pub fn spawn<T: Send + 'static>(
    name: &str,
    yields: Yields,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // On other systems this would apply to the whole process. Without permission the priority
        // is unchanged.
        #[cfg(target_os = "linux")]
        let _may_not = rustix::process::setpriority_process(None, yields.nice());
        #[cfg(not(target_os = "linux"))]
        let _ = yields;
        work()
    });
    thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))
}

/// Interval of the checks of [`wait_until`].
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `holds` is true, at most for about `patience`. Returns whether it is.
pub(crate) fn wait_until(patience: Duration, holds: impl Fn() -> bool) -> bool {
    for _ in 0..patience.as_millis() / LOOK_EVERY.as_millis() {
        if holds() {
            return true;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    holds()
}
