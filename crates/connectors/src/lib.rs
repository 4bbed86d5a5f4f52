//! Sources and targets: the outside of Flowmeter, each in a file or folder of its own.
//!
//! | sources | |
//! |---|---|
//! | [`file`] | NDJSON, JSON, CSV, Parquet, access logs; gzip, zstd; globs; standard input |
//! | [`otlp`] | metrics, logs and traces of OpenTelemetry |
//! | [`remote_write`] | samples of Prometheus |
//! | [`sources`] | what a server reads by itself: files, objects, rows of Postgres, answers of services |
//!
//! Targets, and what each keeps to, are in [`targets`].

pub mod answer;
mod buckets;
mod calls;
mod client;
pub mod completeness;
mod database;
pub mod export;
pub mod file;
pub mod given;
#[cfg(feature = "kafka")]
mod kafka;
pub mod lines;
pub mod mail;
pub mod messages;
pub mod otlp;
mod protobuf;
pub mod push;
pub mod remote_write;
pub mod retry_after;
mod secret;
mod service;
pub mod services;
pub mod signature;
pub mod sources;
pub mod tables;
pub mod targets;
mod tls;
pub mod trust;

pub use calls::Abandon;
pub use client::blocking_client;
pub use secret::expand;

/// The error of a program without the client of Kafka.
#[cfg(not(feature = "kafka"))]
fn no_kafka() -> flowmeter_engine::Error {
    let message = "kafka: this program was built without it; use a released package, or build with `--features kafka`";
    flowmeter_engine::Error::new(flowmeter_engine::Kind::Invalid, message)
}

/// The error of a program without the client of SFTP.
#[cfg(not(feature = "sftp"))]
fn no_sftp() -> flowmeter_engine::Error {
    let message = "sftp: this program was built without it; build it with `--features sftp`";
    flowmeter_engine::Error::new(flowmeter_engine::Kind::Invalid, message)
}
