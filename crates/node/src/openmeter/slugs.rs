//! The meters of a namespace in the catalog, and the pipeline derived from them.
//!
//! The catalog is changed first; [`settle`] then updates the pipeline. If the server ends in
//! between, the next change settles both. A meter is deleted in two steps: first, no rule guides to
//! it any more; then its users' meters and its usage are removed, and its type leaves the document.

use std::sync::Arc;

use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};
use serde_json::{Map, Value, json};

use crate::audit::Who;
use crate::installation::Installation;
use crate::openmeter::document;
use crate::openmeter::document::PIPELINE;
use crate::openmeter::meter::KeptMeter;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::sessions::StartOptions;

fn key(namespace: &str, slug: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], slug.as_bytes()].concat()
}

fn failed(why: flowmeter_store::Error) -> Refused {
    refusal_of(&Error::from(why))
}

/// Returns all meters of a namespace, including those that are being deleted, by slug.
fn all(installation: &Installation, namespace: &str) -> Result<Vec<KeptMeter>, Refused> {
    let found = installation.catalog().scan(Table::Slugs, &key(namespace, ""), None, usize::MAX).map_err(failed)?;
    let read = |(_, value): &(Vec<u8>, Vec<u8>)| serde_json::from_slice(value);
    let meters = found.iter().map(read).collect::<Result<Vec<_>, _>>();
    meters.map_err(|why| Box::new(Refusal::new(RefusalKind::Internal, format!("the catalog: {why}"))))
}

/// Returns the meters of a namespace, by slug.
pub fn list(installation: &Installation, namespace: &str) -> Result<Vec<KeptMeter>, Refused> {
    Ok(all(installation, namespace)?.into_iter().filter(|meter| !meter.deleting).collect())
}

/// Returns a meter by id or slug.
pub fn find(installation: &Installation, namespace: &str, id_or_slug: &str) -> Result<KeptMeter, Refused> {
    let meters = list(installation, namespace)?;
    meters.into_iter().find(|meter| meter.is_called(id_or_slug)).ok_or_else(|| not_found("meter", id_or_slug))
}

fn keep(installation: &Installation, namespace: &str, meter: &KeptMeter) -> Result<(), Refused> {
    let value = serde_json::to_vec(meter).unwrap_or_default();
    installation.catalog().commit(&[Change::Put(Table::Slugs, key(namespace, &meter.slug), value)]).map_err(failed)
}

fn drop_kept(installation: &Installation, namespace: &str, meter: &KeptMeter) -> Result<(), Refused> {
    installation.catalog().commit(&[Change::Remove(Table::Slugs, key(namespace, &meter.slug))]).map_err(failed)
}

/// Creates a meter. It counts events from now on.
pub fn create(installation: &Arc<Installation>, who: &Who, fields: &Map<String, Value>) -> Result<KeptMeter, Refused> {
    let _change = installation.change_openmeter();
    let mut meter = KeptMeter::read(fields, &who.namespace, installation.now())?;
    settle(installation, who)?;
    let meters = all(installation, &who.namespace)?;
    if meters.iter().any(|known| known.slug == meter.slug) {
        let detail = format!("there is a meter `{}` already", meter.slug);
        return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail).field("slug")));
    }
    meter.operator = document::operator_with_room(&meters);
    keep(installation, &who.namespace, &meter)?;
    if let Err(refused) = settle(installation, who) {
        drop_kept(installation, &who.namespace, &meter)?;
        return Err(refused);
    }
    note(installation, who, "openmeter.meter.create", &meter, Value::Null, meter.shown())?;
    Ok(meter)
}

/// Changes the changeable fields of a meter.
pub fn update(
    installation: &Arc<Installation>,
    who: &Who,
    id_or_slug: &str,
    fields: &Map<String, Value>,
) -> Result<KeptMeter, Refused> {
    let _change = installation.change_openmeter();
    let known = find(installation, &who.namespace, id_or_slug)?;
    let meter = known.changed(fields, installation.now())?;
    keep(installation, &who.namespace, &meter)?;
    if let Err(refused) = settle(installation, who) {
        keep(installation, &who.namespace, &known)?;
        return Err(refused);
    }
    note(installation, who, "openmeter.meter.update", &meter, known.shown(), meter.shown())?;
    Ok(meter)
}

/// Deletes a meter with its usage.
pub fn delete(installation: &Arc<Installation>, who: &Who, id_or_slug: &str) -> Result<(), Refused> {
    let _change = installation.change_openmeter();
    let known = find(installation, &who.namespace, id_or_slug)?;
    keep(installation, &who.namespace, &KeptMeter { deleting: true, ..known.clone() })?;
    settle(installation, who)?;
    note(installation, who, "openmeter.meter.delete", &known, known.shown(), Value::Null)
}

fn note(
    installation: &Installation,
    who: &Who,
    action: &str,
    meter: &KeptMeter,
    before: Value,
    after: Value,
) -> Result<(), Refused> {
    installation.note_audit(who, action, &meter.slug, before, after).map_err(|why| refusal_of(&why))
}

/// Updates the pipeline to the catalog.
fn settle(installation: &Arc<Installation>, who: &Who) -> Result<(), Refused> {
    let meters = all(installation, &who.namespace)?;
    let Some(pipeline) = written(installation, who, &meters)? else { return Ok(()) };
    if meters.iter().all(|meter| !meter.deleting) {
        return Ok(());
    }
    let served = installation.served_of(pipeline.id).ok_or_else(|| not_at_work(&pipeline))?;
    for meter in meters.iter().filter(|meter| meter.deleting) {
        installation.forget_meter_type(&served, meter.id)?;
        drop_kept(installation, &who.namespace, meter)?;
    }
    drop(served);
    written(installation, who, &all(installation, &who.namespace)?).map(drop)
}

/// Returns the running pipeline with the document of these meters. Without meters there is none,
/// unless it existed before.
fn written(installation: &Arc<Installation>, who: &Who, meters: &[KeptMeter]) -> Result<Option<KeptPipeline>, Refused> {
    let document = document::write(&who.namespace, meters);
    let pipeline = match installation.pipeline(&who.namespace, PIPELINE) {
        Ok(known) if !known.built_in => {
            let detail = format!("there is already another pipeline `{PIPELINE}`; the OpenMeter API needs the name");
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        Ok(known) if installation.version(&known, known.version)?.document == document => known,
        Ok(known) => installation.update_pipeline(who, &known, &document)?,
        Err(missing) if missing.kind == RefusalKind::NotFound && meters.is_empty() => return Ok(None),
        Err(missing) if missing.kind == RefusalKind::NotFound => installation.create_pipeline(who, &document, true)?,
        Err(refused) => return Err(refused),
    };
    if installation.running_of(pipeline.id).is_none() {
        installation.start(who, &pipeline, StartOptions::default())?;
    }
    Ok(Some(pipeline))
}

fn not_at_work(pipeline: &KeptPipeline) -> Refused {
    let detail = format!("the pipeline `{}` is not at work", pipeline.name);
    Box::new(Refusal::new(RefusalKind::Overloaded, detail).extra("pipeline", json!(pipeline.name)).retry_after(1))
}
