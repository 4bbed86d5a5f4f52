//! Notifications and their notices in the catalog, for people who change and read them. The courier
//! delivers the notices.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use flowmeter_core::meter_type::derived;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table, count_to, key_of};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::notifications::condition::Condition;
use crate::notifications::declared::must_be_made_by_hand;
use crate::notifications::notice::{ChannelState, Notice, NoticeState};
use crate::notifications::{Draft, Notification};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, put};
use crate::sessions::SessionEvent;

/// Counter with the number of the newest event that has become notices.
const CURSOR: &[u8] = b"notified";
/// Counter with the number of the newest notice.
const NOTICES: &[u8] = b"notices";
/// Maximum of events that become notices in one commit.
const EVENTS_AT_ONCE: usize = 500;
/// Maximum of events that a preview examines: the newest.
const TRIED_MAX: usize = 10_000;

/// A filter of notices.
#[derive(Clone, Debug, Default)]
pub struct NoticeFilter {
    /// Notices of this notification, by name or id.
    pub notification: Option<String>,
    /// Notices over this channel.
    pub channel: Option<String>,
    /// Notices in this state.
    pub state: Option<NoticeState>,
    /// Notices of this session.
    pub session: Option<String>,
}

impl NoticeFilter {
    fn takes(&self, notice: &Notice) -> bool {
        let is = |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|wanted| wanted == there);
        let of_notification = self
            .notification
            .as_deref()
            .is_none_or(|wanted| wanted == notice.notification || wanted == notice.notification_id.to_string());
        of_notification
            && is(&self.channel, &notice.channel)
            && is(&self.session, &notice.session_id)
            && self.state.is_none_or(|state| state == notice.state)
    }
}

/// The result of a preview.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Number of examined events of the type.
    pub looked_at: u64,
    /// Events that the notification would have sent, the newest first.
    pub matched: Vec<SessionEvent>,
    /// Number of such events.
    pub matched_count: u64,
}

fn channel_key(lane: &(Uuid, String)) -> Vec<u8> {
    [lane.0.as_bytes(), lane.1.as_bytes()].concat()
}

impl Installation {
    /// Returns the notifications of a namespace, by name.
    pub fn notifications(&self, namespace: &str) -> Result<Vec<Notification>, Error> {
        let found = self.catalog.scan(Table::Notifications, &named_key(namespace, ""), None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Returns all notifications. They are read with every attempt and change seldom, so they are
    /// cached.
    pub(crate) fn all_notifications(&self) -> Result<Arc<Vec<Notification>>, Error> {
        let mut known = self.notifications_read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        let found = self.catalog.scan(Table::Notifications, b"", None, usize::MAX)?;
        let all: Vec<Notification> = found.iter().map(|(_, value)| kept(value)).collect::<Result<_, _>>()?;
        Ok(Arc::clone(known.insert(Arc::new(all))))
    }

    /// Changes notifications and drops the cache, so that later readers see the change.
    fn commit_notifications(&self, changes: &[Change]) -> Result<(), Refused> {
        let committed = self.catalog.commit(changes);
        *self.notifications_read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        committed.map_err(|why| refusal_of(&why.into()))
    }

    /// Returns a notification by id or name.
    pub fn notification(&self, namespace: &str, id_or_name: &str) -> Result<Notification, Refused> {
        let all = self.notifications(namespace).map_err(|why| refusal_of(&why))?;
        let id = Uuid::try_parse(id_or_name).ok();
        let found = all.into_iter().find(|known| known.name == id_or_name || Some(known.id) == id);
        found.ok_or_else(|| not_found("notification", id_or_name))
    }

    /// Creates a notification. It sends events from now on.
    pub fn create_notification(&self, who: &Who, fields: &Map<String, Value>) -> Result<Notification, Refused> {
        self.make_notification(who, Draft::read(fields)?, false)
    }

    pub(crate) fn make_notification(&self, who: &Who, draft: Draft, declared: bool) -> Result<Notification, Refused> {
        self.tell_before();
        let _change = self.begin_change()?;
        let key = named_key(&who.namespace, &draft.name);
        if self.catalog.get(Table::Notifications, &key).map_err(|why| refusal_of(&why.into()))?.is_some() {
            let detail = format!("there is a notification `{}` already", draft.name);
            return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail).field("name")));
        }
        let now = self.now().to_string();
        // A new notification with the same name is a different one: the time of creation is part of
        // its id.
        let seed = format!("notification/{}/{}/{now}", who.namespace, draft.name);
        let made = Notification {
            id: derived::named(&Uuid::NAMESPACE_URL, seed.as_bytes()),
            namespace: who.namespace.clone(),
            name: draft.name,
            enabled: draft.enabled,
            event_type: draft.event_type,
            conditions: draft.conditions,
            channels: draft.channels,
            created_at: now.clone(),
            updated_at: now,
            after_event: self.newest_event().map_err(|why| refusal_of(&why))?,
            declared,
        };
        self.keep_notification(who, "notification.create", Value::Null, &made)?;
        Ok(made)
    }

    /// Creates pending events of meters before a notification is created or enabled, since it must
    /// not send those.
    fn tell_before(&self) {
        if let Err(why) = self.tell_of_meters() {
            tracing::warn!("telling what happened to meters: {why}");
        }
    }

    /// Changes a notification. Waiting notices leave by the channels as they are then.
    pub fn update_notification(
        &self,
        who: &Who,
        known: &Notification,
        fields: &Map<String, Value>,
    ) -> Result<Notification, Refused> {
        must_be_made_by_hand(known)?;
        let mut fields = fields.clone();
        fields.entry("name").or_insert_with(|| json!(known.name));
        self.change_notification(who, known, Draft::read(&fields)?, false)
    }

    pub(crate) fn change_notification(
        &self,
        who: &Who,
        known: &Notification,
        draft: Draft,
        declared: bool,
    ) -> Result<Notification, Refused> {
        if draft.name != known.name {
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, "the name of a notification never changes").field("name")));
        }
        self.tell_before();
        let _change = self.begin_change()?;
        let is_turned_on = draft.enabled && !known.enabled;
        let newest = self.newest_event().map_err(|why| refusal_of(&why))?;
        let made = Notification {
            after_event: if is_turned_on { newest } else { known.after_event },
            enabled: draft.enabled,
            event_type: draft.event_type,
            conditions: draft.conditions,
            channels: draft.channels,
            updated_at: self.now().to_string(),
            declared,
            ..known.clone()
        };
        self.keep_notification(who, "notification.update", known.written(), &made)?;
        Ok(made)
    }

    fn keep_notification(&self, who: &Who, action: &str, before: Value, made: &Notification) -> Result<(), Refused> {
        let mut changes = vec![put(Table::Notifications, named_key(&who.namespace, &made.name), made)];
        changes.extend(self.audited(who, action, &made.name, before, made.written()).map_err(|why| refusal_of(&why))?);
        self.commit_notifications(&changes)?;
        self.attend(&who.namespace).map_err(|why| refusal_of(&why))
    }

    /// Deletes a notification. Its waiting notices are dead with the next attempt; its history
    /// stays.
    pub fn delete_notification(&self, who: &Who, known: &Notification) -> Result<(), Refused> {
        must_be_made_by_hand(known)?;
        self.remove_notification(who, known)
    }

    pub(crate) fn remove_notification(&self, who: &Who, known: &Notification) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        let mut changes = vec![Change::Remove(Table::Notifications, named_key(&who.namespace, &known.name))];
        for channel in &known.channels {
            changes.push(Change::Remove(Table::Channels, channel_key(&(known.id, channel.name.clone()))));
        }
        let audited = self.audited(who, "notification.delete", &known.name, known.written(), Value::Null);
        changes.extend(audited.map_err(|why| refusal_of(&why))?);
        self.commit_notifications(&changes)?;
        self.attend(&who.namespace).map_err(|why| refusal_of(&why))
    }

    /// Returns the newest events that a notification would have sent.
    pub fn try_notification(
        &self,
        namespace: &str,
        event_type: &str,
        conditions: Option<&Condition>,
        limit: usize,
    ) -> Result<Tried, Error> {
        let mut tried = Tried::default();
        for (_, value) in self.catalog.scan_back(Table::SessionEvents, b"", None, TRIED_MAX)? {
            let event: SessionEvent = kept(&value)?;
            if event.namespace != namespace || event.event_type != event_type {
                continue;
            }
            tried.looked_at += 1;
            if conditions.is_none_or(|condition| condition.holds(&event.payload)) {
                tried.matched_count += 1;
                if tried.matched.len() < limit {
                    tried.matched.push(event);
                }
            }
        }
        Ok(tried)
    }

    /// Returns the newest event that has become notices.
    pub(crate) fn notified(&self) -> Result<u64, Error> {
        Ok(self.catalog.counter(CURSOR)?)
    }

    /// Makes notices of the events after the cursor; the notices and the cursor are one commit.
    /// Returns the new notices.
    pub(crate) fn make_notices(&self) -> Result<Vec<Notice>, Error> {
        let (cursor, newest) = (self.catalog.counter(CURSOR)?, self.newest_event()?);
        if cursor >= newest {
            return Ok(Vec::new());
        }
        let notifications = self.all_notifications()?;
        let found = self.catalog.scan(Table::SessionEvents, b"", Some(&key_of(cursor)), EVENTS_AT_ONCE)?;
        let mut number = self.catalog.counter(NOTICES)?;
        let (mut notices, mut changes, mut reached) = (Vec::new(), Vec::new(), newest);
        let now = self.now().to_string();
        for (_, value) in &found {
            let event: SessionEvent = kept(value)?;
            reached = event.number;
            for notification in notifications.iter().filter(|notification| notification.wants(&event)) {
                for channel in &notification.channels {
                    number += 1;
                    let notice = Notice {
                        number,
                        id: Notice::id_of(number, notification.id, event.number, &channel.name),
                        namespace: event.namespace.clone(),
                        notification_id: notification.id,
                        notification: notification.name.clone(),
                        channel: channel.name.clone(),
                        event: event.number,
                        event_type: event.event_type.clone(),
                        session_id: event.payload["sessionId"].as_str().unwrap_or_default().to_owned(),
                        state: NoticeState::Waiting,
                        created_at: now.clone(),
                        since: now.clone(),
                        next_attempt_at: None,
                        tried_first: None,
                        tries: 0,
                        attempt_count: 0,
                        repeated: 0,
                        attempts: Vec::new(),
                    };
                    changes.push(put(Table::Notices, key_of(number), &notice));
                    changes.push(Change::Put(Table::NoticesWaiting, key_of(number), Vec::new()));
                    notices.push(notice);
                }
            }
        }
        changes.push(count_to(CURSOR, reached));
        changes.push(count_to(NOTICES, number));
        self.catalog.commit(&changes)?;
        Ok(notices)
    }

    /// Returns the notices that are still to be delivered.
    pub(crate) fn waiting_notices(&self) -> Result<Vec<Notice>, Error> {
        let waiting = self.catalog.scan(Table::NoticesWaiting, b"", None, usize::MAX)?;
        let mut notices = Vec::with_capacity(waiting.len());
        for (key, _) in waiting {
            if let Some(bytes) = self.catalog.get(Table::Notices, &key)? {
                notices.push(kept(&bytes)?);
            }
        }
        Ok(notices)
    }

    /// Returns a notice by number.
    pub(crate) fn notice_of(&self, number: u64) -> Result<Option<Notice>, Error> {
        self.catalog.get(Table::Notices, &key_of(number))?.map(|bytes| kept(&bytes)).transpose()
    }

    /// Returns an event by number.
    pub(crate) fn event_of(&self, number: u64) -> Result<Option<SessionEvent>, Error> {
        self.catalog.get(Table::SessionEvents, &key_of(number))?.map(|bytes| kept(&bytes)).transpose()
    }

    /// Returns the state of a channel.
    pub(crate) fn channel_state(&self, lane: &(Uuid, String)) -> Result<ChannelState, Error> {
        let found = self.catalog.get(Table::Channels, &channel_key(lane))?;
        found.map(|bytes| kept(&bytes)).transpose().map(Option::unwrap_or_default)
    }

    /// Stores the outcomes of notices, with the states of their channels.
    pub(crate) fn keep_notices(
        &self,
        notices: &[Notice],
        channels: &BTreeMap<(Uuid, String), ChannelState>,
    ) -> Result<(), Error> {
        self.keep_notices_with(Vec::new(), notices, channels)
    }

    /// Stores notices together with other changes.
    fn keep_notices_with(
        &self,
        mut changes: Vec<Change>,
        notices: &[Notice],
        channels: &BTreeMap<(Uuid, String), ChannelState>,
    ) -> Result<(), Error> {
        changes.reserve(2 * notices.len() + channels.len());
        for notice in notices {
            let key = key_of(notice.number);
            changes.push(put(Table::Notices, key.clone(), notice));
            changes.push(match notice.state {
                NoticeState::Waiting => Change::Put(Table::NoticesWaiting, key, Vec::new()),
                NoticeState::Delivered | NoticeState::Dead => Change::Remove(Table::NoticesWaiting, key),
            });
        }
        changes.extend(channels.iter().map(|(lane, channel)| put(Table::Channels, channel_key(lane), channel)));
        Ok(self.catalog.commit(&changes)?)
    }

    /// Returns notices of a namespace, the newest first, before a number.
    pub fn notices(
        &self,
        namespace: &str,
        filter: &NoticeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Notice>, Error> {
        let mut found = Vec::new();
        let mut before = before.map(key_of);
        loop {
            let page = self.catalog.scan_back(Table::Notices, b"", before.as_deref(), EVENTS_AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            before = Some(last.clone());
            for (_, value) in &page {
                let notice: Notice = kept(value)?;
                if notice.namespace == namespace && filter.takes(&notice) {
                    found.push(notice);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }

    /// Returns a notice by id.
    pub fn notice(&self, namespace: &str, id: &str) -> Result<Notice, Refused> {
        let missing = || not_found("delivery", id);
        let number = Notice::number_in(id).ok_or_else(missing)?;
        let found = self.notice_of(number).map_err(|why| refusal_of(&why))?;
        found.filter(|notice| notice.namespace == namespace && notice.id == id).ok_or_else(missing)
    }

    /// Sends a notice again on request: one that is dead or waits is tried at once, under its id;
    /// one that was accepted is sent again under a new id.
    pub(crate) fn resend_notice(&self, who: &Who, mut notice: Notice) -> Result<Notice, Refused> {
        let _change = self.begin_change()?;
        let at = |why: Error| refusal_of(&why);
        if !self.all_notifications().map_err(at)?.iter().any(|known| known.id == notice.notification_id) {
            let detail = format!("the notification `{}` no longer exists, so the delivery cannot be sent", notice.notification);
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let audited = self.audited(who, "notification.resend", &notice.id, json!({"state": notice.state}), Value::Null);
        let audited = audited.map_err(at)?;
        if notice.state == NoticeState::Delivered {
            notice.repeated += 1;
        }
        notice.state = NoticeState::Waiting;
        notice.since = self.now().to_string();
        (notice.next_attempt_at, notice.tried_first, notice.tries) = (None, None, 0);
        self.keep_notices_with(audited, std::slice::from_ref(&notice), &BTreeMap::new()).map_err(at)?;
        Ok(notice)
    }

    /// Returns the channels of the notifications of a namespace with their states.
    pub fn channel_states(&self, namespace: &str) -> Result<Vec<Value>, Error> {
        let waiting = self.waiting_notices()?;
        let mut shown = Vec::new();
        for notification in self.notifications(namespace)? {
            for channel in &notification.channels {
                let lane = (notification.id, channel.name.clone());
                let state = self.channel_state(&lane)?;
                let mut value = serde_json::to_value(&state).unwrap_or_default();
                value["notification"] = json!(notification.name);
                value["notificationId"] = json!(notification.id);
                value["channel"] = json!(channel.name);
                value["waiting"] = json!(waiting.iter().filter(|notice| notice.lane() == lane).count());
                value["state"] = json!(if state.failing_since.is_some() { "failing" } else { "well" });
                shown.push(value);
            }
        }
        Ok(shown)
    }
}
