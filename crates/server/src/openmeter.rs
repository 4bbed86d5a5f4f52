//! OpenMeter's API for events, meters and meter queries, under `/openmeter`: a program that uses
//! its SDKs works with this server once its address is `http://host/openmeter`.
//!
//! A meter of OpenMeter is a meter type here. The meters of a namespace are stored in the catalog,
//! and the document of one pipeline, `openmeter`, is derived from them: every change of a meter
//! gives that pipeline a new version. Queries are answered from the rollups of its meter types,
//! like all usage. `docs/openmeter.md` lists the differences.

mod csv;
mod document;
mod events;
mod literal;
mod meter;
mod meters;
mod query;
mod recent;
mod slugs;
mod subjects;
#[cfg(test)]
mod tests;

use axum::http::Method;
use axum::routing::MethodRouter;

use crate::api::{App, Endpoint};
use crate::keys::Scope;

const EVENTS: &str = "/openmeter/api/v1/events";
const METERS: &str = "/openmeter/api/v1/meters";
const METER: &str = "/openmeter/api/v1/meters/{idOrSlug}";
const QUERY: &str = "/openmeter/api/v1/meters/{idOrSlug}/query";
const ALL_SUBJECTS: &str = "/openmeter/api/v1/subjects";
const SUBJECT: &str = "/openmeter/api/v1/subjects/{idOrKey}";
const SUBJECTS: &str = "/openmeter/api/v1/meters/{idOrSlug}/subjects";
const VALUES: &str = "/openmeter/api/v1/meters/{idOrSlug}/group-by/{groupByKey}/values";

/// Checks that a row of the catalog is a meter of this API.
pub(crate) fn read_kept(value: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<meter::KeptMeter>(value).map(drop).map_err(|why| why.to_string())
}

/// Checks that a row of the catalog is a subject of this API.
pub(crate) fn read_kept_subject(value: &[u8]) -> Result<(), String> {
    subjects::read_kept(value)
}

/// Returns the endpoints of this API.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = events::endpoints();
    all.extend(meters::endpoints());
    all.extend(query::endpoints());
    all.extend(subjects::endpoints());
    all
}

fn endpoint(
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    answer: (u16, &'static str),
    route: MethodRouter<App>,
) -> Endpoint {
    Endpoint { method, path, scope: Some(scope), summary, query: &[], body: None, answer, route }
}
