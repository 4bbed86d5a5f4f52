//! The courier: makes notices of events and delivers them.
//!
//! Order: within a channel, notices of one session are sent in the order of their events; the next
//! is not tried before the previous one was accepted or is dead. Sessions do not wait for each
//! other, and neither do channels: each channel has a bounded number of attempts in progress, and
//! no other channel waits for them.
//!
//! An accepted notice is in the catalog before the next of its session is tried. After a crash in
//! between it is delivered again under the same id, by which the receiver deduplicates.
//!
//! The time is an argument, and only the task that stores results pauses between two commits.
//! Nothing else waits here: the worker calls repeatedly, and tests call at any time they choose.

mod keeping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use keeping::{Ended, Keeping};
use tracing::Instrument;
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::notifications::channels::{Message, Outside, Sent};
use crate::notifications::notice::{Notice, NoticeState};
use crate::notifications::pace::{Patience, next_attempt};
use crate::refusal::Refused;
use crate::spans;

/// Maximum of concurrent attempts of one channel.
const UNDER_WAY: usize = 4;

/// A channel of a notification.
type Lane = (Uuid, String);
/// Notices of one session over one channel: the number, and the time of the next attempt.
type Queue = BTreeMap<u64, Timestamp>;

#[derive(Default)]
struct Bag {
    /// Waiting notices in order, by channel and session.
    queues: BTreeMap<Lane, BTreeMap<String, Queue>>,
    /// Sessions with an attempt in progress, by channel.
    under_way: BTreeMap<Lane, BTreeSet<String>>,
}

impl Bag {
    fn add(&mut self, notice: &Notice) {
        let next = notice.next_attempt_at.as_deref().map_or(Timestamp::MIN, Notice::instant);
        let queue = self.queues.entry(notice.lane()).or_default().entry(notice.session_id.clone()).or_default();
        queue.insert(notice.number, next);
    }

    fn remove(&mut self, notice: &Notice) {
        let Some(sessions) = self.queues.get_mut(&notice.lane()) else { return };
        if let Some(queue) = sessions.get_mut(&notice.session_id) {
            queue.remove(&notice.number);
            if queue.is_empty() {
                sessions.remove(&notice.session_id);
            }
        }
        if sessions.is_empty() {
            self.queues.remove(&notice.lane());
        }
    }
}

/// Makes and delivers notices.
pub struct Courier {
    installation: Arc<Installation>,
    outside: Outside,
    bag: Mutex<Bag>,
    /// Held while notices are numbered, by one task at a time.
    collecting: Mutex<()>,
    keeping: Arc<Keeping>,
}

/// A notice that is due for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    lane: Lane,
    session: String,
    number: u64,
}

/// The state of a channel, for monitoring.
pub struct Gauge {
    pub namespace: String,
    pub notification: String,
    pub channel: String,
    /// Number of waiting notices.
    pub waiting: u64,
    /// Number of notices that were accepted since the channel exists.
    pub delivered: u64,
    /// Number of notices that are dead since the channel exists.
    pub dead: u64,
    /// Whether the last attempt failed.
    pub is_failing: bool,
}

/// Ends an errand in any case, so that the session's next one may start.
struct Returned<'a>(&'a Courier, &'a Errand);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        let mut bag = self.0.bag();
        if let Some(sessions) = bag.under_way.get_mut(&self.1.lane) {
            sessions.remove(&self.1.session);
            if sessions.is_empty() {
                bag.under_way.remove(&self.1.lane);
            }
        }
    }
}

impl Courier {
    /// Creates a courier with all waiting notices.
    ///
    /// # Errors
    /// The catalog or certificates cannot be read.
    pub fn open(installation: Arc<Installation>) -> Result<Courier, Error> {
        let outside = Outside::new(installation.settings());
        let outside = outside.map_err(|why| Error::new(flowmeter_engine::Kind::Invalid, why))?;
        let mut bag = Bag::default();
        installation.waiting_notices()?.iter().for_each(|notice| bag.add(notice));
        Ok(Courier { installation, outside, bag: Mutex::new(bag), collecting: Mutex::default(), keeping: Arc::default() })
    }

    /// Returns the installation whose events it delivers.
    pub(crate) fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    /// Returns the resources of channels.
    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    fn bag(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes notices of all new events. Returns whether there were any.
    ///
    /// # Errors
    /// An error of the catalog.
    pub fn collect(&self) -> Result<bool, Error> {
        let _collecting = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.installation.notified()?;
        loop {
            let before = self.installation.notified()?;
            let notices = self.installation.make_notices()?;
            let mut bag = self.bag();
            notices.iter().for_each(|notice| bag.add(notice));
            if self.installation.notified()? == before {
                return Ok(before != first);
            }
        }
    }

    /// Returns the notices that are due. Each is in progress until it was attempted. Connections
    /// that were unused for long are closed.
    ///
    /// # Errors
    /// An error of the catalog.
    pub fn due(&self, now: Timestamp) -> Result<Vec<Errand>, Error> {
        self.outside.sweep(now);
        let notifications = self.installation.all_notifications()?;
        let is_off = |id: Uuid| notifications.iter().any(|known| known.id == id && !known.enabled);
        let mut bag = self.bag();
        let Bag { queues, under_way } = &mut *bag;
        let mut errands = Vec::new();
        for (lane, sessions) in queues.iter().filter(|(lane, _)| !is_off(lane.0)) {
            let busy = under_way.entry(lane.clone()).or_default();
            for (session, queue) in sessions {
                if busy.len() >= UNDER_WAY {
                    break;
                }
                let Some((number, next)) = queue.first_key_value() else { continue };
                if *next <= now && !busy.contains(session) {
                    busy.insert(session.clone());
                    errands.push(Errand { lane: lane.clone(), session: session.clone(), number: *number });
                }
            }
        }
        under_way.retain(|_, busy| !busy.is_empty());
        Ok(errands)
    }

    /// Attempts one notice and stores the result.
    ///
    /// # Errors
    /// An error of the catalog; then the notice is tried again.
    pub async fn attempt(self: Arc<Self>, errand: Errand) -> Result<(), Error> {
        let _returned = Returned(&self, &errand);
        // The newest events are in memory: reading them is faster than moving to another thread.
        let Some((notice, what)) = self.look_up(errand.number)? else { return Ok(()) };
        let began = self.installation.wall();
        let attempt = format!("{}.{}", notice.wire_id(), notice.attempt_count + 1);
        let sent = match &what {
            Err(why) => Err(why.clone()),
            Ok((channel, event, notification)) => {
                let span = spans::notify(&notice.channel);
                let message = Message { id: &notice.wire_id(), attempt: &attempt, notification, at: began, event };
                let sent = channel.send(&message, &self.outside).instrument(span.clone()).await;
                if !sent.accepted {
                    spans::failed(&span);
                }
                Ok(sent)
            }
        };
        let (kept, is_first) = self.keeping.lay_down(Ended { notice, id: attempt, began, sent });
        if is_first {
            // It waits for the disk; other attempts add their results in the meantime.
            tokio::spawn(Courier::keep_all(Arc::downgrade(&self), Arc::clone(&self.keeping)));
        }
        let lost = || Error::new(flowmeter_engine::Kind::Bug, "what became of an attempt was not kept");
        kept.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Returns the notice and what is needed to send it; or the reason why it cannot be sent.
    #[allow(clippy::type_complexity)] // taken apart at once by the only caller
    fn look_up(
        &self,
        number: u64,
    ) -> Result<
        Option<(Notice, Result<(crate::notifications::channels::Channel, crate::sessions::SessionEvent, String), String>)>,
        Error,
    > {
        let Some(notice) = self.installation.notice_of(number)? else { return Ok(None) };
        if notice.state != NoticeState::Waiting {
            self.bag().remove(&notice);
            return Ok(None);
        }
        let all = self.installation.all_notifications()?;
        let notification = all.iter().find(|known| known.id == notice.notification_id);
        let channel = notification.and_then(|known| known.channels.iter().find(|known| known.name == notice.channel));
        let event = self.installation.event_of(notice.event)?;
        let what = match (notification, channel, event) {
            (Some(notification), Some(channel), Some(event)) => Ok((channel.clone(), event, notification.name.clone())),
            (None, ..) => Err("the notification is gone".to_owned()),
            (_, None, _) => Err("the notification has no such channel any more".to_owned()),
            _ => Err("the event is no longer kept".to_owned()),
        };
        Ok(Some((notice, what)))
    }

    /// Returns the state of every channel.
    ///
    /// # Errors
    /// An error of the catalog.
    pub fn gauges(&self) -> Result<Vec<Gauge>, Error> {
        let mut gauges = Vec::new();
        for notification in self.installation.all_notifications()?.iter() {
            for channel in &notification.channels {
                let lane = (notification.id, channel.name.clone());
                let state = self.installation.channel_state(&lane)?;
                let waiting = |sessions: &BTreeMap<String, Queue>| sessions.values().map(BTreeMap::len).sum::<usize>();
                gauges.push(Gauge {
                    namespace: notification.namespace.clone(),
                    notification: notification.name.clone(),
                    channel: channel.name.clone(),
                    waiting: self.bag().queues.get(&lane).map_or(0, waiting) as u64,
                    delivered: state.delivered,
                    dead: state.dead,
                    is_failing: state.failing_since.is_some(),
                });
            }
        }
        Ok(gauges)
    }

    /// Sends a notice again on request.
    ///
    /// # Errors
    /// The notice is being tried at this moment, or its notification or channel no longer exists.
    pub fn resend(&self, who: &Who, namespace: &str, id: &str) -> Result<Notice, Refused> {
        let mut bag = self.bag();
        let notice = self.installation.notice(namespace, id)?;
        let busy = bag.under_way.get(&notice.lane());
        if busy.is_some_and(|sessions| sessions.contains(&notice.session_id)) && notice.state == NoticeState::Waiting {
            let detail = "it is being tried at this moment; look at it again in a few seconds";
            return Err(Box::new(crate::refusal::Refusal::new(crate::refusal::RefusalKind::Conflict, detail)));
        }
        let notice = self.installation.resend_notice(who, notice)?;
        bag.add(&notice);
        Ok(notice)
    }
}
