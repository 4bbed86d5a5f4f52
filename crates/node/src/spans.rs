//! Spans of the node's work: sessions over files, deliveries to targets, notifications.
//!
//! Spans of [`TARGET`] are for a collector and not for the log. Without a collector they are
//! disabled: a disabled span costs one comparison.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions where there are any.

use tracing::field::Empty;
use tracing::{Span, info_span};

/// The target of every traced span.
pub const TARGET: &str = "flowmeter::trace";

/// Returns the span of a session over files.
pub fn session(id: &str, pipeline: &str) -> Span {
    info_span!(
        target: TARGET,
        "session",
        otel.name = format!("session {pipeline}"),
        otel.status_code = Empty,
        flowmeter.session = id,
        flowmeter.pipeline = pipeline,
        flowmeter.status = Empty,
    )
}

/// Returns the span of a window of records on its way to a target.
pub fn deliver(owner: &str) -> Span {
    info_span!(
        target: TARGET,
        "deliver",
        otel.name = format!("deliver {owner}"),
        otel.kind = "client",
        otel.status_code = Empty,
        flowmeter.target = owner,
        flowmeter.records = Empty,
    )
}

/// Returns the span of an attempt to notify.
pub fn notify(channel: &str) -> Span {
    info_span!(
        target: TARGET,
        "notify",
        otel.name = format!("notify {channel}"),
        otel.kind = "client",
        otel.status_code = Empty,
        flowmeter.channel = channel,
    )
}

/// Marks a span as failed.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}
