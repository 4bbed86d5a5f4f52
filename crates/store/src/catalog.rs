//! The catalog: everything small that people make and change (pipelines, meter types, keys), and
//! sessions with their events. A store with real transactions: one file ([`LocalCatalog`]).
//!
//! Values are JSON. Keys are bytes that sort in the order of lists. Changes that belong together
//! are one [`Catalog::commit_if`], durable when it returns: a session's status and its event, a
//! document and its entry in the audit.

mod local;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use local::LocalCatalog;

use crate::Error;

/// A table of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Increasing numbers, by name.
    Counters,
    /// Pipelines, by namespace and id.
    Pipelines,
    /// Versions of their documents, by id and number.
    Versions,
    /// Meter types of the installation, by namespace and name.
    MeterTypes,
    /// Meters of the OpenMeter API, by namespace and slug.
    Slugs,
    Sessions,
    /// Events of sessions, by number.
    SessionEvents,
    /// Keys of the events of each session, by session and number.
    EventsOfSessions,
    /// Outcomes of parked events, by pipeline and number.
    Corrections,
    /// API keys, by id.
    Keys,
    /// Changes with author and time, by number.
    Audit,
    /// Answers to requests with an idempotency key.
    Answers,
    /// Progress of targets, by pipeline and target.
    Cursors,
    /// Deliveries whose first attempt failed, by pipeline, target and record.
    Deliveries,
    /// Notifications, by namespace and id.
    Notifications,
    /// Deliveries of notifications, by number: one for each notification, event and channel.
    Notices,
    /// Numbers of deliveries that are not done yet.
    NoticesWaiting,
    /// States of the channels of notifications, by notification and channel.
    Channels,
    /// Events to try pipelines with, by namespace and name.
    TestData,
    /// Subjects of the OpenMeter API, by namespace and key.
    Subjects,
    /// Sign-ins of browsers, by the hash of their cookie.
    BrowserSessions,
    /// Numbers of pipelines and targets over time, by series, step and instant.
    History,
    /// Versions of tables, by namespace and name.
    Tables,
    /// Jobs over many things, by number.
    Jobs,
    /// The settings from one start on, by number.
    Settings,
}

impl Table {
    /// All tables in order.
    pub const ALL: [Table; 25] = [
        Table::Counters,
        Table::Pipelines,
        Table::Versions,
        Table::MeterTypes,
        Table::Slugs,
        Table::Sessions,
        Table::SessionEvents,
        Table::EventsOfSessions,
        Table::Corrections,
        Table::Keys,
        Table::Audit,
        Table::Answers,
        Table::Cursors,
        Table::Deliveries,
        Table::Notifications,
        Table::Notices,
        Table::NoticesWaiting,
        Table::Channels,
        Table::TestData,
        Table::Subjects,
        Table::BrowserSessions,
        Table::History,
        Table::Tables,
        Table::Jobs,
        Table::Settings,
    ];

    /// Returns the table with a name.
    pub fn named(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Table::Counters => "counters",
            Table::Pipelines => "pipelines",
            Table::Versions => "versions",
            Table::MeterTypes => "meter_types",
            Table::Slugs => "slugs",
            Table::Sessions => "sessions",
            Table::SessionEvents => "session_events",
            Table::EventsOfSessions => "events_of_sessions",
            Table::Corrections => "corrections",
            Table::Keys => "keys",
            Table::Audit => "audit",
            Table::Answers => "answers",
            Table::Cursors => "cursors",
            Table::Deliveries => "deliveries",
            Table::Notifications => "notifications",
            Table::Notices => "notices",
            Table::NoticesWaiting => "notices_waiting",
            Table::Channels => "channels",
            Table::TestData => "test_data",
            Table::Subjects => "subjects",
            Table::BrowserSessions => "browser_sessions",
            Table::History => "history",
            Table::Tables => "tables",
            Table::Jobs => "jobs",
            Table::Settings => "settings",
        }
    }
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Table, Vec<u8>, Vec<u8>),
    Remove(Table, Vec<u8>),
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A row that must be as it was read, for changes that rely on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The table of the row.
    pub table: Table,
    /// The key of the row.
    pub key: Vec<u8>,
    /// The value that was read; `None`: there was no row.
    pub value: Option<Vec<u8>>,
}

/// Whether changes were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// All of them were made and are durable.
    Made,
    /// None was made, since a condition does not hold.
    Refused,
}

/// A catalog. Commits are made one after the other; reads see the last one.
pub trait Catalog: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// The catalog cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Returns the rows whose keys begin with `prefix` and come after `after`, in order.
    ///
    /// # Errors
    /// The catalog cannot be read.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error>;

    /// Returns rows like [`Catalog::scan`], but from the last one backwards, before `before`.
    ///
    /// # Errors
    /// The catalog cannot be read.
    fn scan_back(&self, table: Table, prefix: &[u8], before: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error>;

    /// Makes all changes or none: none if a condition does not hold. They are durable when it
    /// returns.
    ///
    /// # Errors
    /// They could not be made. They may be there nevertheless until they are undone.
    fn commit_if(&self, changes: &[Change], conditions: &[Condition]) -> Result<Committed, Error>;

    /// Whether a commit that failed may be there and is not undone yet.
    fn is_in_doubt(&self) -> bool;

    /// Copies the catalog as it is now into a new file. Writers do not wait for it. Calls `began`
    /// once the copied state is fixed.
    ///
    /// # Errors
    /// The copy cannot be written.
    fn copy_to(&self, file: &Path, began: &mut dyn FnMut()) -> Result<(), Error>;

    /// Makes all changes or none, without a condition.
    ///
    /// # Errors
    /// As of [`Catalog::commit_if`].
    fn commit(&self, changes: &[Change]) -> Result<(), Error> {
        self.commit_if(changes, &[]).map(|_always_made| ())
    }

    /// Returns a counter, 0 if it was never set.
    ///
    /// # Errors
    /// The catalog cannot be read.
    fn counter(&self, name: &[u8]) -> Result<u64, Error> {
        let value = self.get(Table::Counters, name)?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?))).unwrap_or(0))
    }
}

/// Returns the change that sets a counter.
pub fn count_to(name: &[u8], number: u64) -> Change {
    Change::Put(Table::Counters, name.to_vec(), number.to_le_bytes().to_vec())
}

/// Returns the key of a number: big-endian, so that keys sort like numbers.
pub fn key_of(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
