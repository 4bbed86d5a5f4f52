//! The audit: changes with author and time.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use flowmeter_node::audit::AuditFilter;
use flowmeter_node::keys::Scope;
use serde_json::value::to_raw_value;

use super::request::Query;
use super::{App, Asked, Endpoint, off, raw_page};
use crate::problem::{Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/audit",
        scope: Some(Scope::Admin),
        summary: "Changes with author and time, the newest first",
        query: &[
            ("object", "of this object"),
            ("action", "whose action begins so"),
            ("who", "by this key"),
            ("from", "at this instant or later"),
            ("to", "before this instant"),
            ("limit", "items of a page"),
            ("cursor", "`nextCursor` of the page before"),
        ],
        body: None,
        answer: (200, "Entries"),
        route: get(list),
    }]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, before) = (query.limit()?, query.cursor()?);
    let text = |name: &str| query.get(name).map(str::to_owned);
    let instant = |name: &str| Ok::<_, Refused>(query.time(name)?.map(|at| at.to_string()));
    let filter = AuditFilter {
        object: text("object"),
        action: text("action"),
        who: text("who"),
        from: instant("from")?,
        to: instant("to")?,
    };
    off(move || {
        let found = app.installation.audit_of(&asked.who.namespace, &filter, before, limit + 1);
        let mut found = found.map_err(|why| problem_of(&why))?;
        let next = (found.len() > limit).then(|| found[limit - 1].number.to_string());
        found.truncate(limit);
        // As text, so that the event of a correction stays as it was sent.
        let shown = found.iter().map(|entry| to_raw_value(entry).unwrap_or_default()).collect::<Vec<_>>();
        Ok(raw_page(&shown, next.as_deref()))
    })
    .await
}
