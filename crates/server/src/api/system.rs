//! The server itself: its settings and its state; browsers that are signed in.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get};
use flowmeter_core::time::Zone;
use flowmeter_node::keys::Scope;
use flowmeter_node::monitoring::disk::bytes_by_kind;
use serde_json::{Value, json};

use super::{App, Asked, Endpoint, answer, off, page};
use crate::problem::{Code, Refused, not_found, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let read = |path, summary, answer, route: MethodRouter<App>| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Admin),
        summary,
        query: &[],
        body: None,
        answer: (200, answer),
        route,
    };
    vec![
        read("/api/v1/settings", "Every setting, with its value and where it came from", "Settings", get(settings)),
        read("/api/v1/system", "Version, memory, disk, log and threads of the server", "The state", get(system)),
        read("/api/v1/browser-sessions", "Browsers that are signed in", "Sessions", get(browsers)),
        Endpoint {
            method: Method::DELETE,
            path: "/api/v1/browser-sessions/{id}",
            scope: Some(Scope::Admin),
            summary: "Sign a browser out",
            query: &[],
            body: None,
            answer: (204, "It is signed out"),
            route: delete(end_browser),
        },
    ]
}

async fn settings(State(app): State<App>, Extension(asked): Extension<Asked>) -> Result<Response, Refused> {
    asked.must_be_operator(&app)?;
    Ok(page(app.installation.settings().list(), None))
}

async fn system(State(app): State<App>, Extension(asked): Extension<Asked>) -> Result<Response, Refused> {
    off(move || {
        let installation = &app.installation;
        let (log_bytes, log_end) = installation.log_extent();
        let millis = |nanos: i128| i64::try_from(nanos.max(0) / 1_000_000).unwrap_or(i64::MAX);
        let pipelines: Vec<Value> = installation
            .served_in(&asked.who.namespace)
            .iter()
            .map(|served| {
                let gauge = installation.pipeline_gauge(served);
                json!({
                    "pipeline": served.kept.name, "meters": served.board().meters(), "meterBytes": served.board().meter_bytes(),
                    "meterIndexBytes": served.meter_index_bytes(),
                    "identityBytes": served.board().identities_bytes(), "records": served.board().records(),
                    "position": served.board().position(), "checkpointAgeMs": millis(gauge.checkpoint_age_nanos),
                    "lagEvents": gauge.lag_events, "unfiledEvents": gauge.unfiled_events,
                })
            })
            .collect();
        let ages = installation.served().into_iter().map(|served| installation.pipeline_gauge(&served).checkpoint_age_nanos);
        let unsaved = ages.map(millis).max();
        let used = bytes_by_kind(&installation.settings().data);
        let tls = app.tls.as_ref().map(|tls| json!({"expiresAt": tls.expires_at().map(|at| at.to_string())}));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = installation.settings();
        let conditions: Vec<Value> = installation
            .conditions()
            .iter()
            .map(|one| {
                json!({
                    "condition": one.condition.name(), "since": one.since.to_string(), "detail": one.detail,
                    "remedy": Code::from(one.condition.kind()).remedy(),
                })
            })
            .collect();
        let meters_bytes: u64 = installation.served().iter().map(|served| served.board().meter_bytes()).sum();
        Ok(answer(
            StatusCode::OK,
            &json!({
                "version": env!("CARGO_PKG_VERSION"), "startedAt": app.started_at.to_string(),
                "memory": {
                    "resident": super::metrics::resident_bytes(), "meters": meters_bytes, "metersMax": installation.meters_bytes_max(),
                },
                "disk": {
                    "free": installation.disk().free_bytes().ok(), "data": settings.data.display().to_string(),
                    "byKind": used.unwrap_or_default(),
                },
                "checkpoints": {"unsavedMs": unsaved.unwrap_or_default()},
                "zoneData": Zone::data_release(),
                "log": {"bytes": log_bytes, "entries": log_end},
                "threads": settings.threads.map_or(cores, usize::from), "cores": cores,
                "partitions": settings.partitions.map(usize::from),
                "tls": tls, "listen": settings.listen.to_string(),
                "poisoned": installation.failure().map(|why| why.to_string()),
                "conditions": conditions, "pipelines": pipelines,
            }),
        ))
    })
    .await
}

async fn browsers(State(app): State<App>, Extension(asked): Extension<Asked>) -> Response {
    let keys = app.keys.list();
    let shown = app.browsers.list(app.installation.wall()).into_iter().filter_map(|(id, session)| {
        let key = keys.iter().find(|key| key.id == session.key && key.namespace == asked.who.namespace)?;
        let at = |nanos| flowmeter_core::time::Timestamp::from_nanos(nanos).to_string();
        Some(json!({
            "id": id, "keyId": key.id, "name": key.name, "createdAt": at(session.created_ns), "lastUsedAt": at(session.seen_ns),
            "expiresAt": session.expires().to_string(),
        }))
    });
    page(shown.collect(), None)
}

async fn end_browser(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let own = app.browsers.list(app.installation.wall()).into_iter().find(|(known, _)| *known == id);
        let is_own = own.is_some_and(|(_, session)| {
            app.keys.list().iter().any(|key| key.id == session.key && key.namespace == asked.who.namespace)
        });
        if !is_own {
            return Err(not_found("signed-in browser", &id));
        }
        let entry = app.installation.audited(&asked.who, "browser.end", &id, Value::Null, Value::Null);
        let ended = entry.and_then(|entry| app.browsers.end_named(app.installation.catalog(), &id, entry));
        ended.map_err(|why| problem_of(&why))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
