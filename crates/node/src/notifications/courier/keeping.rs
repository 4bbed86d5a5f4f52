//! Stores the results of attempts: all that have ended so far, in one commit.
//!
//! A commit waits for the disk, which events need too. So one task stores for all: while it waits
//! and pauses, other tasks add their results; it continues until nothing is left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use flowmeter_engine::{Error, Kind};
use serde_json::{Value, json};
use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::notifications::courier::{Courier, Lane, Notice, NoticeState, Patience, Sent, Timestamp, next_attempt};
use crate::notifications::notice::{Attempt, ChannelState};

/// An attempt that has ended.
pub(crate) struct Ended {
    pub(crate) notice: Notice,
    /// Id of the attempt.
    pub(crate) id: String,
    pub(crate) began: Timestamp,
    /// The response; or the reason why the notice cannot be sent.
    pub(crate) sent: Result<Sent, String>,
}

/// The result of storing an attempt.
type Kept = Result<(), Error>;

/// Time for which results are collected after a commit. The first after a pause does not wait.
const GATHER: Duration = Duration::from_millis(10);

/// Attempts that have ended and are not stored yet.
#[derive(Default)]
pub(crate) struct Keeping(Mutex<LaidDown>);

#[derive(Default)]
struct LaidDown {
    ended: Vec<(Ended, Sender<Kept>)>,
    /// Whether a task is storing and will check for more.
    is_watched: bool,
}

impl Keeping {
    /// Adds an attempt that has ended. Returns a channel that reports when it is stored, and
    /// whether no task is storing, so that the caller must start one.
    pub(crate) fn lay_down(&self, ended: Ended) -> (Receiver<Kept>, bool) {
        let (told, hears) = channel();
        let mut laid_down = self.lock();
        laid_down.ended.push((ended, told));
        let was_watched = std::mem::replace(&mut laid_down.is_watched, true);
        (hears, !was_watched)
    }

    /// Returns everything that was added; if there is nothing, storing ends.
    fn take(&self) -> Option<Vec<(Ended, Sender<Kept>)>> {
        let mut laid_down = self.lock();
        laid_down.is_watched = !laid_down.ended.is_empty();
        laid_down.is_watched.then(|| std::mem::take(&mut laid_down.ended))
    }

    fn lock(&self) -> MutexGuard<'_, LaidDown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks that a task is storing. When it is dropped, the next added result starts a new task.
struct Watch<'k>(Option<&'k Keeping>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // After a panic: waiting tasks learn that their results will not be stored.
        if let Some(keeping) = self.0 {
            let mut laid_down = keeping.lock();
            laid_down.is_watched = false;
            laid_down.ended.clear();
        }
    }
}

impl Courier {
    /// Stores the added results until there is nothing left. It holds no reference while it pauses,
    /// so that the courier can be dropped.
    pub(crate) async fn keep_all(courier: Weak<Courier>, keeping: Arc<Keeping>) {
        let mut watch = Watch(Some(&keeping));
        while let Some(all) = keeping.take() {
            let Some(courier) = courier.upgrade() else { return };
            let (ended, told): (Vec<Ended>, Vec<_>) = all.into_iter().unzip();
            let kept = tokio::task::spawn_blocking(move || courier.keep(ended)).await;
            let kept = kept.unwrap_or_else(|why| Err(Error::new(Kind::Bug, format!("keeping failed: {why}"))));
            // A receiver without a waiting task was canceled.
            told.into_iter().for_each(|told| drop(told.send(kept.clone())));
            tokio::time::sleep(GATHER).await;
        }
        watch.0 = None;
    }

    fn keep(&self, ended: Vec<Ended>) -> Kept {
        let now = self.installation.wall();
        // The queue and the stored state change together.
        let mut bag = self.bag();
        let mut channels: BTreeMap<Lane, ChannelState> = BTreeMap::new();
        let mut notices = Vec::with_capacity(ended.len());
        for one in ended {
            let lane = one.notice.lane();
            let channel = match channels.remove(&lane) {
                Some(channel) => channel,
                None => self.installation.channel_state(&lane)?,
            };
            let (notice, channel) = after(one, channel, now);
            channels.insert(lane, channel);
            notices.push(notice);
        }
        self.installation.keep_notices(&notices, &channels)?;
        for notice in &notices {
            match notice.state {
                NoticeState::Waiting => bag.add(notice),
                NoticeState::Delivered | NoticeState::Dead => bag.remove(notice),
            }
        }
        Ok(())
    }
}

/// Logs that a channel fails, and that it works again: once each, however many attempts fail in
/// between.
fn log_change(notice: &Notice, was_failing: bool, accepted: bool, answer: &Value) {
    let (notification, channel) = (&notice.notification, &notice.channel);
    match (was_failing, accepted) {
        (false, false) => tracing::warn!(
            id = notice.id,
            "notification `{notification}` cannot be delivered over channel `{channel}`: {answer}; it is tried again"
        ),
        (true, true) => tracing::info!("notification `{notification}` is delivered over channel `{channel}` again"),
        (false, true) | (true, false) => {}
    }
}

/// Returns a notice and its channel after an attempt.
fn after(ended: Ended, mut channel: ChannelState, now: Timestamp) -> (Notice, ChannelState) {
    let Ended { mut notice, id, began, sent } = ended;
    notice.next_attempt_at = None;
    let at = began.to_string();
    let sent = match sent {
        Ok(sent) => sent,
        Err(why) => {
            // The channel no longer exists, which waiting does not change.
            notice.state = NoticeState::Dead;
            let answer = json!({"error": why});
            notice.add(Attempt { id, at, duration_ms: 0, accepted: false, request: json!(null), answer });
            return (notice, channel);
        }
    };
    let tried_first = notice.tried_first.get_or_insert_with(|| at.clone()).clone();
    let duration_ms = u64::try_from(now.since(began) / 1_000_000).unwrap_or(0);
    let answer = sent.answer.clone();
    notice.add(Attempt { id, at, duration_ms, accepted: sent.accepted, request: sent.request, answer });
    let was_failing = channel.failing_since.is_some();
    channel.saw(sent.accepted, &now.to_string(), &sent.answer);
    log_change(&notice, was_failing, sent.accepted, &sent.answer);
    let patience = Patience {
        tried_first: Notice::instant(&tried_first),
        since: Notice::instant(&notice.since),
        failing_since: channel.failing_since.as_deref().map_or(now, Notice::instant),
    };
    notice.state = if sent.accepted {
        NoticeState::Delivered
    } else if patience.is_over(now) {
        channel.dead += 1;
        tracing::warn!(id = notice.id, channel = notice.channel, "a notification was given up: {}", sent.answer);
        NoticeState::Dead
    } else {
        notice.next_attempt_at = Some(next_attempt(&notice.id, notice.tries, now, sent.retry_after).to_string());
        NoticeState::Waiting
    };
    (notice, channel)
}
