//! Tables that operators look things up in: their versions, and who uses them.
//!
//! A table belongs to a namespace; the documents of its pipelines say what its key is. A version
//! comes into force for each running pipeline by an entry of the log, in one change with its row in
//! the catalog. A pipeline without a session catches up when its next session starts.

use std::collections::HashMap;
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Content, Refused as RefusedRows, Row, Table, TableOrigin, Tables};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{LogCommand, TableVersion, has_versions, keep_content, read_content};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::Who;
use super::change::ChangeSet;
use super::{Installation, KeptPipeline, Refused, Served, kept, named_key, not_found, problem_of, put};
use crate::notifications::vocabulary::TABLE_REFUSED;
use crate::problem::{Code, Problem};

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
    table: Table,
    /// The names of the pipelines whose newest version declares it.
    pipelines: Vec<String>,
}

impl KeptTable {
    fn newest(&self) -> Option<&KeptContent> {
        self.versions.last()
    }
}

impl KeptContent {
    fn in_force(&self) -> TableVersion {
        TableVersion { version: self.version, hash: self.hash.clone() }
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
        let origin = match self.table.origin {
            TableOrigin::Document(_) => "document",
            TableOrigin::File(_) => "file",
            TableOrigin::Put => "put",
        };
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
pub(super) struct TableHistory<'i> {
    installation: &'i Installation,
    plan: Arc<Plan>,
    kept: Vec<KeptTable>,
    contents: HashMap<(usize, String), Option<Arc<Content>>>,
}

impl TableHistory<'_> {
    /// Returns the tables that were in force at an instant: that of an event's receipt. Versions that
    /// came into force at that very instant count, whatever their place in the log.
    pub(super) fn at(&mut self, at: Timestamp) -> Result<Tables, Error> {
        let mut tables: Vec<Option<Arc<Content>>> =
            flowmeter_engine::tables_of(&self.plan).iter().flat_map(|tables| tables.iter().cloned()).collect();
        for (place, kept) in self.kept.iter().enumerate() {
            let since = |content: &KeptContent| Timestamp::parse_rfc3339(content.since.as_bytes()).unwrap_or_default();
            let Some(version) = kept.versions.iter().rev().find(|version| since(version) <= at) else { continue };
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
    pub(super) fn table_history(&self, namespace: &str, plan: &Arc<Plan>) -> Result<TableHistory<'_>, Error> {
        let kept = plan.tables.iter().map(|table| match has_versions(table) {
            true => self.kept_table(namespace, &table.name),
            false => Ok(KeptTable::default()),
        });
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        Ok(TableHistory { installation: self, plan: Arc::clone(plan), kept, contents: HashMap::new() })
    }

    fn kept_table(&self, namespace: &str, name: &str) -> Result<KeptTable, Error> {
        match self.catalog.get(catalog::Table::Tables, &named_key(namespace, name))? {
            Some(bytes) => kept(&bytes),
            None => Ok(KeptTable { name: name.to_owned(), ..KeptTable::default() }),
        }
    }

    /// Returns the tables that the pipelines of a namespace declare, by name.
    pub fn tables(&self, namespace: &str) -> Result<Vec<TableView>, Error> {
        let mut found: Vec<TableView> = Vec::new();
        for pipeline in self.pipelines(namespace)? {
            let compiled = self.version(&pipeline, pipeline.version).map_err(|why| Error::new(Kind::Corrupt, why.detail));
            for table in compiled?.compile()?.plan.tables {
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
        let all = self.tables(namespace).map_err(|why| problem_of(&why))?;
        all.into_iter().find(|table| table.kept.name == name).ok_or_else(|| not_found("table", name))
    }

    /// Returns the rows of a table with a key, or all rows, as they were at an instant.
    pub fn table_rows(&self, namespace: &str, name: &str, at: Option<Timestamp>) -> Result<Vec<Value>, Refused> {
        let view = self.table(namespace, name)?;
        let since = |content: &KeptContent| Timestamp::parse_rfc3339(content.since.as_bytes()).unwrap_or_default();
        let version = view.kept.versions.iter().rev().find(|version| at.is_none_or(|at| since(version) <= at));
        let content = match (&view.table.origin, version) {
            (TableOrigin::Document(content), _) => Some(Arc::clone(content)),
            (_, Some(version)) => {
                let read = read_content(&*self.disk, &view.table, &version.hash).map_err(|why| problem_of(&why))?;
                read.map(Arc::new)
            }
            (_, None) => None,
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
        match view.table.origin {
            TableOrigin::Put => self.replace_rows(who, name, rows),
            TableOrigin::Document(_) | TableOrigin::File(_) => {
                let detail = format!("the rows of `{name}` come from its document or file; change them there");
                Err(Box::new(Problem::new(Code::Conflict, detail)))
            }
        }
    }

    /// Reads the file of a table again. Returns the version in force and whether it is a new one.
    pub fn refresh_table(&self, who: &Who, name: &str) -> Result<(u64, bool), Refused> {
        let view = self.table(&who.namespace, name)?;
        let TableOrigin::File(_) = view.table.origin else {
            let detail = format!("the rows of `{name}` come from no file; nothing is there to read again");
            return Err(Box::new(Problem::new(Code::Conflict, detail)));
        };
        match flowmeter_connectors::tables::read_rows(&view.table) {
            Ok(rows) => self.replace_rows(who, name, &rows),
            Err(why) => {
                let refused = RefusedRows { line: 0, key: String::new(), why: why.to_string() };
                let _change = self.change();
                let kept = self.kept_table(&who.namespace, name).map_err(|why| problem_of(&why))?;
                Err(self.refuse_rows(who, kept, &refused))
            }
        }
    }

    /// Checks rows against every pipeline that declares the table, and puts them in force.
    fn replace_rows(&self, who: &Who, name: &str, rows: &[Row]) -> Result<(u64, bool), Refused> {
        let _change = self.change();
        match self.put_in_force(who, name, rows)? {
            Ok(put) => Ok(put),
            Err(why) => {
                let kept = self.kept_table(&who.namespace, name).map_err(|why| problem_of(&why))?;
                Err(self.refuse_rows(who, kept, &why))
            }
        }
    }

    /// Puts rows in force for every pipeline that declares the table; the lock for changes is held.
    fn put_in_force(&self, who: &Who, name: &str, rows: &[Row]) -> Result<Result<(u64, bool), RefusedRows>, Refused> {
        let at = |why: Error| problem_of(&why);
        let mut kept = self.kept_table(&who.namespace, name).map_err(at)?;
        let users = self.users_of(&who.namespace, name)?;
        let mut content = None;
        for (_, table) in &users {
            match Content::new(table, rows.to_vec()) {
                Ok(fits) => content = Some(fits),
                Err(why) => return Ok(Err(why)),
            }
        }
        let content = content.ok_or_else(|| not_found("table", name))?;
        let hash = flowmeter_connectors::tables::hash(&content);
        let row = |kept: &KeptTable| put(catalog::Table::Tables, named_key(&who.namespace, name), kept);
        let before = kept.newest().cloned();
        if let Some(before) = before.filter(|before| before.hash == hash) {
            if kept.error.take().is_some() {
                self.catalog.commit(&[row(&kept)]).map_err(|why| problem_of(&why.into()))?;
            }
            return Ok(Ok((before.version, false)));
        }
        keep_content(&*self.disk, &hash, content.canonical()).map_err(at)?;
        let version = kept.newest().map_or(1, |newest| newest.version + 1);
        let (rows, bytes, since) = (content.row_count(), content.canonical().len(), self.now().to_string());
        let newest = KeptContent { version, hash, rows, bytes, since };
        let commands = users.iter().filter(|(pipeline, _)| self.running_of(pipeline.id).is_some());
        let command = |(pipeline, _): &(KeptPipeline, Table)| LogCommand::Table {
            pipeline: pipeline.id,
            table: name.to_owned(),
            content: newest.in_force(),
        };
        let mut set = ChangeSet { commands: commands.map(command).collect(), rows: Vec::new() };
        kept.error = None;
        kept.versions.push(newest.clone());
        set.rows.push(row(&kept));
        let after = json!({"version": version, "hash": newest.hash, "rows": newest.rows});
        self.audit_in(&mut set, who, "table.put", name, (Value::Null, after)).map_err(at)?;
        self.make_change(set)?;
        Ok(Ok((version, true)))
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
        Box::new(Problem::new(Code::TableRefused, detail).extra("line", json!(why.line)).extra("key", json!(why.key)))
    }

    /// The pipelines whose newest version declares a table with rows from outside.
    fn users_of(&self, namespace: &str, name: &str) -> Result<Vec<(KeptPipeline, Table)>, Refused> {
        let mut users = Vec::new();
        for pipeline in self.pipelines(namespace).map_err(|why| problem_of(&why))? {
            let compiled = self.version(&pipeline, pipeline.version)?.compile().map_err(|why| problem_of(&why))?;
            let table = compiled.plan.tables.into_iter().find(|table| table.name == name && has_versions(table));
            users.extend(table.map(|table| (pipeline, table)));
        }
        Ok(users)
    }

    /// Reads the files of a plan's tables, before a session or a new version of a pipeline begins. The
    /// lock for changes is held. A file that cannot be read leaves the version before in force.
    ///
    /// # Errors
    /// There is no version before, or the rows in force do not fit the plan.
    pub(super) fn prepare_tables(&self, who: &Who, plan: &Plan) -> Result<(), Refused> {
        for table in plan.tables.iter().filter(|table| has_versions(table)) {
            if let TableOrigin::File(_) = table.origin {
                self.read_table_file(who, table)?;
            }
            let kept = self.kept_table(&who.namespace, &table.name).map_err(|why| problem_of(&why))?;
            let Some(newest) = kept.newest() else { continue };
            if read_content(&*self.disk, table, &newest.hash).map_err(|why| problem_of(&why))?.is_none() {
                let detail = format!(
                    "the rows of table `{}` that are in force do not fit its declaration; put rows that fit, or use another name",
                    table.name
                );
                return Err(Box::new(Problem::new(Code::TableRefused, detail)));
            }
        }
        Ok(())
    }

    fn read_table_file(&self, who: &Who, table: &Table) -> Result<(), Refused> {
        let has_version = || self.kept_table(&who.namespace, &table.name).map(|kept| kept.newest().is_some());
        let refused = match flowmeter_connectors::tables::read_rows(table) {
            Err(why) => why.to_string(),
            // The pipeline may be new, so that no catalog row declares the table: check its own.
            Ok(rows) => match Content::new(table, rows.clone()) {
                Err(why) => why.to_string(),
                Ok(_) => match self.put_in_force(who, &table.name, &rows)? {
                    Ok(_) => return Ok(()),
                    Err(why) => why.to_string(),
                },
            },
        };
        match has_version().map_err(|why| problem_of(&why))? {
            true => {
                tracing::error!(table = table.name, "the file was refused; the version before stays in force: {refused}");
                Ok(())
            }
            false => {
                let detail = format!("table `{}`: {refused}", table.name);
                Err(Box::new(Problem::new(Code::TableRefused, detail)))
            }
        }
    }

    /// Puts the newest versions of a plan's tables in force for a pipeline that starts to work.
    pub(super) fn bring_tables(&self, served: &Arc<Served>, pipeline: &KeptPipeline, plan: &Plan) -> Result<(), Error> {
        if plan.tables.iter().all(|table| !has_versions(table)) {
            return Ok(());
        }
        let in_force = served.worker.ask(|live| live.tables_in_force())?;
        for table in plan.tables.iter().filter(|table| has_versions(table)) {
            let kept = self.kept_table(&pipeline.namespace, &table.name)?;
            let Some(newest) = kept.newest() else { continue };
            if in_force.get(&table.name) != Some(&newest.in_force()) {
                let (name, content) = (table.name.clone(), newest.in_force());
                let command = LogCommand::Table { pipeline: pipeline.id, table: name, content };
                self.with_writer(|writer| writer.command(&command))?;
            }
        }
        Ok(())
    }

    /// The commands that follow the adoption of a new version, whose tables may be others.
    pub(super) fn table_commands(&self, pipeline: &KeptPipeline, plan: &Plan) -> Result<Vec<LogCommand>, Refused> {
        let mut commands = Vec::new();
        for table in plan.tables.iter().filter(|table| has_versions(table)) {
            let kept = self.kept_table(&pipeline.namespace, &table.name).map_err(|why| problem_of(&why))?;
            let Some(newest) = kept.newest() else { continue };
            let (name, content) = (table.name.clone(), newest.in_force());
            commands.push(LogCommand::Table { pipeline: pipeline.id, table: name, content });
        }
        Ok(commands)
    }
}
