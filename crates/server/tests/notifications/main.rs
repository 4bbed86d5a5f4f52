//! Notifications from outside: a server, sessions, receivers that listen, fail and come
//! back, and programs of others that verify what arrives.

#![allow(clippy::unwrap_used)] // what is not as expected ends the test

mod connections;
mod declared;
mod delivery;
#[cfg(feature = "kafka")]
mod kafka;
mod meters;
mod over_http;
mod peers;
mod receiver;
mod retention;
#[cfg(feature = "kafka")]
#[allow(unreachable_pub, missing_docs)]
#[path = "../../../connectors/tests/support/mod.rs"]
mod services;
mod sessions;
mod support;
