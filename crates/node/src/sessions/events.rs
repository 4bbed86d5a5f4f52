//! Events of sessions, as they were emitted: all of them by number, and those of each session by
//! an index.

use flowmeter_core::session::Status;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Catalog, Change, Table, count_to, key_of};

use super::SessionEvent;
use crate::installation::Installation;
use crate::rows::{kept, put};
use crate::sessions::telling::EVENTS;

/// Events that are read at a time.
const EVENTS_AT_ONCE: usize = 1_000;
/// A counter that is 1 where every event is in the index.
const INDEXED: &[u8] = b"session_events_indexed";

impl SessionEvent {
    /// Returns the changes that add it.
    pub(crate) fn added(&self) -> impl Iterator<Item = Change> {
        let indexed = self.index_key().map(|key| Change::Put(Table::EventsOfSessions, key, Vec::new()));
        [put(Table::SessionEvents, key_of(self.number), self)].into_iter().chain(indexed)
    }

    /// Returns the changes that remove it.
    pub(crate) fn removed(&self) -> impl Iterator<Item = Change> {
        let indexed = self.index_key().map(|key| Change::Remove(Table::EventsOfSessions, key));
        [Change::Remove(Table::SessionEvents, key_of(self.number))].into_iter().chain(indexed)
    }

    /// Returns its key in the index; none if it belongs to no session.
    fn index_key(&self) -> Option<Vec<u8>> {
        Some([&prefix_of(self.payload["sessionId"].as_str()?)[..], &key_of(self.number)].concat())
    }
}

/// Returns the beginning of the keys of a session's events.
fn prefix_of(session_id: &str) -> Vec<u8> {
    [session_id.as_bytes(), b"\0"].concat()
}

impl Installation {
    /// Returns events of sessions of a namespace, in order, after a number.
    pub fn session_events(&self, namespace: &str, after: u64, limit: usize) -> Result<Vec<SessionEvent>, Error> {
        let (mut found, mut after) = (Vec::new(), key_of(after));
        loop {
            let page = self.catalog.scan(Table::SessionEvents, b"", Some(&after), EVENTS_AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after.clone_from(last);
            for (_, value) in &page {
                let event: SessionEvent = kept(value)?;
                if event.namespace == namespace {
                    found.push(event);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }

    /// Returns events of a session, in order, after a number, and the number to continue after if
    /// there may be more.
    pub fn events_of_session(
        &self,
        session_id: &str,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<SessionEvent>, Option<u64>), Error> {
        let prefix = prefix_of(session_id);
        let after = [&prefix[..], &key_of(after)].concat();
        let page = self.catalog.scan(Table::EventsOfSessions, &prefix, Some(&after), limit)?;
        self.events_of_page(&prefix, &page, limit)
    }

    /// Returns events of a session before a number, the newest first, and the number to continue
    /// before if there may be more.
    pub fn newest_events_of_session(
        &self,
        session_id: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<SessionEvent>, Option<u64>), Error> {
        let prefix = prefix_of(session_id);
        let before = before.map(|before| [&prefix[..], &key_of(before)].concat());
        let page = self.catalog.scan_back(Table::EventsOfSessions, &prefix, before.as_deref(), limit)?;
        self.events_of_page(&prefix, &page, limit)
    }

    /// Returns the events of a page of the index, and the number of the last one if the page is full.
    fn events_of_page(
        &self,
        prefix: &[u8],
        page: &[(Vec<u8>, Vec<u8>)],
        limit: usize,
    ) -> Result<(Vec<SessionEvent>, Option<u64>), Error> {
        let number_of = |(key, _): &(Vec<u8>, Vec<u8>)| key.last_chunk().map(|number| u64::from_be_bytes(*number));
        let next = page.last().filter(|_| page.len() == limit).and_then(number_of);
        let mut found = Vec::with_capacity(page.len());
        for (key, _) in page {
            // It may have been removed since.
            if let Some(value) = self.catalog.get(Table::SessionEvents, &key[prefix.len()..])? {
                found.push(kept(&value)?);
            }
        }
        Ok((found, next))
    }

    /// Returns the newest pauses and continuations of a namespace since an instant, among so many of
    /// the newest events of sessions.
    pub fn pauses(&self, namespace: &str, since: Timestamp, looked: usize) -> Result<Vec<SessionEvent>, Error> {
        let mut found = Vec::new();
        for (_, value) in self.catalog.scan_back(Table::SessionEvents, b"", None, looked)? {
            let event: SessionEvent = kept(&value)?;
            if Timestamp::parse_rfc3339(event.at.as_bytes()).is_none_or(|at| at < since) {
                break;
            }
            let [now, before] = ["sessionStatus", "sessionPreviousStatus"].map(|name| event.payload[name].as_str());
            let paused = Some(Status::Paused.name());
            if event.namespace == namespace && event.event_type == "meter.session.status" && [now, before].contains(&paused) {
                found.push(event);
            }
        }
        Ok(found)
    }

    /// Returns the number of the newest event of a session.
    pub fn session_events_end(&self) -> Result<u64, Error> {
        Ok(self.catalog.counter(EVENTS)?)
    }
}

/// Adds the events to the index that were stored before there was one.
pub(crate) fn index_stored(catalog: &dyn Catalog) -> Result<(), Error> {
    if catalog.counter(INDEXED)? == 1 {
        return Ok(());
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = catalog.scan(Table::SessionEvents, b"", after.as_deref(), EVENTS_AT_ONCE)?;
        let mut changes = Vec::new();
        for (_, value) in &page {
            changes.extend(kept::<SessionEvent>(value)?.added());
        }
        match page.last() {
            Some((last, _)) => after = Some(last.clone()),
            None => changes.push(count_to(INDEXED, 1)),
        }
        catalog.commit(&changes)?;
        if page.is_empty() {
            return Ok(());
        }
    }
}
