//! The catalog: everything small that people make and change (pipelines, meter types, keys), and
//! sessions with their events. One file with real transactions.
//!
//! Values are JSON. Keys are bytes that sort in the order of lists. Changes that belong together
//! are one [`Catalog::commit`], durable when it returns: a session's status and its event, a
//! document and its entry in the audit.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::{Error, Kind};

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
}

impl Table {
    /// All tables in order.
    pub const ALL: [Table; 23] = [
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
        }
    }

    const fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
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

/// The open catalog. Changes are serialised; reads see the last commit.
///
/// A commit that fails may be in the file nevertheless. Its caller got an error, so it is
/// undone as soon as the file can be written again, before anything else is read or changed. If the
/// program ends before that, the commit may hold.
pub struct Catalog {
    /// None after a disk error: the database must be opened again.
    database: RwLock<Option<Database>>,
    /// The changes that undo a commit which failed; empty if there is none.
    undo: Mutex<Vec<Change>>,
    open: Box<Opener>,
    name: String,
}

/// Begins a transaction with all changes. Returns the changes that undo it, too.
fn write(database: &Database, changes: &[Change]) -> Result<(WriteTransaction, Vec<Change>), redb::Error> {
    let write = database.begin_write()?;
    let mut undo = Vec::with_capacity(changes.len());
    for change in changes {
        let (Change::Put(table, key, _) | Change::Remove(table, key)) = change;
        let mut rows = write.open_table(table.definition())?;
        let before = match change {
            Change::Put(_, key, value) => rows.insert(key.as_slice(), value.as_slice())?,
            Change::Remove(_, key) => rows.remove(key.as_slice())?,
        };
        undo.push(match before {
            Some(before) => Change::Put(*table, key.clone(), before.value().to_vec()),
            None => Change::Remove(*table, key.clone()),
        });
    }
    // A key that changes twice has its first value again at the end.
    undo.reverse();
    Ok((write, undo))
}

/// Creates the file if it is missing. It gets its name once it is whole: a database that a power failure
/// left half made could never be opened.
fn create(file: &Path, name: &str) -> Result<(), Error> {
    let at = |why: std::io::Error| Error::io(name, &why);
    if file.try_exists().map_err(at)? {
        return Ok(());
    }
    let begun = file.with_extension("new");
    match std::fs::remove_file(&begun) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(at(why)),
        _ => {}
    }
    drop(Database::create(&begun).map_err(|why| wrong(name, &why.into()))?);
    std::fs::rename(&begun, file).map_err(at)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)
}

/// Opens the database, at the start and after every disk error.
type Opener = dyn Fn() -> Result<Database, redb::Error> + Send + Sync;

/// The format of the content. A newer program migrates older content and raises this number.
const FORMAT: u64 = 1;
const FORMAT_NAME: &[u8] = b"format";

impl Catalog {
    /// Opens the catalog in a file, or creates it.
    pub fn open(file: &Path) -> Result<Catalog, Error> {
        let name = file.display().to_string();
        create(file, &name)?;
        let file = file.to_owned();
        Catalog::of(Box::new(move || Ok(Database::create(&file)?)), name)
    }

    /// Creates a catalog in memory, for tests.
    pub fn in_memory() -> Result<Catalog, Error> {
        let open = || {
            let backend = redb::backends::InMemoryBackend::new();
            Ok(Database::builder().create_with_backend(backend)?)
        };
        Catalog::of(Box::new(open), "memory".to_owned())
    }

    /// Opens a catalog over a storage backend, for the simulation.
    pub fn with_backend<B: redb::StorageBackend>(backend: impl Fn() -> B + Send + Sync + 'static) -> Result<Catalog, Error> {
        let open = move || Ok(Database::builder().create_with_backend(backend())?);
        Catalog::of(Box::new(open), "catalog".to_owned())
    }

    fn of(open: Box<Opener>, name: String) -> Result<Catalog, Error> {
        let database = open().map_err(|why| wrong(&name, &why))?;
        let catalog = Catalog { database: RwLock::new(Some(database)), undo: Mutex::default(), open, name };
        catalog.with(|database| {
            let write = database.begin_write()?;
            for table in Table::ALL {
                write.open_table(table.definition())?;
            }
            write.commit()?;
            Ok(())
        })?;
        match catalog.counter(FORMAT_NAME)? {
            0 => catalog.commit(&[Change::Put(Table::Counters, FORMAT_NAME.to_vec(), FORMAT.to_le_bytes().to_vec())])?,
            FORMAT => {}
            newer => {
                let message = format!("{}: format {newer} of the catalog is newer than this program", catalog.name);
                return Err(Error::new(Kind::Format, message));
            }
        }
        Ok(catalog)
    }

    /// Calls `act` with the database. After a disk error the database is closed, and the next call
    /// opens it again with everything that was committed.
    fn with<T>(&self, act: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = open.as_ref().map(&act);
        drop(open);
        let done = match done {
            Some(done) => done,
            None => self.reopen().and_then(|()| {
                let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
                database.as_ref().map_or(Err(redb::Error::PreviousIo), &act)
            }),
        };
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &done {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done.map_err(|why| wrong(&self.name, &why))
    }

    fn reopen(&self) -> Result<(), redb::Error> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            let opened = (self.open)()?;
            let mut undo = self.undo();
            if !undo.is_empty() {
                write(&opened, &undo)?.0.commit()?;
                undo.clear();
            }
            *database = Some(opened);
        }
        Ok(())
    }

    fn undo(&self) -> MutexGuard<'_, Vec<Change>> {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a commit that failed may be in the file and is not undone yet.
    pub fn is_in_doubt(&self) -> bool {
        !self.undo().is_empty()
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(table.definition())?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Returns the rows whose keys begin with `prefix` and come after `after`, in order.
    pub fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(table.definition())?;
            let mut found = Vec::new();
            let from = after.unwrap_or(prefix).max(prefix);
            for entry in table.range(from..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) || found.len() >= limit {
                    break;
                }
                if after != Some(key.value()) {
                    found.push((key.value().to_vec(), value.value().to_vec()));
                }
            }
            Ok(found)
        })
    }

    /// Returns rows like [`Catalog::scan`], but from the last one backwards, before `before`.
    pub fn scan_back(&self, table: Table, prefix: &[u8], before: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(table.definition())?;
            let mut found = Vec::new();
            let behind = before.map(<[u8]>::to_vec).into_iter().chain(behind(prefix)).min();
            let end = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            if behind.as_deref().is_some_and(|behind| behind <= prefix) {
                return Ok(found);
            }
            for entry in table.range::<&[u8]>((Bound::Included(prefix), end))?.rev().take(limit) {
                let (key, value) = entry?;
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    /// Makes all changes or none. They are durable when it returns.
    pub fn commit(&self, changes: &[Change]) -> Result<(), Error> {
        self.with(|database| {
            // One commit at a time.
            let mut undo = self.undo();
            let (write, undoing) = write(database, changes)?;
            *undo = undoing;
            write.commit()?;
            undo.clear();
            Ok(())
        })
    }

    /// Reads the whole file and compares it with its checksums. Repairs are reported and stay in
    /// the file, so call this on a copy.
    ///
    /// # Errors
    /// `Corrupt` if the file is damaged.
    pub fn check(&mut self) -> Result<(), Error> {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database else { return Err(wrong(&self.name, &redb::Error::PreviousIo)) };
        match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::corrupt(&self.name, "its pages are not what was written")),
            Err(why) => Err(wrong(&self.name, &why.into())),
        }
    }

    /// Copies the catalog as it is now into a new file. Writers do not wait for it. Calls `began`
    /// once the copied state is fixed.
    pub fn copy_to(&self, file: &Path, began: impl FnOnce()) -> Result<(), Error> {
        let read = self.with(|database| Ok(database.begin_read()?))?;
        began();
        let copy = || -> Result<(), redb::Error> {
            let fresh = Database::create(file)?;
            let write = fresh.begin_write()?;
            for table in Table::ALL {
                let mut to = write.open_table(table.definition())?;
                for entry in read.open_table(table.definition())?.range::<&[u8]>(..)? {
                    let (key, value) = entry?;
                    to.insert(key.value(), value.value())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        copy().map_err(|why| wrong(&self.name, &why))
    }

    /// Returns a counter, 0 if it was never set.
    pub fn counter(&self, name: &[u8]) -> Result<u64, Error> {
        let value = self.get(Table::Counters, name)?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?))).unwrap_or(0))
    }

    /// Returns the change that sets a counter.
    pub fn count_to(name: &[u8], number: u64) -> Change {
        Change::Put(Table::Counters, name.to_vec(), number.to_le_bytes().to_vec())
    }
}

/// Returns the key of a number: big-endian, so that keys sort like numbers.
pub fn key_of(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Returns the first key after all keys with a prefix, or `None` if there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

fn wrong(name: &str, why: &redb::Error) -> Error {
    let kind = match why {
        redb::Error::Corrupted(_) => Kind::Corrupt,
        redb::Error::UpgradeRequired(_) => Kind::Format,
        redb::Error::Io(why) if why.kind() == std::io::ErrorKind::StorageFull => Kind::Full,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{name}: {why}"))
}

#[cfg(test)]
mod tests;
