//! The names that usage of a meter type can be divided by: fields, their values, and users.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use flowmeter_node::keys::Scope;
use flowmeter_node::usage::Usage;
use flowmeter_store::rollups::{First, SUBJECT};
use serde_json::Value;

use super::request::Query;
use super::{App, Asked, Endpoint, off, page};
use crate::problem::{Refused, not_found};

/// The parameters of lists of names.
const FILTERS: &[(&str, &str)] =
    &[("prefix", "that begin so"), ("limit", "items of a page"), ("cursor", "`nextCursor` of the page before")];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let read = |path, summary, query, answer, route: MethodRouter<App>| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Read),
        summary,
        query,
        body: None,
        answer: (200, answer),
        route,
    };
    vec![
        read(
            "/api/v1/meter-types/{idOrName}/fields",
            "The fields that usage of a meter type can be grouped by",
            &[],
            "Fields",
            get(fields),
        ),
        read(
            "/api/v1/meter-types/{idOrName}/fields/{field}/values",
            "The values of a field in usage of a meter type",
            FILTERS,
            "Values, sorted",
            get(values),
        ),
        read(
            "/api/v1/meter-types/{idOrName}/subjects",
            "The users with usage of a meter type",
            FILTERS,
            "User ids, sorted",
            get(subjects),
        ),
    ]
}

async fn fields(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let usage = app.installation.usage_of(&asked.who.namespace, &name)?;
        let shown = usage.fields.iter().map(|field| Value::from(field.as_str())).collect();
        Ok(page(shown, None))
    })
    .await
}

async fn values(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path((name, field)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    off(move || {
        let usage = app.installation.usage_of(&asked.who.namespace, &name)?;
        let found = usage.field(&field, "field").map_err(|_| not_found("field", &field))?;
        listed(&app, &usage, &found, &query)
    })
    .await
}

async fn subjects(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    off(move || {
        let usage = app.installation.usage_of(&asked.who.namespace, &name)?;
        listed(&app, &usage, SUBJECT, &query)
    })
    .await
}

/// Returns a page of the values of a field. A cursor is the last value of the page before.
fn listed(app: &App, usage: &Usage, field: &str, query: &Query) -> Result<Response, Refused> {
    let limit = query.limit()?;
    let text = |name: &str| query.get(name).map(str::to_owned);
    let first = First { prefix: text("prefix").unwrap_or_default(), after: text("cursor"), count: limit + 1 };
    let mut found = app.installation.usage_names(usage, field, first)?;
    let next = (found.len() > limit).then(|| found[limit - 1].clone());
    found.truncate(limit);
    Ok(page(found.into_iter().map(Value::from).collect(), next))
}
