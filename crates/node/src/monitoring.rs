//! Numbers about the node, for the dashboard, metrics and readiness.

pub mod history;
pub mod overview;
pub mod readiness;
pub mod standing;
