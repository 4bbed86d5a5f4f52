//! OTLP over HTTP: metrics, logs and traces of OpenTelemetry as events.
//!
//! Answers to requests that are read are those of the protocol: an exporter repeats what is answered 429
//! or 503, and reports points that were rejected. A request without a valid key or of another media type
//! is answered like any other of this server. `docs/opentelemetry.md` has the members of the events.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flowmeter_connectors::otlp::{Fault, Form, Signal, failure, read, success};
use flowmeter_node::keys::Scope;

use crate::api::events::{admit_lines, bounds};
use crate::api::{App, Asked, Endpoint, door, off};
use crate::problem::{Code, Problem, Refused};

/// Returns the endpoints of the protocol.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, summary, route| Endpoint {
        method: Method::POST,
        path,
        scope: Some(Scope::Ingest),
        summary,
        query: &[],
        body: Some("An OTLP request, Protobuf or JSON"),
        answer: (200, "Everything is durable; partialSuccess has the rejected points"),
        route,
    };
    vec![
        endpoint("/otlp/v1/metrics", "Take metrics of OpenTelemetry", post(metrics)),
        endpoint("/otlp/v1/logs", "Take logs of OpenTelemetry", post(logs)),
        endpoint("/otlp/v1/traces", "Take traces of OpenTelemetry", post(traces)),
    ]
}

async fn metrics(app: State<App>, asked: Extension<Asked>, headers: HeaderMap, body: Body) -> Response {
    take(Signal::Metrics, app, asked, headers, body).await
}

async fn logs(app: State<App>, asked: Extension<Asked>, headers: HeaderMap, body: Body) -> Response {
    take(Signal::Logs, app, asked, headers, body).await
}

async fn traces(app: State<App>, asked: Extension<Asked>, headers: HeaderMap, body: Body) -> Response {
    take(Signal::Traces, app, asked, headers, body).await
}

async fn take(
    signal: Signal,
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match form(&headers) {
        Ok(form) => form,
        Err(refused) => return refused.into_response(),
    };
    let answer = match admit(signal, form, &app, &asked, &headers, body).await {
        Ok(answer) => (StatusCode::OK, answer).into_response(),
        Err(refused) => {
            let mut response = refused.clone().into_response();
            *response.body_mut() = Body::from(failure(form, response.status().as_u16(), &refused.detail));
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
    };
    let mut answer = answer;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    answer
}

fn form(headers: &HeaderMap) -> Result<Form, Refused> {
    let content_type = door::content_type(headers)?.split(';').next().unwrap_or_default().trim();
    Form::named(&content_type.to_ascii_lowercase()).ok_or_else(|| {
        let detail = format!("`{content_type}`; send application/x-protobuf or application/json");
        Box::new(Problem::new(Code::UnsupportedMediaType, detail).field("content-type"))
    })
}

async fn admit(
    signal: Signal,
    form: Form,
    app: &App,
    asked: &Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, Refused> {
    let body = crate::body::read(headers, body, &app.installation.settings().limits).await?;
    let received = body.len();
    let bounds = bounds(app);
    let lines = off(move || read(signal, form, &body, bounds).map_err(refused)).await?;
    let answer = success(signal, form, &lines);
    admit_lines(app, asked, received, &lines).await?;
    Ok(answer)
}

/// Returns the problem of a request that is not taken.
pub(crate) fn refused(fault: Fault) -> Refused {
    Box::new(match fault {
        Fault::Unreadable(why) => Problem::new(Code::Invalid, why),
        Fault::TooLarge(why) => Problem::new(Code::TooLarge, format!("{why}; send smaller requests")),
        Fault::TooMany(why) => Problem::new(Code::TooMany, format!("{why}; limits.batch_events_max bounds them"))
            .remedy("Send fewer at once (Prometheus: `max_samples_per_send`), or raise limits.batch_events_max."),
    })
}
