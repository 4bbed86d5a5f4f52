//! From values to fields, and what must hold between them.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::Values;
use super::value::Value;
use super::{Auth, Checkpoint, Commit, EventStore, Log, Settings, TlsFiles, Tracing};
use crate::limits::{Limits, Rates};

/// The settings, if nothing is missing; adds what does not fit together to the problems.
pub(super) fn build(values: Values, problems: &mut Vec<String>) -> Option<Settings> {
    let v = &values;
    let limits = limits(v)?;
    if limits.decompressed_bytes_max < limits.body_bytes_max {
        problems.push(format!(
            "{}: limits.decompressed_bytes_max is smaller than limits.body_bytes_max ({}); raise the one or lower the other",
            v.get("limits.decompressed_bytes_max").1,
            v.get("limits.body_bytes_max").1,
        ));
    }
    Some(Settings {
        listen: match v.get("listen").0 {
            Value::Address(address) => *address,
            _ => return None,
        },
        data: PathBuf::from(text(v, "data")?),
        tls: tls(v, problems),
        drain: span(v, "shutdown.drain")?,
        auth: Auth {
            required: switch(v, "auth.required")?,
            bootstrap_key: match v.get("auth.bootstrap_key").0 {
                Value::Secret(secret) => Some(secret.clone()),
                _ => None,
            },
        },
        limits,
        rates: Rates {
            requests_per_second: number(v, "rate.requests_per_second")?,
            events_per_second: number(v, "rate.events_per_second")?,
            burst_s: span(v, "rate.burst")?.as_secs(),
        },
        log: Log { segment_bytes: number(v, "log.segment_bytes")?, retention: span(v, "log.retention") },
        commit: Commit { delay_max: Duration::from_millis(number(v, "commit.delay_ms_max")?), bytes: number(v, "commit.bytes")? },
        checkpoint: Checkpoint { interval: span(v, "checkpoint.interval")?, bytes: number(v, "checkpoint.bytes")? },
        event_store: EventStore {
            enabled: switch(v, "event_store.enabled")?,
            retention_age: span(v, "event_store.retention_age"),
            retention_bytes: number(v, "event_store.retention_bytes"),
        },
        identities_bytes: number(v, "memory.identities_bytes")?,
        rollups_bytes: match switch(v, "rollups.enabled")? {
            true => Some(number(v, "memory.rollups_bytes")?),
            false => None,
        },
        threads: number(v, "threads").and_then(|n| u16::try_from(n).ok()),
        partitions: number(v, "partitions").and_then(|n| u16::try_from(n).ok()),
        namespace: text(v, "namespace.default")?,
        otlp_endpoint: text(v, "otlp.endpoint"),
        tracing: Tracing { level: text(v, "tracing.level")?, json: text(v, "tracing.format")? == "json" },
        values,
    })
}

fn limits(v: &Values) -> Option<Limits> {
    Some(Limits {
        body_bytes_max: number(v, "limits.body_bytes_max")?,
        decompressed_bytes_max: number(v, "limits.decompressed_bytes_max")?,
        decompressed_ratio_max: number(v, "limits.decompressed_ratio_max")?,
        batch_events_max: number(v, "limits.batch_events_max")?,
        json_depth_max: number(v, "limits.json_depth_max")?,
        requests_in_flight: number(v, "limits.requests_in_flight")?,
        connections: number(v, "limits.connections")?,
        body_idle: span(v, "limits.body_idle")?,
        body_timeout: span(v, "limits.body_timeout")?,
        header_timeout: span(v, "limits.header_timeout")?,
        header_bytes_max: number(v, "limits.header_bytes_max")?,
    })
}

/// Both files or none.
fn tls(v: &Values, problems: &mut Vec<String>) -> Option<TlsFiles> {
    let (cert, key) = (text(v, "tls.cert"), text(v, "tls.key"));
    let (alone, other) = match (cert, key) {
        (Some(cert), Some(key)) => return Some(TlsFiles { cert: cert.into(), key: key.into() }),
        (None, None) => return None,
        (Some(_), None) => ("tls.cert", "tls.key"),
        (None, Some(_)) => ("tls.key", "tls.cert"),
    };
    problems.push(format!("{}: {alone} is set and {other} is not; TLS needs both", v.get(alone).1));
    None
}

fn number(v: &Values, name: &str) -> Option<u64> {
    match v.get(name).0 {
        Value::Number(number) | Value::Bytes(number) => Some(*number),
        _ => None,
    }
}

fn span(v: &Values, name: &str) -> Option<Duration> {
    match v.get(name).0 {
        Value::Span(span) => Some(*span),
        _ => None,
    }
}

fn switch(v: &Values, name: &str) -> Option<bool> {
    match v.get(name).0 {
        Value::Switch(is_on) => Some(*is_on),
        _ => None,
    }
}

fn text(v: &Values, name: &str) -> Option<String> {
    match v.get(name).0 {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}
