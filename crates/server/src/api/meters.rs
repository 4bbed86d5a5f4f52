//! Meters: users' buckets, as they are now.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::Scope;
use flowmeter_node::meters::{MeterFilter, MeterView, is_cursor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::paging::{PAGED, is_newest_first};
use super::request::{Query, object};
use super::{App, Asked, Endpoint, answer, off, raw_page};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/meters/{id}";
    let endpoint = |method, path, scope, summary, query, body, answer, route| Endpoint {
        method,
        path,
        scope: Some(scope),
        summary,
        query,
        body,
        answer,
        route,
    };
    let filters: &[(&str, &str)] = &[
        ("userId", "of this user"),
        ("prefix", "of users whose id begins so"),
        ("meterType", "of the type of this name or id"),
        ("pipeline", "of this pipeline"),
        ("order", "asc (by user) or desc; default: asc"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        endpoint(
            Method::GET,
            "/api/v1/meters",
            Scope::Read,
            "List meters, by user",
            filters,
            None,
            (200, "Meters as they are now"),
            get(list),
        ),
        endpoint(
            Method::POST,
            "/api/v1/meters",
            Scope::Operate,
            "Open a meter",
            &[],
            Some(
                "userId, meterType; pipeline, meterKey, id, timezone, deleteOnReset, customFields, capacity, thresholds if wanted",
            ),
            (201, "The meter"),
            post(create),
        ),
        endpoint(
            Method::GET,
            one,
            Scope::Read,
            "A meter as it is now",
            &[],
            None,
            (200, "The record its ongoing period would make"),
            get(show),
        ),
        endpoint(
            Method::GET,
            "/api/v1/meters/{id}/periods",
            Scope::Read,
            "The periods of a meter, the newest first, with their revisions",
            PAGED,
            None,
            (200, "Periods: the ongoing one, and those that were flushed with each revision and its deliveries"),
            get(periods),
        ),
        endpoint(
            Method::PATCH,
            one,
            Scope::Operate,
            "Change a meter",
            &[],
            Some("deleteOnReset, customFields, capacity, thresholds"),
            (200, "The meter"),
            patch(edit),
        ),
        endpoint(
            Method::DELETE,
            one,
            Scope::Operate,
            "Take a meter away, without a record",
            &[],
            None,
            (204, "It is gone"),
            delete(remove),
        ),
    ]
}

/// The record so far, with its pipeline, capacity and thresholds as more members; its numbers stay
/// as they are.
fn shown(view: &MeterView) -> Box<RawValue> {
    let record = view.json.get().trim_end();
    let members = record.strip_suffix('}').unwrap_or(record);
    let capacity = view.capacity.map_or_else(|| "null".to_owned(), |capacity| capacity.to_string());
    let (pipeline, thresholds) = (Value::from(view.pipeline.as_str()), &view.thresholds);
    let text = format!("{members},\"pipeline\":{pipeline},\"capacity\":{capacity},\"thresholds\":{thresholds}}}");
    RawValue::from_string(text).unwrap_or_else(|_| view.json.clone())
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, is_backward) = (query.limit()?, is_newest_first(&query)?);
    if query.get("cursor").is_some_and(|cursor| !is_cursor(cursor)) {
        return Err(Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor")));
    }
    off(move || {
        let mut found = Vec::new();
        app.installation.all_loaded(&asked.who.namespace, query.get("pipeline"))?;
        for served in app.installation.served_in(&asked.who.namespace) {
            if query.get("pipeline").is_some_and(|wanted| wanted != served.kept.name && wanted != served.kept.id.to_string()) {
                continue;
            }
            let filter = MeterFilter {
                user: query.get("userId").map(str::to_owned),
                prefix: query.get("prefix").map(str::to_owned),
                meter_type: query.get("meterType").map(str::to_owned),
                after: query.get("cursor").map(str::to_owned),
                is_backward,
            };
            found.extend(served.meters(filter, limit + 1).map_err(|why| problem_of(&why))?);
        }
        found.sort_by(|one, other| one.order().cmp(&other.order()));
        if is_backward {
            found.reverse();
        }
        let next = (found.len() > limit).then(|| found[limit - 1].cursor());
        found.truncate(limit);
        Ok(raw_page(&found.iter().map(shown).collect::<Vec<_>>(), next.as_deref()))
    })
    .await
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || Ok(answer(StatusCode::CREATED, &shown(&app.installation.create_meter(&asked.who, &fields)?)))).await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &shown(&app.installation.meter(&asked.who.namespace, &id)?.1)))).await
}

async fn periods(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let limit = query.limit()?;
    let cursor = query.get("cursor").map(str::to_owned);
    if cursor.as_ref().is_some_and(|text| Timestamp::parse_rfc3339(text.as_bytes()).is_none()) {
        return Err(Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor")));
    }
    off(move || {
        let (found, next) = app.installation.meter_periods(&asked.who.namespace, &id, cursor.as_deref(), limit)?;
        Ok(raw_page(&found, next.as_deref()))
    })
    .await
}

async fn edit(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || Ok(answer(StatusCode::OK, &shown(&app.installation.edit_meter(&asked.who, &id, &fields)?)))).await
}

async fn remove(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || {
        app.installation.delete_meter(&asked.who, &id)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
