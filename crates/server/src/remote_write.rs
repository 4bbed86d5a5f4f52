//! Prometheus remote write: samples as events.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flowmeter_connectors::remote_write::{Version, read};
use flowmeter_node::keys::Scope;

use crate::api::events::{admit_lines, bounds};
use crate::api::{App, Asked, Endpoint, door, off};
use crate::otlp::refused;
use crate::problem::{Code, Problem, Refused};

/// The messages of both versions, as the content type names them.
const FIRST: &str = "proto=prometheus.writerequest";
const SECOND: &str = "proto=io.prometheus.write.v2.request";

/// Returns the endpoint of the protocol.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::POST,
        path: "/prometheus/api/v1/write",
        scope: Some(Scope::Ingest),
        summary: "Take samples of Prometheus (remote write)",
        query: &[],
        body: Some("A remote-write request of version 1 or 2: Protobuf in Snappy's block format"),
        answer: (204, "Everything is durable"),
        route: post(take),
    }]
}

async fn take(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let version = match version(&headers) {
        Ok(version) => version,
        Err(refused) if refused.code == Code::UnsupportedEncoding => {
            // Other endpoints read other encodings.
            let mut answer = refused.into_response();
            answer.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("snappy"));
            return Ok(answer);
        }
        Err(refused) => return Err(refused),
    };
    // Snappy's block format has no end before its whole length, so it is decompressed by the reader.
    let mut headers = headers;
    headers.remove(header::CONTENT_ENCODING);
    let body = crate::body::read(&headers, body, &app.installation.settings().limits).await?;
    let received = body.len();
    let bounds = bounds(&app);
    let written = off(move || read(version, &body, bounds).map_err(refused)).await?;
    admit_lines(&app, &asked, received, &written.lines).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ] {
        response.headers_mut().insert(name, count.into());
    }
    Ok(response)
}

/// Reads the version of a request from its headers.
fn version(headers: &HeaderMap) -> Result<Version, Refused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let unsupported = |code, detail: String, field: &str| Err(Box::new(Problem::new(code, detail).field(field)));
    if text(header::CONTENT_ENCODING) != "snappy" {
        let detail = "send `Content-Encoding: snappy`, as remote write does".to_owned();
        let problem = Problem::new(Code::UnsupportedEncoding, detail).field("content-encoding");
        return Err(Box::new(problem.remedy("Use snappy in its block format, once.")));
    }
    let content_type = door::content_type(headers)?.split(';').next().unwrap_or_default().trim();
    if !content_type.eq_ignore_ascii_case("application/x-protobuf") {
        let detail = format!("`{content_type}`; send application/x-protobuf");
        return unsupported(Code::UnsupportedMediaType, detail, "content-type");
    }
    let content_type = text(header::CONTENT_TYPE);
    let proto = content_type.split(';').map(str::trim).find(|part| part.starts_with("proto="));
    match proto {
        None | Some(FIRST) => Ok(Version::One),
        Some(SECOND) => Ok(Version::Two),
        Some(other) => unsupported(Code::UnsupportedMediaType, format!("`{other}` is no message that is read"), "content-type"),
    }
}
