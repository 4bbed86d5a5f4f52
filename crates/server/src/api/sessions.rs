//! Sessions: shown, paused, resumed, canceled, finished.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use flowmeter_core::session::{RunType, Status, Trigger};
use flowmeter_node::events::origins::{OriginView, origins_csv};
use flowmeter_node::keys::Scope;
use flowmeter_node::sessions::{KeptSession, SessionFilter};
use serde_json::{Value, json};

use super::corrections::because;
use super::paging::{is_newest_first, whole};
use super::request::{Query, object};
use super::{App, Asked, Endpoint, answer, off, page};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let act = |path, summary, route: MethodRouter<App>| Endpoint {
        method: Method::POST,
        path,
        scope: Some(Scope::Operate),
        summary,
        query: &[],
        body: Some("reason if wanted"),
        answer: (200, "The session"),
        route,
    };
    let read = |path, summary, query, answer, route: MethodRouter<App>| Endpoint {
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
        ("pipeline", "of this pipeline, by name or id"),
        ("status", "in this status"),
        ("type", "NORMAL or DEBUG"),
        ("from", "that had not ended before this instant"),
        ("to", "that began before this instant"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        read("/api/v1/sessions", "List sessions, the newest first", filters, (200, "Sessions"), get(list)),
        read(
            "/api/v1/sessions/summary",
            "Counts grouped by session, operator and error code",
            &[("pipeline", "of this pipeline"), ("session", "of this session"), ("limit", "sessions")],
            (200, "Counts"),
            get(summary),
        ),
        read("/api/v1/sessions/{id}", "A session with its counts", &[], (200, "The session"), get(show)),
        read(
            "/api/v1/sessions/{id}/events",
            "The events of a session",
            &[
                ("order", "asc (the oldest first) or desc"),
                ("limit", "items of a page"),
                ("cursor", "`nextCursor` of the page before"),
            ],
            (200, "Events"),
            get(events),
        ),
        read(
            "/api/v1/sessions/{id}/origins",
            "The usage audit: every file, object, table or service that was read",
            &[
                ("state", "`taking`, `taken`, `failed` or `skipped`"),
                ("source", "of this source"),
                ("format", "`csv` for a table of all; JSON otherwise"),
                ("limit", "items of a page"),
                ("cursor", "`nextCursor` of the page before"),
            ],
            (200, "Origins with their events by verdict"),
            get(origins),
        ),
        Endpoint {
            body: Some("source, origin and reason"),
            answer: (204, "Skipped"),
            ..act("/api/v1/sessions/{id}/origins/skip", "Skip a file or object that cannot be read", post(skip_origin))
        },
        act("/api/v1/sessions/{id}/pause", "Suspend a session; its position is kept", step(Trigger::Pause)),
        act("/api/v1/sessions/{id}/resume", "Resume a session", step(Trigger::Resume)),
        act("/api/v1/sessions/{id}/cancel", "End a session before it is done", step(Trigger::Cancel)),
        act("/api/v1/sessions/{id}/finish", "End a session: count what came, deliver what is due", step(Trigger::Finish)),
    ]
}

pub(super) fn shown(session: &KeptSession) -> Value {
    let mut value = serde_json::to_value(session).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("meterId".to_owned(), json!(session.pipeline_id));
        members.insert("meterName".to_owned(), json!(session.pipeline));
        // People read milliseconds.
        let times = [
            ("sessionStartTime", Some(session.session_start_time)),
            ("sessionEndTime", session.session_end_time),
            ("asOf", session.as_of),
            ("due", session.due),
        ];
        members.extend(times.into_iter().filter_map(|(name, at)| Some((name.to_owned(), json!(at?.to_string())))));
    }
    value
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, before) = (query.limit()?, query.cursor()?);
    let status = match query.get("status") {
        None => None,
        Some(name) => Some(Status::named(name).ok_or_else(|| {
            let names: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
            Box::new(
                Problem::new(Code::Invalid, format!("`{name}` is no status; there are {}", names.join(", "))).field("status"),
            )
        })?),
    };
    let run_type = match query.get("type") {
        None => None,
        Some(name) => Some(RunType::named(name).ok_or_else(|| {
            let names = RunType::ALL.map(RunType::name).join(" and ");
            Box::new(Problem::new(Code::Invalid, format!("`{name}` is no type of session; there are {names}")).field("type"))
        })?),
    };
    let (from, to) = (query.time("from")?, query.time("to")?);
    off(move || {
        let namespace = &asked.who.namespace;
        let pipeline = query.get("pipeline").map(|name| app.installation.pipeline(namespace, name)).transpose()?;
        let filter = SessionFilter { pipeline: pipeline.map(|pipeline| pipeline.id), status, run_type, from, to };
        let found = app.installation.sessions(namespace, &filter, before, limit + 1);
        let mut found = found.map_err(|why| problem_of(&why))?;
        let next = (found.len() > limit).then(|| found[limit - 1].number.to_string());
        found.truncate(limit);
        Ok(page(found.iter().map(shown).collect(), next))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let session = app.installation.session(&asked.who.namespace, &id)?;
        let mut value = shown(&session);
        value["counts"] = app.installation.session_counts(&session).map_err(|why| problem_of(&why))?;
        let served = app.installation.served_of(session.pipeline_id).filter(|served| served.session() == session.number);
        let sources = served.map(|served| served.sources()).unwrap_or_default();
        value["sources"] = sources.iter().map(|source| source.shown()).collect();
        Ok(answer(StatusCode::OK, &value))
    })
    .await
}

async fn origins(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    off(move || {
        let session = app.installation.session(&asked.who.namespace, &id)?;
        let mut found = app.installation.origins(&session)?;
        found.retain(|origin| {
            query.get("state").is_none_or(|state| state == origin.state)
                && query.get("source").is_none_or(|source| source == origin.source)
        });
        if query.get("format") == Some("csv") {
            let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
            return Ok((headers, origins_csv(&found)).into_response());
        }
        whole(&query, found.iter().map(OriginView::shown))
    })
    .await
}

async fn skip_origin(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let given = object(&app, &headers, body).await?;
    off(move || {
        let text = |name: &str| match given.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok(text.to_owned()),
            None => Err(Box::new(Problem::new(Code::Invalid, format!("`{name}` is missing")).field(name))),
        };
        let (source, origin, reason) = (text("source")?, text("origin")?, text("reason")?);
        let session = app.installation.session(&asked.who.namespace, &id)?;
        app.installation.skip_origin(&asked.who, &session, &source, &origin, &reason)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

async fn events(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, cursor, newest_first) = (query.limit()?, query.cursor()?, is_newest_first(&query)?);
    off(move || {
        let session = app.installation.session(&asked.who.namespace, &id)?;
        let found = match newest_first {
            true => app.installation.newest_events_of_session(&session.session_id, cursor, limit),
            false => app.installation.events_of_session(&session.session_id, cursor.unwrap_or(0), limit),
        };
        let found = found.map_err(|why| problem_of(&why))?;
        let (found, next) = (found.0, found.1.map(|next| next.to_string()));
        Ok(page(found.iter().map(|event| serde_json::to_value(event).unwrap_or_default()).collect(), next))
    })
    .await
}

async fn summary(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let limit = query.limit()?;
    off(move || {
        let namespace = &asked.who.namespace;
        let pipeline = query.get("pipeline").map(|name| app.installation.pipeline(namespace, name)).transpose()?;
        let found = match query.get("session") {
            Some(id) => vec![app.installation.session(namespace, id)?],
            None => {
                let filter =
                    SessionFilter { pipeline: pipeline.as_ref().map(|pipeline| pipeline.id), ..SessionFilter::default() };
                app.installation.sessions(namespace, &filter, None, limit).map_err(|why| problem_of(&why))?
            }
        };
        let is_of = |session: &KeptSession| pipeline.as_ref().is_none_or(|pipeline| pipeline.id == session.pipeline_id);
        let mut rows = Vec::new();
        for session in found.into_iter().filter(is_of) {
            let counts = app.installation.session_counts(&session).map_err(|why| problem_of(&why))?;
            let head =
                json!({"sessionId": session.session_id, "pipeline": session.pipeline, "sessionStatus": session.session_status.name()});
            for operator in counts["operators"].as_array().into_iter().flatten() {
                let mut row = head.clone();
                row["operatorId"] = operator["id"].clone();
                row["in"] = operator["in"].clone();
                row["out"] = operator["out"].clone();
                row["errors"] = operator["errors"].clone();
                if operator["outputs"].is_object() {
                    row["outputs"] = operator["outputs"].clone();
                }
                rows.push(row);
            }
            for (code, count) in counts["events"]["parkedByReason"].as_object().into_iter().flatten() {
                let mut row = head.clone();
                row["errorCode"] = json!(code);
                row["errors"] = count.clone();
                rows.push(row);
            }
        }
        Ok(page(rows, None))
    })
    .await
}

/// The route of a step that a person takes.
fn step(trigger: Trigger) -> MethodRouter<App> {
    let taken = move |State(app), Extension(asked), Path(id), headers: HeaderMap, body: Body| {
        act(app, asked, id, trigger, (headers, body))
    };
    post(taken)
}

async fn act(
    app: App,
    asked: Asked,
    id: String,
    trigger: Trigger,
    (headers, body): (HeaderMap, Body),
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let reason = match fields.get("reason") {
        None | Some(Value::Null) => "",
        Some(Value::String(reason)) => reason,
        Some(_) => return Err(Box::new(Problem::new(Code::Invalid, "the reason is a text").field("reason"))),
    };
    let asked = because(asked, reason)?;
    off(move || Ok(answer(StatusCode::OK, &shown(&app.installation.act(&asked.who, &id, trigger)?)))).await
}
