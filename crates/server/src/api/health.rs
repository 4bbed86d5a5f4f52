//! Whether the server lives, whether it is ready, and its metrics.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flowmeter_node::keys::Scope;
use flowmeter_node::monitoring::readiness::Standing;
use serde_json::{Value, json};

use super::metrics::Form;
use super::{App, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

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
            "Whether events are taken, counted and flushed; 503 with `conditions` while they are not",
            (200, "They are"),
            get(ready),
        ),
        endpoint(
            "/metrics",
            "Metrics, in the text format of Prometheus or of OpenMetrics; with auth.metrics they need a key",
            (200, "Metrics"),
            get(metrics),
        ),
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
    let problem = Problem::new(gravest.condition.kind().into(), &gravest.detail);
    problem.extra("conditions", conditions).into_response()
}

fn shown(standing: &Standing) -> Value {
    json!({
        "condition": standing.condition.name(),
        "since": standing.since.to_string(),
        "detail": standing.detail,
        "remedy": Code::from(standing.condition.kind()).remedy(),
    })
}

/// Reads boards, the catalog and the end of the log: not on the threads that take events.
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    if app.installation.settings().auth.metrics
        && let Err(refused) = with_key(&app, &headers)
    {
        return refused.into_response();
    }
    let accept = headers.get(header::ACCEPT).map(|value| value.to_str().unwrap_or_default());
    let form = Form::of_accept(accept.unwrap_or_default());
    let written = off(move || Ok(app.metrics.text(&app, form))).await;
    match written {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, form.content_type()), (header::CACHE_CONTROL, "no-store")], text)
            .into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Checks the key of a request for metrics. They show names of all namespaces, so the key is one of
/// the default namespace, which is that of the operator.
fn with_key(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let principal = app.keys.authenticate(given, app.installation.wall()).map_err(|refusal| Box::new(Problem::from(refusal)))?;
    principal.require(Scope::Read).map_err(|refused| Box::new(Problem::from(*refused)))?;
    let namespace = &app.installation.settings().namespace;
    if *principal.namespace == **namespace {
        return Ok(());
    }
    let detail = format!("metrics show every namespace, and the key `{}` belongs to one of them", principal.name);
    let problem = Problem::new(Code::ScopeMissing, detail);
    Err(Box::new(problem.remedy(format!("Use a key of the namespace `{namespace}` with the scope read."))))
}
