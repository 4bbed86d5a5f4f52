//! The contract of targets, checked for each with a real receiver, a real Postgres, the engine of
//! ClickHouse, a real S3-compatible server, and a real OpenSSH.

#![allow(clippy::unwrap_used)] // a failed test panics

mod billers;
mod clickhouse;
mod contract;
mod email;
mod files;
mod hanging;
#[cfg(feature = "kafka")]
mod kafka;
mod mtls;
mod objects;
mod postgres;
mod probing;
#[cfg(feature = "sftp")]
mod sftp;
#[path = "../support/mod.rs"]
#[allow(unreachable_pub, missing_docs)]
mod support;
mod warehouses;
mod webhook;
