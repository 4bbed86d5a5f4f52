//! Metered records, as they were flushed.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flowmeter_engine::outbox::RecordKey;
use flowmeter_node::keys::Scope;
use flowmeter_node::records::{RecordFilter, RecordView};

use super::paging::{WINDOW_MAX, backwards, is_newest_first, newest_first, over_pipelines};
use super::request::Query;
use super::{App, Asked, Endpoint, off, raw_page};
use crate::problem::{Refused, not_found, problem_of};

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
        ("meterId", "of this meter"),
        ("from", "of periods that end at this instant or later"),
        ("to", "of periods that end before this instant"),
        ("order", "asc (the oldest first) or desc"),
        ("threshold", "true: partial records of thresholds instead"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        endpoint("/api/v1/records", "List metered records, in the order of flushing", filters, (200, "Records"), get(list)),
        endpoint("/api/v1/records/{recordId}", "A metered record, byte for byte", &[], (200, "The record"), get(show)),
        endpoint(
            "/api/v1/records/{recordId}/history",
            "All revisions of the period of a record, the newest first",
            &[],
            (200, "Revisions with their deliveries"),
            get(history),
        ),
    ]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let is_reversed = is_newest_first(&query)?;
    let wanted = wanted(&query)?;
    off(move || {
        let meter = query.get("meterId").map(|id| (RecordKey::Meter, id));
        let key = meter.or_else(|| query.get("userId").map(|user| (RecordKey::User, user)));
        let dated = |record: RecordView| (record.flushed_at, record.number, record.json);
        if is_reversed {
            return newest_first(&app, &asked.who.namespace, &query, |served, before, limit| {
                if let Some(key) = key {
                    let found = served.records_of(key, 0..before, (limit, true), |record| wanted.takes(record))?;
                    let rest = if found.len() < limit { 0 } else { found.last().map_or(0, |last| last.number) };
                    return Ok((found.into_iter().map(dated).collect(), rest));
                }
                let (first, end) = served.records_extent()?;
                backwards((first, end), before, (limit, WINDOW_MAX), &|| app.installation.wall(), |from, until| {
                    let (found, _) = served.records_between(from, until, usize::MAX, |record| wanted.takes(record))?;
                    Ok(found.into_iter().map(dated).collect())
                })
            });
        }
        over_pipelines(&app, &asked.who.namespace, &query, |served, from, limit| {
            let (records, next) = match key {
                Some(key) => {
                    let found = served.records_of(key, from..u64::MAX, (limit, false), |record| wanted.takes(record))?;
                    let next = found.last().map_or(from, |last| last.number + 1);
                    (found, next)
                }
                None => served.records_between(from, u64::MAX, limit, |record| wanted.takes(record))?,
            };
            Ok((records.into_iter().map(|record| record.json).collect(), next))
        })
    })
    .await
}

fn wanted(query: &Query) -> Result<RecordFilter, Refused> {
    let text = |name| query.get(name).map(str::to_owned);
    Ok(RecordFilter {
        user: text("userId"),
        meter_type: text("meterType"),
        meter: text("meterId"),
        from: query.time("from")?,
        to: query.time("to")?,
        are_thresholds: query.is_on("threshold"),
    })
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || {
        for served in app.installation.served_in(&asked.who.namespace) {
            if let Some(record) = served.record(&id).map_err(|why| problem_of(&why))? {
                let body = record.json.get().to_owned();
                return Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response());
            }
        }
        Err(not_found("record", &id))
    })
    .await
}

async fn history(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    off(move || Ok(raw_page(&app.installation.record_history(&asked.who.namespace, &id)?, None))).await
}
