//! Real services for tests, each started on a port of its own and ended with the test.

#![allow(dead_code)] // each test program uses some of it

pub mod clickhouse;
pub mod kafka;
pub mod mail;
pub mod moto;
pub mod postgres;
pub mod receiver;
pub mod sshd;

use std::net::TcpListener;

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map(|address| address.port()).unwrap()
}

/// Says that a test was left out, and why.
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
}
