//! Tables that operators look things up in: their versions, and who uses them.
//!
//! A table belongs to a namespace; the documents of its pipelines say what its key is. A version
//! comes into force for each running pipeline by an entry of the log, in one change with its row in
//! the catalog. A pipeline without a session catches up when its next session starts.

pub mod reading;

use std::collections::HashMap;
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Content, Refused as RefusedRows, Row, Table, TableOrigin, Tables};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{LogCommand, TableVersion, has_versions, hash_of, keep_content, read_content};
use flowmeter_store::catalog;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::{Installation, Served};
use crate::notifications::vocabulary::TABLE_REFUSED;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, put};
use crate::tables::reading::{ReadTables, refreshed};

/// A table as the catalog keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptTable {
    /// A name that is unique in its namespace.
    pub name: String,
    /// Its versions, the oldest first.
    #[serde(default)]
    pub versions: Vec<KeptContent>,
    /// Why the newest content was refused, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<KeptRefusal>,
}

/// A version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptContent {
    /// A number that counts up from 1.
    pub version: u64,
    /// The SHA-256 of the canonical rows, in hexadecimal.
    pub hash: String,
    /// The number of rows.
    pub rows: usize,
    /// The bytes of the canonical rows.
    pub bytes: usize,
    /// The time since which it is in force.
    pub since: String,
}

/// A content that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRefusal {
    /// The time of the refusal.
    pub at: String,
    /// The line of the row at fault; 0 for the whole content.
    pub line: u64,
    /// The key of that row.
    pub key: String,
    /// A description of the problem.
    pub detail: String,
}

/// A table and the pipelines that use it.
#[derive(Debug)]
pub struct TableView {
    /// The versions of the table.
    pub kept: KeptTable,
    /// The table as the first of its pipelines declares it.
    pub(crate) table: Table,
    /// The names of the pipelines whose newest version declares it.
    pipelines: Vec<String>,
}

impl KeptTable {
    fn newest(&self) -> Option<&KeptContent> {
        self.versions.last()
    }

    /// The version in force at an instant, by the time since which it is in force.
    fn at(&self, at: Timestamp) -> Option<&KeptContent> {
        let since = |version: &KeptContent| Timestamp::parse_rfc3339(version.since.as_bytes()).unwrap_or_default();
        self.versions.iter().rev().find(|version| since(version) <= at)
    }
}

impl KeptContent {
    fn in_force(&self) -> TableVersion {
        TableVersion { version: self.version, hash: self.hash.clone() }
    }

    /// The command that puts it in force for a pipeline.
    fn command(&self, pipeline: Uuid, name: &str) -> LogCommand {
        LogCommand::Table { pipeline, table: name.to_owned(), content: self.in_force() }
    }

    /// Returns its JSON form.
    pub fn shown(&self) -> Value {
        json!({"version": self.version, "hash": self.hash, "rows": self.rows, "bytes": self.bytes, "since": self.since})
    }
}

impl TableView {
    /// Returns the names of the key columns.
    pub fn key_columns(&self) -> &[String] {
        &self.table.key
    }

    /// Returns its JSON form.
    pub fn shown(&self) -> Value {
        let origin = self.table.origin.name();
        let mut shown = json!({
            "name": self.kept.name, "key": self.table.key, "origin": origin, "pipelines": self.pipelines,
            "version": null, "hash": null, "rows": 0, "bytes": 0, "since": null, "error": self.kept.error,
        });
        if let TableOrigin::Document(content) = &self.table.origin {
            shown["rows"] = json!(content.row_count());
        }
        if let (Some(newest), Some(fields)) = (self.kept.newest(), shown.as_object_mut()) {
            fields.extend(newest.shown().as_object().cloned().unwrap_or_default());
        }
        shown
    }
}

/// The tables of a plan over time, for events that are looked at again.
pub(crate) struct TableHistory<'i> {
    installation: &'i Installation,
    plan: Arc<Plan>,
    kept: Vec<KeptTable>,
    contents: HashMap<(usize, String), Option<Arc<Content>>>,
}

impl TableHistory<'_> {
    /// Returns the tables that were in force at an instant: that of an event's receipt. Versions that
    /// came into force at that very instant count, whatever their place in the log.
    pub(crate) fn at(&mut self, at: Timestamp) -> Result<Tables, Error> {
        let mut tables: Vec<Option<Arc<Content>>> =
            flowmeter_engine::tables_of(&self.plan).iter().flat_map(|tables| tables.iter().cloned()).collect();
        for (place, kept) in self.kept.iter().enumerate() {
            let Some(version) = kept.at(at) else { continue };
            let key = (place, version.hash.clone());
            if !self.contents.contains_key(&key) {
                let read = read_content(&*self.installation.disk, &self.plan.tables[place], &version.hash)?;
                self.contents.insert(key.clone(), read.map(Arc::new));
            }
            tables[place] = self.contents[&key].clone();
        }
        Ok((!tables.is_empty()).then(|| tables.into()))
    }
}

impl Installation {
    /// Returns the tables of a plan over time.
    pub(crate) fn table_history(&self, namespace: &str, plan: &Arc<Plan>) -> Result<TableHistory<'_>, Error> {
        let kept = plan.tables.iter().map(|table| match has_versions(table) {
            true => self.kept_table(namespace, &table.name),
            false => Ok(KeptTable::default()),
        });
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        Ok(TableHistory { installation: self, plan: Arc::clone(plan), kept, contents: HashMap::new() })
    }

    pub(crate) fn kept_table(&self, namespace: &str, name: &str) -> Result<KeptTable, Error> {
        match self.catalog.get(catalog::Table::Tables, &named_key(namespace, name))? {
            Some(bytes) => kept(&bytes),
            None => Ok(KeptTable { name: name.to_owned(), ..KeptTable::default() }),
        }
    }

    /// Returns the tables that the pipelines of a namespace declare, by name.
    pub fn tables(&self, namespace: &str) -> Result<Vec<TableView>, Error> {
        let mut found: Vec<TableView> = Vec::new();
        for pipeline in self.pipelines(namespace)? {
            // A pipeline that cannot be read says so itself.
            let Ok(compiled) = self.newest_compiled(&pipeline) else { continue };
            for table in compiled.plan.tables {
                match found.iter_mut().find(|known| known.kept.name == table.name) {
                    Some(known) => known.pipelines.push(pipeline.name.clone()),
                    None => {
                        let kept = self.kept_table(namespace, &table.name)?;
                        found.push(TableView { kept, table, pipelines: vec![pipeline.name.clone()] });
                    }
                }
            }
        }
        found.sort_by(|a, b| a.kept.name.cmp(&b.kept.name));
        Ok(found)
    }

    /// Returns a table of a namespace.
    pub fn table(&self, namespace: &str, name: &str) -> Result<TableView, Refused> {
        let all = self.tables(namespace).map_err(|why| refusal_of(&why))?;
        all.into_iter().find(|table| table.kept.name == name).ok_or_else(|| not_found("table", name))
    }

    /// Returns the rows of a table as they were at an instant, by default the present one.
    pub fn table_rows(&self, view: &TableView, at: Option<Timestamp>) -> Result<Vec<Value>, Refused> {
        let content = match &view.table.origin {
            TableOrigin::Document(content) => Some(Arc::clone(content)),
            _ => match view.kept.at(at.unwrap_or(Timestamp::MAX)) {
                Some(version) => {
                    let read = read_content(&*self.disk, &view.table, &version.hash).map_err(|why| refusal_of(&why))?;
                    read.map(Arc::new)
                }
                None => None,
            },
        };
        let rows = content.map(|content| content.canonical().to_vec()).unwrap_or_default();
        let lines = rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| serde_json::from_slice(line).unwrap_or_default()).collect())
    }

    /// Puts rows into a table that has no source of its own. Returns the version in force and
    /// whether it is a new one.
    ///
    /// # Errors
    /// The rows do not fit the table as a pipeline declares it; the version before stays in force.
    pub fn put_table_rows(&self, who: &Who, name: &str, rows: &[Row]) -> Result<(u64, bool), Refused> {
        let view = self.table(&who.namespace, name)?;
        if !matches!(view.table.origin, TableOrigin::Put) {
            let detail = format!("the rows of `{name}` come from its source, `{}`; change them there", view.table.origin.name());
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let _change = self.begin_change()?;
        self.put_in_force(who, name, Ok(rows), None)
    }

    /// Puts rows in force for every pipeline that declares the table, and for `own`: a pipeline with
    /// a declaration that is not its newest version yet. Returns the version in force and whether it
    /// is a new one. The lock for changes is held.
    ///
    /// # Errors
    /// The rows could not be read, or do not fit a declaration: the table shows why, an event is
    /// sent, and the version before stays in force.
    pub(crate) fn put_in_force(
        &self,
        who: &Who,
        name: &str,
        rows: Result<&[Row], String>,
        own: Option<(Uuid, &Table)>,
    ) -> Result<(u64, bool), Refused> {
        let at = |why: Error| refusal_of(&why);
        let mut kept = self.kept_table(&who.namespace, name).map_err(at)?;
        let users = self.users_of(&who.namespace, name, own)?;
        let unread = |why| RefusedRows { line: 0, key: String::new(), why };
        let content = rows.map_err(unread).and_then(|rows| {
            let fit = users.iter().map(|(_, table)| Content::new(table, rows.to_vec()));
            fit.collect::<Result<Vec<_>, _>>().map(|mut contents| contents.pop())
        });
        let content = match content {
            Ok(Some(content)) => content,
            Ok(None) => return Err(not_found("table", name)),
            Err(why) => return Err(self.refuse_rows(who, kept, &why)),
        };
        let hash = hash_of(content.canonical());
        let row = |kept: &KeptTable| put(catalog::Table::Tables, named_key(&who.namespace, name), kept);
        if let Some(before) = kept.newest().filter(|before| before.hash == hash).map(|before| before.version) {
            if kept.error.take().is_some() {
                self.catalog.commit(&[row(&kept)]).map_err(|why| refusal_of(&why.into()))?;
            }
            return Ok((before, false));
        }
        keep_content(&*self.disk, &hash, content.canonical()).map_err(at)?;
        let version = kept.newest().map_or(1, |newest| newest.version + 1);
        let (rows, bytes, since) = (content.row_count(), content.canonical().len(), self.now().to_string());
        let newest = KeptContent { version, hash, rows, bytes, since };
        // The pipeline itself takes them with its new version, or when its session starts.
        let others = users.iter().filter(|(pipeline, _)| own.is_none_or(|(own, _)| own != *pipeline));
        let running = others.filter(|(pipeline, _)| self.running_of(*pipeline).is_some());
        let commands = running.map(|(pipeline, _)| newest.command(*pipeline, name));
        let mut set = ChangeSet { commands: commands.collect(), rows: Vec::new() };
        kept.error = None;
        kept.versions.push(newest.clone());
        set.rows.push(row(&kept));
        let after = json!({"version": version, "hash": newest.hash, "rows": newest.rows});
        self.audit_in(&mut set, who, "table.put", name, (Value::Null, after)).map_err(at)?;
        self.make_change(set)?;
        Ok((version, true))
    }

    /// Notes that a content was refused. Sends one event for each problem.
    fn refuse_rows(&self, who: &Who, mut kept: KeptTable, why: &RefusedRows) -> Refused {
        let refusal = KeptRefusal { at: self.now().to_string(), line: why.line, key: why.key.clone(), detail: why.to_string() };
        let is_known = kept.error.as_ref().is_some_and(|known| known.detail == refusal.detail);
        let (name, detail) = (kept.name.clone(), format!("table `{}`: {why}", kept.name));
        tracing::error!(table = name, "the content was refused: {why}");
        kept.error = Some(refusal);
        let _telling = self.teller.hold();
        let told = json!({"table": name, "line": why.line, "key": why.key, "detail": detail});
        let events = match is_known {
            true => Ok(Vec::new()),
            false => self.told(&who.namespace, self.now(), vec![(TABLE_REFUSED, told)]),
        };
        let committed = events.and_then(|mut changes| {
            changes.push(put(catalog::Table::Tables, named_key(&who.namespace, &name), &kept));
            Ok(self.catalog.commit(&changes)?)
        });
        if let Err(why) = committed {
            tracing::error!(table = name, "the refusal was not kept: {why}");
        }
        Box::new(Refusal::new(RefusalKind::TableRefused, detail).extra("line", json!(why.line)).extra("key", json!(why.key)))
    }

    /// The pipelines that declare a table with rows from outside, each with its declaration: that of
    /// its newest version, or its own that is about to become the newest.
    pub(crate) fn users_of(
        &self,
        namespace: &str,
        name: &str,
        own: Option<(Uuid, &Table)>,
    ) -> Result<Vec<(Uuid, Table)>, Refused> {
        let mut users: Vec<(Uuid, Table)> = own.map(|(pipeline, table)| (pipeline, table.clone())).into_iter().collect();
        for pipeline in self.pipelines(namespace).map_err(|why| refusal_of(&why))? {
            if own.is_some_and(|(own, _)| own == pipeline.id) {
                continue;
            }
            let compiled = self.version(&pipeline, pipeline.version)?.compile().map_err(|why| refusal_of(&why))?;
            let table = compiled.plan.tables.into_iter().find(|table| table.name == name && has_versions(table));
            users.extend(table.map(|table| (pipeline.id, table)));
        }
        Ok(users)
    }

    /// Takes the rows of a plan's tables from their files, and from what services and databases gave,
    /// before a session or a new version of a pipeline begins. The lock for changes is held. Rows that
    /// are refused leave the version before in force.
    ///
    /// # Errors
    /// There is no version before, or the rows in force do not fit the plan.
    pub(crate) fn prepare_tables(&self, who: &Who, plan: &Plan, read: &ReadTables) -> Result<(), Refused> {
        for table in plan.tables.iter().filter(|table| has_versions(table)) {
            match (&table.origin, read.get(&table.name)) {
                (TableOrigin::File(_), _) => {
                    self.take_rows(who, plan, table, &flowmeter_connectors::tables::read_rows(table, self.now()))?;
                }
                (_, Some(rows)) => self.take_rows(who, plan, table, rows)?,
                (_, None) => {}
            }
            let kept = self.kept_table(&who.namespace, &table.name).map_err(|why| refusal_of(&why))?;
            let Some(newest) = kept.newest() else {
                if !table.origin.is_read() {
                    continue;
                }
                let detail = format!("the table `{}` has no rows yet; its source was not read", table.name);
                return Err(Box::new(Refusal::new(RefusalKind::TableRefused, detail).remedy("Start the pipeline again.")));
            };
            if read_content(&*self.disk, table, &newest.hash).map_err(|why| refusal_of(&why))?.is_none() {
                let detail = format!(
                    "the rows of table `{}` that are in force do not fit its declaration; put rows that fit, or use another name",
                    table.name
                );
                return Err(Box::new(Refusal::new(RefusalKind::TableRefused, detail)));
            }
        }
        Ok(())
    }

    /// Puts the newest versions of a plan's tables in force for a pipeline that starts to work.
    pub(crate) fn bring_tables(&self, served: &Arc<Served>, pipeline: &KeptPipeline, plan: &Plan) -> Result<(), Error> {
        self.begin_refreshing(&pipeline.namespace, &refreshed(plan))?;
        let newest = self.newest_tables(pipeline, plan)?;
        if newest.is_empty() {
            return Ok(());
        }
        let in_force = served.worker.ask(|live| live.tables_in_force())?;
        let missing = newest.iter().filter(|(name, newest)| in_force.get(name) != Some(&newest.in_force()));
        let mut commands = missing.map(|(name, newest)| newest.command(pipeline.id, name));
        commands.try_for_each(|command| self.command(&command).map(drop))
    }

    /// The commands that follow the adoption of a new version, whose tables may be others.
    pub(crate) fn table_commands(&self, pipeline: &KeptPipeline, plan: &Plan) -> Result<Vec<LogCommand>, Refused> {
        let newest = self.newest_tables(pipeline, plan).map_err(|why| refusal_of(&why))?;
        Ok(newest.iter().map(|(name, newest)| newest.command(pipeline.id, name)).collect())
    }

    /// The newest version of each table of a plan that has one.
    fn newest_tables(&self, pipeline: &KeptPipeline, plan: &Plan) -> Result<Vec<(String, KeptContent)>, Error> {
        self.apply_pending()?;
        let mut newest = Vec::new();
        for table in plan.tables.iter().filter(|table| has_versions(table)) {
            let kept = self.kept_table(&pipeline.namespace, &table.name)?;
            newest.extend(kept.newest().map(|version| (table.name.clone(), version.clone())));
        }
        Ok(newest)
    }
}
