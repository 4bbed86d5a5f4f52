//! Received events: searched, traced; records explained. `docs/event-store.md`.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::journal::Place;
use flowmeter_node::events::trace::event_shown;
use flowmeter_node::keys::Scope;
use flowmeter_store::archive::Filter;
use serde_json::json;

use super::derived_events::{derived, newest_derived};
use super::paging::{backwards, is_newest_first, newest_first};
use super::request::Query;
use super::{App, Asked, Endpoint, answer, off, raw_page};
use crate::problem::{Code, Problem, Refused, problem_of};

/// Events of a window of files that may have none that is wanted: bounds and indexes pass over most.
const WINDOW_WIDE: u64 = 1 << 20;

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
        ("pipeline", "received by this pipeline"),
        ("id", "with this id"),
        ("source", "from this source"),
        ("subject", "with this subject"),
        ("verdict", "counted, duplicate, filtered, parked, split, absorbed or cancelled"),
        ("reason", "parked for this reason"),
        ("derived", "true: events that operators made, instead of received ones"),
        ("order", "asc (the oldest first) or desc"),
        ("from", "received at this instant or later"),
        ("to", "received before this instant"),
        ("limit", "items of a page; a page may have fewer and still not be the last"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        endpoint(
            "/api/v1/events",
            "Search received events, in the order of arrival, or those that operators made",
            filters,
            (200, "Events with their verdicts"),
            // The path also has a `POST` endpoint.
            get(search),
        ),
        endpoint(
            "/api/v1/events/{id}/trace",
            "Every step an event took, in each pipeline",
            &[("source", "from this source, where ids repeat")],
            (200, "The events of this id, each with steps, verdict and where it counted"),
            get(trace),
        ),
        endpoint(
            "/api/v1/records/{recordId}/explain",
            "The events that made a record, added up again",
            &[("limit", "events of a page"), ("cursor", "`nextCursor` of the page before")],
            (200, "The record, its events, and whether the recount is equal"),
            get(explain),
        ),
    ]
}

async fn search(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let parameters = query.clone().unwrap_or_default();
    let query = Query::of(query.as_deref());
    let limit = query.limit()?;
    let filter = filter(&query)?;
    let reason = query.get("reason").map(str::to_owned);
    let (is_derived, is_newest_first) = (query.is_on("derived"), is_newest_first(&query)?);
    if is_newest_first && is_derived {
        let search = move |app: &App, asked: &Asked| Ok((newest_derived(app, &asked.who.namespace, &query, &filter)?, limit));
        return question(app, asked, "search", parameters, search).await;
    }
    if is_newest_first {
        return question(app, asked, "search", parameters, move |app, asked| {
            let found = newest_first(app, &asked.who.namespace, &query, |served, before, limit| {
                let end = served.worker().ask(|live| live.outlet().arrivals())?;
                backwards((0, end), before, (limit, WINDOW_WIDE), &|| app.installation.wall(), |from, until| {
                    let window = Filter { positions: Some(from..until), ..filter.clone() };
                    let mut rows = VecDeque::new();
                    let mut next = Some(from);
                    while let Some(from) = next {
                        next = app.installation.walk_events(&served.kept, &window, from, &mut |row| {
                            if reason.is_none() || reason == row.reason {
                                if rows.len() > limit {
                                    rows.pop_front();
                                }
                                rows.push_back(row);
                            }
                            ControlFlow::Continue(())
                        })?;
                    }
                    Ok(rows.iter().map(|row| (row.received_at, row.position, event_shown(row))).collect())
                })
            });
            found.map(|page| (page, limit))
        })
        .await;
    }
    let cursor = cursor(&query)?;
    if is_derived {
        let search = move |app: &App, asked: &Asked| derived(app, &asked.who.namespace, &query, &filter, cursor);
        return question(app, asked, "search", parameters, search).await;
    }
    question(app, asked, "search", parameters, move |app, asked| {
        let mut cursor = cursor;
        let mut found = Vec::new();
        let all = app.installation.pipelines(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        for pipeline in all.iter() {
            if query.get("pipeline").is_some_and(|wanted| wanted != pipeline.name && wanted != pipeline.id.to_string()) {
                continue;
            }
            let from = match &cursor {
                Some((name, from)) if *name == pipeline.name => *from,
                Some(_) => continue,
                None => 0,
            };
            cursor = None;
            let next = app.installation.walk_events(pipeline, &filter, from, &mut |row| {
                if reason.is_none() || reason == row.reason {
                    found.push(event_shown(&row));
                }
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if let Some(next) = next.map_err(|why| problem_of(&why))? {
                let rows = found.len();
                return Ok((raw_page(&found, Some(&format!("{}:{}", pipeline.name, Place::first(next)))), rows));
            }
        }
        let rows = found.len();
        Ok((raw_page(&found, None), rows))
    })
    .await
}

fn filter(query: &Query) -> Result<Filter, Refused> {
    let text = |name| query.get(name).map(str::to_owned);
    let (from, to) = (query.time("from")?, query.time("to")?);
    let received_at =
        (from.is_some() || to.is_some()).then(|| from.map_or(i64::MIN, Timestamp::nanos)..to.map_or(i64::MAX, Timestamp::nanos));
    Ok(Filter {
        id: text("id"),
        source: text("source"),
        subject: text("subject"),
        verdict: verdict(query)?,
        received_at,
        ..Filter::default()
    })
}

/// Reads the verdict that a query names.
pub(super) fn verdict(query: &Query) -> Result<Option<String>, Refused> {
    const VERDICTS: [&str; 7] = ["counted", "duplicate", "filtered", "parked", "split", "absorbed", "cancelled"];
    let Some(name) = query.get("verdict") else { return Ok(None) };
    let detail = || format!("`{name}` is no verdict; there are {}", VERDICTS.join(", "));
    let wrong = || Box::new(Problem::new(Code::Invalid, detail()).field("verdict"));
    VERDICTS.contains(&name).then(|| Some(name.to_owned())).ok_or_else(wrong)
}

/// Reads a cursor: a pipeline and an arrival in it.
fn cursor(query: &Query) -> Result<Option<(String, u64)>, Refused> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let read = text.rsplit_once(':').and_then(|(name, number)| Some((name.to_owned(), Place::read_in_first(number)?)));
    let wrong = || Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor"));
    read.map(Some).ok_or_else(wrong)
}

async fn trace(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    question(app, asked, "trace", format!("id={id}"), move |app, asked| {
        let (traced, rows) = app.installation.trace(&asked.who.namespace, &id, query.get("source"))?;
        Ok((answer(StatusCode::OK, &traced), rows))
    })
    .await
}

async fn explain(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, from) = (query.limit()?, query.cursor()?.unwrap_or(0));
    question(app, asked, "explanation", format!("recordId={id}"), move |app, asked| {
        let (explained, rows) = app.installation.explain(&asked.who.namespace, &id, from, limit)?;
        Ok((answer(StatusCode::OK, &explained), rows))
    })
    .await
}

/// Answers a query of the event store outside the asynchronous threads, and emits an event for
/// notifications that subscribe to queries.
async fn question(
    app: App,
    asked: Asked,
    query: &'static str,
    parameters: String,
    work: impl FnOnce(&App, &Asked) -> Result<(Response, usize), Refused> + Send + 'static,
) -> Result<Response, Refused> {
    off(move || {
        let began = app.installation.wall();
        let answered = work(&app, &asked);
        let took = app.installation.wall().since(began) / 1_000_000;
        let outcome = answered.as_ref().map_or_else(|why| why.code.name(), |_| "answered");
        let told = json!({
            "query": query, "parameters": parameters, "askedBy": asked.who.name, "outcome": outcome,
            "rowCount": answered.as_ref().map_or(0, |(_, rows)| *rows), "durationMs": i64::try_from(took).unwrap_or(i64::MAX),
        });
        if let Err(why) = app.installation.tell_of_query(&asked.who.namespace, &told) {
            tracing::error!("the event of an answered query was not written: {why}");
        }
        answered.map(|(answer, _)| answer)
    })
    .await
}
