//! Traces: requests, as part of the caller's trace, and their steps; sessions over files;
//! deliveries to targets and notifications.
//!
//! Spans of [`TARGET`] are for a collector and not for the log. Without a collector they are
//! disabled: a disabled span costs one comparison.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions where there are any.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use flowmeter_node::spans::TARGET;
use opentelemetry::propagation::Extractor;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::access::Name;

/// Returns the span of a request; part of the caller's trace, if it names one (`traceparent`).
pub(crate) fn request(route: &'static str, request: &Request) -> Span {
    let span = info_span!(
        target: TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        flowmeter.request_id = request.extensions().get::<Name>().map(Name::as_str),
        flowmeter.namespace = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{} {route}", request.method()));
        let caller = opentelemetry::global::get_text_map_propagator(|known| known.extract(&Headers(request.headers())));
        // A span that is not sampled has no parent to set.
        drop(span.set_parent(caller));
    }
    span
}

/// Records the answer of a request.
pub(crate) fn answered(span: &Span, status: StatusCode, namespace: Option<&str>) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if let Some(namespace) = namespace {
        span.record("flowmeter.namespace", namespace);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Returns the span of a part of a request.
pub(crate) fn part(name: &'static str, events: u32) -> Span {
    info_span!(target: TARGET, "part", otel.name = name, flowmeter.events = i64::from(events))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
