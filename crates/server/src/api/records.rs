//! Metered records, as they were flushed.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::RecordKey;
use flowmeter_node::keys::Scope;
use flowmeter_node::records::RecordView;

use super::paging::{backwards, is_newest_first, newest_first, over_pipelines};
use super::request::Query;
use super::{App, Asked, Endpoint, off};
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
                    let found = served.records_of(key, 0..before, (limit, true), &wanted)?;
                    let rest = if found.len() < limit { 0 } else { found.last().map_or(0, |last| last.number) };
                    return Ok((found.into_iter().map(dated).collect(), rest));
                }
                let (first, end) = served.records_extent()?;
                backwards(first, end, before, limit, |from, until| {
                    let (found, _) = served.records_between(from, until, usize::MAX, &wanted)?;
                    Ok(found.into_iter().map(dated).collect())
                })
            });
        }
        over_pipelines(&app, &asked.who.namespace, &query, |served, from, limit| {
            let (records, next) = match key {
                Some(key) => {
                    let found = served.records_of(key, from..u64::MAX, (limit, false), &wanted)?;
                    let next = found.last().map_or(from, |last| last.number + 1);
                    (found, next)
                }
                None => served.records_between(from, u64::MAX, limit, &wanted)?,
            };
            Ok((records.into_iter().map(|record| record.json).collect(), next))
        })
    })
    .await
}

fn wanted(query: &Query) -> Result<impl Fn(&RecordView) -> bool + use<>, Refused> {
    let user = query.get("userId").map(str::to_owned);
    let meter_type = query.get("meterType").map(str::to_owned);
    let meter = query.get("meterId").map(str::to_owned);
    let instant = |name| Ok::<_, Refused>(query.time(name)?.map(Timestamp::nanos));
    let (from, to) = (instant("from")?, instant("to")?);
    let threshold = query.is_on("threshold");
    let ends = |record: &RecordView| {
        let end = record.field("periodEnd").and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
        end.map_or(record.flushed_at, Timestamp::nanos)
    };
    Ok(move |record: &RecordView| {
        let is_of_meter = meter.as_ref().is_none_or(|id| record.json.get().contains(id.as_str()));
        let is_within = || from.is_none_or(|from| ends(record) >= from) && to.is_none_or(|to| ends(record) < to);
        is_of_meter
            && record.is_threshold == threshold
            && is_within()
            && meter.as_ref().is_none_or(|id| record.field("id").as_ref() == Some(id))
            && user.as_ref().is_none_or(|user| record.field("userId").as_ref() == Some(user))
            && meter_type.as_ref().is_none_or(|wanted| {
                record.field("meterTypeName").as_ref() == Some(wanted) || record.field("meterTypeId").as_ref() == Some(wanted)
            })
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
