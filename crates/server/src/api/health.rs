//! Whether the server lives, whether it is ready, and its metrics.

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{App, Endpoint, answer};
use crate::installation::Standing;
use crate::problem::Problem;

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
        endpoint(
            "/health/ready",
            "Whether events are taken and counted; 503 with `conditions` while they are refused",
            (200, "They are"),
            get(ready),
        ),
        endpoint("/metrics", "Metrics in the OpenMetrics text format", (200, "Metrics"), get(metrics)),
    ]
}

async fn live() -> Response {
    answer(StatusCode::OK, &json!({"status": "live"}))
}

async fn ready(State(app): State<App>) -> Response {
    let standing = app.installation.conditions();
    let Some(gravest) = standing.first() else {
        return answer(StatusCode::OK, &json!({"status": "ready", "version": env!("CARGO_PKG_VERSION")}));
    };
    let conditions: Vec<Value> = standing.iter().map(shown).collect();
    let problem = Problem::new(gravest.condition.code(), &gravest.detail);
    problem.extra("conditions", conditions).into_response()
}

fn shown(standing: &Standing) -> Value {
    json!({
        "condition": standing.condition.name(),
        "since": standing.since.to_string(),
        "detail": standing.detail,
        "remedy": standing.condition.code().remedy(),
    })
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], app.metrics.text(&app)).into_response()
}
