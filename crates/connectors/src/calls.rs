//! Waiting for what is outside: with a deadline, and until the owner gives up.
//!
//! Every network target does its requests through a [`Calls`] of its own. A request that
//! hangs ends at its deadline, or at once when [`Abandon::ask`] is called: when the server
//! stops, or the pipeline is changed. An abandoned request may have arrived. Its records
//! are in doubt and go again under the same key.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flowmeter_engine::{Error, Kind};
use futures_util::future::{Either, select};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A switch that ends all requests of a target that are under way, and all later ones.
#[derive(Clone, Debug)]
pub struct Abandon(Arc<watch::Sender<bool>>);

impl Default for Abandon {
    fn default() -> Abandon {
        Abandon(Arc::new(watch::channel(false).0))
    }
}

impl Abandon {
    /// Ends the requests under way.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether they were ended.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// The outcome of some work, unless it is abandoned first.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, Cut> {
        let mut asked = self.0.subscribe();
        let asked = std::pin::pin!(asked.wait_for(|is_asked| *is_asked));
        match select(asked, std::pin::pin!(work)).await {
            Either::Left(_) => Err(Cut::Abandoned),
            Either::Right((done, _)) => Ok(done),
        }
    }
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The owner gave it up.
    Abandoned,
    /// It took longer than this.
    TooLate(Duration),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Abandoned => f.write_str("the request was given up: the server stops, or the pipeline was changed"),
            Cut::TooLate(limit) => write!(f, "no answer within {} s", limit.as_secs()),
        }
    }
}

/// The requests of one target, which its own thread makes.
pub(crate) struct Calls {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    abandon: Abandon,
}

impl Calls {
    /// # Errors
    /// The system has no room for another runtime.
    pub(crate) fn new(abandon: &Abandon) -> Result<Calls, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Error::new(Kind::Unavailable, format!("no runtime: {why}")))?;
        Ok(Calls { runtime: Some(runtime), abandon: abandon.clone() })
    }

    /// The switch that ends what is under way.
    pub(crate) fn abandon(&self) -> &Abandon {
        &self.abandon
    }

    /// Waits for work that watches [`Calls::abandon`] itself.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Cut> {
        // Nothing is asked after the runtime is gone: dropping is the last thing done.
        let runtime = self.runtime.as_ref().ok_or(Cut::Abandoned)?;
        Ok(runtime.block_on(work))
    }

    /// Waits for work, at most for so long.
    pub(crate) fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Cut> {
        self.wait(async {
            let timed = tokio::time::timeout(limit, self.abandon.or(work)).await;
            timed.unwrap_or(Err(Cut::TooLate(limit)))
        })?
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // A name that is being looked up must not hold up the thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_ends_when_it_is_abandoned_or_late() {
        let abandon = Abandon::default();
        let calls = Calls::new(&abandon).unwrap();
        assert_eq!(calls.within(Duration::from_secs(60), async { 1 }), Ok(1));
        let late = calls.within(Duration::from_millis(1), std::future::pending::<()>());
        assert_eq!(late, Err(Cut::TooLate(Duration::from_millis(1))));
        let other = abandon.clone();
        let asking = std::thread::spawn(move || other.ask());
        let given_up = calls.within(Duration::from_secs(600), std::future::pending::<()>());
        assert_eq!(given_up, Err(Cut::Abandoned));
        asking.join().unwrap();
        assert_eq!(calls.within(Duration::from_secs(600), std::future::pending::<()>()), Err(Cut::Abandoned));
    }
}
