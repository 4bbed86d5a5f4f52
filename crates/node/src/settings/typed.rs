//! From values to fields, and what must hold between them.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::layers::Values;
use crate::settings::limits::{Limits, Rates};
use crate::settings::secret::Secret;
use crate::settings::value::Value;
use crate::settings::{
    Auth, Checkpoint, Commit, Dashboard, EventStore, Jobs, Kafka, Log, Notifications, Otlp, Sessions, Settings, Smtp, TlsFiles,
    Tracing,
};

/// The settings, if nothing is missing; adds what does not fit together to the problems.
pub(crate) fn build(values: Values, problems: &mut Vec<String>) -> Option<Settings> {
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
            bootstrap_key: secret(v, "auth.bootstrap_key"),
            metrics: switch(v, "auth.metrics")?,
        },
        dashboard: Dashboard {
            enabled: switch(v, "dashboard.enabled")?,
            https: switch(v, "dashboard.https")?,
            dir: text(v, "dashboard.dir").map(PathBuf::from),
        },
        limits,
        rates: Rates {
            requests_per_second: number(v, "rate.requests_per_second")?,
            events_per_second: number(v, "rate.events_per_second")?,
            burst_s: span(v, "rate.burst")?.as_secs(),
        },
        log: Log { segment_bytes: number(v, "log.segment_bytes")?, retention: span(v, "log.retention") },
        commit: Commit { delay_max: Duration::from_millis(number(v, "commit.delay_ms_max")?), bytes: number(v, "commit.bytes")? },
        clock_jump_max: span(v, "clock.jump_max"),
        test_clock_allow_remote: switch(v, "test_clock.allow_remote")?,
        checkpoint: Checkpoint { interval: span(v, "checkpoint.interval")?, bytes: number(v, "checkpoint.bytes")? },
        event_store: EventStore {
            enabled: switch(v, "event_store.enabled")?,
            derived: switch(v, "event_store.derived")?,
            retention_age: span(v, "event_store.retention_age"),
            retention_bytes: number(v, "event_store.retention_bytes"),
        },
        identities_bytes: number(v, "memory.identities_bytes")?,
        meters_bytes: number(v, "memory.meters_bytes"),
        rollups_bytes: match switch(v, "rollups.enabled")? {
            true => Some(number(v, "memory.rollups_bytes")?),
            false => None,
        },
        threads: number(v, "threads").and_then(|n| u16::try_from(n).ok()),
        partitions: number(v, "partitions").and_then(|n| u16::try_from(n).ok()),
        namespace: text(v, "namespace.default")?,
        otlp: match text(v, "otlp.endpoint") {
            Some(endpoint) => Some(Otlp { endpoint, one_in: number(v, "otlp.one_in")? }),
            None => None,
        },
        sessions: Sessions {
            status_interval: span(v, "sessions.status_interval")?,
            silence: span(v, "sessions.silence"),
            corrections_bound: number(v, "sessions.corrections_bound"),
            flush_overdue: span(v, "sessions.flush_overdue"),
            test_files: text(v, "sessions.test_files").map(PathBuf::from),
            test_events_max: number(v, "sessions.test_events_max")?,
        },
        notifications: Notifications {
            allow_private: switch(v, "notifications.allow_private")?,
            ca: text(v, "notifications.ca").map(PathBuf::from),
            smtp: smtp(v, problems),
            kafka: kafka(v, problems),
            retention: span(v, "notifications.retention"),
        },
        jobs: Jobs {
            running_max: usize::try_from(number(v, "jobs.running_max")?).unwrap_or(usize::MAX),
            kept_max: usize::try_from(number(v, "jobs.kept_max")?).unwrap_or(usize::MAX),
            outputs_max: usize::try_from(number(v, "jobs.outputs_max")?).unwrap_or(usize::MAX),
        },
        declared: values.1.clone(),
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
        write_idle: span(v, "limits.write_idle")?,
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

/// The mail server; its address and a sender, or none of them.
fn smtp(v: &Values, problems: &mut Vec<String>) -> Option<Smtp> {
    let address = text(v, "notifications.smtp")?;
    let mut wrong = |name: &str, why: &str| problems.push(format!("{}: {name}: {why}", v.get(name).1));
    let parts = address.split_once("://").and_then(|(scheme, rest)| {
        let (host, port) = rest.rsplit_once(':')?;
        Some((scheme, host, port.parse::<u16>().ok()?))
    });
    let Some((scheme @ ("smtp" | "smtps"), host, port)) = parts.filter(|(_, host, _)| !host.is_empty() && !host.contains('@'))
    else {
        wrong("notifications.smtp", "write smtps://HOST:PORT or smtp://HOST:PORT");
        return None;
    };
    let Some(from) = text(v, "notifications.smtp_from") else {
        wrong("notifications.smtp", "e-mail needs a sender; set notifications.smtp_from");
        return None;
    };
    if from.parse::<lettre::message::Mailbox>().is_err() {
        wrong("notifications.smtp_from", "write NAME <ADDRESS> or ADDRESS");
    }
    let (username, password) = (text(v, "notifications.smtp_username"), secret(v, "notifications.smtp_password"));
    if username.is_some() != password.is_some() {
        wrong("notifications.smtp", "notifications.smtp_username and notifications.smtp_password belong together; set both");
    }
    Some(Smtp { host: host.to_owned(), port, implicit_tls: scheme == "smtps", username, password, from })
}

/// The cluster of Kafka, with its login or without.
fn kafka(v: &Values, problems: &mut Vec<String>) -> Option<Kafka> {
    let brokers = text(v, "notifications.kafka")?;
    let mut wrong = |name: &str, why: &str| problems.push(format!("{}: {name}: {why}", v.get(name).1));
    let brokers: Vec<String> = brokers.split(',').map(|broker| broker.trim().to_owned()).collect();
    let is_address =
        |broker: &String| broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !brokers.iter().all(is_address) {
        wrong("notifications.kafka", "write HOST:PORT of some brokers, separated by commas");
    }
    let user = text(v, "notifications.kafka_username");
    let login = match (user, secret(v, "notifications.kafka_password")) {
        (Some(user), Some(password)) => Some((text(v, "notifications.kafka_mechanism")?, user, password)),
        (None, None) => None,
        _ => {
            let why = "notifications.kafka_username and notifications.kafka_password belong together; set both";
            wrong("notifications.kafka", why);
            None
        }
    };
    let tls = switch(v, "notifications.kafka_tls")?;
    if !tls && login.as_ref().is_some_and(|(mechanism, ..)| mechanism == "PLAIN") {
        wrong("notifications.kafka_mechanism", "PLAIN sends the password in clear text; set notifications.kafka_tls");
    }
    Some(Kafka { brokers, tls, login })
}

fn secret(v: &Values, name: &str) -> Option<Secret> {
    match v.get(name).0 {
        Value::Secret(secret) => Some(secret.clone()),
        _ => None,
    }
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
