//! Changes of pipelines and meter types: written to the log first, then to the catalog.
//!
//! A change that affects a running pipeline is one entry of the log: the commands for pipelines
//! and the rows of the catalog together. It takes effect as a whole when the entry is durable. If
//! the entry cannot be written, nothing changes. Rows that the catalog lacks, because the program
//! ended or the disk was full, are applied from the log.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use flowmeter_core::mutant::{self, Mutant};
use flowmeter_engine::live::{CatalogRow, LogCommand};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Catalog, Change, Table, count_to};
use flowmeter_store::log::EntryKind;

use crate::audit::{Image, Who};
use crate::installation::Installation;
use crate::refusal::{Refused, refusal_of};

/// One more than the entry of the log before which everything is in the catalog; none in a data
/// folder of a program that did not keep changes in the log.
const APPLIED: &[u8] = b"applied";

/// The entry before which the changes in the log are in the catalog.
pub(crate) fn applied(catalog: &dyn Catalog) -> Result<Option<u64>, Error> {
    Ok(catalog.counter(APPLIED)?.checked_sub(1))
}

/// Entries of the log after which it is noted how far the catalog has come.
const APPLIED_AFTER: u64 = 10_000;

/// A change that is being put together.
#[derive(Debug, Default)]
pub(crate) struct ChangeSet {
    /// The commands for running pipelines.
    pub(crate) commands: Vec<LogCommand>,
    /// The rows of the catalog that change.
    pub(crate) rows: Vec<Change>,
}

impl Installation {
    /// Locks the catalog for a change. Changes that are in the log and not yet in the catalog are
    /// applied first, so that no change is built on rows that are out of date.
    pub(crate) fn change(&self) -> Result<MutexGuard<'_, ()>, Error> {
        let change = self.lock_changes();
        self.apply_pending()?;
        Ok(change)
    }

    /// Applies changes that are in the log and not yet in the catalog. The lock for changes is held.
    pub(crate) fn apply_pending(&self) -> Result<(), Error> {
        match self.has_unapplied.load(Ordering::Acquire) {
            true => self.apply_changes(),
            false => Ok(()),
        }
    }

    /// Locks the catalog for the change of a request.
    pub(crate) fn begin_change(&self) -> Result<MutexGuard<'_, ()>, Refused> {
        self.change().map_err(|why| refusal_of(&why))
    }

    /// Locks the catalog as it is.
    pub(crate) fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry of the audit to a change.
    pub(crate) fn audit_in(
        &self,
        set: &mut ChangeSet,
        who: &Who,
        action: &str,
        object: &str,
        (before, after): (impl Into<Image>, impl Into<Image>),
    ) -> Result<(), Error> {
        set.rows.extend(self.audited(who, action, object, before, after)?);
        Ok(())
    }

    /// Makes a change; the caller holds the lock for changes. Returns the position after its log
    /// entry, if it has one. After an error nothing was changed.
    pub(crate) fn make_change(&self, set: ChangeSet) -> Result<Option<u64>, Refused> {
        // A change before under the same lock may not be in the catalog.
        self.apply_pending().map_err(|why| refusal_of(&why))?;
        if set.commands.is_empty() {
            self.catalog.commit(&set.rows).map_err(|why| refusal_of(&why.into()))?;
            return Ok(None);
        }
        if mutant::is_put_back(Mutant::RefusedChangeHolds) {
            self.catalog.commit(&set.rows).map_err(|why| refusal_of(&why.into()))?;
        }
        let command = LogCommand::Change { commands: set.commands, rows: set.rows.iter().map(row_of).collect() };
        let written = self.command(&command);
        let position = written.map_err(|why| refusal_of(&why))?;
        if let Err(why) = self.apply(set.rows, position + 1) {
            self.has_unapplied.store(true, Ordering::Release);
            // It holds all the same, and is applied as soon as that is possible.
            tracing::error!("a change is in the log and not yet in the catalog: {why}");
        }
        Ok(Some(position + 1))
    }

    /// Applies changes that could not be applied when they were made, and notes how far the log
    /// is in the catalog, so that the next start has little to read.
    pub(crate) fn keep_applied(&self) -> Result<(), Error> {
        let _change = self.change()?;
        let end = self.log_end();
        match self.applied()? + APPLIED_AFTER < end {
            true => self.apply(Vec::new(), end),
            false => Ok(()),
        }
    }

    /// Applies changes that are in the log and not in the catalog. The lock for changes is held.
    fn apply_changes(&self) -> Result<(), Error> {
        let (from, end) = (self.applied()?, self.log_end());
        let mut reader = self.read_log(from, end)?;
        while let Some(entry) = reader.read()? {
            if entry.kind == EntryKind::Command
                && let LogCommand::Change { rows, .. } = LogCommand::read(&entry.bytes)?
            {
                let rows: Result<Vec<Change>, Error> = rows.iter().map(change_of).collect();
                self.apply(rows?, entry.position + 1)?;
            }
        }
        self.has_unapplied.store(false, Ordering::Release);
        if from < end { self.apply(Vec::new(), end) } else { Ok(()) }
    }

    /// The first entry of the log that may hold a change which is not in the catalog.
    pub(crate) fn applied(&self) -> Result<u64, Error> {
        Ok(applied(&*self.catalog)?.unwrap_or(0))
    }

    fn apply(&self, mut rows: Vec<Change>, until: u64) -> Result<(), Error> {
        rows.push(count_to(APPLIED, until + 1));
        Ok(self.catalog.commit(&rows)?)
    }

    /// A data folder of a program that did not keep changes in the log has none to apply.
    pub(crate) fn begin_applying(&self) -> Result<(), Error> {
        if applied(&*self.catalog)?.is_none() {
            self.apply(Vec::new(), self.log_end())?;
        }
        self.apply_changes()
    }
}

fn row_of(change: &Change) -> CatalogRow {
    let (table, key, value) = match change {
        Change::Put(table, key, value) => (table, key, Some(HEXLOWER.encode(value))),
        Change::Remove(table, key) => (table, key, None),
    };
    CatalogRow { table: table.name().to_owned(), key: HEXLOWER.encode(key), value }
}

fn change_of(row: &CatalogRow) -> Result<Change, Error> {
    let damaged = |what: &str| Error::new(Kind::Corrupt, format!("a change in the log: {what}"));
    let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).map_err(|_| damaged("no hexadecimal digits"));
    let unknown = || damaged(&format!("no table `{}`", row.table));
    let table = Table::named(&row.table).ok_or_else(unknown)?;
    let key = bytes(&row.key)?;
    Ok(match &row.value {
        Some(value) => Change::Put(table, key, bytes(value)?),
        None => Change::Remove(table, key),
    })
}
