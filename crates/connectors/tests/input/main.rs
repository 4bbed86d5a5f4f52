//! Files as people have them, from their bytes to records: nothing is counted in the wrong month,
//! under the wrong user or with another value, and nothing is lost without a report.

#![allow(clippy::unwrap_used)] // a failed test panics

mod bytes;
mod damage;
mod infer;
mod messages;
mod remedies;
mod session;
mod stories;
