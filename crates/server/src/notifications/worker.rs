//! The task that keeps the courier going while the server runs.
//!
//! It looks when events were told, and four times a second for what is to be tried again;
//! looking costs one read of a counter. Every attempt is a task of its own, so that
//! one that hangs holds up nothing but its own channel.

use std::sync::Arc;
use std::time::Duration;

use super::courier::Courier;
use crate::installation::Installation;

/// How often it is looked for what is to be tried again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Delivers until it is dropped. Attempts under way when the server stops are broken off
/// and made again after its next start.
pub async fn run(installation: Arc<Installation>, courier: Arc<Courier>) {
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut attempts = tokio::task::JoinSet::new();
    let mut bell = installation.listen();
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            Ok(()) = bell.changed() => {}
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
        let looking = (Arc::clone(&courier), installation.now());
        let looked = tokio::task::spawn_blocking(move || looking.0.collect().and_then(|()| looking.0.due(looking.1))).await;
        match looked {
            Ok(Ok(errands)) => {
                for errand in errands {
                    let trying = Arc::clone(&courier);
                    attempts.spawn(async move {
                        let attempted = trying.attempt(errand).await;
                        attempted.inspect_err(|why| tracing::error!("delivering a notification: {why}")).is_ok()
                    });
                }
            }
            Ok(Err(why)) => tracing::error!("notifications: {why}"),
            Err(why) => tracing::error!("notifications: {why}"),
        }
    }
}
