//! OpenMeter's API for events, meters and meter queries, under `/openmeter`: a program that uses
//! its SDKs works with this server once its address is `http://host/openmeter`.
//!
//! A meter of OpenMeter is a meter type here. The meters of a namespace are stored in the catalog,
//! and the document of one pipeline, `openmeter`, is derived from them: every change of a meter
//! gives that pipeline a new version. Queries are answered from the rollups of its meter types,
//! like all usage. `docs/openmeter.md` lists the differences.

mod csv;
mod events;
mod literal;
mod meters;
mod query;
mod recent;
mod subjects;
#[cfg(test)]
mod tests;

use axum::http::Method;
use axum::routing::MethodRouter;
use flowmeter_node::keys::Scope;

use crate::api::{App, Endpoint};

const EVENTS: &str = "/openmeter/api/v1/events";
const METERS: &str = "/openmeter/api/v1/meters";
const METER: &str = "/openmeter/api/v1/meters/{idOrSlug}";
const QUERY: &str = "/openmeter/api/v1/meters/{idOrSlug}/query";
const ALL_SUBJECTS: &str = "/openmeter/api/v1/subjects";
const SUBJECT: &str = "/openmeter/api/v1/subjects/{idOrKey}";
const SUBJECTS: &str = "/openmeter/api/v1/meters/{idOrSlug}/subjects";
const VALUES: &str = "/openmeter/api/v1/meters/{idOrSlug}/group-by/{groupByKey}/values";

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
