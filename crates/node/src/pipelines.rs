//! Pipelines and the versions of their documents.

pub mod services;
pub mod state;
pub mod stopped;
pub mod working;

use std::path::Path;
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_document::{Pipeline, Problems, TargetPlan};
use flowmeter_engine::live::{AdoptedDocument, LogCommand};
use flowmeter_engine::{Error, Kind, StateChoices};
use flowmeter_store::catalog::{Catalog, Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, pair_key, put};
use crate::tables::reading::{ReadTables, Refreshed, refreshed};

/// A pipeline as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptPipeline {
    /// The id, derived from namespace and name.
    pub id: Uuid,
    /// The namespace of the pipeline.
    pub namespace: String,
    /// A name that is unique in its namespace.
    pub name: String,
    /// The number of the newest version.
    pub version: u32,
    /// The time of its creation.
    pub created_at: String,
    /// The time of its newest version.
    pub updated_at: String,
    /// Whether the server created it for itself; then people cannot change it.
    #[serde(default)]
    pub built_in: bool,
    /// Whether its sessions wait for events; otherwise they end with their input.
    pub streaming: bool,
}

/// A version of a pipeline's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptVersion {
    /// A number that counts up from 1.
    pub version: u32,
    /// The time of its creation.
    pub created_at: String,
    /// The author of the version.
    pub created_by: String,
    /// The document as written.
    pub document: String,
    /// The installation's meter types at that time, which are part of the version.
    #[serde(default)]
    pub meter_types: Vec<String>,
    /// The pipeline's id, which the plan uses.
    pub id: Uuid,
    /// Decisions about state that has no place in the version.
    #[serde(default, skip_serializing_if = "StateChoices::is_empty")]
    pub state: StateChoices,
}

impl KeptVersion {
    /// Compiles the version. It compiled when it was created.
    pub fn compile(&self) -> Result<Pipeline, Error> {
        let shared: Vec<&str> = self.meter_types.iter().map(String::as_str).collect();
        let mut pipeline = Pipeline::read_shared(&self.document, &shared)
            .map_err(|why| Error::new(Kind::Corrupt, format!("version {} of a pipeline: {why}", self.version)))?;
        pipeline.plan.id = self.id;
        Ok(pipeline)
    }
}

/// Returns the id of a pipeline: derived from its name, and its namespace unless that is `default`,
/// for which it equals the id of `flowmeter run`. It depends on no setting: settings change, and
/// pipelines of two namespaces must never have the same id.
fn pipeline_id(namespace: &str, name: &str) -> Uuid {
    match namespace {
        "default" => flowmeter_core::meter_type::derived::pipeline(name),
        _ => flowmeter_core::meter_type::derived::pipeline(&format!("{namespace}/{name}")),
    }
}

/// Returns problems or warnings of a document, each with its place and the correct form.
pub fn lines(problems: &[flowmeter_document::Problem]) -> Vec<Value> {
    let line = |problem: &flowmeter_document::Problem| {
        json!({
            "line": problem.line, "column": problem.column, "field": problem.field, "message": problem.message,
        })
    };
    problems.iter().map(line).collect()
}

/// Returns the problem of a document, with line, field and correct form of each error.
pub fn document_problem(problems: &Problems) -> Refused {
    Box::new(Refusal::new(RefusalKind::InvalidDocument, problems.to_string()).extra("problems", lines(&problems.0)))
}

/// A change that running pipelines adopt.
#[derive(Default)]
pub(crate) struct Adoption {
    pub(crate) set: ChangeSet,
    /// Running pipelines with their new targets, and the tables that are read at intervals.
    running: Vec<(Arc<Served>, Vec<TargetPlan>, Refreshed)>,
}

/// Compiles a document that may also count in the meter types of an installation.
pub(crate) fn compile_with(document: &str, types: &[String]) -> Result<Pipeline, Refused> {
    let shared: Vec<&str> = types.iter().map(String::as_str).collect();
    Pipeline::read_shared(document, &shared).map_err(|problems| document_problem(&problems))
}

impl Installation {
    /// Compiles a document in a namespace without storing it.
    pub fn check_document(&self, namespace: &str, document: &str) -> Result<Pipeline, Refused> {
        let types = self.meter_type_documents(namespace).map_err(|why| refusal_of(&why))?;
        compile_with(document, &types)
    }

    /// Returns the pipelines of a namespace, by name.
    pub fn pipelines(&self, namespace: &str) -> Result<Vec<KeptPipeline>, Error> {
        let found = self.catalog.scan(Table::Pipelines, &named_key(namespace, ""), None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Returns the pipelines of all namespaces.
    pub(crate) fn all_pipelines(&self) -> Result<Vec<KeptPipeline>, Error> {
        let found = self.catalog.scan(Table::Pipelines, b"", None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Returns a pipeline by id or name.
    pub fn pipeline(&self, namespace: &str, id_or_name: &str) -> Result<KeptPipeline, Refused> {
        let by_name = self.catalog.get(Table::Pipelines, &named_key(namespace, id_or_name));
        if let Some(bytes) = by_name.map_err(|why| refusal_of(&why.into()))? {
            return kept(&bytes).map_err(|why| refusal_of(&why));
        }
        let id = Uuid::try_parse(id_or_name).map_err(|_| not_found("pipeline", id_or_name))?;
        let all = self.pipelines(namespace).map_err(|why| refusal_of(&why))?;
        all.into_iter().find(|known| known.id == id).ok_or_else(|| not_found("pipeline", id_or_name))
    }

    /// Returns the versions of a pipeline, the oldest first.
    pub fn versions(&self, pipeline: Uuid) -> Result<Vec<KeptVersion>, Error> {
        let found = self.catalog.scan(Table::Versions, pipeline.as_bytes(), None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Returns the newest version that `who` made.
    pub fn newest_by(&self, pipeline: &KeptPipeline, who: &str) -> Result<Option<KeptVersion>, Error> {
        Ok(self.versions(pipeline.id)?.into_iter().rev().find(|version| version.created_by == who))
    }

    /// Returns a version of a pipeline.
    pub fn version(&self, pipeline: &KeptPipeline, version: u32) -> Result<KeptVersion, Refused> {
        let found = self.catalog.get(Table::Versions, &pair_key(pipeline.id, u64::from(version)));
        match found.map_err(|why| refusal_of(&why.into()))? {
            Some(bytes) => kept(&bytes).map_err(|why| refusal_of(&why)),
            None => Err(not_found("version", &format!("{version} of {}", pipeline.name))),
        }
    }

    /// Creates a pipeline from a document.
    pub fn create_pipeline(&self, who: &Who, document: &str, built_in: bool) -> Result<KeptPipeline, Refused> {
        let _change = self.begin_change()?;
        let compiled = self.check_document(&who.namespace, document)?;
        let name = compiled.plan.name.clone();
        let there = self.catalog.get(Table::Pipelines, &named_key(&who.namespace, &name));
        if there.map_err(|why| refusal_of(&why.into()))?.is_some() {
            return Err(Box::new(
                Refusal::new(RefusalKind::AlreadyExists, format!("there is a pipeline `{name}` already")).field("pipeline"),
            ));
        }
        let now = self.now().to_string();
        let pipeline = KeptPipeline {
            id: pipeline_id(&who.namespace, &name),
            namespace: who.namespace.clone(),
            name,
            version: 1,
            created_at: now.clone(),
            updated_at: now,
            built_in,
            streaming: !compiled.plan.is_bounded(),
        };
        self.check_meter_ids(&pipeline.namespace, pipeline.id, &compiled.plan)?;
        let types = self.meter_type_documents(&who.namespace).map_err(|why| refusal_of(&why))?;
        let mut set = ChangeSet::default();
        self.version_in(&mut set, who, &pipeline, (document, &types, &StateChoices::new()), "pipeline.create")?;
        self.make_change(set)?;
        Ok(pipeline)
    }

    /// Gives a pipeline a new version; a running one adopts it at once. `state` decides about
    /// state that has no place in it.
    ///
    /// # Errors
    /// The document has problems, or does not fit the meters or the state of the pipeline.
    pub fn update_pipeline(
        &self,
        who: &Who,
        pipeline: &KeptPipeline,
        document: &str,
        state: &StateChoices,
    ) -> Result<KeptPipeline, Refused> {
        self.update_pipeline_with(who, pipeline, (document, state), Vec::new())
    }

    /// Gives a pipeline a new version, together with other rows of the catalog.
    pub(crate) fn update_pipeline_with(
        &self,
        who: &Who,
        pipeline: &KeptPipeline,
        (document, state): (&str, &StateChoices),
        rows: Vec<Change>,
    ) -> Result<KeptPipeline, Refused> {
        let compiled = self.check_document(&who.namespace, document)?;
        if compiled.plan.name != pipeline.name {
            let detail = format!("the document names the pipeline `{}`; this one is `{}`", compiled.plan.name, pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("pipeline")));
        }
        self.must_be_taken(pipeline)?;
        if self.running_of(pipeline.id).is_some() {
            self.probe(pipeline.id, &compiled.targets)?;
        }
        let read = self.running_of(pipeline.id).map(|_| self.read_asked(&compiled.plan)).unwrap_or_default();
        let _change = self.begin_change()?;
        // Meter types may have changed meanwhile.
        let compiled = self.check_document(&who.namespace, document)?;
        if self.pipeline(&who.namespace, &pipeline.name)?.version != pipeline.version {
            let detail = format!("`{}` was given a newer version by another request at this moment", pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Stale, detail)));
        }
        let newer = KeptPipeline {
            version: pipeline.version + 1,
            updated_at: self.now().to_string(),
            streaming: !compiled.plan.is_bounded(),
            ..pipeline.clone()
        };
        let types = self.meter_type_documents(&who.namespace).map_err(|why| refusal_of(&why))?;
        let mut adoption = Adoption::default();
        adoption.set.rows = rows;
        self.adopt_in(&mut adoption, who, &newer, (document, &types, state), compiled, &read)?;
        self.make_adoption(adoption)?;
        Ok(newer)
    }

    /// Returns what a new version would change, without storing it.
    ///
    /// # Errors
    /// A document with problems, another name, or a change that the running pipeline refuses.
    pub fn rehearse_update(
        &self,
        who: &Who,
        pipeline: &KeptPipeline,
        document: &str,
        state: &StateChoices,
    ) -> Result<Value, Refused> {
        let compiled = self.check_document(&who.namespace, document)?;
        if compiled.plan.name != pipeline.name {
            let detail = format!("the document names the pipeline `{}`; this one is `{}`", compiled.plan.name, pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("pipeline")));
        }
        let before = self.version(pipeline, pipeline.version)?.compile().map_err(|why| refusal_of(&why))?;
        let names = |of: &Pipeline| of.targets.iter().map(|target| target.id.clone()).collect::<Vec<_>>();
        let (old, new) = (names(&before), names(&compiled));
        let added: Vec<&String> = new.iter().filter(|name| !old.contains(name)).collect();
        let removed: Vec<&String> = old.iter().filter(|name| !new.contains(name)).collect();
        let kind_of = |name: &str| before.plan.meter_types.iter().find(|kind| kind.name == name);
        let changed = compiled.plan.meter_types.iter().filter(|kind| {
            kind_of(&kind.name).is_some_and(|old| old.schedule != kind.schedule || old.zone.name() != kind.zone.name())
        });
        let schedules: Vec<Value> = changed
            .map(|kind| {
                let open = kind_of(&kind.name).map(|old| old.schedule.period_at(&old.zone, self.now()).end);
                json!({"meterType": kind.name, "from": open.map(crate::rows::shown)})
            })
            .collect();
        let gone = before.plan.meter_types.iter().filter(|old| compiled.plan.meter_types.iter().all(|kind| kind.id != old.id));
        let gone: Vec<&str> = gone.map(|kind| kind.name.as_str()).collect();
        let mut answer = json!({
            "accepted": true, "version": pipeline.version + 1, "schedulesChange": schedules, "loses": gone,
            "targets": {"added": added, "removed": removed}, "warnings": lines(&compiled.warnings),
        });
        self.check_meter_ids(&pipeline.namespace, pipeline.id, &compiled.plan)?;
        if let Some(served) = self.served_of(pipeline.id) {
            served.delivery.check(&compiled.targets, Path::new(".")).map_err(|why| refusal_of(&why))?;
            let mut plan = compiled.plan;
            plan.id = pipeline.id;
            let (_, displaced) = self.check_state(pipeline, &served, &plan, state)?;
            answer["state"] = displaced.iter().map(state::shown).collect();
            answer["keeps"] = json!({"meters": served.board().meters()});
        }
        Ok(answer)
    }

    /// Adds a version of a pipeline to a change. A version that does not fit the pipeline's meters
    /// or has targets that cannot be opened is refused.
    pub(crate) fn adopt_in(
        &self,
        adoption: &mut Adoption,
        who: &Who,
        newer: &KeptPipeline,
        (document, types, state): (&str, &[String], &StateChoices),
        compiled: Pipeline,
        read: &ReadTables,
    ) -> Result<(), Refused> {
        self.check_meter_ids(&newer.namespace, newer.id, &compiled.plan)?;
        self.version_in(&mut adoption.set, who, newer, (document, types, state), "pipeline.update")?;
        let Some(served) = self.served_of(newer.id) else { return Ok(()) };
        let targets = compiled.targets;
        let mut plan = compiled.plan;
        plan.id = newer.id;
        let (state, _) = self.check_state(newer, &served, &plan, state)?;
        served.delivery.check(&targets, Path::new(".")).map_err(|why| refusal_of(&why))?;
        self.check_services(&plan).map_err(|why| refusal_of(&why))?;
        // A pipeline without a session adopts the version when its next session starts.
        if served.session() != 0 {
            let adopted = AdoptedDocument { text: document.to_owned(), meter_types: types.to_vec() };
            let (pipeline, version, document) = (newer.id, newer.version, Some(adopted));
            adoption.set.commands.push(LogCommand::Adopt { pipeline, version, document, state });
            self.prepare_tables(who, &plan, read)?;
            adoption.set.commands.extend(self.table_commands(newer, &plan)?);
            adoption.running.push((served, targets, refreshed(&plan)));
        }
        Ok(())
    }

    /// Makes a change and waits until the running pipelines have adopted it. The caller holds the
    /// lock for changes.
    pub(crate) fn make_adoption(&self, adoption: Adoption) -> Result<(), Refused> {
        let Some(position) = self.make_change(adoption.set)? else { return Ok(()) };
        // The change is durable: errors from here on do not undo it.
        for (served, targets, tables) in adoption.running {
            if let Err(why) = self.begin_refreshing(&served.kept.namespace, &tables) {
                tracing::error!(pipeline = served.kept.name, "its tables are not read at intervals until it starts again: {why}");
            }
            if let Err(why) = served.delivery.aim(&targets, Path::new(".")) {
                tracing::error!(pipeline = served.kept.name, "a target cannot be opened: {why}");
            }
            // A paused pipeline adopts it when it resumes, at its position in the log.
            if !served.board().is_paused()
                && let Err(why) = served.worker.wait_for(position)
            {
                tracing::error!(
                    pipeline = served.kept.name,
                    "the new version was saved, but the pipeline did not adopt it yet: {why}"
                );
            }
        }
        Ok(())
    }

    fn version_in(
        &self,
        set: &mut ChangeSet,
        who: &Who,
        pipeline: &KeptPipeline,
        (document, types, state): (&str, &[String], &StateChoices),
        action: &str,
    ) -> Result<(), Refused> {
        let version = KeptVersion {
            version: pipeline.version,
            created_at: pipeline.updated_at.clone(),
            created_by: who.name.clone(),
            document: document.to_owned(),
            meter_types: types.to_vec(),
            id: pipeline.id,
            state: state.clone(),
        };
        let key = pair_key(pipeline.id, u64::from(pipeline.version));
        set.rows.push(put(Table::Pipelines, named_key(&pipeline.namespace, &pipeline.name), pipeline));
        set.rows.push(put(Table::Versions, key, &version));
        set.rows.extend(self.begin_schedule(pipeline).map_err(|why| refusal_of(&why))?);
        let mut after = json!({"version": pipeline.version});
        if !state.is_empty() {
            after["state"] = json!(state);
        }
        let before = pipeline.version.checked_sub(1).filter(|before| *before > 0).map(|before| json!({"version": before}));
        let audited = self.audit_in(set, who, action, &pipeline.name, (before.unwrap_or_default(), after));
        audited.map_err(|why| refusal_of(&why))
    }

    /// Deletes a pipeline. Its records, events and sessions stay.
    pub fn delete_pipeline(&self, who: &Who, pipeline: &KeptPipeline) -> Result<(), Refused> {
        if self.session_at_work(pipeline.id).is_some() {
            let detail = format!("a session of `{}` is running; finish or cancel it first", pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let _change = self.begin_change()?;
        if let Some(resting) = self.served_of(pipeline.id) {
            self.let_go(&resting);
        }
        self.forget_stopped(pipeline.id);
        let mut changes = vec![Change::Remove(Table::Pipelines, named_key(&pipeline.namespace, &pipeline.name))];
        let audited = self.audited(who, "pipeline.delete", &pipeline.name, json!({"version": pipeline.version}), Value::Null);
        changes.extend(audited.map_err(|why| refusal_of(&why))?);
        self.catalog.commit(&changes).map_err(|why| refusal_of(&why.into()))
    }
}

/// Returns a function that compiles the plan of a version from the catalog.
pub(crate) fn plan_of(catalog: &Arc<dyn Catalog>, pipeline: Uuid) -> impl Fn(u32) -> Result<Arc<Plan>, Error> + Send + use<> {
    let catalog = Arc::clone(catalog);
    move |version| {
        let bytes = catalog.get(Table::Versions, &pair_key(pipeline, u64::from(version)))?;
        let bytes =
            bytes.ok_or_else(|| Error::new(Kind::Corrupt, format!("version {version} of pipeline {pipeline} is gone")))?;
        let kept: KeptVersion = kept(&bytes)?;
        Ok(Arc::new(kept.compile()?.plan))
    }
}
