//! Rows of tables that are read from their sources: before a session, on demand, and at intervals.
//!
//! A service or a database is asked while no lock is held, and at intervals on a thread of its own.
//! Its answer is checked and put in force under the lock for changes, as rows that people put.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_connectors::tables::read_rows;
use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Row, Table, TableOrigin};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;

use super::audit::Who;
use super::{Installation, KeptPipeline, Refused, problem_of};
use crate::problem::{Code, Problem};

/// Tables that are read at intervals, by namespace and name.
#[derive(Default)]
pub(super) struct Refreshes(Mutex<BTreeMap<(String, String), Refresh>>);

/// When a table is read again.
#[derive(Clone, Copy, Debug)]
struct Refresh {
    every: i64,
    next: Timestamp,
    is_under_way: bool,
}

impl Refreshes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(String, String), Refresh>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installation {
    /// Reads the rows of a table again. Returns the version in force and whether it is a new one.
    pub fn refresh_table(&self, who: &Who, name: &str) -> Result<(u64, bool), Refused> {
        let view = self.table(&who.namespace, name)?;
        if !view.table.origin.is_read() {
            let detail = format!("the rows of `{name}` come from no source; nothing is there to read again");
            return Err(Box::new(Problem::new(Code::Conflict, detail)));
        }
        let rows = read_rows(&view.table, self.now());
        let _change = self.begin_change()?;
        self.put_in_force(who, name, rows.as_deref().map_err(ToString::to_string), None)
    }

    /// Asks services and databases for the rows of the tables of a pipeline's newest version. No lock
    /// is held meanwhile.
    ///
    /// # Errors
    /// One gives no rows that fit, and there is no version before.
    pub(super) fn ask_for_tables(&self, who: &Who, pipeline: &KeptPipeline) -> Result<(), Refused> {
        let version = self.version(pipeline, pipeline.version)?;
        let mut plan = version.compile().map_err(|why| problem_of(&why))?.plan;
        plan.id = pipeline.id;
        self.ask_for_tables_of(who, &plan)
    }

    /// Does the same for a plan that may not be in the catalog yet.
    pub(super) fn ask_for_tables_of(&self, who: &Who, plan: &Plan) -> Result<(), Refused> {
        let is_asked = |table: &&Table| matches!(table.origin, TableOrigin::Http(_) | TableOrigin::Postgres(_));
        for table in plan.tables.iter().filter(is_asked) {
            let rows = read_rows(table, self.now());
            let _change = self.begin_change()?;
            self.take_rows(who, plan, table, &rows)?;
        }
        Ok(())
    }

    /// Puts rows that were read in force. The lock for changes is held.
    ///
    /// # Errors
    /// They cannot be used, and there is no version before.
    pub(super) fn take_rows(&self, who: &Who, plan: &Plan, table: &Table, rows: &Result<Vec<Row>, Error>) -> Result<(), Refused> {
        let rows = rows.as_deref().map_err(ToString::to_string);
        let put = self.put_in_force(who, &table.name, rows, Some((plan.id, table)));
        let kept = self.kept_table(&who.namespace, &table.name).map_err(|why| problem_of(&why))?;
        match put {
            Err(refused) if kept.versions.is_empty() => Err(refused),
            _ => Ok(()),
        }
    }

    /// Counts the interval of a plan's tables from now on.
    pub(super) fn refresh_from_now(&self, namespace: &str, plan: &Plan) {
        let now = self.now();
        for table in plan.tables.iter().filter(|table| table.refresh > 0) {
            let refresh = Refresh { every: table.refresh, next: now.saturating_add(table.refresh), is_under_way: false };
            self.refreshes.all().insert((namespace.to_owned(), table.name.clone()), refresh);
        }
    }

    /// Reads the tables again whose interval is over, each on a thread.
    pub(super) fn refresh_tables(self: &Arc<Self>) {
        let now = self.now();
        // A clock that was set back must not make an interval longer.
        let is_due = |refresh: &Refresh| {
            !refresh.is_under_way && (refresh.next <= now || refresh.next > now.saturating_add(refresh.every))
        };
        let due: Vec<(String, String)> = {
            let mut all = self.refreshes.all();
            let due = all.iter_mut().filter(|(_, refresh)| is_due(refresh));
            due.map(|(of, refresh)| (of.clone(), refresh.is_under_way = true).0).collect()
        };
        for of in due {
            let installation = Arc::clone(self);
            let reading = move || installation.refresh_one(&of);
            match self.has_threads {
                false => reading(),
                true => {
                    let spawned = std::thread::Builder::new().name("flowmeter-table".to_owned()).spawn(reading);
                    if let Err(why) = spawned {
                        tracing::error!("no thread to read a table: {why}");
                    }
                }
            }
        }
    }

    fn refresh_one(&self, of: &(String, String)) {
        let (namespace, name) = of;
        let who = Who { name: "refresh".to_owned(), namespace: namespace.clone() };
        let runs = self
            .users_of(namespace, name, None)
            .is_ok_and(|users| users.iter().any(|(pipeline, table)| table.refresh > 0 && self.running_of(*pipeline).is_some()));
        if !runs {
            self.refreshes.all().remove(of);
            return;
        }
        // A refusal is shown with the table and sent as an event.
        if let Ok((version, true)) = self.refresh_table(&who, name) {
            tracing::info!(table = name, version, "the table has new rows");
        }
        let next = self.now();
        if let Some(refresh) = self.refreshes.all().get_mut(of) {
            (refresh.next, refresh.is_under_way) = (next.saturating_add(refresh.every), false);
        }
    }
}
