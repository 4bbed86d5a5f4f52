//! HTTP in front of a node (`flowmeter_node`): endpoints and the dashboard's files.
//!
//! The modules cover endpoints (`api`, `openmeter`), bounds (`limits`, `body`), the transport
//! (`serve`, `tls`, `loopback`), and refusals (`problem`).

pub mod access;
pub mod api;
pub mod body;
pub mod compressed;
pub mod dashboard;
mod idempotency;
pub mod limits;
pub mod loopback;
mod openmeter;
mod otlp;
pub mod problem;
mod remote_write;
pub mod run;
pub mod security_headers;
pub mod serve;
pub mod tls;
pub mod traces;
