//! The HTTP server and the data that it manages.
//!
//! The modules cover authentication (`keys`), bounds (`limits`, `body`), the transport (`serve`,
//! `tls`, `loopback`, `settings`), and refusals (`problem`).
//!
//! Invariants: the time is an argument (`now`), as everywhere; the only random source of the
//! project is `keys::random`, because a key must not be guessable; no secret is shown, printed or
//! logged after the one answer that contains it.

pub mod access;
pub mod api;
mod background;
pub mod body;
pub mod compressed;
pub mod dashboard;
mod idempotency;
pub mod installation;
pub mod keys;
pub mod limits;
pub mod loopback;
pub mod notifications;
mod openmeter;
mod otlp;
pub mod problem;
mod remote_write;
pub mod run;
pub mod security_headers;
pub mod serve;
pub mod settings;
pub mod tls;
pub mod traces;
pub mod verbatim;
