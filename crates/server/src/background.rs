//! Threads that yield to events: where every core has something to do, what comes in and is
//! counted goes first, and what reads files, delivers records or tells people takes what is
//! left. Where a core is free it makes no difference.

use std::thread::{Builder, JoinHandle};

use flowmeter_engine::{Error, Kind};

/// As `nice` has it: with 10 a thread gets about a ninth of what one of the others gets.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Starts such a thread. Those it starts are such threads too.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Error> {
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // Elsewhere it would be the whole process that yields. If it may not, it does not.
        #[cfg(target_os = "linux")]
        let _may_not = rustix::process::setpriority_process(None, NICE);
        work()
    });
    thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))
}
