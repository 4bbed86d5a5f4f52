//! Numbers about the node, for the dashboard, metrics and readiness.

pub mod disk;
pub mod history;
pub mod needs;
pub mod overview;
pub mod readiness;
pub mod standing;
