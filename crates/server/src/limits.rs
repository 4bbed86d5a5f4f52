//! The bounds of one request, of one key and of the whole server, as they are kept.
//!
//! If a bound is exceeded, the answer is a [`Problem`](crate::problem::Problem) that names the
//! setting. Nothing of such a request is taken. The bounds and their reasons are settings
//! (`flowmeter_node::settings::limits`).

mod depth;
mod gate;
mod rate;
#[cfg(test)]
mod tests;

pub use depth::check_depth;
pub use gate::{Gate, Pass};
pub use rate::RateLimits;
