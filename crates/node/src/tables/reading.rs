//! Rows of tables that are read from their sources: before a session, on demand, and at intervals.
//!
//! A service or a database is asked while no lock is held, and at intervals on a thread of its own.
//! Its answer is checked and put in force under the lock for changes, as rows that people put. An
//! answer that is older than the version in force by then is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_connectors::tables::read_rows;
use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Row, Table, TableOrigin};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

/// Rows that services and databases gave, by the name of the table.
pub(crate) type ReadTables = BTreeMap<String, Result<Vec<Row>, Error>>;
/// Tables that are read at intervals, with their intervals in nanoseconds.
pub(crate) type Refreshed = Vec<(String, i64)>;
/// The version of a table in force, and the versions of the pipelines of its namespace.
type TableState = (Option<u64>, Vec<(Uuid, u32)>);
/// Reads of a manual refresh whose answers may be dropped.
const READS_MAX: u32 = 3;

/// The tables that are read at intervals, and reads for sessions that are under way.
#[derive(Default)]
pub(crate) struct Reading {
    refreshes: Mutex<BTreeMap<(String, String), Refresh>>,
    /// By pipeline and version: none while its tables are read.
    soon: Mutex<BTreeMap<(Uuid, u32), Option<ReadTables>>>,
}

/// When a table is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refresh {
    every: i64,
    next: Timestamp,
    is_under_way: bool,
}

impl Reading {
    fn refreshes(&self) -> MutexGuard<'_, BTreeMap<(String, String), Refresh>> {
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn soon(&self) -> MutexGuard<'_, BTreeMap<(Uuid, u32), Option<ReadTables>>> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the tables of a plan that are read at intervals.
pub(crate) fn refreshed(plan: &Plan) -> Refreshed {
    let tables = plan.tables.iter().filter(|table| table.refresh > 0);
    tables.map(|table| (table.name.clone(), table.refresh)).collect()
}

fn is_asked(table: &&Table) -> bool {
    matches!(table.origin, TableOrigin::Http(_) | TableOrigin::Postgres(_))
}

impl Installation {
    /// Asks services and databases for the rows of a plan's tables.
    pub(crate) fn read_asked(&self, plan: &Plan) -> ReadTables {
        let asked = plan.tables.iter().filter(is_asked);
        asked.map(|table| (table.name.clone(), read_rows(table, self.now()))).collect()
    }

    /// Does the same for the newest version of a pipeline.
    pub fn read_asked_of(&self, pipeline: &KeptPipeline) -> Result<ReadTables, Refused> {
        let compiled = self.version(pipeline, pipeline.version)?.compile().map_err(|why| refusal_of(&why))?;
        Ok(self.read_asked(&compiled.plan))
    }

    /// Does the same on a thread; none while that is under way. The next call gets the rows.
    pub(crate) fn read_asked_soon(self: &Arc<Self>, pipeline: &KeptPipeline) -> Result<Option<ReadTables>, Error> {
        let plan = self.newest_compiled(pipeline)?.plan;
        if plan.tables.iter().find(is_asked).is_none() {
            return Ok(Some(ReadTables::new()));
        }
        if !self.has_threads {
            return Ok(Some(self.read_asked(&plan)));
        }
        let of = (pipeline.id, pipeline.version);
        let known = self.reading.soon().insert(of, None);
        match known {
            Some(Some(read)) => {
                self.reading.soon().remove(&of);
                Ok(Some(read))
            }
            Some(None) => Ok(None),
            None => {
                let installation = Arc::clone(self);
                let is_begun = self.on_a_thread(move || {
                    let read = installation.read_asked(&plan);
                    installation.reading.soon().insert(of, Some(read));
                });
                if !is_begun {
                    self.reading.soon().remove(&of);
                }
                Ok(None)
            }
        }
    }

    /// Reads the rows of a table again. Returns the version in force and whether it is a new one.
    pub fn refresh_table(&self, who: &Who, name: &str) -> Result<(u64, bool), Refused> {
        for _ in 0..READS_MAX {
            if let Some(done) = self.read_again(who, name)? {
                return Ok(done);
            }
        }
        let detail = format!("the table `{name}` was changed while it was read; refresh it again");
        Err(Box::new(Refusal::new(RefusalKind::Stale, detail)))
    }

    /// Reads the rows of a table once. Returns none if they were overtaken by another version of the
    /// table or of a pipeline that declares it.
    fn read_again(&self, who: &Who, name: &str) -> Result<Option<(u64, bool)>, Refused> {
        let view = self.table(&who.namespace, name)?;
        if !view.table.origin.is_read() {
            let detail = format!("the rows of `{name}` come from no source; nothing is there to read again");
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let before = self.state_of(&who.namespace, name)?;
        // A declaration that is in use comes before one that is not.
        let users = self.users_of(&who.namespace, name, None)?;
        let used = users.iter().find(|(pipeline, table)| self.running_of(*pipeline).is_some() && table.origin.is_read());
        let table = used.or(users.first()).map(|(_, table)| table).ok_or_else(|| not_found("table", name))?;
        let rows = read_rows(table, self.now());
        let _change = self.begin_change()?;
        if self.state_of(&who.namespace, name)? != before {
            return Ok(None);
        }
        self.put_in_force(who, name, rows.as_deref().map_err(ToString::to_string), None).map(Some)
    }

    /// Returns the state by which it is seen that a read was overtaken.
    fn state_of(&self, namespace: &str, name: &str) -> Result<TableState, Refused> {
        let at = |why: Error| refusal_of(&why);
        let kept = self.kept_table(namespace, name).map_err(at)?;
        let pipelines = self.pipelines(namespace).map_err(at)?;
        let versions = pipelines.iter().map(|pipeline| (pipeline.id, pipeline.version));
        Ok((kept.versions.last().map(|newest| newest.version), versions.collect()))
    }

    /// Puts rows that were read in force. The lock for changes is held.
    ///
    /// # Errors
    /// They cannot be used, and there is no version before.
    pub(crate) fn take_rows(&self, who: &Who, plan: &Plan, table: &Table, rows: &Result<Vec<Row>, Error>) -> Result<(), Refused> {
        let rows = rows.as_deref().map_err(ToString::to_string);
        let put = self.put_in_force(who, &table.name, rows, Some((plan.id, table)));
        let kept = self.kept_table(&who.namespace, &table.name).map_err(|why| refusal_of(&why))?;
        match put {
            Err(refused) if kept.versions.is_empty() => Err(refused),
            _ => Ok(()),
        }
    }

    /// Begins to read tables at intervals. The first interval counts from the time of the version in
    /// force, so that a restart does not delay it.
    pub(crate) fn begin_refreshing(&self, namespace: &str, tables: &Refreshed) -> Result<(), Error> {
        for (name, every) in tables {
            let kept = self.kept_table(namespace, name)?;
            let since = kept.versions.last().and_then(|newest| Timestamp::parse_rfc3339(newest.since.as_bytes()));
            let next = since.unwrap_or(Timestamp::MIN).saturating_add(*every);
            let refresh = Refresh { every: *every, next, is_under_way: false };
            self.reading.refreshes().insert((namespace.to_owned(), name.clone()), refresh);
        }
        Ok(())
    }

    /// Starts the reads that are due, each on a thread.
    pub(crate) fn read_tables(self: &Arc<Self>) {
        let now = self.now();
        // A clock that was set back must not make an interval longer.
        let is_due = |refresh: &Refresh| {
            !refresh.is_under_way && (refresh.next <= now || refresh.next > now.saturating_add(refresh.every))
        };
        let due: Vec<(String, String)> = {
            let mut all = self.reading.refreshes();
            let due = all.iter_mut().filter(|(_, refresh)| is_due(refresh));
            due.map(|(of, refresh)| {
                refresh.is_under_way = true;
                of.clone()
            })
            .collect()
        };
        for of in due {
            let installation = Arc::clone(self);
            let name = of.clone();
            if !self.on_a_thread(move || installation.refresh_one(&name)) {
                self.plan_next(&of);
            }
        }
    }

    /// Does some work on a thread, or at once if there are none. Returns whether it was begun.
    fn on_a_thread(&self, work: impl FnOnce() + Send + 'static) -> bool {
        if !self.has_threads {
            work();
            return true;
        }
        let spawned = std::thread::Builder::new().name("flowmeter-table".to_owned()).spawn(work);
        if let Err(why) = &spawned {
            tracing::error!("no thread to read a table: {why}");
        }
        spawned.is_ok()
    }

    fn refresh_one(&self, of: &(String, String)) {
        let (namespace, name) = of;
        let begun = self.reading.refreshes().get(of).copied();
        let who = Who::named("refresh", namespace.as_str());
        // After an error of the disk it is tried again after an interval.
        let runs = self.users_of(namespace, name, None).map_or(true, |users| {
            users.iter().any(|(pipeline, table)| table.refresh > 0 && self.running_of(*pipeline).is_some())
        });
        if !runs {
            let mut all = self.reading.refreshes();
            // A session that started meanwhile has begun an interval of its own.
            if all.get(of).copied() == begun {
                all.remove(of);
            }
            return;
        }
        // A refusal is shown with the table and sent as an event.
        if let Ok(Some((version, true))) = self.read_again(&who, name) {
            tracing::info!(table = name, version, "the table has new rows");
        }
        self.plan_next(of);
    }

    fn plan_next(&self, of: &(String, String)) {
        let now = self.now();
        if let Some(refresh) = self.reading.refreshes().get_mut(of) {
            (refresh.next, refresh.is_under_way) = (now.saturating_add(refresh.every), false);
        }
    }
}
