//! Whether the server lives, whether it is ready, and its metrics.

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::{App, Endpoint, answer};
use crate::installation::Stopped;
use crate::problem::{Code, Problem};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, summary, answer, route| Endpoint {
        method: Method::GET,
        path,
        scope: None,
        summary,
        query: &[],
        body: None,
        answer,
        route,
    };
    vec![
        endpoint("/health/live", "Whether the process lives", (200, "It does"), get(live)),
        endpoint("/health/ready", "Whether events are taken and counted", (200, "They are"), get(ready)),
        endpoint("/metrics", "Metrics in the OpenMetrics text format", (200, "Metrics"), get(metrics)),
    ]
}

async fn live() -> Response {
    answer(StatusCode::OK, &json!({"status": "live"}))
}

async fn ready(State(app): State<App>) -> Response {
    if let Some(why) = app.installation.failure() {
        return Problem::new(Code::Poisoned, why.to_string()).into_response();
    }
    let stopped = app.installation.stopped();
    let failed = stopped.first().map(Stopped::sentence);
    match failed {
        Some(detail) => Problem::new(Code::PipelineStopped, detail).into_response(),
        None => answer(StatusCode::OK, &json!({"status": "ready", "version": env!("CARGO_PKG_VERSION")})),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], app.metrics.text(&app)).into_response()
}
