//! Meter types that pipelines declare in their documents: listed with those of the installation,
//! and changed only with their pipeline.

use flowmeter_document::{Declared, Pipeline};
use flowmeter_engine::{Error, Kind};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::installation::Installation;
use crate::meter_types::with_defaults;
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// A meter type of a pipeline's document.
#[derive(Clone, Debug)]
pub struct DeclaredMeterType {
    /// The given id, or one derived from its name.
    pub id: Uuid,
    /// A name that is unique in its pipeline.
    pub name: String,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Its fields as written.
    pub fields: Map<String, Value>,
}

impl DeclaredMeterType {
    /// Returns its JSON form: every field with its default, and its pipeline.
    pub fn shown(&self) -> Value {
        let mut shown = with_defaults(&self.fields);
        shown.insert("id".to_owned(), json!(self.id));
        shown.insert("pipeline".to_owned(), json!(self.pipeline));
        Value::Object(shown)
    }
}

impl Installation {
    /// Returns the meter types that the newest versions of a namespace's pipelines declare, by
    /// pipeline.
    pub fn declared_meter_types(&self, namespace: &str) -> Result<Vec<DeclaredMeterType>, Error> {
        let mut found = Vec::new();
        for pipeline in self.pipelines(namespace)? {
            let version = self.version(&pipeline, pipeline.version);
            let version = version.map_err(|why| Error::new(Kind::Corrupt, why.detail))?;
            let declared = Pipeline::declared_meter_types(&version.document);
            let declared = declared.map_err(|why| Error::new(Kind::Corrupt, why.to_string()))?;
            found.extend(declared.into_iter().map(|Declared { id, name, fields }| DeclaredMeterType {
                id,
                name,
                pipeline: pipeline.name.clone(),
                fields,
            }));
        }
        Ok(found)
    }

    /// Returns a meter type that pipelines declare, by id or name.
    ///
    /// # Errors
    /// `conflict` if several pipelines declare one of this name, `not_found` if none does.
    pub fn declared_meter_type(&self, namespace: &str, id_or_name: &str) -> Result<DeclaredMeterType, Refused> {
        let mut all = self.declared_meter_types(namespace).map_err(|why| refusal_of(&why))?;
        let id = Uuid::try_parse(id_or_name).ok();
        all.retain(|known| known.name == id_or_name || Some(known.id) == id);
        match all.len() {
            0 => Err(crate::refusal::not_found("meter type", id_or_name)),
            1 => Ok(all.remove(0)),
            _ => {
                let names: Vec<&str> = all.iter().map(|known| known.pipeline.as_str()).collect();
                let detail = format!("several pipelines declare `{id_or_name}`: {}", names.join(", "));
                let remedy = "See each in the list of meter types, or in the document of its pipeline.";
                Err(Box::new(Refusal::new(RefusalKind::Conflict, detail).field("idOrName").remedy(remedy)))
            }
        }
    }

    /// Returns the document of a meter type of the installation, or else of a pipeline.
    pub(crate) fn meter_type_document(&self, namespace: &str, id_or_name: &str) -> Result<String, Refused> {
        match self.meter_type(namespace, id_or_name) {
            Err(refused) if refused.kind == RefusalKind::NotFound => {
                let declared = self.declared_meter_type(namespace, id_or_name)?;
                Ok(Value::Object(declared.fields).to_string())
            }
            own => own.map(|own| own.document()),
        }
    }

    /// Returns the reason why the installation cannot change this meter type: a pipeline declares
    /// it, or it does not exist.
    pub fn not_of_the_installation(&self, namespace: &str, id_or_name: &str) -> Refused {
        match self.declared_meter_type(namespace, id_or_name) {
            Err(refused) => refused,
            Ok(declared) => {
                let pipeline = &declared.pipeline;
                let detail = format!("the pipeline `{pipeline}` declares `{}`", declared.name);
                let remedy = format!(
                    "Change it under `meterTypes` in the document of the pipeline: \
                     PUT /api/v1/pipelines/{pipeline}. Or make one of your own: POST /api/v1/meter-types."
                );
                let problem = Refusal::new(RefusalKind::Conflict, detail).field("idOrName");
                Box::new(problem.remedy(remedy).extra("pipeline", pipeline.clone()))
            }
        }
    }
}
