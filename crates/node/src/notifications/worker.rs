//! The task that runs the courier while the server runs.
//!
//! It checks when events were added, and four times a second for attempts that are due; a check
//! reads one counter. Events that follow each other closely are collected: making notices of them
//! is a commit, and commits delay senders of events too. Every attempt is a separate task, so that
//! a hanging one blocks only its own channel.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;

use crate::installation::Installation;
use crate::notifications::courier::{Courier, Errand};

/// Interval of the check for due attempts.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time for which events are collected after notices were made: a tenth of the second within which
/// people shall be notified. The first after a pause does not wait.
const GATHER: Duration = Duration::from_millis(100);

/// Delivers until it is dropped. Attempts in progress when the server stops are canceled and
/// repeated after its next start.
pub async fn run(installation: Arc<Installation>, courier: Arc<Courier>) {
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut attempts = tokio::task::JoinSet::new();
    let mut bell = installation.listen();
    let mut is_told = false;
    let mut gathered = tokio::time::Instant::now() - GATHER;
    loop {
        tokio::select! {
            _ = rounds.tick() => is_told = true,
            Ok(()) = bell.changed() => {
                is_told = true;
                if gathered.elapsed() < GATHER {
                    continue;
                }
            }
            () = tokio::time::sleep_until(gathered + GATHER), if is_told => {}
            // The next notice of the session is due at once; after an error it waits for the next
            // check.
            Some(attempted) = attempts.join_next(), if !attempts.is_empty() => {
                // Attempts that were stored together end together: one check is enough for all of
                // them.
                let mut goes_on = attempted.unwrap_or(false);
                while let Some(attempted) = attempts.try_join_next() {
                    goes_on |= attempted.unwrap_or(false);
                }
                if !goes_on {
                    continue;
                }
            }
        }
        let gathers = is_told && gathered.elapsed() >= GATHER;
        is_told &= !gathers;
        match look(&courier, gathers, installation.wall()).await {
            Ok((found, errands)) => {
                if found {
                    gathered = tokio::time::Instant::now();
                }
                for errand in errands {
                    let trying = Arc::clone(&courier);
                    attempts.spawn(async move {
                        let attempted = trying.attempt(errand).await;
                        attempted.inspect_err(|why| tracing::error!("delivering a notification: {why}")).is_ok()
                    });
                }
            }
            Err(why) => tracing::error!("notifications: {why}"),
        }
    }
}

/// Returns whether there were new events, if it collects, and the attempts that are due. It runs
/// outside the threads that must not wait for the disk.
async fn look(courier: &Arc<Courier>, gathers: bool, now: Timestamp) -> Result<(bool, Vec<Errand>), Error> {
    let courier = Arc::clone(courier);
    let looking = move || Ok((gathers && courier.collect()?, courier.due(now)?));
    let looked = tokio::task::spawn_blocking(looking).await;
    looked.unwrap_or_else(|why| Err(Error::new(flowmeter_engine::Kind::Bug, format!("looking failed: {why}"))))
}
