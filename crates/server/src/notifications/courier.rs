//! The courier: makes notices of events and delivers them.
//!
//! Order: within a channel, notices of one session leave one after the other, in the
//! order of their events; the next is not tried before the one before it was accepted or
//! is dead. Sessions do not wait for each other, nor channels: each channel has so many
//! attempts under way at most, and nobody else waits for them.
//!
//! What was accepted is in the catalog before the next of its session is tried. A crash
//! in between delivers it again under the same id, by which the receiver tells.
//!
//! The time is an argument, and who keeps rests a little between two commits; nothing else
//! waits here: the worker calls again and again, and tests as often as they like at whatever
//! time they like.

mod keeping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use tracing::Instrument;
use uuid::Uuid;

use super::channels::{Message, Outside, Sent};
use super::notice::{Notice, NoticeState};
use super::pace::{Patience, next_attempt};
use crate::installation::{Installation, Refused, Who};
use crate::traces;
use keeping::{Ended, Keeping};

/// Attempts of one channel that are under way at once.
const UNDER_WAY: usize = 4;

/// A channel of a notification.
type Lane = (Uuid, String);
/// Notices of one session over one channel: number and when each is tried next.
type Queue = BTreeMap<u64, Timestamp>;

#[derive(Default)]
struct Bag {
    /// What waits, in order, by channel and session.
    queues: BTreeMap<Lane, BTreeMap<String, Queue>>,
    /// What is being tried.
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

/// The courier.
pub struct Courier {
    installation: Arc<Installation>,
    outside: Outside,
    bag: Mutex<Bag>,
    /// Notices are numbered by one at a time.
    collecting: Mutex<()>,
    keeping: Arc<Keeping>,
}

/// A notice that is to be tried now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    lane: Lane,
    session: String,
    number: u64,
}

/// How a channel is, for monitoring.
pub(crate) struct Gauge {
    pub(crate) namespace: String,
    pub(crate) notification: String,
    pub(crate) channel: String,
    /// Notices that wait.
    pub(crate) waiting: u64,
    /// Notices that were accepted, ever.
    pub(crate) delivered: u64,
    /// Notices that were given up, ever.
    pub(crate) dead: u64,
    /// Whether the last attempt failed.
    pub(crate) is_failing: bool,
}

/// An errand is over however it ends: the session's next one may go.
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
    /// A courier with everything that waits.
    ///
    /// # Errors
    /// The catalog, or certificates that cannot be read.
    pub fn open(installation: Arc<Installation>) -> Result<Courier, Error> {
        let outside = Outside::new(installation.settings());
        let outside = outside.map_err(|why| Error::new(flowmeter_engine::Kind::Invalid, why))?;
        let mut bag = Bag::default();
        installation.waiting_notices()?.iter().for_each(|notice| bag.add(notice));
        Ok(Courier { installation, outside, bag: Mutex::new(bag), collecting: Mutex::default(), keeping: Arc::default() })
    }

    fn bag(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes notices of all new events. Tells whether there were any.
    ///
    /// # Errors
    /// The catalog.
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

    /// What is to be tried now. Each is under way until it was attempted. Connections that
    /// nothing went over for long are closed.
    ///
    /// # Errors
    /// The catalog.
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

    /// Tries one and keeps what became of it.
    ///
    /// # Errors
    /// The catalog; then it is tried again.
    pub async fn attempt(self: Arc<Self>, errand: Errand) -> Result<(), Error> {
        let _returned = Returned(&self, &errand);
        // What was told last is in memory: to read it takes less than to let others do it.
        let Some((notice, what)) = self.look_up(errand.number)? else { return Ok(()) };
        let began = self.installation.now();
        let attempt = format!("{}.{}", notice.wire_id(), notice.attempt_count + 1);
        let sent = match &what {
            Err(why) => Err(why.clone()),
            Ok((channel, event, notification)) => {
                let span = traces::notify(&notice.channel);
                let message = Message { id: &notice.wire_id(), attempt: &attempt, notification, at: began, event };
                let sent = channel.send(&message, &self.outside).instrument(span.clone()).await;
                if !sent.accepted {
                    traces::failed(&span);
                }
                Ok(sent)
            }
        };
        let (kept, is_first) = self.keeping.lay_down(Ended { notice, id: attempt, began, sent });
        if is_first {
            // It waits for the disk; others lay down what ends meanwhile.
            tokio::spawn(Courier::keep_all(Arc::downgrade(&self), Arc::clone(&self.keeping)));
        }
        let lost = || Error::new(flowmeter_engine::Kind::Bug, "what became of an attempt was not kept");
        kept.await.unwrap_or_else(|_| Err(lost()))
    }

    /// The notice, and what it needs to be sent; or why it cannot be.
    #[allow(clippy::type_complexity)] // told apart at once, by the one caller
    fn look_up(
        &self,
        number: u64,
    ) -> Result<Option<(Notice, Result<(super::channels::Channel, crate::installation::SessionEvent, String), String>)>, Error>
    {
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

    /// How every channel is.
    ///
    /// # Errors
    /// The catalog.
    pub(crate) fn gauges(&self) -> Result<Vec<Gauge>, Error> {
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

    /// Sends a notice again, by hand.
    ///
    /// # Errors
    /// Not while it is being tried, and not when there is nobody to send it to.
    pub fn resend(&self, who: &Who, namespace: &str, id: &str) -> Result<Notice, Refused> {
        let mut bag = self.bag();
        let notice = self.installation.notice(namespace, id)?;
        let busy = bag.under_way.get(&notice.lane());
        if busy.is_some_and(|sessions| sessions.contains(&notice.session_id)) && notice.state == NoticeState::Waiting {
            let detail = "it is being tried at this moment; look at it again in a few seconds";
            return Err(Box::new(crate::problem::Problem::new(crate::problem::Code::Conflict, detail)));
        }
        let notice = self.installation.resend_notice(who, notice)?;
        bag.add(&notice);
        Ok(notice)
    }
}
