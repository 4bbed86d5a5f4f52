//! Meter types of the installation, shared by the pipelines of a namespace.

pub mod declared;

use flowmeter_core::meter_type::MeterType;
use flowmeter_core::plan::Plan;
use flowmeter_document::Pipeline;
use flowmeter_engine::{Error, StateChoices};
use flowmeter_store::catalog::{Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::installation::Installation;
use crate::pipelines::{Adoption, KeptVersion, compile_with, document_problem};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{content_tag, kept, named_key, put};
use crate::tables::reading::ReadTables;

/// A meter type as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptMeterType {
    /// The given id, or one derived from its name.
    pub id: Uuid,
    /// A name that is unique in its namespace.
    pub name: String,
    /// The time of its creation.
    pub created_at: String,
    /// The time of its last change.
    pub updated_at: String,
    /// Its fields as given, with `id` and `name`.
    pub fields: Map<String, Value>,
}

impl KeptMeterType {
    /// Returns the document, as under `meterTypes` of a pipeline.
    pub fn document(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    /// Returns a tag of its content, which every change replaces.
    pub fn tag(&self) -> String {
        content_tag(self)
    }

    /// Returns its JSON form: every field with its default, and the times of creation and change.
    pub fn shown(&self) -> Value {
        let mut shown = with_defaults(&self.fields);
        shown.insert("pipeline".to_owned(), Value::Null);
        shown.insert("createdAt".to_owned(), json!(self.created_at));
        shown.insert("updatedAt".to_owned(), json!(self.updated_at));
        Value::Object(shown)
    }
}

/// Returns the fields of a meter type, with the defaults of omitted ones.
pub(crate) fn with_defaults(fields: &Map<String, Value>) -> Map<String, Value> {
    let defaults = json!({
        "category": "DEFAULT", "unit": "", "aggregation": "sum", "resetSchedule": "monthly", "timezone": "Etc/UTC",
        "autoCreate": true, "flushEmpty": true, "groupLimit": 10_000,
    });
    let mut whole = defaults.as_object().cloned().unwrap_or_default();
    whole.extend(fields.clone());
    whole
}

impl Installation {
    /// Returns the meter types of a namespace, by name.
    pub fn meter_types(&self, namespace: &str) -> Result<Vec<KeptMeterType>, Error> {
        let found = self.catalog.scan(Table::MeterTypes, &named_key(namespace, ""), None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    pub(crate) fn meter_type_documents(&self, namespace: &str) -> Result<Vec<String>, Error> {
        Ok(self.meter_types(namespace)?.iter().map(KeptMeterType::document).collect())
    }

    /// Returns a meter type by id or name.
    pub fn meter_type(&self, namespace: &str, id_or_name: &str) -> Result<KeptMeterType, Refused> {
        let all = self.meter_types(namespace).map_err(|why| refusal_of(&why))?;
        let id = Uuid::try_parse(id_or_name).ok();
        let found = all.into_iter().find(|known| known.name == id_or_name || Some(known.id) == id);
        found.ok_or_else(|| not_found("meter type", id_or_name))
    }

    /// Creates a meter type. A name or id that another one of the installation or of a pipeline has
    /// is refused.
    pub fn create_meter_type(&self, who: &Who, fields: Map<String, Value>) -> Result<KeptMeterType, Refused> {
        let read = read(&fields)?;
        let _change = self.begin_change()?;
        let all = self.meter_types(&who.namespace).map_err(|why| refusal_of(&why))?;
        let external = fields.get("externalRef").filter(|value| !value.is_null());
        for known in &all {
            let field = if known.name == read.name {
                "name"
            } else if known.id == read.id {
                "id"
            } else if external.is_some() && known.fields.get("externalRef") == external {
                "externalRef"
            } else {
                continue;
            };
            let detail = format!("the meter type `{}` has this {field} already", known.name);
            return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail).field(field)));
        }
        let declared = self.declared_meter_types(&who.namespace).map_err(|why| refusal_of(&why))?;
        if let Some(known) = declared.iter().find(|known| known.name == read.name || known.id == read.id) {
            let field = if known.name == read.name { "name" } else { "id" };
            let detail = format!("the pipeline `{}` declares the meter type `{}` with this {field}", known.pipeline, known.name);
            let remedy = "Take it from `meterTypes` in the document of the pipeline first, or choose another.";
            let problem = Refusal::new(RefusalKind::AlreadyExists, detail).field(field).remedy(remedy);
            return Err(Box::new(problem.extra("pipeline", known.pipeline.clone())));
        }
        let now = self.now().to_string();
        let mut fields = fields;
        fields.insert("id".to_owned(), json!(read.id));
        let made = KeptMeterType { id: read.id, name: read.name, created_at: now.clone(), updated_at: now, fields };
        let mut adoption = Adoption::default();
        adoption.set.rows.push(put(Table::MeterTypes, named_key(&who.namespace, &made.name), &made));
        let told = (Value::Null, Value::Object(made.fields.clone()));
        let audited = self.audit_in(&mut adoption.set, who, "meterType.create", &made.name, told);
        audited.map_err(|why| refusal_of(&why))?;
        let types = all.into_iter().chain([made.clone()]).collect();
        self.adopt_meter_types(who, adoption, types)?;
        Ok(made)
    }

    /// Changes a meter type. A change that is not allowed while it has meters is refused.
    pub fn update_meter_type(
        &self,
        who: &Who,
        known: &KeptMeterType,
        fields: Map<String, Value>,
    ) -> Result<KeptMeterType, Refused> {
        let mut fields = fields;
        fields.insert("id".to_owned(), json!(known.id));
        fields.entry("name").or_insert_with(|| json!(known.name));
        let read = read(&fields)?;
        if read.name != known.name {
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, "the name of a meter type never changes").field("name")));
        }
        let _change = self.begin_change()?;
        if self.meter_type(&who.namespace, &known.name)? != *known {
            let detail = format!("the meter type `{}` was changed by another request at this moment", known.name);
            return Err(Box::new(Refusal::new(RefusalKind::Stale, detail)));
        }
        let made = KeptMeterType { updated_at: self.now().to_string(), fields, ..known.clone() };
        let mut adoption = Adoption::default();
        adoption.set.rows.push(put(Table::MeterTypes, named_key(&who.namespace, &made.name), &made));
        let told = (Value::Object(known.fields.clone()), Value::Object(made.fields.clone()));
        let audited = self.audit_in(&mut adoption.set, who, "meterType.update", &made.name, told);
        audited.map_err(|why| refusal_of(&why))?;
        let mut types = self.meter_types(&who.namespace).map_err(|why| refusal_of(&why))?;
        types.iter_mut().filter(|kept| kept.name == made.name).for_each(|kept| *kept = made.clone());
        self.adopt_meter_types(who, adoption, types)?;
        Ok(made)
    }

    /// Deletes a meter type, if no meter refers to it.
    pub fn delete_meter_type(&self, who: &Who, known: &KeptMeterType) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        let mut adoption = Adoption::default();
        let gone = Change::Remove(Table::MeterTypes, named_key(&who.namespace, &known.name));
        adoption.set.rows.push(gone);
        let told = (Value::Object(known.fields.clone()), Value::Null);
        let audited = self.audit_in(&mut adoption.set, who, "meterType.delete", &known.name, told);
        audited.map_err(|why| refusal_of(&why))?;
        let mut types = self.meter_types(&who.namespace).map_err(|why| refusal_of(&why))?;
        types.retain(|kept| kept.name != known.name);
        self.adopt_meter_types(who, adoption, types)
    }

    /// Makes a change of the meter types of a namespace, which gives every pipeline that uses a
    /// changed one a version: all of it, or nothing. The caller holds the lock for changes.
    fn adopt_meter_types(&self, who: &Who, mut adoption: Adoption, mut types: Vec<KeptMeterType>) -> Result<(), Refused> {
        types.sort_by(|a, b| a.name.cmp(&b.name));
        let types: Vec<String> = types.iter().map(KeptMeterType::document).collect();
        for pipeline in self.pipelines(&who.namespace).map_err(|why| refusal_of(&why))? {
            let version = self.version(&pipeline, pipeline.version)?;
            if version.meter_types == types {
                continue;
            }
            let compiled = compile_with(&version.document, &types)?;
            if !self.uses_changed(&version, &types, &compiled.plan)? {
                continue;
            }
            let newer = crate::pipelines::KeptPipeline {
                version: pipeline.version + 1,
                updated_at: self.now().to_string(),
                ..pipeline.clone()
            };
            self.adopt_in(
                &mut adoption,
                who,
                &newer,
                (&version.document, &types, &StateChoices::new()),
                compiled,
                &ReadTables::new(),
            )?;
        }
        self.make_adoption(adoption)
    }

    /// Whether a pipeline counts, or has meters, in a type that differs between its newest version
    /// and these documents.
    fn uses_changed(&self, version: &KeptVersion, types: &[String], after: &Plan) -> Result<bool, Refused> {
        let changed = changed(&version.meter_types, types);
        let before = version.compile().map_err(|why| refusal_of(&why))?.plan;
        if used(&before).iter().chain(&used(after)).any(|kind| changed.contains(&kind.id)) {
            return Ok(true);
        }
        // The meters of a pipeline that is not loaded are not known.
        let Some(served) = self.served_of(version.id) else { return Ok(true) };
        served.meters_index.catch_up(served.worker()).map_err(|why| refusal_of(&why))?;
        Ok(changed.iter().any(|kind| served.meters_index.has_kind(*kind)))
    }
}

/// Returns the ids of the documents of meter types that are not in both lists.
fn changed(before: &[String], after: &[String]) -> Vec<Uuid> {
    let only = |of: &[String], other: &[String]| of.iter().filter(|text| !other.contains(text)).cloned().collect::<Vec<_>>();
    let texts = only(before, after).into_iter().chain(only(after, before));
    let id = |text: String| Uuid::try_parse(serde_json::from_str::<Value>(&text).ok()?.get("id")?.as_str()?).ok();
    texts.filter_map(id).collect()
}

/// Returns the meter types that a plan uses: those in which a rule counts or a declared meter is.
fn used(plan: &Plan) -> Vec<&MeterType> {
    let rules = plan.processors.iter().flat_map(|processor| &processor.rules).flat_map(|rule| rule.meter_types.iter().copied());
    let mut used: Vec<u16> = rules.chain(plan.meters.iter().map(|meter| meter.meter_type)).collect();
    used.sort_unstable();
    used.dedup();
    used.into_iter().map(|at| &plan.meter_types[usize::from(at)]).collect()
}

fn read(fields: &Map<String, Value>) -> Result<MeterType, Refused> {
    Pipeline::read_meter_type(&Value::Object(fields.clone()).to_string()).map_err(|problems| document_problem(&problems))
}
