//! Retention of events and deliveries of notifications.
//!
//! An event stays while it waits to be delivered, while it has not become notices yet, and while
//! one of its deliveries is listed: a delivery can be sent again only with its event. The oldest
//! are removed first; where one must stay, younger events stay with it.

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};

use crate::installation::Installation;
use crate::notifications::notice::{Notice, NoticeState};
use crate::rows::kept;
use crate::sessions::SessionEvent;

/// Rows that are examined and removed in one commit.
const ROWS_AT_ONCE: usize = 1_000;

impl Installation {
    /// Removes events and deliveries whose retention has passed. Returns their number.
    pub fn let_go_of_told(&self) -> Result<usize, Error> {
        let Some(retention) = self.settings.notifications.retention else { return Ok(0) };
        let age = i64::try_from(retention.as_nanos()).unwrap_or(i64::MAX);
        let before = Timestamp::from_nanos(self.now().nanos().saturating_sub(age));
        let (mut gone, mut needed) = (0, self.notified()?.saturating_add(1));
        let mut after = None;
        loop {
            let (changes, last) = self.notices_to_let_go(before, after.as_deref(), &mut needed)?;
            gone += changes.len();
            if !changes.is_empty() {
                self.catalog.commit(&changes)?;
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        loop {
            let events = self.events_to_let_go(before, needed)?;
            if events.is_empty() {
                return Ok(gone);
            }
            gone += events.len();
            let changes: Vec<Change> = events.iter().flat_map(SessionEvent::removed).collect();
            self.catalog.commit(&changes)?;
        }
    }

    /// Returns the notices of a page that may be removed, and its last key unless the younger ones
    /// stay. The events of those that stay are needed.
    fn notices_to_let_go(
        &self,
        before: Timestamp,
        after: Option<&[u8]>,
        needed: &mut u64,
    ) -> Result<(Vec<Change>, Option<Vec<u8>>), Error> {
        let page = self.catalog.scan(Table::Notices, b"", after, ROWS_AT_ONCE)?;
        let mut changes = Vec::new();
        for (key, value) in &page {
            let notice: Notice = kept(value)?;
            let is_old = Notice::instant(&notice.created_at) < before && Notice::instant(&notice.since) < before;
            if is_old && notice.state != NoticeState::Waiting {
                changes.push(Change::Remove(Table::Notices, key.clone()));
                continue;
            }
            *needed = (*needed).min(notice.event);
            if !is_old {
                return Ok((changes, None));
            }
        }
        Ok((changes, page.last().map(|(key, _)| key.clone())))
    }

    fn events_to_let_go(&self, before: Timestamp, needed: u64) -> Result<Vec<SessionEvent>, Error> {
        let mut events = Vec::new();
        for (_, value) in self.catalog.scan(Table::SessionEvents, b"", None, ROWS_AT_ONCE)? {
            let event: SessionEvent = kept(&value)?;
            if event.number >= needed || Notice::instant(&event.at) >= before {
                break;
            }
            events.push(event);
        }
        Ok(events)
    }
}
