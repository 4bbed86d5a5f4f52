//! Delivery by a real server: to a real receiver, a real Postgres, a real S3-compatible
//! server and files; killed at moments that a seed chooses.
//!
//! `FLUSH_RECORDS=1000000` flushes more, `FLUSH_KILLS=20` and `ACT_KILLS=200` kill more often, and
//! `SOAK_SECONDS=3600` soaks longer than the default run does.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "../../connectors/tests/support/mod.rs"]
#[allow(unreachable_pub, missing_docs)]
mod services;
#[path = "support/mod.rs"]
mod support;

#[path = "delivery/acts.rs"]
mod acts;
#[path = "delivery/hanging.rs"]
mod hanging;
#[path = "delivery/kill.rs"]
mod kill;
#[path = "delivery/people.rs"]
mod people;
#[path = "delivery/probing.rs"]
mod probing;
#[path = "delivery/receivers.rs"]
mod receivers;
#[path = "delivery/soak.rs"]
mod soak;
