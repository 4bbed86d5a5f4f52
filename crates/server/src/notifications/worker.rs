//! The task that keeps the courier going while the server runs.
//!
//! It looks when events were told, and four times a second for what is to be tried again;
//! looking costs one read of a counter. Events that are told shortly after each other are
//! gathered: to make notices of them is a commit, which whoever sends events waits for too.
//! Every attempt is a task of its own, so that one that hangs holds up nothing but its own
//! channel.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;

use super::courier::{Courier, Errand};
use crate::installation::Installation;

/// How often it is looked for what is to be tried again.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long events are gathered after notices were made: a tenth of the second within which
/// people learn what happened. The first after a pause does not wait.
const GATHER: Duration = Duration::from_millis(100);

/// Delivers until it is dropped. Attempts under way when the server stops are broken off
/// and made again after its next start.
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
            // The next of the session need not wait for the next look; what went wrong does.
            Some(attempted) = attempts.join_next(), if !attempts.is_empty() => {
                // Those that were kept together end together: one look is for all of them.
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
        match look(&courier, gathers, installation.now()).await {
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

/// Whether there were new events, if it gathers, and what is to be tried now. Looks beside
/// the threads that must not wait for the disk.
async fn look(courier: &Arc<Courier>, gathers: bool, now: Timestamp) -> Result<(bool, Vec<Errand>), Error> {
    let courier = Arc::clone(courier);
    let looking = move || Ok((gathers && courier.collect()?, courier.due(now)?));
    let looked = tokio::task::spawn_blocking(looking).await;
    looked.unwrap_or_else(|why| Err(Error::new(flowmeter_engine::Kind::Bug, format!("looking failed: {why}"))))
}
