//! Received events: their rows and files, and what became of each.

pub mod derived;
pub mod explain;
pub(crate) mod flushed;
pub mod origins;
pub mod replay;
pub mod rows;
pub mod store;
pub mod trace;
mod unfiled;
