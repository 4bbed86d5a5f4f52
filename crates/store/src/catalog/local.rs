//! The catalog in a file.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use super::{Catalog, Change, Committed, Condition, Row, Table, count_to};
use crate::{Error, Kind};

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// A catalog in a file of redb.
///
/// A commit that fails may be in the file nevertheless. Its caller got an error, so it is
/// undone as soon as the file can be written again, before anything else is read or changed. If the
/// program ends before that, the commit may hold.
pub struct LocalCatalog {
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
        let mut rows = write.open_table(definition(*table))?;
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

impl LocalCatalog {
    /// Opens the catalog in a file, or creates it.
    pub fn open(file: &Path) -> Result<LocalCatalog, Error> {
        let name = file.display().to_string();
        create(file, &name)?;
        let file = file.to_owned();
        LocalCatalog::of(Box::new(move || Ok(Database::create(&file)?)), name)
    }

    /// Creates a catalog in memory, for tests.
    pub fn in_memory() -> Result<LocalCatalog, Error> {
        let open = || {
            let backend = redb::backends::InMemoryBackend::new();
            Ok(Database::builder().create_with_backend(backend)?)
        };
        LocalCatalog::of(Box::new(open), "memory".to_owned())
    }

    /// Opens a catalog over a storage backend, for the simulation.
    pub fn with_backend<B: redb::StorageBackend>(backend: impl Fn() -> B + Send + Sync + 'static) -> Result<LocalCatalog, Error> {
        let open = move || Ok(Database::builder().create_with_backend(backend())?);
        LocalCatalog::of(Box::new(open), "catalog".to_owned())
    }

    fn of(open: Box<Opener>, name: String) -> Result<LocalCatalog, Error> {
        let database = open().map_err(|why| wrong(&name, &why))?;
        let catalog = LocalCatalog { database: RwLock::new(Some(database)), undo: Mutex::default(), open, name };
        catalog.with(|database| {
            let write = database.begin_write()?;
            for table in Table::ALL {
                write.open_table(definition(table))?;
            }
            write.commit()?;
            Ok(())
        })?;
        match catalog.counter(FORMAT_NAME)? {
            0 => catalog.commit(&[count_to(FORMAT_NAME, FORMAT)])?,
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
}

impl Catalog for LocalCatalog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(definition(table))?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(definition(table))?;
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

    fn scan_back(&self, table: Table, prefix: &[u8], before: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, Error> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(definition(table))?;
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

    fn commit_if(&self, changes: &[Change], conditions: &[Condition]) -> Result<Committed, Error> {
        self.with(|database| {
            // One commit at a time.
            let mut undo = self.undo();
            if !hold(database, conditions)? {
                return Ok(Committed::Refused);
            }
            let (write, undoing) = write(database, changes)?;
            *undo = undoing;
            write.commit()?;
            undo.clear();
            Ok(Committed::Made)
        })
    }

    fn is_in_doubt(&self) -> bool {
        !self.undo().is_empty()
    }

    fn copy_to(&self, file: &Path, began: &mut dyn FnMut()) -> Result<(), Error> {
        let read = self.with(|database| Ok(database.begin_read()?))?;
        began();
        let copy = || -> Result<(), redb::Error> {
            let fresh = Database::create(file)?;
            let write = fresh.begin_write()?;
            for table in Table::ALL {
                let mut to = write.open_table(definition(table))?;
                for entry in read.open_table(definition(table))?.range::<&[u8]>(..)? {
                    let (key, value) = entry?;
                    to.insert(key.value(), value.value())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        copy().map_err(|why| wrong(&self.name, &why))
    }
}

/// Whether all rows are as they were read.
fn hold(database: &Database, conditions: &[Condition]) -> Result<bool, redb::Error> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let read = database.begin_read()?;
    for Condition { table, key, value } in conditions {
        let rows = read.open_table(definition(*table))?;
        let found = rows.get(key.as_slice())?;
        if found.as_ref().map(redb::AccessGuard::value) != value.as_deref() {
            return Ok(false);
        }
    }
    Ok(true)
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
