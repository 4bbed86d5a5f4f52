//! Metered records, as they were flushed.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::paging::over_pipelines;
use super::request::Query;
use super::{App, Asked, Endpoint, off};
use crate::installation::{RecordView, Refused, not_found, problem_of};
use crate::keys::Scope;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, summary, query, answer, route| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Read),
        summary,
        query,
        body: None,
        answer,
        route,
    };
    let filters: &[(&str, &str)] = &[
        ("pipeline", "of this pipeline"),
        ("userId", "of this user"),
        ("meterType", "of the type of this name or id"),
        ("threshold", "true: partial records of thresholds instead"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        endpoint("/api/v1/records", "List metered records, in the order of flushing", filters, (200, "Records"), get(list)),
        endpoint("/api/v1/records/{recordId}", "A metered record, byte for byte", &[], (200, "The record"), get(show)),
    ]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    off(move || {
        over_pipelines(&app, &asked.who.namespace, &query, |served, from, limit| {
            let (records, next) = served.records(from, limit, wanted(&query))?;
            Ok((records.into_iter().map(|record| record.json).collect(), next))
        })
    })
    .await
}

fn wanted(query: &Query) -> impl Fn(&RecordView) -> bool + Send + 'static {
    let user = query.get("userId").map(str::to_owned);
    let meter_type = query.get("meterType").map(str::to_owned);
    let threshold = query.is_on("threshold");
    move |record| {
        record.is_threshold == threshold
            && user.as_ref().is_none_or(|user| record.field("userId").as_ref() == Some(user))
            && meter_type.as_ref().is_none_or(|wanted| {
                record.field("meterTypeName").as_ref() == Some(wanted) || record.field("meterTypeId").as_ref() == Some(wanted)
            })
    }
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || {
        for served in app.installation.served_in(&asked.who.namespace) {
            let wanted = id.clone();
            let of_id = move |record: &RecordView| {
                record.json.get().contains(&wanted) && record.field("recordId").as_ref() == Some(&wanted)
            };
            let (found, _) = served.records(0, 1, of_id).map_err(|why| problem_of(&why))?;
            if let Some(record) = found.first() {
                let body = record.json.get().to_owned();
                return Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response());
            }
        }
        Err(not_found("record", &id))
    })
    .await
}
