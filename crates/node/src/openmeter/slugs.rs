//! The meters of a namespace, and the pipeline derived from them.
//!
//! A meter changes together with the pipeline's version: both or neither. A meter is deleted in two
//! steps: first, no rule guides to it any more; then its users' meters and its usage are removed,
//! and its type leaves the document. If the program ends in between, the next change of a meter does
//! the second step.

use std::sync::Arc;

use flowmeter_engine::{Error, StateChoices};
use flowmeter_store::catalog::{Change, Table};
use serde_json::{Map, Value, json};

use super::document::{self, PIPELINE};
use super::meter::KeptMeter;
use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, put};
use crate::sessions::StartOptions;

/// Returns all meters of a namespace, including those that are being deleted, by slug.
fn all(installation: &Installation, namespace: &str) -> Result<Vec<KeptMeter>, Error> {
    let found = installation.catalog().scan(Table::Slugs, &named_key(namespace, ""), None, usize::MAX)?;
    found.iter().map(|(_, value)| kept(value)).collect()
}

/// Returns the meters of a namespace, by slug.
pub fn list(installation: &Installation, namespace: &str) -> Result<Vec<KeptMeter>, Refused> {
    let meters = all(installation, namespace).map_err(|why| refusal_of(&why))?;
    Ok(meters.into_iter().filter(|meter| !meter.deleting).collect())
}

/// Returns a meter by id or slug.
pub fn find(installation: &Installation, namespace: &str, id_or_slug: &str) -> Result<KeptMeter, Refused> {
    let meters = list(installation, namespace)?;
    meters.into_iter().find(|meter| meter.is_called(id_or_slug)).ok_or_else(|| not_found("meter", id_or_slug))
}

/// Creates a meter. It counts events from now on.
pub fn create(installation: &Arc<Installation>, who: &Who, fields: &Map<String, Value>) -> Result<KeptMeter, Refused> {
    let _change = installation.change_openmeter();
    let mut meter = KeptMeter::read(fields, &who.namespace, installation.now())?;
    let mut meters = finish_deletions(installation, who)?;
    if meters.iter().any(|known| known.slug == meter.slug) {
        let detail = format!("there is a meter `{}` already", meter.slug);
        return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail).field("slug")));
    }
    meter.operator = document::operator_with_room(&meters);
    let rows = row(installation, who, "openmeter.meter.create", &meter, (Value::Null, meter.shown()))?;
    meters.push(meter.clone());
    change(installation, who, meters, rows)?;
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
    let mut meters = finish_deletions(installation, who)?;
    let rows = row(installation, who, "openmeter.meter.update", &meter, (known.shown(), meter.shown()))?;
    replace(&mut meters, meter.clone());
    change(installation, who, meters, rows)?;
    Ok(meter)
}

/// Deletes a meter with its usage.
pub fn delete(installation: &Arc<Installation>, who: &Who, id_or_slug: &str) -> Result<(), Refused> {
    let _change = installation.change_openmeter();
    let known = find(installation, &who.namespace, id_or_slug)?;
    let mut meters = finish_deletions(installation, who)?;
    let marked = KeptMeter { deleting: true, ..known.clone() };
    let rows = row(installation, who, "openmeter.meter.delete", &marked, (known.shown(), Value::Null))?;
    replace(&mut meters, marked);
    change(installation, who, meters, rows)?;
    // From here on the meter is deleted, whatever becomes of its usage at this moment.
    if let Err(refused) = finish_deletions(installation, who) {
        tracing::error!(meter = known.slug, "its usage is removed with the next change of a meter: {}", refused.detail);
    }
    Ok(())
}

fn replace(meters: &mut Vec<KeptMeter>, meter: KeptMeter) {
    meters.retain(|known| known.slug != meter.slug);
    meters.push(meter);
}

/// Returns the row of a meter, with the entry of the audit about its change.
fn row(
    installation: &Installation,
    who: &Who,
    action: &str,
    meter: &KeptMeter,
    (before, after): (Value, Value),
) -> Result<Vec<Change>, Refused> {
    let mut rows = vec![put(Table::Slugs, named_key(&who.namespace, &meter.slug), meter)];
    let audited = installation.audited(who, action, &meter.slug, before, after);
    rows.extend(audited.map_err(|why| refusal_of(&why))?);
    Ok(rows)
}

/// Removes the usage of meters that were deleted. Returns the others.
fn finish_deletions(installation: &Arc<Installation>, who: &Who) -> Result<Vec<KeptMeter>, Refused> {
    let mut meters = all(installation, &who.namespace).map_err(|why| refusal_of(&why))?;
    let deleted: Vec<KeptMeter> = meters.extract_if(.., |meter| meter.deleting).collect();
    if deleted.is_empty() {
        return Ok(meters);
    }
    let pipeline = at_work(installation, who)?;
    let served = installation.served_of(pipeline.id).ok_or_else(|| not_at_work(&pipeline))?;
    for meter in &deleted {
        installation.forget_meter_type(&served, meter.id)?;
    }
    drop(served);
    let rows = deleted.iter().map(|meter| Change::Remove(Table::Slugs, named_key(&who.namespace, &meter.slug)));
    change(installation, who, meters.clone(), rows.collect())?;
    Ok(meters)
}

/// Gives the pipeline the document of these meters, together with rows of the catalog.
fn change(installation: &Arc<Installation>, who: &Who, mut meters: Vec<KeptMeter>, rows: Vec<Change>) -> Result<(), Refused> {
    meters.sort_by(|one, other| one.slug.cmp(&other.slug));
    let pipeline = at_work(installation, who)?;
    let document = document::write(&who.namespace, &meters);
    if installation.version(&pipeline, pipeline.version)?.document != document {
        return installation.update_pipeline_with(who, &pipeline, (&document, &StateChoices::new()), rows).map(drop);
    }
    let _change = installation.begin_change()?;
    installation.make_change(ChangeSet { rows, ..ChangeSet::default() }).map(drop)
}

/// Returns the pipeline. Makes it without meters if there is none, and starts it if it does not
/// run.
fn at_work(installation: &Arc<Installation>, who: &Who) -> Result<KeptPipeline, Refused> {
    let pipeline = match installation.pipeline(&who.namespace, PIPELINE) {
        Ok(known) if !known.built_in => {
            let detail = format!("there is already another pipeline `{PIPELINE}`; the OpenMeter API needs the name");
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        Err(missing) if missing.kind == RefusalKind::NotFound => {
            installation.create_pipeline(who, &document::write(&who.namespace, &[]), true)?
        }
        found => found?,
    };
    if installation.running_of(pipeline.id).is_none() {
        installation.start(who, &pipeline, StartOptions::default())?;
    }
    Ok(pipeline)
}

fn not_at_work(pipeline: &KeptPipeline) -> Refused {
    let detail = format!("the pipeline `{}` is not at work", pipeline.name);
    Box::new(Refusal::new(RefusalKind::Overloaded, detail).extra("pipeline", json!(pipeline.name)).retry_after(1))
}
